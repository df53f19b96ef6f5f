"""Small spaces on which a density can be gone through, and how draws are held against it."""

from __future__ import annotations

from itertools import product

import numpy as np
import xarray as xr
from scipy import stats

from probgen.contract.event import Event

MOST = 1 << 16  # values of an event that is gone through
FALSE_ALARM = 1e-6  # of each statistical test, as if the draws were of the density


def example(support: str, rows: int = 80, seed: int = 0) -> xr.Dataset:
    """Rows with structure: correlated reals in the plane, four dependent bits, or two whole numbers of 0, 1, 2."""
    rng = np.random.default_rng(seed)
    common = rng.standard_normal((rows, 1))
    if support == "real":
        x = np.array([1.0, -2.0]) + common + np.array([0.5, 1.0]) * rng.standard_normal((rows, 2))
        return xr.Dataset({"x": (("row", "feature"), x)})
    if support == "binary":
        x = (common + rng.standard_normal((rows, 4)) > 0).astype(np.uint8)
        return xr.Dataset({"x": (("row", "feature"), x, {"support": "binary"})})
    x = np.clip(np.round(1 + 0.6 * common + 0.5 * rng.standard_normal((rows, 2))), 0, 2).astype(np.uint8)
    return xr.Dataset({"x": (("row", "feature"), x, {"support": "integer", "levels": 3})})


def values(event: Event) -> int:
    """How many values a discrete event can take."""
    return _levels(event) ** event.size


def _levels(event: Event) -> int:
    return 2 if event.support == "binary" else event.levels or 0


def all_rows(event: Event) -> np.ndarray:
    """Every value that a small discrete event can take: (row, *event)."""
    table = np.array(list(product(range(_levels(event)), repeat=event.size)), dtype=np.uint8)
    return table.reshape(-1, *event.fixed_shape)


class Plane:
    """A fine grid over a box of the plane, whose cells are gathered into 8 x 8 coarse ones."""

    def __init__(self, draws: np.ndarray, points: int = 480, coarse: int = 8):
        middle, spread = draws.mean(0), draws.std(0) + 1e-9
        self.low, self.high = middle - 9 * spread, middle + 9 * spread
        axes = [
            lo + (hi - lo) * (np.arange(points) + 0.5) / points
            for lo, hi in zip(self.low, self.high, strict=True)
        ]
        self.rows = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2)
        self.area = float(np.prod((self.high - self.low) / points))
        self.edges = [np.quantile(draws[:, i], np.linspace(0, 1, coarse + 1)[1:-1]) for i in (0, 1)]
        self.coarse = coarse

    def cell(self, rows: np.ndarray) -> np.ndarray:
        """The coarse cell of each row; those outside the box belong to the outer cells."""
        i, j = (np.searchsorted(edge, rows[:, axis]) for axis, edge in enumerate(self.edges))
        return i * self.coarse + j


def p_value(counts: np.ndarray, p: np.ndarray) -> float:
    """Of Pearson's chi-square test of counts against probabilities; cells that expect fewer than 5 are joined."""
    n = counts.sum()
    p = p / p.sum()
    rare = n * p < 5
    observed = np.append(counts[~rare], counts[rare].sum())
    expected = n * np.append(p[~rare], p[rare].sum())
    if expected[-1] < 1e-9:
        if observed[-1] > 0:
            return 0.0
        observed, expected = observed[:-1], expected[:-1]
    return float(stats.chi2.sf(((observed - expected) ** 2 / expected).sum(), len(expected) - 1))


def power(n: int, cells: int, distance: float) -> float:
    """The least probability that the test finds draws whose total variation from the density is `distance`.

    Of all alternatives at that distance the chi-square statistic has the least non-centrality at 4 n distance^2.
    """
    threshold = stats.chi2.isf(FALSE_ALARM, cells - 1)
    return float(stats.ncx2.sf(threshold, cells - 1, 4 * n * distance**2))
