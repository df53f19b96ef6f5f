"""Distances between two sets of rows, in a space of features that is to be named beside the number."""

from __future__ import annotations

import numpy as np
from scipy.linalg import eigvalsh

from probgen.evaluation.manifold import centred, squared_distances


def frechet(
    real: np.ndarray, fake: np.ndarray, weights: tuple[np.ndarray, np.ndarray] | None = None
) -> float:
    """The squared 2-Wasserstein distance of the Gaussians with the moments of two sets of rows (row, feature).

    |m - m'|^2 + tr(C + C' - 2 (C C')^1/2) (Dowson & Landau 1982). With Inception's features and no others it is the FID
    (Heusel et al. 2017). `weights` (row,) of both resample the rows. Biased upwards by sets of few rows.
    """
    (m, C), (n, D) = (_moments(x, w) for x, w in zip((real, fake), weights or (None, None), strict=True))
    values, vectors = np.linalg.eigh(C)
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    cross = np.sqrt(
        np.maximum(eigvalsh(root @ D @ root), 0)
    ).sum()  # tr (C D)^1/2, by a matrix that is symmetric
    return float(np.square(m - n).sum() + np.trace(C) + np.trace(D) - 2 * cross)


def _moments(x: np.ndarray, weight: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    x = np.asarray(x, dtype=np.float64).reshape(len(x), -1)
    mean = np.average(x, 0, weight)
    return mean, np.atleast_2d(np.cov(x, rowvar=False, fweights=weight))


class MMD:
    """The squared maximum mean discrepancy of two sets of rows, by a Gaussian kernel exp(-d^2 / 2 h^2).

    h is the median distance of all pairs. The estimate is unbiased, and so below 0 at times (Gretton et al. 2012, eq. 3).
    Kernels of all pairs are kept: 8 (n + m)^2 bytes.
    """

    def __init__(self, real: np.ndarray, fake: np.ndarray):
        real, fake = centred(real, fake)
        x = np.concatenate([real, fake])
        d = np.concatenate([some for _, some in squared_distances(x, x)])
        between = d[np.triu_indices(len(x), 1)]
        self.bandwidth = float(np.median(np.sqrt(between))) or 1.0
        self.kernel = np.exp(-d / (2 * self.bandwidth**2))
        np.fill_diagonal(self.kernel, 0)
        self.n = len(real)

    def value(self, real: np.ndarray | None = None, fake: np.ndarray | None = None) -> float:
        """Of all rows, or of rows that are resampled by weights (row,)."""
        u = np.ones(self.n) if real is None else real
        v = np.ones(len(self.kernel) - self.n) if fake is None else fake
        n, K = self.n, self.kernel
        between = u @ K[:n, n:] @ v / (u.sum() * v.sum())
        return float(_within(K[:n, :n], u) + _within(K[n:, n:], v) - 2 * between)


def _within(kernel: np.ndarray, w: np.ndarray) -> float:
    return float(w @ kernel @ w / (w.sum() ** 2 - np.square(w).sum()))  # pairs of two different rows
