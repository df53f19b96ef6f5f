"""The direction at each code in which a score decreases most.

It suits scores whose bad codes lie between clusters of good codes, where no hyperplane separates them.
"""

from __future__ import annotations

import numpy as np

from probgen.errors import InputError
from probgen.latents.whitening import Whitened

LEADING = 16  # principal components with products in the regression
RIDGE = 30.0  # penalty, in the weight of this many rows


class Slope:
    """A quadratic regression of scores on codes.

    Codes are whitened: principal components of standard deviation 1. The regression is linear in all of them,
    and quadratic in the leading 16.

    Args:
        codes: Codes, (row, ...); they are flattened.
        scores: Scores, (row,).
    """

    def __init__(self, codes: np.ndarray, scores: np.ndarray):
        self.space = Whitened(codes)
        self.leading = min(LEADING, len(self.space.axes))
        X = self._features(self.space.white(codes))
        self.middle, self.level = X.mean(0), float(np.mean(scores))
        X = X - self.middle
        self.w = np.linalg.solve(X.T @ X + RIDGE * np.eye(X.shape[1]), X.T @ (scores - self.level))

    def predict(self, codes: np.ndarray) -> np.ndarray:
        """Return predicted scores of codes.

        Args:
            codes: Codes, (row, ...).

        Returns:
            Scores, (row,).
        """
        return np.asarray((self._features(self.space.white(codes)) - self.middle) @ self.w + self.level)

    def down(self, codes: np.ndarray, held: np.ndarray) -> np.ndarray:
        """Return, for each code, the move that decreases its score most and leaves all fixed n . c unchanged.

        Args:
            codes: Codes, (row, *dims).
            held: Normals of the fixed attributes, (factor, code).

        Returns:
            Moves of length 1 in deviations of codes, (row, *dims); 0 where the slope is 0.

        Raises:
            InputError: When the fixed attributes leave no direction.
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
                raise InputError(
                    f"held: codes vary in {k} dimensions, and the held attributes fix all of them. Hold fewer attributes."
                )
            g = g - (g @ span.T) @ span
        length = np.linalg.norm(g, axis=1, keepdims=True)
        ways = -np.divide(g, length, out=np.zeros_like(g), where=length > 0)
        return self.space.moves(ways).reshape(codes.shape)

    def _features(self, u: np.ndarray) -> np.ndarray:
        i, j = np.triu_indices(self.leading)
        return np.concatenate([u, u[:, i] * u[:, j]], 1)
