"""From TOML to a recipe: by name or path, with its short variant `[fast]`, and with changed values."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from probgen.contract.options import checked
from probgen.contract.ranges import space_of
from probgen.errors import FileError, InputError, did_you_mean
from probgen.plugins.registry import registered
from probgen.recipes.catalog import shipped
from probgen.recipes.plan import Recipe, check_names, located

LIMIT = 1 << 20  # maximum size of a recipe in bytes
PARTS = "recipes"  # the table of a recipe that consists of recipes


def read(which: str, changes: Mapping[str, Any] | None = None, *, fast: bool = False) -> Recipe:
    """Read a recipe by its name or path.

    Args:
        which: The name of a shipped recipe, or the path of a .toml file.
        changes: Values to change, e.g. {"models.two.components": 3}.
        fast: Read the short variant: the values in the table `[fast]` replace the values of the recipe.

    Returns:
        The recipe.

    Raises:
        InputError: When the recipe does not exist or is invalid. The message names the key and the nearest known key.
        FileError: When the file is not TOML.
        PluginError: When a family is not installed.
    """
    path, values = values_of(which)
    if PARTS in values:
        raise InputError(f"{path} consists of recipes, and a recipe is needed here. Choose one of its parts.")
    shorter, recipes = values.pop("fast", None), {}
    if shorter is not None:
        shorter = _merged(values, shorter)
        recipes[f"{path}, [fast]"] = _checked(shorter, f"{path}, [fast]")
    if fast:
        if shorter is None:
            raise InputError(f"{path} has no table [fast]. Run the recipe without --fast.")
        values = shorter
    for key, value in (changes or {}).items():
        _set(values, key, value)
    recipes[str(path)] = _checked(values, str(path))
    check_names(recipes[str(path)])
    for where, recipe in recipes.items():
        _check_options(recipe, where)
    return recipes[str(path)]


def values_of(which: str) -> tuple[Path, dict[str, Any]]:
    """Return the path and the content of a recipe, before any check."""
    path = Path(which) if is_path(which) else shipped().get(which)
    if path is None:
        raise InputError(f"no recipe is called {which!r}; {did_you_mean(which, shipped())}")
    try:
        text = path.read_bytes()
        if len(text) > LIMIT:
            raise InputError(f"{path} has more than {LIMIT} bytes, so it is not a recipe")
        return path, tomllib.loads(text.decode())
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path} is not TOML: {error}") from None


def is_path(which: str) -> bool:
    """Return whether a recipe is named by the path of its file."""
    return Path(which).suffix == ".toml" or "/" in which


def _checked(values: dict[str, Any], where: str) -> Recipe:
    """Return a recipe after a check of the names of its tables, or raise `InputError`."""
    tables = {name: table for name, table in values.items() if name not in Recipe.model_fields}
    for name in tables:
        if name not in registered("analyses"):
            known = [*Recipe.model_fields, *registered("analyses")]
            raise InputError(f"{where}: unknown option {name!r}; {did_you_mean(name, known)}")
    recipe = checked(Recipe, values, where)
    if recipe.search is not None:
        space_of(recipe.search.options, f"{where}: search.options")
    return recipe


def _check_options(recipe: Recipe, where: str) -> None:
    """Check the options of the analyses, or raise `InputError`.

    This imports the analyses, so it comes after the checks by name.
    """
    for name, table in recipe.analyses.items():
        from probgen.plugins.analysis import analysis

        told = located(table, Path(), recipe.models, f"{where}: {name}: ")
        checked(analysis(name).options, told, f"{where}: {name}")


def _merged(values: dict[str, Any], changes: Any) -> dict[str, Any]:
    """Merge changes into tables. A table `expect` is replaced as a whole, because other results are expected."""
    if not isinstance(changes, dict):
        raise InputError(f"fast = {changes!r}: a table of changed values is needed")
    new = dict(values)
    for key, value in changes.items():
        old = new.get(key)
        new[key] = (
            _merged(old, value)
            if isinstance(old, dict) and isinstance(value, dict) and key != "expect"
            else value
        )
    return new


def _set(values: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    place = values
    for parent in parents:
        place = place.setdefault(parent, {})
        if not isinstance(place, dict):
            raise InputError(f"{key}: {parent!r} is not a table of the recipe")
    place[last] = value
