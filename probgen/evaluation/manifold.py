"""Precision, recall, density and coverage: fidelity and diversity of draws by balls around their nearest neighbors.

A set's manifold is the union of balls around its rows, each as wide as the way to the k-th nearest row of the same set
(Kynkäänniemi et al. 2019); density and coverage count balls of the real rows alone (Naeem et al. 2020). Balls are closed: what
is as far as the k-th nearest row is inside. Squared distances count as equal that differ by less than one part in 100,000, so
that data in tenths have the ties of data in whole numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from probgen.errors import InputError
from probgen.evaluation import intervals

AT_ONCE = 1 << 23  # distances that are in memory together: 64 MiB
TIE = 1e-5  # of squared distances
CLOSE = 1e-8  # squared distances below this share of the squares that they are the difference of are taken directly
MOST = 1000  # rows of each set from which variances are read off


@dataclass(frozen=True)
class Neighbors:
    """What each row adds to the four figures, which are the means.

    precision  (fake,) whether the draw lies in a ball of a real row
    density    (fake,) in how many of them, over k: 1 on average where both are of one law, more where rows come twice
    recall     (real,) whether the row lies in a ball of a draw
    coverage   (real,) whether the row's ball holds a draw: 1 - 2^-k on average where both are of one law and of one size
    """

    precision: np.ndarray
    density: np.ndarray
    recall: np.ndarray
    coverage: np.ndarray


def neighbors(real: np.ndarray, fake: np.ndarray, k: int = 5) -> Neighbors:
    """Of real rows and draws, both (row, feature).

    Memory is bounded, time is that of three products of all rows with all rows. Errors: `InputError` for k below 1 or sets
    of k rows or fewer.
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
    """The 95 % interval of each of the four figures, of what `neighbors` found.

    What is inside the balls varies with the rows that are held against them, and the balls with the rows that they are made of:

        Var p = E p(1 - p) / m + Var p(balls)

    The first is read off the rows themselves, the second off two halves of the balls, against the same rows. Both halves
    of coverage, whose balls and rows are the same, are taken together. What half as many rows say of a share is carried over
    in units of p(1 - p), of a density in units of its square; balls of density hold half as many rows there, for where rows come twice
    it grows with the rows.
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
        # of halves, of half as many again; and of fewer rows than there are
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
    """(E a - E b)^2, without what the rows (row,) that the means are taken over add to it, and the mean of both."""
    d = a - b
    return float(d.mean() ** 2 - d.var(ddof=1) / len(d)), float(a.mean() + b.mean()) / 2


def check_k(k: int, real: int, fake: int) -> None:
    """Errors: `InputError` where k neighbors cannot be found among so many rows and draws."""
    if k < 1 or min(real, fake) <= k:
        raise InputError(f"k = {k}: between 1 and one less than the rows, which are {real} and {fake}")


def nearest(x: np.ndarray, among: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest row of `among` to each row of x, and the way to it: two of (row, feature) -> (row,), (row,)."""
    x, among = centered(x, among)
    found = [(d.argmin(1), np.sqrt(d.min(1))) for _, d in squared_distances(x, among)]
    return np.concatenate([index for index, _ in found]), np.concatenate([way for _, way in found])


def centered(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both in float64 about their common mean, for squares of what is far from 0 have few digits left for differences."""
    a, b = (np.asarray(x, dtype=np.float64).reshape(len(x), -1) for x in (a, b))
    middle = (a.sum(0) + b.sum(0)) / (len(a) + len(b))
    return a - middle, b - middle


def squared_distances(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Of all rows of a to all rows of b, some rows of a at a time.

    As |a|^2 + |b|^2 - 2 a'b, one matrix product; where that cancels, as |a - b|^2: 0 for equal rows.
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
    """Squared, of the balls around rows: (row,)."""
    radii = np.empty(len(x))
    for rows, d in squared_distances(x, x):
        d[np.arange(len(d)), np.arange(len(x))[rows]] = np.inf  # a row is no neighbor of its own
        radii[rows] = np.partition(d, k - 1, axis=1)[:, k - 1]
    return radii * (1 + TIE)


def _kth(d: np.ndarray, rows: np.ndarray, k: int) -> np.ndarray:
    """The same of some of the rows among each other, by all squared distances (row, row): (row,)."""
    among = d[np.ix_(rows, rows)]
    np.fill_diagonal(among, np.inf)
    k = min(k, len(rows) - 1)
    return np.partition(among, k - 1, axis=1)[:, k - 1] * (1 + TIE)
