"""Codes in coordinates in which they have mean 0 and the identity for a covariance, within the subspace that they lie in."""

from __future__ import annotations

import numpy as np

RANK = 1e-5  # deviations below that share of the largest are 0


class Whitened:
    """Principal components of codes: `axes` (component, code), the largest first, and `deviations` along them (component,).

    codes (row, ...), flattened. Lengths of moves are Mahalanobis: in deviations of codes.
    """

    def __init__(self, codes: np.ndarray):
        flat = codes.reshape(len(codes), -1).astype(np.float64)
        self.mean = flat.mean(0)
        values, vectors = np.linalg.eigh((flat - self.mean).T @ (flat - self.mean) / len(flat))
        kept = np.flatnonzero(values > RANK**2 * max(values[-1], 0.0))[::-1]
        self.axes, self.deviations = vectors[:, kept].T, np.sqrt(values[kept])

    def white(self, codes: np.ndarray) -> np.ndarray:
        """(row, ...) -> (row, component)."""
        flat = codes.reshape(len(codes), -1).astype(np.float64)
        return np.asarray((flat - self.mean) @ self.axes.T / self.deviations)

    def moves(self, ways: np.ndarray) -> np.ndarray:
        """Moves of codes for ways in components: (row, component) -> (row, code)."""
        return np.asarray(ways * self.deviations @ self.axes)

    def normals(self, normals: np.ndarray) -> np.ndarray:
        """Normals n . c of codes as normals of components: (factor, code) -> (factor, component)."""
        return np.asarray(normals @ self.axes.T * self.deviations)

    def lengths(self, moves: np.ndarray) -> np.ndarray:
        """Of moves: (row, ...) -> (row,)."""
        return np.asarray(
            np.linalg.norm(moves.reshape(len(moves), -1) @ self.axes.T / self.deviations, axis=1)
        )

    def random(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Moves of length 1 in any direction: (n, code)."""
        ways = rng.standard_normal((n, len(self.axes)))
        return self.moves(ways / np.linalg.norm(ways, axis=1, keepdims=True))
