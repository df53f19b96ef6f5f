"""Which way a score goes down, code by code: where what is bad lies between clusters, no hyperplane divides it from what is good."""

from __future__ import annotations

import numpy as np

LEADING = 16  # principal components whose products the regression has
RIDGE = 30.0  # rows that say that all coefficients are 0
RANK = 1e-5  # deviations below that share of the largest are 0


class Slope:
    """A quadratic regression of scores on codes, in principal components of deviation 1: linear in all, quadratic in the leading 16.

    codes (row, ...), flattened; scores (row,)
    """

    def __init__(self, codes: np.ndarray, scores: np.ndarray):
        flat = codes.reshape(len(codes), -1).astype(np.float64)
        self.mean = flat.mean(0)
        values, vectors = np.linalg.eigh((flat - self.mean).T @ (flat - self.mean) / len(flat))
        kept = np.flatnonzero(values > RANK**2 * values[-1])[::-1]  # the largest first
        self.axes, self.deviations = vectors[:, kept].T, np.sqrt(values[kept])
        self.leading = min(LEADING, len(self.axes))
        X = self._features(self._white(flat))
        self.middle, self.level = X.mean(0), float(np.mean(scores))
        X = X - self.middle
        self.w = np.linalg.solve(X.T @ X + RIDGE * np.eye(X.shape[1]), X.T @ (scores - self.level))

    def predict(self, codes: np.ndarray) -> np.ndarray:
        """Scores of codes: (row,)."""
        flat = codes.reshape(len(codes), -1).astype(np.float64)
        return np.asarray((self._features(self._white(flat)) - self.middle) @ self.w + self.level)

    def down(self, codes: np.ndarray, held: np.ndarray) -> np.ndarray:
        """The move of each code along which its score goes down most, of length 1 in deviations of codes, that leaves all held n . c.

        codes (row, *dims), held (factor, code) -> (row, *dims); 0 where what is held leaves nothing.
        """
        u = self._white(codes.reshape(len(codes), -1).astype(np.float64))
        k, m = len(self.axes), self.leading
        products = np.zeros((m, m))
        products[np.triu_indices(m)] = self.w[k:]
        g = np.tile(self.w[:k], (len(u), 1))
        g[:, :m] += u[:, :m] @ (products + products.T)
        if np.size(held):
            _, sizes, span = np.linalg.svd((held @ self.axes.T) * self.deviations, full_matrices=False)
            span = span[sizes > 1e-9 * sizes[0]]
            g = g - (g @ span.T) @ span
        length = np.linalg.norm(g, axis=1, keepdims=True)
        moves = -np.divide(g, length, out=np.zeros_like(g), where=length > 0) * self.deviations @ self.axes
        return np.asarray(moves.reshape(codes.shape))

    def random(self, rng: np.random.Generator) -> np.ndarray:
        """A move of length 1 in any direction: (code,)."""
        way = rng.standard_normal(len(self.axes))
        return np.asarray(way / np.linalg.norm(way) * self.deviations @ self.axes)

    def _white(self, flat: np.ndarray) -> np.ndarray:
        return np.asarray((flat - self.mean) @ self.axes.T / self.deviations)

    def _features(self, u: np.ndarray) -> np.ndarray:
        i, j = np.triu_indices(self.leading)
        return np.concatenate([u, u[:, i] * u[:, j]], 1)
