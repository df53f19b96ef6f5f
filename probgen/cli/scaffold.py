"""A new plugin: a copy of an example plugin under a new name. The docs show the examples, and the tests run the examples."""

from __future__ import annotations

import re
from importlib.util import find_spec
from keyword import iskeyword
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from probgen.errors import InputError

if TYPE_CHECKING:
    from probgen.plugins.registry import Kind

What = Literal["family", "pair", "gan", "analysis", "dataset", "observer"]


class Example(NamedTuple):
    """The example plugin of a kind: its folder, the name that is replaced, and the group of its entry point."""

    folder: str
    name: str
    group: Kind


EXAMPLES: dict[What, Example] = {
    "family": Example("example-plugin", "laplace", "families"),
    "pair": Example("example-pair", "factors", "families"),
    "gan": Example("example-gan", "minigan", "families"),
    "analysis": Example("example-analysis", "moments", "analyses"),
    "dataset": Example("example-dataset", "banana", "datasets"),
    "observer": Example("example-observer", "diary", "observers"),
}


def example(kind: What) -> Path:
    """Return the folder of an example plugin, in an installed probgen or in its source tree."""
    package, folder = Path(__file__).parent.parent, EXAMPLES[kind].folder
    shipped = package / "_shipped" / folder
    return shipped if shipped.is_dir() else package.parent / "docs" / folder


def write(name: str, into: Path, kind: What = "family") -> Path:
    """Write the package `probgen-NAME` to a folder, and return its path, or raise `InputError` before writing."""
    _check(name, kind)
    if not into.is_dir():
        raise InputError(f"--into {into}: there is no such folder. Create it, or choose another.")
    target, source = into / f"probgen-{name}", example(kind)
    if target.exists():
        raise InputError(f"{target} already exists. Choose another name, or remove it.")
    for file in sorted(source.rglob("*")):
        if file.suffix in (".py", ".toml", ".md") and ".egg-info" not in str(file):
            place = target / _renamed(str(file.relative_to(source)), EXAMPLES[kind].name, name)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(_renamed(file.read_text(), EXAMPLES[kind].name, name))
    return target


def _check(name: str, kind: What) -> None:
    """Raise `InputError` for a name that is not valid, or that a plugin, a package or a table of recipes has."""
    from probgen.plugins.registry import registered

    if not re.fullmatch(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*", name):
        raise InputError(
            f"name = {name!r}: lower-case letters, digits and single '-' or '_' between them are needed, starting with a letter"
        )
    if iskeyword(name):
        raise InputError(f"name = {name!r}: it is a word of Python. Choose another name.")
    group = EXAMPLES[kind].group
    for plugin in registered(group).get(name, [])[:1]:
        raise InputError(f"name = {name!r}: it is taken by the {plugin}. Choose another name.")
    if group == "analyses" and name in _tables():
        raise InputError(
            f"name = {name!r}: recipes have a table [{name}] of another meaning. Choose another name."
        )
    if find_spec(_package(name)) is not None:
        raise InputError(
            f"name = {name!r}: a package {_package(name)} is already installed. Choose another name."
        )


def _tables() -> set[str]:
    """Return the keys that every recipe may have."""
    from probgen.recipes.plan import Recipe

    return set(Recipe.model_fields)


def _package(name: str) -> str:
    return f"probgen_{name.replace('-', '_')}"


def _renamed(text: str, old: str, name: str) -> str:
    """Return text with another name of the plugin: in Python and in environment variables without '-'."""
    word = name.replace("-", "_")
    for before, after in (
        (f"probgen_{old}", _package(name)),
        (f"test_{old}", f"test_{word}"),
        (f"Test{old.title()}", f"Test{word.title().replace('_', '')}"),
        (old.upper(), word.upper()),
        (old, name),
    ):
        text = text.replace(before, after)
    return text
