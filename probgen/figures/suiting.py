"""Figures that suit an event, of several that were asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from probgen.errors import InputError

Drawn = TypeVar("Drawn")


def suiting(wanted: Mapping[str, Callable[[], Drawn]]) -> dict[str, Drawn]:
    """Those of the wanted figures that can be drawn: an event that a figure does not suit is an `InputError` of it."""
    found = {}
    for name, draw in wanted.items():
        try:
            found[name] = draw()
        except InputError:
            continue
    return found
