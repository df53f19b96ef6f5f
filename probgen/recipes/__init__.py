"""Recipes: from a TOML file to a checked plan, and from a plan to runs, tables and figures."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from probgen.recipes.catalog import has_fast, shipped
    from probgen.recipes.draws import picture_of, write_sounds
    from probgen.recipes.execution import Result, execute, expectations, table
    from probgen.recipes.parts import SINGLE, Whole, folder_of, read_whole
    from probgen.recipes.plan import Recipe, check, check_search
    from probgen.recipes.reading import read
    from probgen.recipes.searching import Searched, search
    from probgen.recipes.series import execute_whole

_HOME = {
    "SINGLE": "parts",
    "Recipe": "plan",
    "Result": "execution",
    "Searched": "searching",
    "Whole": "parts",
    "check": "plan",
    "check_search": "plan",
    "execute": "execution",
    "execute_whole": "series",
    "expectations": "execution",
    "folder_of": "parts",
    "has_fast": "catalog",
    "picture_of": "draws",
    "read": "reading",
    "read_whole": "parts",
    "search": "searching",
    "shipped": "catalog",
    "table": "execution",
    "write_sounds": "draws",
}

__all__ = [
    "SINGLE",
    "Recipe",
    "Result",
    "Searched",
    "Whole",
    "check",
    "check_search",
    "execute",
    "execute_whole",
    "expectations",
    "folder_of",
    "has_fast",
    "picture_of",
    "read",
    "read_whole",
    "search",
    "shipped",
    "table",
    "write_sounds",
]


def __getattr__(name: str) -> Any:
    """Import a name at its first use, so that recipes are listed, read and refused without torch."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
