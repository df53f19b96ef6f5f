"""How many different things a generator makes, by the birthday paradox (Arora, Risteski & Zhang 2018)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2

from probgen.evaluation import intervals
from probgen.evaluation.manifold import TIE, centered, squared_distances


@dataclass(frozen=True)
class Pairs:
    """Pairs of n rows that are the same.

    number    how many there are
    variance  of that number, over other sets of n rows of the same law: what a Poisson number has, and more where equal rows
              come in clumps
    """

    n: int
    number: int
    variance: float

    @property
    def effective(self) -> float:
        """How many pairs of a Poisson number vary as much beside their mean."""
        if not self.number:
            return 0.0
        # without variance all pairs are the same: as sure as so many are
        return self.number**2 / self.variance if self.variance > 0 else float(self.number)


def pairs(x: np.ndarray, radius: float) -> Pairs:
    """Pairs of rows (row, feature) that are no further apart than that; ties as of `neighbors`.

    Their number is a U-statistic (Hoeffding 1948, eq. 5.13):  Var = N p (1 - p) + 6 C(n, 3) (q - p^2),  of N = n (n - 1) / 2
    pairs of which each is the same with probability p; q: that two others are the same as one, d_i (d_i - 1) of each row
    with d_i others.
    """
    x, _ = centered(x, x)
    n, others = len(x), np.zeros(len(x))
    for rows, d in squared_distances(x, x):
        d[np.arange(len(d)), np.arange(n)[rows]] = np.inf  # a row is no pair
        others[rows] = (d <= radius**2 * (1 + TIE)).sum(1)
    number = int(others.sum()) // 2
    N, triples = n * (n - 1) / 2, n * (n - 1) * (n - 2)
    p, q = number / N, float((others * (others - 1)).sum()) / triples
    return Pairs(n, number, N * p * (1 - p) + triples * max(q - p**2, 0.0))


def support_size(found: Pairs) -> tuple[float, float, float]:
    """The size of the support of rows of which pairs are the same, and a 95 % interval: by the ratio to all pairs.

    N things that are equally likely give n (n - 1) / 2N pairs on average; where they are not, 1 / N is the probability
    that two draws are the same, and the true support is larger. Without a pair the estimate is that of one pair, and the
    upper end of the interval is NaN: it is not known.
    """
    outside, c = (1 - intervals.LEVEL) / 2, found.effective
    each = found.number / c if c else 1.0  # pairs of a clump
    most = each * chi2.ppf(1 - outside, 2 * (c + 1)) / 2
    least = each * chi2.ppf(outside, 2 * c) / 2 if c else math.nan
    N = found.n * (found.n - 1) / 2
    return N / max(found.number, 1), float(N / most), float(N / least)


def relative_support(draws: Pairs, data: Pairs) -> tuple[float, float, float]:
    """The size of the support of draws, as a multiple of that of as many rows of data, and a 95 % interval.

    The ratio of the numbers of pairs. Without a pair of draws it is that of one pair, and the upper end of the interval is NaN:
    it is not known.
    """
    c, b = draws.effective, data.effective
    low, high = intervals.of_ratio_of_counts(b, c)
    scale = (data.number / b if b else 1.0) / (draws.number / c if c else 1.0)  # pairs of a clump of either
    return data.number / max(draws.number, 1), low * scale, high * scale if c else math.nan
