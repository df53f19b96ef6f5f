"""Synthetic data with known densities.

The rows depend only on the split: 10,000 for training, 2,000 for validation, 10,000 for testing.

- ring: 8 normals of sd 0.01 on a circle of radius 1 (Lin et al. 2018)
- grid: 25 normals of sd 0.05 at {-4, -2, 0, 2, 4}^2 (Lin et al. 2018)
- moons: two half circles, sd 0.1
- spirals: two arms of 1.5 turns, sd 0.1
- bars: 4 x 4 pixels; each of 8 rows and columns is on with probability 1/4 (after Foldiak 1990)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import xarray as xr

from probgen.datasets.base import DataSet
from probgen.readers.base import joined

_SIZES = {"train": 10_000, "valid": 2_000, "test": 10_000}
_SEEDS = {"train": 0, "valid": 1, "test": 2}
Draw = Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]]


def _synthetic(
    draw: Draw, dims: tuple[str, ...], attrs: dict[str, str]
) -> Callable[[str | None, Path | None], xr.Dataset]:
    def read(split: str | None, folder: Path | None) -> xr.Dataset:
        parts = {}
        for part in [split] if split else list(_SIZES):
            x, label = draw(np.random.Generator(np.random.PCG64(_SEEDS[part])), _SIZES[part])
            parts[part] = xr.Dataset({"x": (("row", *dims), x, attrs), "label": ("row", label)})
        return joined(parts, split)

    return read


def _around(centers: np.ndarray, sigma: float) -> tuple[Draw, Callable[[np.ndarray], np.ndarray]]:
    """Return a sampler and the log density of an equal mixture of normals at `centers`: (component, 2)."""

    def draw(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        k = rng.integers(len(centers), size=n)
        return centers[k] + sigma * rng.standard_normal((n, 2)), k

    def of_some(x: np.ndarray) -> np.ndarray:
        squares = ((x[:, None] - centers) ** 2).sum(2) / sigma**2
        least = squares.min(1)
        total = np.exp(-0.5 * (squares - least[:, None])).mean(1)
        return np.log(total) - 0.5 * least - math.log(2 * math.pi * sigma**2)

    def density(x: np.ndarray) -> np.ndarray:
        return np.concatenate([of_some(x[i : i + 1000]) for i in range(0, len(x), 1000)])

    return draw, density


def _along(
    curves: list[Callable[[np.ndarray], np.ndarray]], sigma: float
) -> tuple[Draw, Callable[[np.ndarray], np.ndarray]]:
    """Return a sampler and the log density of curves t -> (t, 2), t uniform in 0..1, blurred by normals.

    The integral over t is a sum over 1,000 midpoints per curve, with a spacing of at most a sixth of sigma.
    """
    t = (np.arange(1000) + 0.5) / 1000
    _, density = _around(np.concatenate([curve(t) for curve in curves]), sigma)

    def draw(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        which, t = rng.integers(len(curves), size=n), rng.random(n)
        x = np.stack([curve(t) for curve in curves])[which, np.arange(n)]
        return x + sigma * rng.standard_normal((n, 2)), which

    return draw, density


def _circle(center: tuple[float, float], start: float, sign: float) -> Callable[[np.ndarray], np.ndarray]:
    def curve(t: np.ndarray) -> np.ndarray:
        angle = start + math.pi * t
        return np.stack([center[0] + np.cos(angle), center[1] + sign * np.sin(angle)], 1)

    return curve


def _arm(turn: float) -> Callable[[np.ndarray], np.ndarray]:
    def curve(t: np.ndarray) -> np.ndarray:
        radius, angle = 0.5 + 2.5 * t, turn + 3 * math.pi * t
        return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)

    return curve


_ON = 0.25
_STATES = np.array(list(product([0, 1], repeat=8)))  # rows, then columns, on or off
_PICTURES = np.maximum(_STATES[:, :4, None], _STATES[:, None, 4:]).astype(np.uint8)
_P_STATES = np.prod(np.where(_STATES == 1, _ON, 1 - _ON), axis=1)
_BITS = 1 << np.arange(16)


def _draw_bars(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    state = rng.choice(len(_STATES), size=n, p=_P_STATES)
    return _PICTURES[state], _STATES[state].sum(1)


def _bars_density(x: np.ndarray) -> np.ndarray:
    table = np.zeros(1 << 16)
    np.add.at(table, _PICTURES.reshape(-1, 16) @ _BITS, _P_STATES)
    with np.errstate(divide="ignore"):  # a picture without bars has log p = -inf
        return np.log(table)[x.reshape(len(x), 16).astype(np.int64) @ _BITS]


_ring, _ring_density = _around(np.stack([np.cos(a := np.arange(8) * math.pi / 4), np.sin(a)], 1), 0.01)
_grid, _grid_density = _around(np.array(list(product([-4.0, -2.0, 0.0, 2.0, 4.0], repeat=2))), 0.05)
_moons, _moons_density = _along([_circle((0, 0), 0, 1), _circle((1, 0.5), 0, -1)], 0.1)
_spirals, _spirals_density = _along([_arm(0), _arm(math.pi)], 0.1)
_PLANE = ("feature",)

ring = DataSet("8 narrow normals on a circle", tuple(_SIZES), _synthetic(_ring, _PLANE, {}), _ring_density)
grid = DataSet("25 normals on a square grid", tuple(_SIZES), _synthetic(_grid, _PLANE, {}), _grid_density)
moons = DataSet("two interleaved half circles", tuple(_SIZES), _synthetic(_moons, _PLANE, {}), _moons_density)
spirals = DataSet("two spiral arms", tuple(_SIZES), _synthetic(_spirals, _PLANE, {}), _spirals_density)
bars = DataSet(
    "4 x 4 pictures of rows and columns",
    tuple(_SIZES),
    _synthetic(_draw_bars, ("height", "width"), {"support": "binary"}),
    _bars_density,
)
