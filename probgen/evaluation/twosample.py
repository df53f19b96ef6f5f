"""A classifier two-sample test of samples and data (Lopez-Paz & Oquab 2017)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import binom
from sklearn.neighbors import KNeighborsClassifier

from probgen.evaluation.manifold import centered


@dataclass(frozen=True)
class TwoSample:
    """The result of a classifier two-sample test.

    Attributes:
        right: Whether each held-out row was classified correctly, (row,).
        p_value: Probability of as many correct rows or more if both sets have the same distribution.
    """

    right: np.ndarray
    p_value: float

    @property
    def accuracy(self) -> float:
        """The share of correct rows; about 1/2 if both sets have the same distribution."""
        return float(self.right.mean())


def classifier_two_sample(real: np.ndarray, fake: np.ndarray, seed: int = 0) -> TwoSample:
    """Train a classifier of real rows and samples on one half, and test it on the other half.

    As many real rows as samples are used. The classifier uses the sqrt(n) nearest of its n training rows, on
    features of unit variance.

    Args:
        real: Real rows, (row, feature).
        fake: Samples, (row, feature).
        seed: Seed of the split.

    Returns:
        Correct rows and the p-value.
    """
    rng = np.random.default_rng(seed)
    n = min(len(real), len(fake))
    real, fake = centered(real, fake)
    x = np.concatenate([s[rng.permutation(len(s))[:n]] for s in (real, fake)])
    x = x / np.maximum(x.std(0), 1e-12)
    y = np.repeat([0, 1], n)
    learned = np.concatenate([np.arange(n) < n // 2] * 2)
    k = max(1, math.isqrt(int(learned.sum()))) | 1  # odd: no ties
    # in random order, because the classifier takes the first of equally near rows
    order = rng.permutation(np.flatnonzero(learned))
    told = KNeighborsClassifier(k).fit(x[order], y[order]).predict(x[~learned])
    right = told == y[~learned]
    return TwoSample(right.astype(np.float64), float(binom.sf(right.sum() - 1, len(right), 0.5)))
