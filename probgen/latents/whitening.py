"""Codes in coordinates with mean 0 and covariance 1, within the subspace in which they lie."""

from __future__ import annotations

import numpy as np

RANK = 1e-5  # a deviation below this share of the largest counts as 0


class Whitened:
    """Principal components of codes.

    Lengths of moves are Mahalanobis lengths: in standard deviations of codes.

    Args:
        codes: Codes, (row, ...); they are flattened.

    Attributes:
        mean: Mean of the codes, (code,).
        axes: Principal axes, the largest first, (component, code).
        deviations: Standard deviations along the axes, (component,).
    """

    def __init__(self, codes: np.ndarray):
        flat = codes.reshape(len(codes), -1).astype(np.float64)
        self.mean = flat.mean(0)
        values, vectors = np.linalg.eigh((flat - self.mean).T @ (flat - self.mean) / len(flat))
        kept = np.flatnonzero(values > RANK**2 * max(values[-1], 0.0))[::-1]
        self.axes, self.deviations = vectors[:, kept].T, np.sqrt(values[kept])

    def white(self, codes: np.ndarray) -> np.ndarray:
        """Return codes in whitened coordinates.

        Args:
            codes: Codes, (row, ...).

        Returns:
            Coordinates, (row, component).
        """
        flat = codes.reshape(len(codes), -1).astype(np.float64)
        return np.asarray((flat - self.mean) @ self.axes.T / self.deviations)

    def moves(self, ways: np.ndarray) -> np.ndarray:
        """Return moves of codes for moves in whitened coordinates.

        Args:
            ways: Moves of components, (row, component).

        Returns:
            Moves of codes, (row, code).
        """
        return np.asarray(ways * self.deviations @ self.axes)

    def normals(self, normals: np.ndarray) -> np.ndarray:
        """Return normals of codes as normals in whitened coordinates.

        Args:
            normals: Normals n of n . c, (factor, code).

        Returns:
            Normals of components, (factor, component).
        """
        return np.asarray(normals @ self.axes.T * self.deviations)

    def lengths(self, moves: np.ndarray) -> np.ndarray:
        """Return the lengths of moves, in standard deviations of codes.

        Args:
            moves: Moves of codes, (row, ...).

        Returns:
            Lengths, (row,).
        """
        return np.asarray(
            np.linalg.norm(moves.reshape(len(moves), -1) @ self.axes.T / self.deviations, axis=1)
        )

    def random(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return moves of length 1 in random directions.

        Args:
            n: Number of moves.
            rng: Random generator.

        Returns:
            Moves of codes, (n, code).
        """
        ways = rng.standard_normal((n, len(self.axes)))
        return self.moves(ways / np.linalg.norm(ways, axis=1, keepdims=True))
