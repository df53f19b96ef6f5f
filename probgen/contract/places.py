"""Places on the way from noise to x, and how to go from one to another.

A family says of each place how it is made of those before it; from where one starts, everything that is still needed follows:

    steps = {"w": lambda at: mapping(at["z"]), "maps": lambda at: first(at["w"]), "x": lambda at: last(at["maps"], at["w"])}
    decoded(steps, {"z": z})                       z -> w -> maps -> x
    decoded(steps, {"maps": maps, "w": w})         maps -> x, told w
    decoded(steps, {"z": z}, "maps")               z -> w -> maps
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from torch import Tensor

from probgen.errors import InputError


class At(Mapping[str, Tensor]):
    """What is at each place: what was given, and the rest made when it is first asked for."""

    def __init__(self, steps: Mapping[str, Step], known: Mapping[str, Tensor], asked: str):
        self._steps, self._known, self._asked = steps, dict(known), asked

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._known:
            if name not in self._steps:
                raise InputError(f"{self._asked} needs {name!r}, too")
            self._known[name] = self._steps[name](self)
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)


Step = Callable[[At], Tensor]


def decoded(
    steps: Mapping[str, Step], start: Mapping[str, Tensor], until: str = "x", roots: Collection[str] = ()
) -> Tensor:
    """What is at the place `until`, of what is at those of `start`: of several the one nearest to it counts.

    steps  of each place how it is made of those before it
    start  rows first; places before the nearest one are used where a step after it asks for them
    roots  places that are made of nothing, and what x is conditioned on

    Errors: `InputError` for a place that there is not, and where more is needed.
    """
    places = [*roots, *(name for name in steps if name not in roots)]
    for name in (*start, until):
        if name not in places:
            raise InputError(f"decode: there is no place {name!r} here; there are {', '.join(places)}")
    asked = f"decode from {', '.join(start) or 'nothing'} until {until}"
    return At(steps, start, asked)[until]


def maps_of(sides: Sequence[tuple[int, int]]) -> dict[str, tuple[str, ...]]:
    """Names and dimensions of maps of these heights and widths: maps4, maps8, ..., or maps4x6 where they are not square."""
    names = [f"maps{height}" if height == width else f"maps{height}x{width}" for height, width in sides]
    return {name: (f"{name}_channel", f"{name}_height", f"{name}_width") for name in names}
