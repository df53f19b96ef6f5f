"""The commands `probgen plugins`: list plugins, write a new plugin, check a plugin."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from probgen.cli import completion
from probgen.cli.common import Json, place, print_table, put, report, writing
from probgen.cli.scaffold import What, write
from probgen.errors import InputError, PluginError, did_you_mean

if TYPE_CHECKING:
    from probgen.plugins.registry import Kind

Checked = Literal["family", "analysis"]
GROUPS: dict[Checked, Kind] = {"family": "families", "analysis": "analyses"}  # of the plugins that have laws

app = typer.Typer(help="List, write and check plugins.", invoke_without_command=True)


@app.callback()
@report
def list_(context: typer.Context, json: Json = False) -> None:
    """List all registered plugins without importing them."""
    if context.invoked_subcommand is not None:
        return
    from probgen.plugins.registry import SINGULAR, registered

    rows = [
        {
            "kind": SINGULAR[kind],
            "name": p.name,
            "distribution": f"{p.distribution} {p.version}",
            "from": p.target,
            "note": "blocked"
            if p.blocked
            else "clash: two plugins with this name"
            if len(plugins) > 1
            else None,
        }
        for kind in SINGULAR
        for plugins in registered(kind).values()
        for p in plugins
    ]
    put(rows, json, lambda: print_table(rows, ["kind", "name", "distribution", "from", "note"]))


@app.command("new")
@report
def new(
    name: Annotated[str, typer.Argument(help="Name of the plugin: lower-case letters, digits, '-', '_'.")],
    kind: Annotated[What, typer.Option("--kind", help="Kind of the plugin.")] = "family",
    into: Annotated[
        Path, typer.Option("--into", parser=place, help="Folder in which to create probgen-NAME.")
    ] = Path(),
) -> None:
    """Write a package with a small plugin.

    The plugin works as it is written, and has tests. Install it with pip install --editable probgen-NAME, and test it
    with pytest probgen-NAME; test a family or an analysis with probgen plugins check NAME, too.

    The kinds: a family (module with three hooks), a pair (Pyro model and guide), a gan (two networks over the game of
    probgen-gan), an analysis, a dataset, an observer.

    Example: probgen plugins new my_gan --kind gan
    """
    folder = write(name, into, kind)
    with writing():
        typer.echo(f"{folder}\nnext: pip install --editable {folder} && pytest {folder}")


@app.command("check")
@report
def check(
    name: Annotated[
        str,
        typer.Argument(autocompletion=completion.checkable, help="Name of a registered family or analysis."),
    ],
    kind: Annotated[
        Checked | None, typer.Option("--kind", help="Kind of the plugin, if the name is registered twice.")
    ] = None,
) -> None:
    """Test a family or analysis against its laws.

    If its package has test classes of the laws for it, with data and options of its own, these are tested.

    Example: probgen plugins check mixture
    """
    from probgen.plugins.registry import find

    kind = kind if kind is not None else _kind_of(name)
    find(GROUPS[kind], name).load()
    try:
        from probgen.testing import check as run_laws
    except ImportError as error:
        raise PluginError(f"the laws need {error.name}. Run pip install {error.name}.") from None
    arguments = [name] if kind == "family" else [name, kind]
    code = run_laws(*arguments)
    if code == 5:
        raise PluginError(
            f"{kind} {name!r}: no law was tested, because every law was skipped. Write a test class with data or models that suit it (docs/plugins.md)."
        )
    if code:
        raise PluginError(f"{kind} {name!r} does not meet every law. See the output above.")


def _kind_of(name: str) -> Checked:
    """Return the kind that is registered under a name, or raise an error if there are two kinds or none."""
    from probgen.plugins.registry import registered

    groups = {kind: registered(group) for kind, group in GROUPS.items()}
    found = [kind for kind, names in groups.items() if name in names]
    if len(found) > 1:
        raise InputError(f"{name!r} is both a family and an analysis. Add --kind family or --kind analysis.")
    if not found:
        hint = did_you_mean(name, {known for names in groups.values() for known in names})
        raise PluginError(f"no family and no analysis is called {name!r}; {hint}")
    return found[0]
