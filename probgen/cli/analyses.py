"""probgen analyses: what can be done with a fitted model."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from probgen.cli.common import Json, options_of, print_table, put, registered_rows


def command(
    name: Annotated[str | None, typer.Argument(help="Show this analysis and its options.")] = None,
    json: Json = False,
) -> None:
    """List the registered analyses, from metadata alone; or show one, which imports it."""
    if name is None:
        rows = registered_rows("analyses")
        put(rows, json, lambda: print_table(rows, ["analysis", "distribution", "from", "note"]))
        return
    found = _one(name)

    def show() -> None:
        typer.echo(f"{name} ({found['origin']}): {found['what']}\nneeds: {found['needs']}")
        if found["options"]:
            print_table(found["options"], ["option", "type", "default", "meaning"], "options")

    put(found, json, show)


def _one(name: str) -> dict[str, Any]:
    from probgen.plugins.analysis import analysis

    found = analysis(name)
    return {
        "analysis": name,
        "what": (found.source.__doc__ or "").strip().partition("\n")[0],
        "origin": found.origin,
        "needs": found.needs,
        "several": found.several,
        "options": options_of(found.options),
    }
