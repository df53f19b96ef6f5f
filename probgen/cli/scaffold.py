"""A new plugin: a copy of an example plugin under a new name. The docs show the examples, and the tests run the examples."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from probgen.errors import InputError

if TYPE_CHECKING:
    from probgen.plugins.registry import Kind

What = Literal["family", "analysis"]
# the folder of the example, the replaced name, and the group of the entry point
EXAMPLES: dict[What, tuple[str, str, Kind]] = {
    "family": ("example-plugin", "laplace", "families"),
    "analysis": ("example-analysis", "moments", "analyses"),
}


def example(kind: What) -> Path:
    """Return the folder of an example plugin, in an installed probgen or in its source tree."""
    package, folder = Path(__file__).parent.parent, EXAMPLES[kind][0]
    shipped = package / "_shipped" / folder
    return shipped if shipped.is_dir() else package.parent / "docs" / folder


def write(name: str, into: Path, kind: What = "family") -> Path:
    """Write the package `probgen-NAME` to a folder, and return its path, or raise `InputError` before writing."""
    from probgen.plugins.registry import registered

    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise InputError(
            f"name = {name!r}: lower-case letters, digits and '_', starting with a letter, are needed"
        )
    _, old, group = EXAMPLES[kind]
    for plugin in registered(group).get(name, [])[:1]:
        raise InputError(f"name = {name!r}: it is taken by the {plugin}. Choose another name.")
    if not into.is_dir():
        raise InputError(f"--into {into}: there is no such folder. Create it, or choose another.")
    target, source = into / f"probgen-{name}", example(kind)
    if target.exists():
        raise InputError(f"{target} already exists. Choose another name, or remove it.")
    for file in sorted(source.rglob("*")):
        if file.suffix in (".py", ".toml", ".md") and ".egg-info" not in str(file):
            place = target / str(file.relative_to(source)).replace(old, name)
            place.parent.mkdir(parents=True, exist_ok=True)
            text = file.read_text().replace(old, name)
            place.write_text(text.replace(f"Test{old.title()}", f"Test{name.title().replace('_', '')}"))
    return target
