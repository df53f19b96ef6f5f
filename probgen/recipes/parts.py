"""A recipe that consists of recipes: the table `[recipes]` names them, and each has its own folder of runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from probgen.contract.options import Options, checked
from probgen.errors import InputError
from probgen.recipes.plan import Recipe, check_folders
from probgen.recipes.reading import PARTS, is_path, read, values_of
from probgen.store.folder import REQUEST

SINGLE = "."  # the part, and the folder, of a recipe that has no parts


class Listed(Options):
    """The file of a recipe that consists of recipes."""

    title: str = ""
    reference: str = ""
    recipes: dict[str, str] = Field(
        min_length=1, description="recipes by the name of their part, as names or as paths next to this file"
    )

    @model_validator(mode="after")
    def _folders(self) -> Listed:
        check_folders(PARTS, self.recipes)
        return self


@dataclass(frozen=True)
class Whole:
    """A recipe, or the recipes that it consists of.

    Attributes:
        title: The title.
        reference: The paper or source.
        parts: The recipes by the folder of their runs within `--out`; one recipe in the folder "." if there are no parts.
        usual: The name of the folder that each part has if it is run alone; empty if there are no parts.
    """

    title: str
    reference: str
    parts: dict[str, Recipe]
    usual: dict[str, str]

    @property
    def has_parts(self) -> bool:
        """Whether this is a recipe that consists of recipes."""
        return SINGLE not in self.parts

    @property
    def request(self) -> dict[str, Any]:
        """What is written to `recipe.toml`. It names the requests of the parts, so that it can be run again."""
        return {
            "title": self.title,
            "reference": self.reference,
            PARTS: {part: f"{part}/{REQUEST}" for part in self.parts},
        }


def read_whole(which: str, changes: Mapping[str, Any] | None = None, *, fast: bool = False) -> Whole:
    """Read a recipe, or a recipe that consists of recipes.

    Args:
        which: The name of a shipped recipe, or the path of a .toml file.
        changes: Values to change. The name of a part comes first, e.g. {"digits.models.nade.epochs": 3}; a seed is for all parts.
        fast: Read the short variant, for all parts.

    Returns:
        The recipe, or its parts.

    Raises:
        InputError: When a recipe does not exist or is invalid. The message names the key and the nearest known key.
        FileError: When a file is not TOML.
        PluginError: When a family is not installed.
    """
    path, values = values_of(which)
    if PARTS not in values:
        recipe = read(which, changes, fast=fast)
        return Whole(recipe.title, recipe.reference, {SINGLE: recipe}, {})
    listed = checked(Listed, values, str(path))
    changed = _by_part(listed, changes or {}, path)
    parts = {}
    for part, name in listed.recipes.items():
        try:
            where = str(path.parent / name) if is_path(name) else name
            parts[part] = read(where, changed[part], fast=fast)
        except InputError as error:
            raise InputError(f"{path}: {PARTS}.{part}: {error}") from None
    usual = {part: folder_of(name, fast) for part, name in listed.recipes.items()}
    return Whole(listed.title, listed.reference, parts, usual)


def folder_of(which: str, fast: bool) -> str:
    """Return the name of the folder of a recipe, if no other folder is chosen."""
    return Path(which).stem + ("-fast" if fast else "")


def _by_part(listed: Listed, changes: Mapping[str, Any], path: Path) -> dict[str, dict[str, Any]]:
    """Return the changes of each part."""
    found: dict[str, dict[str, Any]] = {part: {} for part in listed.recipes}
    for key, value in changes.items():
        part, _, rest = key.partition(".")
        if key == "seed":
            for values in found.values():
                values.setdefault(key, value)  # the seed of a part wins
        elif part in found and rest:
            found[part][rest] = value
        else:
            names = ", ".join(listed.recipes)
            raise InputError(f"{key}: {path} consists of recipes. Put one of these names first: {names}.")
    return found
