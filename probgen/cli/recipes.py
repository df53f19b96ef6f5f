"""The command `probgen recipes`: the recipes that come with probgen."""

from __future__ import annotations

from typing import Annotated

import typer

from probgen.cli import completion
from probgen.cli.common import Json, print_table, put, writing


def command(
    name: Annotated[
        str | None,
        typer.Argument(autocompletion=completion.recipes, help="Print this recipe."),
    ] = None,
    json: Json = False,
) -> None:
    """List the recipes of probgen, or print one.

    A printed recipe is a start for your own recipe.

    Example: probgen recipes quickstart > mine.toml
    """
    import tomllib

    from probgen.errors import InputError, did_you_mean
    from probgen.recipes.catalog import contents, has_fast, shipped

    found = shipped()
    if name is not None:
        if name not in found:
            raise InputError(f"no recipe is called {name!r}; {did_you_mean(name, found)}")
        with writing():
            typer.echo(found[name].read_text(), nl=False)
        return
    rows = []
    for recipe, path in found.items():
        parts = contents(recipe).values()
        rows.append(
            {
                "recipe": recipe,
                "title": tomllib.loads(path.read_text())["title"],
                "data": " ".join(
                    dict.fromkeys(part["data"].get("name", part["data"].get("path")) for part in parts)
                ),
                "families": " ".join(
                    sorted({model["family"] for part in parts for model in part["models"].values()})
                ),
                "fast": "yes" if has_fast(recipe) else "",
            }
        )
    put(rows, json, lambda: print_table(rows, ["recipe", "title", "data", "families", "fast"]))
