"""The baseline of every translation of images: colors moved, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RIDGE = 1e-6  # of the range of levels squared: a color that does not vary


@dataclass(frozen=True)
class Colors:
    """Mean (channel,) and covariance (channel, channel) of the pixels of images."""

    mean: np.ndarray
    covariance: np.ndarray

    @staticmethod
    def of(x: np.ndarray) -> Colors:
        """Images (row, channel, height, width)."""
        pixels = x.astype(np.float64).transpose(1, 0, 2, 3).reshape(x.shape[1], -1)
        return Colors(pixels.mean(1), np.atleast_2d(np.cov(pixels)))


def moved(x: np.ndarray, source: Colors, target: Colors, levels: int) -> np.ndarray:
    """Each pixel by the optimal transport between the normal laws of two kinds of colors (Pitie & Kokaram 2007), kept within the levels.

    x  (row, channel, height, width)
    """
    ridge = RIDGE * (levels - 1) ** 2 * np.eye(len(source.mean))
    root = _root(source.covariance + ridge)
    back = np.linalg.inv(root)
    A = back @ _root(root @ (target.covariance + ridge) @ root) @ back
    off = x.astype(np.float64) - source.mean[:, None, None]
    found = np.einsum("ij,njhw->nihw", A, off) + target.mean[:, None, None]
    return np.asarray(np.clip(found, 0, levels - 1))


def _root(matrix: np.ndarray) -> np.ndarray:
    """The symmetric square root."""
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T)
