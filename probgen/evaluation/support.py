"""The number of different samples of a generator, by the birthday paradox (Arora, Risteski & Zhang 2018)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2

from probgen.evaluation import intervals
from probgen.evaluation.manifold import TIE, centered, squared_distances


@dataclass(frozen=True)
class Pairs:
    """Pairs of equal rows among n rows.

    Attributes:
        n: Number of rows.
        number: Number of pairs.
        variance: Variance of the number over other sets of n rows of the same distribution: the variance of a
            Poisson count, and more if equal rows form clusters.
    """

    n: int
    number: int
    variance: float

    @property
    def effective(self) -> float:
        """The Poisson count with the same relative variance."""
        if not self.number:
            return 0.0
        # without variance every pair is equal, and the count itself is used
        return self.number**2 / self.variance if self.variance > 0 else float(self.number)


def pairs(x: np.ndarray, radius: float) -> Pairs:
    """Count the pairs of rows that are not further apart than a radius; ties are treated as in `neighbors`.

    The count is a U-statistic (Hoeffding 1948, eq. 5.13):  Var = N p (1 - p) + 6 C(n, 3) (q - p^2),  for N = n (n - 1) / 2
    pairs that are equal with probability p each. q is the probability that two other rows are equal to one row; a row
    with d_i equal rows has d_i (d_i - 1) such pairs.

    Args:
        x: Rows, (row, feature).
        radius: Greatest distance of equal rows.

    Returns:
        The pairs.
    """
    x, _ = centered(x, x)
    n, others = len(x), np.zeros(len(x))
    for rows, d in squared_distances(x, x):
        d[np.arange(len(d)), np.arange(n)[rows]] = np.inf  # a row does not form a pair with itself
        others[rows] = (d <= radius**2 * (1 + TIE)).sum(1)
    number = int(others.sum()) // 2
    N, triples = n * (n - 1) / 2, n * (n - 1) * (n - 2)
    p, q = number / N, float((others * (others - 1)).sum()) / triples
    return Pairs(n, number, N * p * (1 - p) + triples * max(q - p**2, 0.0))


def support_size(found: Pairs) -> tuple[float, float, float]:
    """Return the size of the support and its 95 % interval, from the share of equal pairs.

    N equally likely things have n (n - 1) / 2N equal pairs on average. If they are not equally likely, 1 / N
    is the probability that two samples are equal, and the true support is larger. Without an equal pair the
    estimate is that for one pair, and the upper end of the interval is NaN (unknown).

    Args:
        found: Pairs of equal rows.

    Returns:
        The estimate, and both ends of the interval.
    """
    outside, c = (1 - intervals.LEVEL) / 2, found.effective
    each = found.number / c if c else 1.0  # pairs per cluster
    most = each * chi2.ppf(1 - outside, 2 * (c + 1)) / 2
    least = each * chi2.ppf(outside, 2 * c) / 2 if c else math.nan
    N = found.n * (found.n - 1) / 2
    return N / max(found.number, 1), float(N / most), float(N / least)


def relative_support(draws: Pairs, data: Pairs) -> tuple[float, float, float]:
    """Return the support size of samples relative to an equal number of data rows, and its 95 % interval.

    It is the ratio of the numbers of equal pairs. Without an equal pair of samples the estimate is that for
    one pair, and the upper end of the interval is NaN (unknown).

    Args:
        draws: Pairs of equal samples.
        data: Pairs of equal data rows.

    Returns:
        The estimate, and both ends of the interval.
    """
    c, b = draws.effective, data.effective
    low, high = intervals.of_ratio_of_counts(b, c)
    scale = (data.number / b if b else 1.0) / (draws.number / c if c else 1.0)  # ratio of pairs per cluster
    return data.number / max(draws.number, 1), low * scale, high * scale if c else math.nan
