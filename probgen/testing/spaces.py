"""Small spaces on which a density can be evaluated completely, and a comparison of samples with the density."""

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

MOST = 1 << 16  # largest number of values of an enumerated event
FALSE_ALARM = 1e-6  # rate of false alarms of each statistical test


def example(support: str, rows: int = 80, seed: int = 0) -> xr.Dataset:
    """Return structured example rows.

    Args:
        support: "real": correlated points in the plane. "binary": four dependent bits. "count": two counts. "mixed": a table with four kinds of
            columns. Otherwise: two whole numbers from 0 to 2.
        rows: Number of rows.
        seed: Seed of the rows.

    Returns:
        A Dataset with `x (row, feature)`.
    """
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
    """The points at which a density is evaluated.

    Attributes:
        rows: The points (row, *event).
        volume: Volume per point; 1 for probabilities of values.
        cells: Number of cells of the space. Samples are counted per cell.
        cell: Function that returns the cell of each row, from 0; -1 outside the event.
        line: Points for sums over the last coordinate, for each value of the other coordinates, and the volume per point along the last coordinate.
    """

    rows: np.ndarray
    volume: float
    cells: int
    cell: Callable[[np.ndarray], np.ndarray]
    line: tuple[np.ndarray, float]


def values(event: Event) -> int:
    """Return the number of values of a discrete event. Only counts below `MOST_COUNT` are included."""
    return len(_axis(event.support, event.levels)) ** event.size


MOST_COUNT = 80  # counts from 0 to 79 are enumerated


def _axis(support: str, levels: int | None) -> np.ndarray:
    return np.arange({"binary": 2, "count": MOST_COUNT}.get(support, levels or 0))


def all_rows(event: Event) -> np.ndarray:
    """Return every value of a small discrete event, with counts up to 79: (row, *event)."""
    axis = _axis(event.support, event.levels)
    return np.array(list(product(axis, repeat=event.size)), dtype=np.uint8).reshape(-1, *event.fixed_shape)


def of_values(event: Event) -> Space:
    """Return the space of all values of a small discrete event, one cell per value, with counts up to 79."""
    rows = all_rows(event)
    keys = {row.tobytes(): i for i, row in enumerate(rows.reshape(len(rows), -1).astype(np.float64))}

    def cell(rows: np.ndarray) -> np.ndarray:
        flat = rows.reshape(len(rows), -1).astype(np.float64)
        return np.array([keys.get(row.tobytes(), -1) for row in flat])

    return Space(rows, 1.0, len(rows), cell, (rows, 1.0))


def of_plane(draws: np.ndarray, points: int = 480, coarse: int = 8) -> Space:
    """Return a fine grid over a box of the plane, with coarse cells for counting.

    Args:
        draws: Samples (row, 2) that determine the position and size of the box.
        points: Number of grid points per axis.
        coarse: Number of coarse cells per axis.

    Returns:
        The space.
    """
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
    """Return the space of all values of a small table: a grid for a real column, and counts up to 79.

    Real columns and counts are divided into three cells each, and other columns into one cell per value.

    Args:
        columns: The columns. The last column must not be real.
        draws: Samples (row, feature) that determine the grids and cells.
        points: Number of grid points of a real column.

    Returns:
        The space.

    Raises:
        ValueError: When the last column is real, or the space has too many points.
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
        raise ValueError("the table has too many values to enumerate, or its last column is real")
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
    """Return the p-value of Pearson's chi-square test of counts against probabilities. Cells with expected counts below 5 are merged."""
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
    """Return a lower bound of the probability that the test detects samples at a total variation `distance` from the density.

    Among all alternatives at this distance, the smallest non-centrality of the chi-square statistic is 4 n distance^2.

    Args:
        n: Number of samples.
        cells: Number of cells.
        distance: Total variation distance.

    Returns:
        The probability.
    """
    threshold = stats.chi2.isf(FALSE_ALARM, cells - 1)
    return float(stats.ncx2.sf(threshold, cells - 1, 4 * n * distance**2))
