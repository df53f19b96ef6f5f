"""Options for reading files as words of the command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PLAIN = ("scale", "label", "weight", "index", "rare", "sep", "decimal", "encoding")


def words(reading: Mapping[str, Any]) -> list[str]:
    """Return options for reading as they are written on the command line.

    Args:
        reading: Options by name, those of tables beside the others.

    Returns:
        The words, without quotes.
    """
    said: list[str] = []
    for name, value in reading.items():
        match name, value:
            case ("gray" | "crop", _):
                said.append(f"--{name}")
            case "size", [height, width]:
                said += ["--size", f"{height}x{width}"]
            case "columns", _:
                said += ["--columns", ",".join(value)]
            case "kind", _:
                for column, kind in value.items():
                    said += ["--kind", f"{column}={kind}"]
            case ("drop" | "na", _):
                for each in value:
                    said += [f"--{name}", str(each)]
            case _ if name in PLAIN:
                said += [f"--{name}", str(value)]
    return said
