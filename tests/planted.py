"""A generator of which everything is known: which way in its codes each attribute changes, and in which layer it is read."""

from __future__ import annotations

import numpy as np


class Planted:
    """w = M z; attribute k is tanh of what its layer says along q_k; an image is a sum of patterns, one an attribute.

    d          dimensions of a code
    cosine     between any two of the planted q_k
    condition  of the covariance's root: the largest deviation of w over the least
    noise      deviation of the error of each score
    null       further attributes that read nothing of the codes: their scores are noise
    spread     parts of the weight of an attribute in its layer and in the next ones
    """

    def __init__(
        self,
        seed: int,
        *,
        d: int = 64,
        layers: int = 8,
        attributes: int = 6,
        null: int = 0,
        cosine: float = 0.0,
        condition: float = 1.0,
        noise: float = 0.3,
        spread: tuple[float, ...] = (1.0,),
    ):
        self.rng = rng = np.random.default_rng(seed)
        self.d, self.layers, self.null, self.noise, self.spread = d, layers, null, noise, spread
        alike = np.full((attributes, attributes), cosine) + (1 - cosine) * np.eye(attributes)
        self.q = np.linalg.cholesky(alike) @ _rotation(rng, d)[:attributes]
        self.layer = rng.permutation(layers - len(spread) + 1)[:attributes]
        self.M = (_rotation(rng, d) * np.geomspace(condition**0.5, condition**-0.5, d)) @ _rotation(rng, d)
        self.reach = np.linalg.norm(self.q @ self.M, axis=1)  # deviation of q_k . w
        self.patterns = rng.random((attributes, 100))
        self.inverse = np.linalg.pinv(self.patterns)

    def codes(self, n: int) -> np.ndarray:
        """(row, d)."""
        return self.rng.standard_normal((n, self.d)) @ self.M.T

    def styles(self, w: np.ndarray) -> np.ndarray:
        """The same in every layer: (row, layer, d)."""
        return np.repeat(w[:, None], self.layers, 1)

    def ways(self, normals: np.ndarray) -> np.ndarray:
        """The way that draws differ where n . c does, in every layer: (factor, layer, d)."""
        return np.repeat((normals @ self.M @ self.M.T)[:, None], self.layers, 1)

    def decode(self, styles: np.ndarray) -> np.ndarray:
        """(row, layer, d) -> (row, pixel)."""
        read = sum(
            part * np.einsum("nkd,kd->nk", styles[:, self.layer + i], self.q)
            for i, part in enumerate(self.spread)
        )
        return np.tanh(read / self.reach) @ self.patterns

    def score(self, x: np.ndarray) -> np.ndarray:
        """What someone who errs says of images: (row, factor)."""
        known = x @ self.inverse
        known = np.concatenate([known, np.zeros((len(x), self.null))], 1)
        return known + self.noise * self.rng.standard_normal(known.shape)

    def drawn(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Codes and their scores."""
        w = self.codes(n)
        return w, self.score(self.decode(self.styles(w)))

    def seen(self, styles: np.ndarray) -> np.ndarray:
        """Scores of codes with layers."""
        return self.score(self.decode(styles))


def _rotation(rng: np.random.Generator, d: int) -> np.ndarray:
    return np.linalg.qr(rng.standard_normal((d, d)))[0]
