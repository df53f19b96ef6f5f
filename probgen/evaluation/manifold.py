"""Precision, recall, density and coverage: fidelity and diversity of samples by nearest-neighbor balls.

The manifold of a set is the union of balls around its rows; the radius of a ball is the distance to the k-th
nearest row of the same set (Kynkäänniemi et al. 2019). Density and coverage use balls of the real rows only
(Naeem et al. 2020). Balls are closed: a point at the distance of the k-th nearest row is inside. Squared
distances that differ by less than one part in 100,000 count as equal, so that data in tenths have the same
ties as data in whole numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from probgen.errors import InputError
from probgen.evaluation import intervals

AT_ONCE = 1 << 23  # distances in memory at once: 64 MiB
TIE = 1e-5  # relative difference of squared distances that count as equal
# a squared distance below this share of |a|^2 + |b|^2 is computed as |a - b|^2
CLOSE = 1e-8
MOST = 1000  # at most, rows of each set for variances


@dataclass(frozen=True)
class Neighbors:
    """The contribution of each row to the four measures; a measure is the mean of its contributions.

    Attributes:
        precision: Whether the sample lies in a ball of a real row, (fake,).
        density: Number of such balls divided by k, (fake,). Its mean is 1 if both sets have the same
            distribution, and greater with repeated rows.
        recall: Whether the real row lies in a ball of a sample, (real,).
        coverage: Whether the ball of the real row contains a sample, (real,). Its mean is 1 - 2^-k if both
            sets have the same distribution and size.
    """

    precision: np.ndarray
    density: np.ndarray
    recall: np.ndarray
    coverage: np.ndarray


def neighbors(real: np.ndarray, fake: np.ndarray, k: int = 5) -> Neighbors:
    """Compute precision, density, recall and coverage of samples, row by row.

    Memory is bounded; the time is about three matrix products of all rows with all rows.

    Args:
        real: Real rows, (row, feature).
        fake: Samples, (row, feature).
        k: Number of neighbors that defines a ball.

    Returns:
        The contributions of each row.

    Raises:
        InputError: When k is below 1, or a set has k rows or fewer.
    """
    check_k(k, len(real), len(fake))
    real, fake = centered(real, fake)
    of_real, of_fake = _radii(real, k), _radii(fake, k)
    precision, density = np.empty(len(fake)), np.empty(len(fake))
    recall, coverage = np.zeros(len(real), dtype=bool), np.zeros(len(real), dtype=bool)
    for rows, d in squared_distances(fake, real):
        inside = d <= of_real
        precision[rows], density[rows] = inside.any(1), inside.sum(1) / k
        coverage |= inside.any(0)
        recall |= (d <= of_fake[rows, None]).any(0)
    return Neighbors(precision, density, recall.astype(np.float64), coverage.astype(np.float64))


def neighbor_intervals(
    near: Neighbors, real: np.ndarray, fake: np.ndarray, k: int, seed: int
) -> dict[str, intervals.Interval]:
    """Return the 95 % interval of each of the four measures.

    A measure varies with the rows that are tested for membership in balls, and with the rows that define the
    balls:

        Var p = E p(1 - p) / m + Var p(balls)

    The first term is computed from the tested rows. The second is estimated from two halves of the balls with
    the same tested rows. For coverage, balls and tested rows are split together. Variances of half as many
    rows are transferred in units of p(1 - p) for a share, and in units of its square for a density. Balls of
    the halves contain half as many rows for density, because with repeated rows the density increases with
    the number of rows.

    Args:
        near: Result of `neighbors`.
        real: Real rows, (row, feature).
        fake: Samples, (row, feature).
        k: Number of neighbors.
        seed: Seed of the splits.

    Returns:
        Both ends, by name of the measure.
    """
    rng = np.random.default_rng(seed)
    n, m = len(real), len(fake)
    x, y = centered(real, fake)
    ((rows, draws),) = intervals.split((n, m), 1, rng, MOST)
    x, y = x[rows], y[draws]
    of_real, of_fake, between = _all(x, x), _all(y, y), _all(y, x)  # between: (fake, real)
    p = {name: float(getattr(near, name).mean()) for name in ("precision", "density", "recall", "coverage")}
    shared: dict[str, list[tuple[float, float]]] = {name: [] for name in p}
    few = (k + 1) // 2
    for _ in range(intervals.SPLITS):
        halves = intervals.split((len(x), len(y)), 2, rng)
        inside = [between[:, A] <= _kth(of_real, A, k) for A, _ in halves]
        counts = [(between[:, A] <= _kth(of_real, A, few)).sum(1) / few for A, _ in halves]
        seen = [(between[B] <= _kth(of_fake, B, k)[:, None]).any(0).astype(float) for _, B in halves]
        covered = [each[B].any(0).mean() for each, (_, B) in zip(inside, halves, strict=True)]
        shared["precision"].append(_apart(*(each.any(1).astype(float) for each in inside)))
        shared["density"].append(_apart(*counts))
        shared["recall"].append(_apart(*seen))
        shared["coverage"].append(((covered[0] - covered[1]) ** 2, (covered[0] + covered[1]) / 2))
    found = {}
    for name, values in shared.items():
        square, half = (float(each) for each in np.mean(values, 0))
        # from halves of (at most) MOST rows to the full set
        variance = max(square, 0.0) / 4 * min(1.0, MOST / (m if name == "recall" else n))
        if name == "density":
            variance *= (p[name] / half) ** 2 if half else 1.0
            variance += float(near.density.var(ddof=1)) / m
            found[name] = intervals.of_mean(p[name], variance, least=0)
            continue
        size = m if name == "precision" else n
        variance *= p[name] * (1 - p[name]) / (half * (1 - half)) if 0 < half < 1 else 1.0
        variance += 0.0 if name == "coverage" else p[name] * (1 - p[name]) / (size - 1)
        found[name] = intervals.of_share(p[name], size, variance)
    return found


def _apart(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Return an estimate of (E a - E b)^2 without the variance of the rows, and the mean of both.

    a and b are values of the same rows, (row,).
    """
    d = a - b
    return float(d.mean() ** 2 - d.var(ddof=1) / len(d)), float(a.mean() + b.mean()) / 2


