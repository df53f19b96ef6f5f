"""Can a classifier tell draws from data? (Lopez-Paz & Oquab 2017)"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import binom
from sklearn.neighbors import KNeighborsClassifier

from probgen.evaluation.manifold import centered


@dataclass(frozen=True)
class TwoSample:
    """right: (row,) whether each held-out row was told right; p_value: of as many or more under one law for both."""

    right: np.ndarray
    p_value: float

    @property
    def accuracy(self) -> float:
        """Half where both are of one law."""
        return float(self.right.mean())


def classifier_two_sample(real: np.ndarray, fake: np.ndarray, seed: int = 0) -> TwoSample:
    """As many real rows as draws (row, feature), one half to learn from and one to be told apart.

    The classifier goes by the sqrt(n) nearest of the n rows that it learned from, on features of unit variance.
    """
    rng = np.random.default_rng(seed)
    n = min(len(real), len(fake))
    real, fake = centered(real, fake)
    x = np.concatenate([s[rng.permutation(len(s))[:n]] for s in (real, fake)])
    x = x / np.maximum(x.std(0), 1e-12)
    y = np.repeat([0, 1], n)
    learned = np.concatenate([np.arange(n) < n // 2] * 2)
    k = max(1, math.isqrt(int(learned.sum()))) | 1  # odd: no ties
    # in random order: among rows that are equally near, those that stand first are taken
    order = rng.permutation(np.flatnonzero(learned))
    told = KNeighborsClassifier(k).fit(x[order], y[order]).predict(x[~learned])
    right = told == y[~learned]
    return TwoSample(right.astype(np.float64), float(binom.sf(right.sum() - 1, len(right), 0.5)))
