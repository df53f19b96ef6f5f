"""The command `probgen families`: the registered families."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from probgen.cli import completion
from probgen.cli.common import Json, options_of, print_table, put, registered_rows


def command(
    name: Annotated[
        str | None,
        typer.Argument(autocompletion=completion.families, help="Show the hooks and options of this family."),
    ] = None,
    json: Json = False,
) -> None:
    """List registered families, or describe one.

    Example: probgen families mixture
    """
    if name is not None:
        found = _one(name)
        put(found, json, lambda: _show(found))
        return
    rows = registered_rows("families")
    put(rows, json, lambda: print_table(rows, ["family", "distribution", "from", "note"]))


def _one(name: str) -> dict[str, Any]:
    from probgen.plugins.family import HOOKS, family

    found = family(name)
    document = (found.source.__doc__ or "").strip().partition("\n")[0]
    options = {hook: options_of(found.options(hook)) for hook in HOOKS if found.offers(hook)}
    return {
        "family": name,
        "what": document,
        "origin": found.origin,
        "accepts": sorted(found.accepts),
        "hooks": options,
    }


def _show(found: dict[str, Any]) -> None:
    typer.echo(f"{found['family']} ({found['origin']}): {found['what']}")
    typer.echo(f"hooks: {', '.join(found['hooks'])}; also uses: {', '.join(found['accepts']) or 'nothing'}")
    for hook, rows in found["hooks"].items():
        if rows:
            print_table(rows, ["option", "type", "default", "meaning"], f"options of {hook}")
