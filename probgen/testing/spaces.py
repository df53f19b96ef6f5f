"""Small spaces on which a density can be gone through, and how draws are held against it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
import xarray as xr
from scipy import stats

from probgen.contract.columns import Column
from probgen.contract.event import Event
from probgen.readers.described import attributes_of, marked

MOST = 1 << 16  # values of an event that is gone through
FALSE_ALARM = 1e-6  # of each statistical test, as if the draws were of the density


def example(support: str, rows: int = 80, seed: int = 0) -> xr.Dataset:
    """Rows with structure: correlated reals in the plane, four dependent bits, two counts, a table of four kinds, or two whole numbers of 0, 1, 2."""
    rng = np.random.default_rng(seed)
    common = rng.standard_normal((rows, 1))
    if support == "real":
        x = np.array([1.0, -2.0]) + common + np.array([0.5, 1.0]) * rng.standard_normal((rows, 2))
        return xr.Dataset({"x": (("row", "feature"), x)})
    if support == "binary":
        x = (common + rng.standard_normal((rows, 4)) > 0).astype(np.uint8)
        return xr.Dataset({"x": (("row", "feature"), x, {"support": "binary"})})
    if support == "count":
        counts = rng.poisson(np.exp(0.4 + 0.5 * common), (rows, 2))
        return xr.Dataset({"x": (("row", "feature"), counts, {"support": "count"})})
    if support == "mixed":
        columns = [
            Column("a", "real"),
            Column("c", "count"),
            Column("k", "token", 3, classes=("low", "mid", "high")),
            Column("b", "binary"),
        ]
        a = 2 + common[:, 0] + 0.5 * rng.standard_normal(rows)
        c = rng.poisson(np.exp(0.4 + 0.4 * common[:, 0]))
        k = np.clip(np.round(1 + 0.8 * common[:, 0] + 0.4 * rng.standard_normal(rows)), 0, 2)
        b = common[:, 0] + rng.standard_normal(rows) > 0
        variables = {"x": (("row", "feature"), np.stack([a, c, k, b], 1), attributes_of(columns))}
        return marked(xr.Dataset(variables, {"feature": [column.name for column in columns]}))
    x = np.clip(np.round(1 + 0.6 * common + 0.5 * rng.standard_normal((rows, 2))), 0, 2).astype(np.uint8)
    return xr.Dataset({"x": (("row", "feature"), x, {"support": "integer", "levels": 3})})


@dataclass(frozen=True)
class Space:
    """What a density is gone through on.

    rows    (row, *event)
    volume  that each row stands for; 1 where probabilities are of values
    cells   how many parts the space has, into which draws are counted
    cell    of which each row is, from 0; -1 outside of the event
    line    rows that differ in the last coordinate alone, some of each, and the volume of that coordinate
    """

    rows: np.ndarray
    volume: float
    cells: int
    cell: Callable[[np.ndarray], np.ndarray]
    line: tuple[np.ndarray, float]


def values(event: Event) -> int:
    """How many values a discrete event can take; of counts so many as are gone through."""
    return len(_axis(event.support, event.levels)) ** event.size


MOST_COUNT = 80


def _axis(support: str, levels: int | None) -> np.ndarray:
    return np.arange({"binary": 2, "count": MOST_COUNT}.get(support, levels or 0))


def all_rows(event: Event) -> np.ndarray:
    """Every value that a small discrete event can take, counts up to 79: (row, *event)."""
    axis = _axis(event.support, event.levels)
    return np.array(list(product(axis, repeat=event.size)), dtype=np.uint8).reshape(-1, *event.fixed_shape)


def of_values(event: Event) -> Space:
    """Every value that a small discrete event can take, each a cell; counts up to 79."""
    rows = all_rows(event)
    keys = {row.tobytes(): i for i, row in enumerate(rows.reshape(len(rows), -1).astype(np.float64))}

    def cell(rows: np.ndarray) -> np.ndarray:
        flat = rows.reshape(len(rows), -1).astype(np.float64)
        return np.array([keys.get(row.tobytes(), -1) for row in flat])

    return Space(rows, 1.0, len(rows), cell, (rows, 1.0))


def of_plane(draws: np.ndarray, points: int = 480, coarse: int = 8) -> Space:
    """A fine grid over a box of the plane, whose cells are gathered into 8 x 8 coarse ones; draws: some to say where it lies."""
    middle, spread = draws.mean(0), draws.std(0) + 1e-9
    low, high = middle - 9 * spread, middle + 9 * spread
    axes = [_grid(lo, hi, points) for lo, hi in zip(low, high, strict=True)]
    rows = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2)
    edges = [np.quantile(draws[:, i], np.linspace(0, 1, coarse + 1)[1:-1]) for i in (0, 1)]

    def cell(rows: np.ndarray) -> np.ndarray:
        i, j = (np.searchsorted(edge, rows[:, axis]) for axis, edge in enumerate(edges))
        return i * coarse + j

    line = np.stack([np.full(points, np.median(rows[:, 0])), axes[1]], 1)
    width = float(axes[1][1] - axes[1][0])
    return Space(rows, float(np.prod((high - low) / points)), coarse**2, cell, (line, width))


def of_table(columns: tuple[Column, ...], draws: np.ndarray, points: int = 100) -> Space:
    """All values of a small table: of a real column a grid, of a count those up to 79; in cells by thirds of these and by values of others.

    Its last column must not be real. Errors: `ValueError` for too many rows.
    """
    axes, edges, volume = [], [], 1.0
    for column, drawn in zip(columns, draws.T, strict=True):
        if column.support == "real":
            axes.append(_grid(drawn.mean() - 9 * drawn.std(), drawn.mean() + 9 * drawn.std(), points))
            volume *= axes[-1][1] - axes[-1][0]
        else:
            axes.append(_axis(column.support, column.levels) + column.least)
        edge = np.unique(np.quantile(drawn, [1 / 3, 2 / 3]))
        if column.support == "real":  # between two points of the grid
            edge = 0.5 * (axes[-1][1:] + axes[-1][:-1])[np.searchsorted(axes[-1], edge)]
        edges.append(edge if column.support in ("real", "count") else axes[-1][:-1])
    if columns[-1].support == "real" or np.prod([len(axis) for axis in axes]) > MOST:
        raise ValueError("the table is too large to be gone through")
    rows = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(axes))
    shape = tuple(len(edge) + 1 for edge in edges)

    def cell(rows: np.ndarray) -> np.ndarray:
        parts = [np.searchsorted(edge, rows[:, i]) for i, edge in enumerate(edges)]
        known = np.all(
            [np.isin(rows[:, i], axis) for i, axis in enumerate(axes) if columns[i].support != "real"], 0
        )
        return np.where(known, np.ravel_multi_index(parts, shape), -1)

    return Space(rows, volume, int(np.prod(shape)), cell, (rows, 1.0))


def _grid(low: float, high: float, points: int) -> np.ndarray:
    return np.asarray(low + (high - low) * (np.arange(points) + 0.5) / points)


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
