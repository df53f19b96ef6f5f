"""How many different things a generator makes, by the birthday paradox (Arora, Risteski & Zhang 2018)."""

from __future__ import annotations

import numpy as np
from scipy.stats import chi2
from sklearn.neighbors import NearestNeighbors

from probgen.evaluation.manifold import centred


def pairs(x: np.ndarray, radius: float) -> int:
    """How many pairs of rows (row, feature) are no further apart than that."""
    x, _ = centred(x, x)
    return (
        int(NearestNeighbors(radius=radius).fit(x).radius_neighbors_graph().nnz) // 2
    )  # a row is not near itself


def support_size(n: int, found: int, level: float = 0.95) -> tuple[float, float, float]:
    """The size of the support of n draws of which `found` pairs are the same, and an interval.

    N things that are equally likely give n (n - 1) / 2N pairs on average; where they are not, 1 / N is the probability
    that two draws are the same, and the true support is larger. The number of pairs is nearly Poisson (interval:
    Garwood 1936). Without a pair the estimate and its upper end are infinite.
    """
    outside = (1 - level) / 2
    most = chi2.ppf(1 - outside, 2 * (found + 1)) / 2
    least = chi2.ppf(outside, 2 * found) / 2 if found else 0.0
    size, low, high = (n * (n - 1) / (2 * c) if c else np.inf for c in (found, most, least))
    return size, low, high
