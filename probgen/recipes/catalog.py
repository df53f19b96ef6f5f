"""The recipes that come with probgen. Imports are light, because shell completion lists the recipes."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any


def shipped() -> dict[str, Path]:
    """Return the files of the recipes that come with probgen.

    Returns:
        The path of each recipe, by name.
    """
    here = Path(__file__).parent.parent
    folder = here / "_shipped" / "recipes"
    return {
        p.stem: p for p in sorted((folder if folder.is_dir() else here.parent / "recipes").glob("*.toml"))
    }


def contents(which: str) -> dict[str, dict[str, Any]]:
    """Return the content of a shipped recipe, or of the recipes that it consists of.

    The content is not checked, because its families may not be installed.

    Args:
        which: The name of the recipe.

    Returns:
        The tables of each part, by the name of its recipe; one part if the recipe does not consist of recipes.
    """
    files = shipped()
    values = tomllib.loads(files[which].read_text())
    parts = values.get("recipes")
    return (
        {which: values}
        if parts is None
        else {name: tomllib.loads(files[name].read_text()) for name in parts.values()}
    )


def has_fast(which: str) -> bool:
    """Return whether a shipped recipe has the short variant `[fast]`.

    Args:
        which: The name of the recipe.

    Returns:
        True if the recipe, or each of its parts, has a table `[fast]`.
    """
    return all("fast" in part for part in contents(which).values())
