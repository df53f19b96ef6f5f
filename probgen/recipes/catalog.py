"""The recipes that come with probgen. Imports are light, because shell completion lists the recipes."""

from __future__ import annotations

import tomllib
from pathlib import Path


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


def has_fast(which: str) -> bool:
    """Return whether a shipped recipe has the short variant `[fast]`.

    Args:
        which: The name of the recipe.

    Returns:
        True if the recipe has a table `[fast]`.
    """
    return "fast" in tomllib.loads(shipped()[which].read_text())
