"""Places between the latents and x, and decoding from one place to another.

A family defines for each place how it is computed from earlier places. `decoded` computes the places that are
still needed from the values at the start:

    steps = {"w": lambda at: mapping(at["z"]), "maps": lambda at: first(at["w"]), "x": lambda at:
    last(at["maps"], at["w"])} decoded(steps, {"z": z})                       z -> w -> maps -> x
    decoded(steps, {"maps": maps, "w": w})         maps -> x, with the given w decoded(steps, {"z": z},
    "maps")               z -> w -> maps
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from torch import Tensor

from probgen.errors import InputError


class At(Mapping[str, Tensor]):
    """The values at the places: given values, and values that are computed at the first access.

    Args:
        steps: By place, the function that computes it from earlier places.
        known: The given values by place.
        asked: The request, as the start of error messages.
    """

    def __init__(self, steps: Mapping[str, Step], known: Mapping[str, Tensor], asked: str):
        self._steps, self._known, self._asked = steps, dict(known), asked

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._known:
            if name not in self._steps:
                raise InputError(f"{self._asked} requires {name!r} as well. Give a value for {name!r}.")
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
    """Return the value at the place `until`, computed from the values in `start`.

    Of several places in `start`, decoding begins at the place nearest to `until`. Earlier places are used if
    a later step needs them.

    Args:
        steps: By place, the function that computes it from earlier places.
        start: The given values by place: (row, ...).
        until: The place to compute.
        roots: The places that are not computed from others, and the conditions of x.

    Returns:
        The value at `until`: (row, ...).

    Raises:
        InputError: When a name is not a place, or when a value that a step needs is missing.
    """
    places = [*roots, *(name for name in steps if name not in roots)]
    for name in (*start, until):
        if name not in places:
            raise InputError(
                f"decode: {name!r} is not a place of this model. Use one of: {', '.join(places)}."
            )
    asked = f"decode from {', '.join(start) or 'nothing'} until {until}"
    return At(steps, start, asked)[until]


def maps_of(sides: Sequence[tuple[int, int]]) -> dict[str, tuple[str, ...]]:
    """Return the names and dimensions of feature maps: maps4, maps8, ..., or maps4x6 if they are not square.

    Args:
        sides: The height and width of each map.

    Returns:
        The dimensions by name.
    """
    names = [f"maps{height}" if height == width else f"maps{height}x{width}" for height, width in sides]
    return {name: (f"{name}_channel", f"{name}_height", f"{name}_width") for name in names}
