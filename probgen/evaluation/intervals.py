"""95 % intervals of measures of two sets of rows. Both sets are random: intervals hold the expected value of the measure.

Rows that come twice change what a nearest neighbor is, so nothing here resamples with replacement. How much a measure varies is
read off halves of the rows without a row in common, which are independent sets:

    E (T(A) - T(B))^2 / 2 = Var T        A and B of n / 2 rows each (Politis, Romano & Wolf 1999, chapter 2)

`tests/benchmarks/coverage.py` measures how often each interval holds the expected value; docs/results.md has the figures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy.stats import beta, binom, f, norm, t

LEVEL = 0.95
SPLITS = 20  # into halves

Interval = tuple[float, float]


def of_share(p: float, n: int, variance: float | None = None) -> Interval:
    """Of a share p of n rows, with the variance of p where the rows are not independent; within 0 and 1.

    Clopper & Pearson (1934), of as many independent rows as have this variance (Korn & Graubard 1998), at most n.
    """
    size = float(n)
    if variance is not None and variance > 0 and 0 < p < 1:
        size = min(size, p * (1 - p) / variance)
    outside, right = (1 - LEVEL) / 2, p * size
    low = beta.ppf(outside, right, size - right + 1) if right > 0 else 0.0
    high = beta.ppf(1 - outside, right + 1, size - right) if right < size else 1.0
    return float(low), float(high)


def of_mean(value: float, variance: float, *, least: float = -math.inf) -> Interval:
    """Student's, by a variance that was read off `SPLITS` splits."""
    wide = float(t.ppf((1 + LEVEL) / 2, SPLITS)) * math.sqrt(variance)
    return max(least, value - wide), value + wide


def of_distance(value: float, linear: float, null: float) -> Interval:
    """Of a distance between two sets that is a squared length, at least 0: the theta for which

        (value - theta)^2 <= z^2 (w theta - null),    w = linear / value

    since a squared length sigma^2 chi^2_r(lambda) has the mean theta = sigma^2 (r + lambda) and the variance
    sigma^4 (2 r + 4 lambda) = 4 sigma^2 theta - null. A variance at the value itself in place of theta's would be small
    where the value is small by chance (Wilson 1927 has the same of a share).

    linear  the variance in the first order of the two sets
    null    the variance if there were no distance; both ends are infinite where the value or one of these is
    """
    if not math.isfinite(value + linear + null):
        return value, math.inf
    if value <= 0:
        return 0.0, 0.0
    # squared lengths have a longer tail than normals: Student's, of half as many degrees of freedom as there are splits
    z, w = float(t.ppf((1 + LEVEL) / 2, SPLITS // 2)), linear / value
    middle = value + z**2 * w / 2
    wide = z * math.sqrt(max(w * value + z**2 * w**2 / 4 - null, 0.0))
    return max(0.0, middle - wide), middle + wide


def split(
    sizes: Sequence[int], parts: int, rng: np.random.Generator, most: int | None = None
) -> list[list[np.ndarray]]:
    """Rows of each set in random parts of equal size, none in two: [part][set] -> (row,). Of at most `most` rows of each."""
    orders = [rng.permutation(n)[:most] for n in sizes]
    return [
        [order[i * (len(order) // parts) :][: len(order) // parts] for order in orders] for i in range(parts)
    ]


def variances_by_halves(
    measure: Callable[..., float], sizes: Sequence[int], seed: int, *, times: int = SPLITS
) -> Interval:
    """`linear` and `null` of a distance (see `of_distance`), of the rows of each set: `measure(*rows)`, (row,) each.

    Its variance has a part a that falls with the number of rows, which is 0 where there is no distance, and b = null, which falls
    with the square. Halves have 2 a + 4 b, quarters 4 a + 16 b, and linear is a + 2 b. Infinite where a part has no finite measure.
    """
    rng = np.random.default_rng(seed)
    squares: dict[int, list[float]] = {2: [], 4: []}
    for _ in range(times):
        quarters = split(sizes, 4, rng)
        halves = [[np.concatenate(both) for both in zip(*quarters[i : i + 2], strict=True)] for i in (0, 2)]
        for parts in (halves, quarters):
            values = [measure(*part) for part in parts]
            squares[len(parts)] += [(a - b) ** 2 / 2 for a, b in zip(values[::2], values[1::2], strict=True)]
    two, four = (float(np.mean(found)) for found in squares.values())
    if not math.isfinite(two + four):
        return math.inf, math.inf
    return two / 2, min(max((four - 2 * two) / 8, 0.0), two / 4)


def of_median(values: np.ndarray) -> tuple[float, float, float]:
    """The median of values (row,) and an interval by order statistics (Thompson 1936), whatever their distribution."""
    x, n = np.sort(values), len(values)
    below = int(binom.ppf((1 - LEVEL) / 2, n, 0.5))
    return float(np.median(x)), float(x[max(0, below - 1)]), float(x[min(n - 1, n - below)])


def of_ratio_of_medians(a: np.ndarray, b: np.ndarray) -> Interval:
    """Of median(a) / median(b), both of values (row,) of at least 0; the ends are 0 and infinite where a median of 0 is possible.

    From the intervals of both medians, which are taken as logarithms (Donner & Zou 2012, eq. 7: recovered variances).
    """
    with np.errstate(divide="ignore"):
        (m, low_m, high_m), (k, low_k, high_k) = (np.log(of_median(x)) for x in (a, b))
    if not np.isfinite([m, k]).all():
        return math.nan, math.nan
    below = math.hypot(m - low_m, high_k - k) if np.isfinite(low_m) else math.inf
    above = math.hypot(high_m - m, k - low_k) if np.isfinite(low_k) else math.inf
    return math.exp(m - k - below), math.exp(m - k + above) if math.isfinite(above) else math.inf


def of_ratio_of_counts(a: float, b: float) -> Interval:
    """Of the ratio of the means of two counts that are Poisson (Clopper & Pearson 1934, as an F); without a b infinite above.

    Counts that vary more than Poisson's are given as so many that vary as much: mean^2 / variance.
    """
    outside = (1 - LEVEL) / 2
    low = a / (b + 1) / f.ppf(1 - outside, 2 * (b + 1), 2 * a) if a else 0.0
    high = (a + 1) / b * f.ppf(1 - outside, 2 * (a + 1), 2 * b) if b else math.inf
    return float(low), float(high)


def of_number(seen: np.ndarray) -> Interval:
    """Of how many things are seen in a number of draws; seen: how often each was, (thing,).

    A thing with a Poisson mean m is missed with probability e^-m, so the number varies by sum e^-m (1 - e^-m), for m after
    r draws with Jeffreys' prior: Gamma(r + 1/2, 1).
    """
    r = seen + 0.5
    wide = float(norm.ppf((1 + LEVEL) / 2)) * math.sqrt(float((2.0**-r - 3.0**-r).sum()))
    number = float((seen > 0).sum())
    return max(0.0, number - wide), min(float(len(seen)), number + wide)
