"""Computation on large maps tile by tile, with the result of the complete map."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from torch import Tensor

TILE = 256  # largest side of a tile, in pixels
NUMBERS = 1 << 23  # about the most numbers in the widest maps of a tile: 32 MiB


def tile_for(channels: int) -> int:
    """Return the side of a tile, in pixels, for a network with maps of `channels` channels."""
    return min(TILE, max(1, math.isqrt(NUMBERS // channels)))


def by_tiles(
    f: Callable[..., Tensor], maps: Sequence[Tensor], reach: int, tile: int = TILE
) -> Iterator[tuple[tuple[slice, slice], Tensor]]:
    """Compute f(*maps) tile by tile.

    Each tile is computed with a border of `reach` pixels, which is then removed. The tiles together are f(*maps).

    Args:
        f: A function from maps to maps of the same height and width. An output pixel must not depend on input pixels at a
            distance of more than `reach`.
        maps: Input maps, (row, ..., height, width) each.
        reach: Width of the border, in pixels.
        tile: Largest side of a tile, in pixels.

    Yields:
        The vertical and the horizontal slice of the tile, and the result for the tile.
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
    """Yield the ends of nearly equal parts with a length of at most `tile`."""
    parts = -(-length // tile)
    ends = [length * i // parts for i in range(parts + 1)]
    yield from pairwise(ends)
