"""Distances between two sets of rows; a distance depends on the features that it is computed in."""

from __future__ import annotations

import numpy as np
from scipy.linalg import eigvalsh

from probgen.evaluation.manifold import centered, squared_distances


def frechet(real: np.ndarray, fake: np.ndarray) -> float:
    """Return the squared 2-Wasserstein distance of two Gaussians with the moments of two sets of rows.

    |m - m'|^2 + tr(C + C' - 2 (C C')^1/2) (Dowson & Landau 1982). With the features of Inception it is the
    FID (Heusel et al. 2017). It is biased upwards for few rows.

    Args:
        real: Rows, (row, feature).
        fake: Rows, (row, feature).

    Returns:
        The distance, in squared units of the features.
    """
    (m, C), (n, D) = (_moments(x) for x in (real, fake))
    values, vectors = np.linalg.eigh(C)
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    # tr (C D)^1/2, from a symmetric matrix
    cross = np.sqrt(np.maximum(eigvalsh(root @ D @ root), 0)).sum()
    return float(np.square(m - n).sum() + np.trace(C) + np.trace(D) - 2 * cross)


def _moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x = np.asarray(x, dtype=np.float64).reshape(len(x), -1)
    return x.mean(0), np.atleast_2d(np.cov(x, rowvar=False))


class MMD:
    """The squared maximum mean discrepancy of two sets of rows, with a Gaussian kernel exp(-d^2 / 2 h^2).

    h is the median distance of all pairs. The estimate is unbiased, and can therefore be negative (Gretton et
    al. 2012, eq. 3). The kernel of all pairs is kept in memory: 8 (n + m)^2 bytes.

    Args:
        real: Rows, (row, feature).
        fake: Rows, (row, feature).
    """

    def __init__(self, real: np.ndarray, fake: np.ndarray):
        real, fake = centered(real, fake)
        x = np.concatenate([real, fake])
        d = np.concatenate([some for _, some in squared_distances(x, x)])
        between = d[np.triu_indices(len(x), 1)]
        self.bandwidth = float(np.median(np.sqrt(between))) or 1.0
        self.kernel = np.exp(-d / (2 * self.bandwidth**2))
        np.fill_diagonal(self.kernel, 0)
        self.n = len(real)

    def value(self) -> float:
        """Return the unbiased estimate from all rows.

        Returns:
            The squared MMD.
        """
        return self._of(self._all(), unbiased=True)

    def biased(self, *rows: np.ndarray) -> float:
        """Return the squared distance of the mean embeddings (eq. 5).

        Args:
            *rows: Indices of rows of each set, (row,) each; default: all rows.

        Returns:
            The squared distance, at least 0.
        """
        return self._of(rows or self._all(), unbiased=False)

    def _all(self) -> tuple[np.ndarray, np.ndarray]:
        return np.arange(self.n), np.arange(len(self.kernel) - self.n)

    def _of(self, rows: tuple[np.ndarray, ...], *, unbiased: bool) -> float:
        a, b = rows[0], rows[1] + self.n
        chosen = np.zeros((len(self.kernel), 2))
        chosen[a, 0] = chosen[b, 1] = 1
        (of_a, between), (_, of_b) = ((self.kernel[some] @ chosen).sum(0) for some in (a, b))
        within = sum(_within(total, len(some), unbiased) for total, some in ((of_a, a), (of_b, b)))
        return float(within - 2 * between / (len(a) * len(b)))


def _within(total: float, n: int, unbiased: bool) -> float:
    """Return the mean kernel of n rows from its sum over pairs of different rows.

    The unbiased mean leaves out pairs of a row with itself; the biased mean includes them, with kernel 1.
    """
    return total / (n * (n - 1)) if unbiased else (total + n) / n**2
