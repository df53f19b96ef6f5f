"""A new plugin from the example plugin: the one that the docs show and the tests install."""

from __future__ import annotations

import re
from pathlib import Path

from probgen.errors import InputError

EXAMPLE = "laplace"


def example() -> Path:
    """The folder of the example plugin: inside an installed probgen, or in its source tree."""
    here = Path(__file__).parent
    shipped = here / "_shipped" / "example-plugin"
    return shipped if shipped.is_dir() else here.parent / "docs" / "example-plugin"


def write(name: str, into: Path) -> Path:
    """Write `probgen-NAME` in a folder, and return it. Errors: `InputError`."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise InputError(f"{name!r}: a name of lower-case letters, digits and '_' is needed, a letter first")
    if not into.is_dir():
        raise InputError(f"there is no folder {into}")
    target = into / f"probgen-{name}"
    if target.exists():
        raise InputError(f"{target} is there already; choose another name, or remove it")
    for file in sorted(example().rglob("*")):
        if file.suffix in (".py", ".toml", ".md") and ".egg-info" not in str(file):
            place = target / str(file.relative_to(example())).replace(EXAMPLE, name)
            place.parent.mkdir(parents=True, exist_ok=True)
            text = file.read_text().replace(EXAMPLE, name)
            place.write_text(text.replace(f"Test{EXAMPLE.title()}", f"Test{name.title().replace('_', '')}"))
    return target
