"""The command `probgen analyses`: the registered analyses of fitted models."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from probgen.cli import completion
from probgen.cli.common import Json, options_of, print_table, put, registered_rows
from probgen.cli.describing import sentence_of


def command(
    name: Annotated[
        str | None,
        typer.Argument(autocompletion=completion.analyses, help="Show the options of this analysis."),
    ] = None,
    json: Json = False,
) -> None:
    """List registered analyses, or describe one.

    Example: probgen analyses latent
    """
    if name is None:
        rows = [
            {"analysis": row["analysis"], "what": sentence_of(row["from"]), **row}
            for row in registered_rows("analyses")
        ]
        names = ["analysis", "what", "distribution", "from", "note"]
        put(rows, json, lambda: print_table(rows, names, spare=("from", "distribution")))
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
