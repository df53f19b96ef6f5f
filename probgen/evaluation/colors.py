"""A baseline for translations of images: only the colors are transformed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RIDGE = 1e-6  # in units of the squared range of levels, for constant colors


@dataclass(frozen=True)
class Colors:
    """Mean and covariance of the pixels of images.

    Attributes:
        mean: Mean color, (channel,).
        covariance: Covariance of colors, (channel, channel).
    """

    mean: np.ndarray
    covariance: np.ndarray

    @staticmethod
    def of(x: np.ndarray) -> Colors:
        """Compute mean and covariance of the pixels of images.

        Args:
            x: Images, (row, channel, height, width).

        Returns:
            The colors.
        """
        pixels = x.astype(np.float64).transpose(1, 0, 2, 3).reshape(x.shape[1], -1)
        return Colors(pixels.mean(1), np.atleast_2d(np.cov(pixels)))


def moved(x: np.ndarray, source: Colors, target: Colors, levels: int) -> np.ndarray:
    """Transform the color of each pixel from a source to a target distribution (Pitie & Kokaram 2007).

    The transform is the optimal transport between the normal distributions of both. The result is clipped to
    the levels.

    Args:
        x: Images, (row, channel, height, width).
        source: Colors of the source images.
        target: Colors of the target images.
        levels: Number of levels.

    Returns:
        Images, (row, channel, height, width), from 0 to levels - 1.
    """
    ridge = RIDGE * (levels - 1) ** 2 * np.eye(len(source.mean))
    root = _root(source.covariance + ridge)
    back = np.linalg.inv(root)
    A = back @ _root(root @ (target.covariance + ridge) @ root) @ back
    off = x.astype(np.float64) - source.mean[:, None, None]
    found = np.einsum("ij,njhw->nihw", A, off) + target.mean[:, None, None]
    return np.asarray(np.clip(found, 0, levels - 1))


def _root(matrix: np.ndarray) -> np.ndarray:
    """Return the symmetric square root."""
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T)
