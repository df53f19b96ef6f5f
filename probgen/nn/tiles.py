"""Large maps piece by piece, with the result of the whole."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from torch import Tensor

TILE = 256  # most pixels a side
NUMBERS = 1 << 23  # of the widest maps of a tile, about: 32 MiB


def tile_for(channels: int) -> int:
    """The side of a tile on which a network has maps of so many channels."""
    return min(TILE, max(1, math.isqrt(NUMBERS // channels)))


def by_tiles(
    f: Callable[..., Tensor], maps: Sequence[Tensor], reach: int, tile: int = TILE
) -> Iterator[tuple[tuple[slice, slice], Tensor]]:
    """f(*maps) tile by tile: where each lies, and what f gives there.

    f      maps of one height and width to maps of the same, of which each pixel sees none that is farther away than `reach`
    maps   (row, ..., height, width) each

    Each tile is worked out with a border of `reach` pixels, which is left off, so that the result is that of the whole.
    """
    height, width = maps[0].shape[-2:]
    for top, bottom in _cuts(height, tile):
        for left, right in _cuts(width, tile):
            upper, first = max(0, top - reach), max(0, left - reach)
            seen = (slice(upper, bottom + reach), slice(first, right + reach))
            found = f(*(each[(..., *seen)] for each in maps))
            inner = found[..., top - upper : bottom - upper, left - first : right - first]
            yield (slice(top, bottom), slice(left, right)), inner


def _cuts(length: int, tile: int) -> Iterator[tuple[int, int]]:
    """Nearly equal parts of at most a tile."""
    parts = -(-length // tile)
    ends = [length * i // parts for i in range(parts + 1)]
    yield from pairwise(ends)
