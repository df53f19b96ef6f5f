"""Recipes: a TOML file to a checked plan, and a plan to runs, tables and figures."""

from probgen.recipes.draws import picture_of, write_sounds
from probgen.recipes.execution import Result, execute, expectations, table
from probgen.recipes.plan import Recipe, check
from probgen.recipes.reading import has_fast, read, shipped

__all__ = [
    "Recipe",
    "Result",
    "check",
    "execute",
    "expectations",
    "has_fast",
    "picture_of",
    "read",
    "shipped",
    "table",
    "write_sounds",
]
