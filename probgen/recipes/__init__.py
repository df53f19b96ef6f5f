"""Recipes: from a TOML file to a checked plan, and from a plan to runs, tables and figures."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from probgen.recipes.catalog import has_fast, shipped
    from probgen.recipes.draws import picture_of, write_sounds
    from probgen.recipes.execution import Result, execute, expectations, table
    from probgen.recipes.plan import Recipe, check, check_search
    from probgen.recipes.reading import read
    from probgen.recipes.searching import Searched, search

_HOME = {
    "Recipe": "plan",
    "Result": "execution",
    "Searched": "searching",
    "check": "plan",
    "check_search": "plan",
    "execute": "execution",
    "expectations": "execution",
    "has_fast": "catalog",
    "picture_of": "draws",
    "read": "reading",
    "search": "searching",
    "shipped": "catalog",
    "table": "execution",
    "write_sounds": "draws",
}

__all__ = [
    "Recipe",
    "Result",
    "Searched",
    "check",
    "check_search",
    "execute",
    "expectations",
    "has_fast",
    "picture_of",
    "read",
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
