"""probgen plugins: what is installed, a new one, and a check of one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from probgen.cli.common import Json, print_table, put, report

app = typer.Typer(help="List plugins, write a new one, check one.", invoke_without_command=True)


@app.callback()
@report
def list_(context: typer.Context, json: Json = False) -> None:
    """List everything that is registered, from metadata alone; nothing is imported."""
    if context.invoked_subcommand is not None:
        return
    from typing import get_args

    from probgen.plugins.registry import SINGULAR, Kind, registered

    rows = [
        {
            "kind": SINGULAR[kind],
            "name": p.name,
            "distribution": f"{p.distribution} {p.version}",
            "from": p.target,
            "note": "blocked" if p.blocked else "clash: two of one name" if len(plugins) > 1 else None,
        }
        for kind in get_args(Kind)
        for plugins in registered(kind).values()
        for p in plugins
    ]
    put(rows, json, lambda: print_table(rows, ["kind", "name", "distribution", "from", "note"]))


@app.command("new")
@report
def new(
    name: Annotated[str, typer.Argument(help="The name of the family: lower-case letters, digits, '_'.")],
    into: Annotated[Path, typer.Option("--into", help="The folder to write probgen-NAME in.")] = Path(),
) -> None:
    """Write a package with a small family that works, to be made your own.

    Then: pip install --editable probgen-NAME, and probgen plugins check NAME.
    """
    from probgen.cli.scaffold import write

    folder = write(name, into)
    typer.echo(f"{folder}\nnext: pip install --editable {folder} && probgen plugins check {name}")


@app.command("check")
@report
def check(name: Annotated[str, typer.Argument(help="A registered family.")]) -> None:
    """Run the laws that every family must meet against a family."""
    from probgen.errors import PluginError
    from probgen.plugins.family import family

    family(name)
    try:
        from probgen.testing import check as run_laws
    except ImportError as error:
        raise PluginError(f"the laws need {error.name}: pip install {error.name}") from None
    code = run_laws(name)
    if code:
        raise PluginError(f"family {name!r} does not meet every law; see above")
