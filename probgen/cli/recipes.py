"""probgen recipes: what can be run by name."""

from __future__ import annotations

from typing import Annotated

import typer

from probgen.cli.common import Json, print_table, put


def command(
    name: Annotated[
        str | None, typer.Argument(help="Print this recipe, to start one of your own from.")
    ] = None,
    json: Json = False,
) -> None:
    """List the recipes that come with probgen, or print one."""
    from probgen import recipes
    from probgen.errors import InputError, did_you_mean

    found = recipes.shipped()
    if name is not None:
        if name not in found:
            raise InputError(f"no recipe is called {name!r}; {did_you_mean(name, found)}")
        typer.echo(found[name].read_text(), nl=False)
        return
    rows = []
    for recipe in found:
        plan = recipes.read(recipe)
        families = sorted({model.family for model in plan.models.values()})
        rows.append(
            {
                "recipe": recipe,
                "title": plan.title,
                "data": plan.data.name or plan.data.path,
                "families": " ".join(families),
                "fast": "yes" if recipes.has_fast(recipe) else "",
            }
        )
    put(rows, json, lambda: print_table(rows, ["recipe", "title", "data", "families", "fast"]))
