"""Tests of whether two histograms, or two sets of numbers, come from the same distribution.

The tests use permutations, and are also exact for few or equal rows.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.stats import mannwhitneyu

PERMUTATIONS = 9_999  # the smallest p-value is 1e-4
ENOUGH = 50  # permutations that are as uneven; with these the p-value is precise enough
AT_ONCE = 500  # permutations per batch


def same_histogram(a: np.ndarray, b: np.ndarray, seed: int = 0) -> float:
    """Return the p-value of the hypothesis that the counts of two sets come from the same distribution.

    The statistic is Pearson's chi-square (Pearson 1900). Its distribution is computed by random division of
    the same rows into two sets of these sizes. The p-value is exact for any number of rows in a cell (Pitman
    1937). With the chi-square distribution, rare cells would give too many alarms: 0.066 instead of 0.001,
    for 50 modes of shares 1 / i^2, 10,000 rows and 200 samples. Permutations end with the 50th that is as
    uneven (Besag & Clifford 1991), so that a large p-value needs few of them.

    Args:
        a: Counts of the first set, (cell,).
        b: Counts of the second set over the same cells, (cell,).
        seed: Seed of the permutations.

    Returns:
        The p-value.
    """
    a, b = (x[a + b > 0].astype(np.int64) for x in (a, b))
    expected = (a + b) * (b.sum() / (a + b).sum())
    # the statistic of b alone: for both sets it is the same up to a constant factor, since a + b is fixed
    return _permuted(a, b, lambda counts: ((counts - expected) ** 2 / expected).sum(-1), seed)


def same_ranks(a: np.ndarray, b: np.ndarray, seed: int = 0) -> float:
    """Return the two-sided p-value of the rank test of two sets of numbers (Mann & Whitney 1947).

    The test uses the normal distribution; if most numbers are tied, it uses permutations as in
    `same_histogram`.

    Args:
        a: Numbers, (row,).
        b: Numbers, (row,).
        seed: Seed of the permutations.

    Returns:
        The p-value.
    """
    values, where = np.unique(np.concatenate([a, b]), return_inverse=True)
    if len(values) > (len(a) + len(b)) / 2:
        return float(mannwhitneyu(a, b).pvalue)
    of_a, of_b = (np.bincount(part, minlength=len(values)) for part in np.split(where, [len(a)]))
    rank = (of_a + of_b).cumsum() - (of_a + of_b - 1) / 2  # equal numbers have their mean rank
    middle = len(b) * (len(a) + len(b) + 1) / 2
    return _permuted(of_a, of_b, lambda counts: np.abs(counts @ rank - middle), seed)


def _permuted(
    a: np.ndarray, b: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray], seed: int
) -> float:
    """Return the share of random divisions of both sets whose statistic is at least as large."""
    both, n = a + b, int(b.sum())
    if len(both) < 2:
        return 1.0
    rng = np.random.default_rng(seed)
    least, beyond = statistic(b) * (1 - 1e-12), 0
    step = min(AT_ONCE, max(1, (1 << 22) // len(both)))
    for start in range(0, PERMUTATIONS, step):
        times = min(step, PERMUTATIONS - start)
        found = statistic(rng.multivariate_hypergeometric(both, n, times, method="marginals")) >= least
        if beyond + found.sum() >= ENOUGH:
            return float(ENOUGH / (start + 1 + np.searchsorted(found.cumsum(), ENOUGH - beyond)))
        beyond += int(found.sum())
    return (1 + beyond) / (1 + PERMUTATIONS)
