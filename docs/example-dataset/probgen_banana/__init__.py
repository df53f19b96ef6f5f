"""The data set `banana`: points along a parabola, with their true density.

    x_1 ~ Normal(0, 1),    x_2 ~ Normal(x_1^2, sigma)

A model that has learned p(x) reaches the mean of `density` over new rows, and no model exceeds it by more than chance.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from probgen.datasets import DataSet

SIGMA = 0.5
SPLITS = ("train", "test")


def read(split: str | None, folder: Path | None) -> xr.Dataset:
    """Return the rows of a split, or all rows.

    Args:
        split: Name of the split. None returns all rows.
        folder: Folder with files; this data set needs none.

    Returns:
        x (row, feature), the same rows in each call.
    """
    each = [rows(seed) for seed, name in enumerate(SPLITS) if split in (None, name)]
    return xr.Dataset({"x": (("row", "feature"), np.concatenate(each))})


def rows(seed: int, n: int = 1000) -> np.ndarray:
    """Sample n rows, (row, 2)."""
    e = np.random.default_rng(seed).standard_normal((n, 2))
    return np.stack([e[:, 0], e[:, 0] ** 2 + SIGMA * e[:, 1]], 1)


def density(x: np.ndarray) -> np.ndarray:
    """Return the true log p(x) of rows (row, 2) in nats, (row,)."""
    squares = x[:, 0] ** 2 + ((x[:, 1] - x[:, 0] ** 2) / SIGMA) ** 2
    return -0.5 * squares - np.log(2 * np.pi * SIGMA)


data = DataSet("Points along a parabola, with their true density", SPLITS, read, density)
