"""How many different things a generator makes, by the birthday paradox (Arora, Risteski & Zhang 2018)."""

from __future__ import annotations

import numpy as np
from scipy.stats import chi2, f

from probgen.evaluation.manifold import centred, squared_distances


def pairs(x: np.ndarray, radius: float) -> int:
    """How many pairs of rows (row, feature) are no further apart than that."""
    x, _ = centred(x, x)
    near = 0
    for rows, d in squared_distances(x, x):
        d[np.arange(len(d)), np.arange(len(x))[rows]] = (
            np.inf
        )  # a row is no pair; rounded, the way to itself may be above 0
        near += int((d <= radius**2).sum())
    return near // 2  # each twice


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


def relative_support(found: int, of_data: int, level: float = 0.95) -> tuple[float, float, float]:
    """The size of the support of draws, as a multiple of that of as many rows of data, and an interval.

    found, of_data  pairs that are the same. Both are nearly Poisson, and the interval is that of a ratio of two (the
                    binomial of Clopper & Pearson 1934 as an F). Without a pair of draws both ends above are infinite.
    """
    outside = (1 - level) / 2
    low = of_data / (found + 1) / f.ppf(1 - outside, 2 * (found + 1), 2 * of_data) if of_data else 0.0
    high = (of_data + 1) / found * f.ppf(1 - outside, 2 * (of_data + 1), 2 * found) if found else np.inf
    return (of_data / found if found else np.inf), float(low), float(high)