def check_k(k: int, real: int, fake: int) -> None:
    """Check that k neighbors exist in both sets.

    Args:
        k: Number of neighbors.
        real: Number of real rows.
        fake: Number of samples.

    Raises:
        InputError: When k is below 1, or a set has k rows or fewer.
    """
    if k < 1 or min(real, fake) <= k:
        raise InputError(
            f"k = {k}: it must be at least 1, and less than the number of rows ({real} and {fake}). Choose another k."
        )


def nearest(x: np.ndarray, among: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the nearest row of `among` for each row of x.

    Args:
        x: Rows, (row, feature).
        among: Rows to search, (row, feature).

    Returns:
        Index of the nearest row and the distance to it, (row,) each.
    """
    x, among = centered(x, among)
    found = [(d.argmin(1), np.sqrt(d.min(1))) for _, d in squared_distances(x, among)]
    return np.concatenate([index for index, _ in found]), np.concatenate([way for _, way in found])


def centered(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both sets in float64, centered at their common mean.

    Squared distances far from 0 would lose digits.

    Args:
        a: Rows, (row, ...); they are flattened.
        b: Rows, (row, ...); they are flattened.

    Returns:
        Both sets, (row, feature).
    """
    a, b = (np.asarray(x, dtype=np.float64).reshape(len(x), -1) for x in (a, b))
    middle = (a.sum(0) + b.sum(0)) / (len(a) + len(b))
    return a - middle, b - middle


def squared_distances(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield squared distances of rows of a to all rows of b, for some rows of a at a time.

    They are computed as |a|^2 + |b|^2 - 2 a'b by one matrix product, and where this cancels as |a - b|^2.
    Equal rows have distance 0.

    Args:
        a: Rows, (row, feature).
        b: Rows, (row, feature).

    Yields:
        A slice of rows of a, and their squared distances, (row of a, row of b).
    """
    square = np.einsum("ij,ij->i", b, b)
    step = max(1, AT_ONCE // len(b))
    for start in range(0, len(a), step):
        rows = slice(start, start + step)
        part = a[rows]
        scale = np.einsum("ij,ij->i", part, part)[:, None] + square
        d = part @ b.T
        d *= -2
        d += scale
        scale *= CLOSE
        close = np.argwhere(d <= scale)
        for some in np.array_split(close, 1 + close.size * a.shape[1] // AT_ONCE):
            i, j = some.T
            d[i, j] = np.square(part[i] - b[j]).sum(1)
        yield rows, d


def _all(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.concatenate([d for _, d in squared_distances(a, b)])


def _radii(x: np.ndarray, k: int) -> np.ndarray:
    """Return the squared radii of the balls around rows: (row,)."""
    radii = np.empty(len(x))
    for rows, d in squared_distances(x, x):
        d[np.arange(len(d)), np.arange(len(x))[rows]] = np.inf  # a row is not its own neighbor
        radii[rows] = np.partition(d, k - 1, axis=1)[:, k - 1]
    return radii * (1 + TIE)


def _kth(d: np.ndarray, rows: np.ndarray, k: int) -> np.ndarray:
    """Return the squared radii of the balls around some rows, from all squared distances (row, row): (row,)."""
    among = d[np.ix_(rows, rows)]
    np.fill_diagonal(among, np.inf)
    k = min(k, len(rows) - 1)
    return np.partition(among, k - 1, axis=1)[:, k - 1] * (1 + TIE)
