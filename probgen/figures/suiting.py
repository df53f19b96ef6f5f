"""Figures that suit an event, of several that were asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from matplotlib.figure import Figure

from probgen.errors import InputError


def suiting(wanted: Mapping[str, Callable[[], Figure]]) -> dict[str, Figure]:
    """Those of the wanted figures that can be drawn: an event that a figure does not suit is an `InputError` of it."""
    found = {}
    for name, draw in wanted.items():
        try:
            found[name] = draw()
        except InputError:
            continue
    return found
