"""Which way a score goes down, code by code: where what is bad lies between clusters, no hyperplane divides it from what is good."""

from __future__ import annotations

import numpy as np

from probgen.errors import InputError
from probgen.latents.whitening import Whitened

LEADING = 16  # principal components whose products the regression has
RIDGE = 30.0  # rows that say that all coefficients are 0


class Slope:
    """A quadratic regression of scores on codes, in principal components of deviation 1: linear in all, quadratic in the leading 16.

    codes (row, ...), flattened; scores (row,)
    """

    def __init__(self, codes: np.ndarray, scores: np.ndarray):
        self.space = Whitened(codes)
        self.leading = min(LEADING, len(self.space.axes))
        X = self._features(self.space.white(codes))
        self.middle, self.level = X.mean(0), float(np.mean(scores))
        X = X - self.middle
        self.w = np.linalg.solve(X.T @ X + RIDGE * np.eye(X.shape[1]), X.T @ (scores - self.level))

    def predict(self, codes: np.ndarray) -> np.ndarray:
        """Scores of codes: (row,)."""
        return np.asarray((self._features(self.space.white(codes)) - self.middle) @ self.w + self.level)

    def down(self, codes: np.ndarray, held: np.ndarray) -> np.ndarray:
        """The move of each code along which its score goes down most, of length 1 in deviations of codes, that leaves all held n . c.

        codes (row, *dims), held (factor, code) -> (row, *dims). Errors: `InputError` where what is held leaves nothing.
        """
        u = self.space.white(codes)
        k, m = u.shape[1], self.leading
        products = np.zeros((m, m))
        products[np.triu_indices(m)] = self.w[k:]
        g = np.tile(self.w[:k], (len(u), 1))
        g[:, :m] += u[:, :m] @ (products + products.T)
        if np.size(held):
            _, sizes, span = np.linalg.svd(self.space.normals(held), full_matrices=False)
            span = span[sizes > 1e-9 * sizes[0]]
            if len(span) == k:
                raise InputError(f"codes vary in {k} dimensions, and what is held leaves none: hold fewer")
            g = g - (g @ span.T) @ span
        length = np.linalg.norm(g, axis=1, keepdims=True)
        ways = -np.divide(g, length, out=np.zeros_like(g), where=length > 0)
        return self.space.moves(ways).reshape(codes.shape)

    def _features(self, u: np.ndarray) -> np.ndarray:
        i, j = np.triu_indices(self.leading)
        return np.concatenate([u, u[:, i] * u[:, j]], 1)
