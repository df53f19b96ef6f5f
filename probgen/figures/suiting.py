"""Selection of the requested figures that suit an event."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from probgen.errors import InputError

Drawn = TypeVar("Drawn")


def suiting(wanted: Mapping[str, Callable[[], Drawn]]) -> dict[str, Drawn]:
    """Draw the requested figures that suit their event, and leave out the others.

    Args:
        wanted: Functions that draw a figure, by name. A function raises an `InputError` if the figure does not suit its
            event.

    Returns:
        The figures by name.
    """
    found = {}
    for name, draw in wanted.items():
        try:
            found[name] = draw()
        except InputError:
            continue
    return found
