"""Images with known factors: the factors are sampled from a seed and painted, any number of rows at any size.

Row i of a seed does not depend on the number of rows, because factors are sampled in blocks with one generator per block.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import xarray as xr

from probgen.datasets.base import DataSet
from probgen.errors import InputError
from probgen.readers.base import joined

BLOCK = 256  # rows per generator; another number changes the data
SHARD = 64  # rows that are painted together, so that they fit into the processor cache
SIDES = (16, 128)
ROWS = {"train": 20_000, "valid": 2_000, "test": 5_000}
SEEDS = {"train": 0, "valid": 1, "test": 2}

Factors = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Scene:
    """A distribution of factors, and a function that paints them.

    Attributes:
        levels: Number of classes of each factor; 0 for a numeric factor.
        draw: Function that samples the factors of a number of rows, (row,) each.
        paint: Function that returns images of factors at a side: (row, 3, side, side) in 0 .. 1.
        label: Function that returns the class of each row (row,). The classes are the modes of the data.
        modes: Number of classes of each factor that defines the modes.
    """

    levels: Mapping[str, int]
    draw: Callable[[int, np.random.Generator], Factors]
    paint: Callable[[Factors, int], np.ndarray]
    label: Callable[[Factors], np.ndarray]
    modes: tuple[int, ...]

    def factors(self, rows: range, seed: int = 0) -> dict[str, np.ndarray]:
        """Return the factors of rows of a seed: (row,) each, float32."""
        blocks = range(rows.start // BLOCK, -(-rows.stop // BLOCK))
        drawn = [self.draw(BLOCK, np.random.Generator(np.random.PCG64([seed, block]))) for block in blocks]
        some = slice(rows.start - blocks.start * BLOCK, rows.stop - blocks.start * BLOCK)
        return {name: np.concatenate([part[name] for part in drawn])[some] for name in self.levels}

    def images(self, factors: Factors, side: int) -> np.ndarray:
        """Return images of factors: (row, 3, side, side) in 0 .. 255. Raise `InputError` for a side out of range."""
        if not SIDES[0] <= side <= SIDES[1]:
            raise InputError(f"size = {side}: must be from {SIDES[0]} to {SIDES[1]} pixels for these images")
        n = len(factors[next(iter(self.levels))])
        x = np.empty((n, 3, side, side), np.uint8)
        for first in range(0, n, SHARD):
            some = slice(first, first + SHARD)
            x[some] = np.rint(self.paint({k: v[some] for k, v in factors.items()}, side) * 255)
        return x

    def dataset(self, factors: Factors, side: int) -> xr.Dataset:
        """Return `x (row, channel, height, width)`, `attribute (row, factor)` and `label (row)`. Raise `InputError` for a side out of range."""
        label = {"levels": int(np.prod(self.modes)), "factors": " ".join(map(str, self.modes))}
        return xr.Dataset(
            {
                "x": (
                    ("row", "channel", "height", "width"),
                    self.images(factors, side),
                    {"support": "integer", "levels": 256},
                ),
                "attribute": (
                    ("row", "factor"),
                    np.stack([factors[name] for name in self.levels], 1).astype(np.float32),
                    {"levels": list(self.levels.values())},
                ),
                "label": ("row", self.label(factors).astype(np.int64), label),
            },
            {"factor": list(self.levels)},
        )

    def swept(self, name: str, values: Sequence[float], middle: Mapping[str, float]) -> dict[str, np.ndarray]:
        """Return factors with one factor at several values, and all others at the values in `middle`."""
        rows = np.asarray(values, np.float32)
        return {k: rows if k == name else np.full(len(rows), middle[k], np.float32) for k in self.levels}


def data_set(scene: Scene, description: str, side: int = 32) -> DataSet:
    """Return the rows of a scene as a data set, for images of any side."""

    def read(split: str | None, folder: Path | None) -> xr.Dataset:
        parts = {
            part: scene.dataset(scene.factors(range(ROWS[part]), SEEDS[part]), side)
            for part in ([split] if split else ROWS)
        }
        return joined(parts, split)

    found = DataSet(description, tuple(ROWS), read)
    return replace(found, sized=lambda side: data_set(scene, description, side))
