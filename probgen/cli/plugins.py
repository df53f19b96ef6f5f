"""probgen plugins: list them, write a new one, check one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from probgen.cli import completion
from probgen.cli.common import Json, place, print_table, put, report, writing
from probgen.cli.scaffold import EXAMPLES, What, write
from probgen.errors import InputError, PluginError, did_you_mean

app = typer.Typer(help="List plugins, write a new one, check one.", invoke_without_command=True)


@app.callback()
@report
def list_(context: typer.Context, json: Json = False) -> None:
    """List everything that is registered; nothing is imported."""
    if context.invoked_subcommand is not None:
        return
    from probgen.plugins.registry import SINGULAR, registered

    rows = [
        {
            "kind": SINGULAR[kind],
            "name": p.name,
            "distribution": f"{p.distribution} {p.version}",
            "from": p.target,
            "note": "blocked" if p.blocked else "clash: two of one name" if len(plugins) > 1 else None,
        }
        for kind in SINGULAR
        for plugins in registered(kind).values()
        for p in plugins
    ]
    put(rows, json, lambda: print_table(rows, ["kind", "name", "distribution", "from", "note"]))


@app.command("new")
@report
def new(
    name: Annotated[
        str, typer.Argument(help="Name of the family or analysis: lower-case letters, digits, '_'.")
    ],
    kind: Annotated[What, typer.Option("--kind", help="Kind of the plugin.")] = "family",
    into: Annotated[
        Path, typer.Option("--into", parser=place, help="Folder to write probgen-NAME in.")
    ] = Path(),
) -> None:
    """Write a package with a small working family or analysis.

    Then: pip install --editable probgen-NAME, and probgen plugins check NAME.
    """
    folder = write(name, into, kind)
    with writing():
        typer.echo(f"{folder}\nnext: pip install --editable {folder} && probgen plugins check {name}")


@app.command("check")
@report
def check(
    name: Annotated[
        str,
        typer.Argument(autocompletion=completion.checkable, help="Name of a registered family or analysis."),
    ],
    kind: Annotated[
        What | None, typer.Option("--kind", help="Kind of the plugin, if the name is registered twice.")
    ] = None,
) -> None:
    """Test a family or analysis against the laws of its kind."""
    from probgen.plugins.registry import find

    kind = kind if kind is not None else _kind_of(name)
    find(EXAMPLES[kind][2], name).load()
    try:
        from probgen.testing import check as run_laws
    except ImportError as error:
        raise PluginError(f"the laws need {error.name}: pip install {error.name}") from None
    arguments = [name] if kind == "family" else [name, kind]
    if run_laws(*arguments):
        raise PluginError(f"{kind} {name!r} does not meet every law; see above")


def _kind_of(name: str) -> What:
    """Which kind is registered under a name. Errors: `InputError` for two, `PluginError` for none."""
    from probgen.plugins.registry import registered

    groups = {kind: registered(group) for kind, (_, _, group) in EXAMPLES.items()}
    found = [kind for kind, names in groups.items() if name in names]
    if len(found) > 1:
        raise InputError(f"{name!r} is a family and an analysis: add --kind family or --kind analysis")
    if not found:
        hint = did_you_mean(name, {known for names in groups.values() for known in names})
        raise PluginError(f"no family and no analysis is called {name!r}; {hint}")
    return found[0]
