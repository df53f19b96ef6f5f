"""Precision, recall, density and coverage: fidelity and diversity of draws by balls around their nearest neighbours.

A set's manifold is the union of balls around its rows, each as wide as the way to the k-th nearest row of the same set
(Kynkäänniemi et al. 2019); density and coverage count balls of the real rows alone (Naeem et al. 2020).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from sklearn.metrics.pairwise import euclidean_distances

from probgen.errors import InputError

AT_ONCE = 1 << 23  # distances that are in memory together: 64 MiB


@dataclass(frozen=True)
class Neighbours:
    """What each row adds to the four figures, which are the means: so are their bootstrap intervals.

    precision  (fake,) whether the draw lies in a ball of a real row
    density    (fake,) in how many of them, over k: 1 on average where both are of one law
    recall     (real,) whether the row lies in a ball of a draw
    coverage   (real,) whether the row's ball holds a draw: 1 - 2^-k on average where both are of one law and of one size
    """

    precision: np.ndarray
    density: np.ndarray
    recall: np.ndarray
    coverage: np.ndarray


def neighbours(real: np.ndarray, fake: np.ndarray, k: int = 5) -> Neighbours:
    """Of real rows and draws, both (row, feature).

    Balls are closed, so that duplicates of discrete data lie in one another's. Memory is bounded, time is that of three
    products of all rows with all rows. Errors: `InputError` for k below 1 or sets of k rows or fewer.
    """
    check_k(k, len(real), len(fake))
    real, fake = centred(real, fake)
    of_real, of_fake = _radii(real, k), _radii(fake, k)
    precision, density = np.empty(len(fake)), np.empty(len(fake))
    recall, coverage = np.zeros(len(real), dtype=bool), np.zeros(len(real), dtype=bool)
    for rows, d in squared_distances(fake, real):
        inside = d <= of_real
        precision[rows], density[rows] = inside.any(1), inside.sum(1) / k
        coverage |= inside.any(0)
        recall |= (d <= of_fake[rows, None]).any(0)
    return Neighbours(precision, density, recall.astype(np.float64), coverage.astype(np.float64))


def check_k(k: int, real: int, fake: int) -> None:
    """Errors: `InputError` where k neighbours cannot be found among so many rows and draws."""
    if k < 1 or min(real, fake) <= k:
        raise InputError(f"k = {k}: between 1 and one less than the rows, which are {real} and {fake}")


def nearest(x: np.ndarray, among: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest row of `among` to each row of x, and the way to it: two of (row, feature) -> (row,), (row,)."""
    x, among = centred(x, among)
    found = [(d.argmin(1), np.sqrt(d.min(1))) for _, d in squared_distances(x, among)]
    return np.concatenate([index for index, _ in found]), np.concatenate([way for _, way in found])


def centred(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both in float64 about their common mean, for squares of what is far from 0 have few digits left for differences.

    Whole numbers stay whole, so that equal distances are equal.
    """
    a, b = (np.asarray(x, dtype=np.float64).reshape(len(x), -1) for x in (a, b))
    middle = (a.sum(0) + b.sum(0)) / (len(a) + len(b))
    if all((x == np.round(x)).all() for x in (a, b)):
        middle = np.round(middle)
    return a - middle, b - middle


def squared_distances(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Of all rows of a to all rows of b, some rows of a at a time."""
    square = np.einsum("ij,ij->i", b, b)[None]
    step = max(1, AT_ONCE // len(b))
    for start in range(0, len(a), step):
        rows = slice(start, start + step)
        yield rows, euclidean_distances(a[rows], b, Y_norm_squared=square, squared=True)


def _radii(x: np.ndarray, k: int) -> np.ndarray:
    radii = np.empty(len(x))
    for rows, d in squared_distances(x, x):
        d[np.arange(len(d)), np.arange(len(x))[rows]] = np.inf  # a row is no neighbour of its own
        radii[rows] = np.partition(d, k - 1, axis=1)[:, k - 1]
    return radii
