"""95 % intervals of measures of two sets of rows.

Both sets are random: an interval covers the expected value of the measure. Repeated rows change nearest
neighbors, so nothing here resamples with replacement. The variance of a measure is estimated from disjoint
halves of the rows, which are independent sets:

    E (T(A) - T(B))^2 / 2 = Var T        A and B of n / 2 rows each (Politis, Romano & Wolf 1999, chapter 2)

`tests/benchmarks/coverage.py` measures how often each interval covers the expected value; docs/results.md
lists the results.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy.stats import beta, binom, f, norm, t

LEVEL = 0.95
SPLITS = 20  # number of splits into halves

Interval = tuple[float, float]


def of_share(p: float, n: int, variance: float | None = None) -> Interval:
    """Return the interval of a share of rows, within 0 and 1.

    It is the interval of Clopper & Pearson (1934). With a variance it uses the number of independent rows
    with the same variance (Korn & Graubard 1998), at most n.

    Args:
        p: The share.
        n: Number of rows.
        variance: Variance of p, if the rows are not independent.

    Returns:
        Both ends.
    """
    size = float(n)
    if variance is not None and variance > 0 and 0 < p < 1:
        size = min(size, p * (1 - p) / variance)
    outside, right = (1 - LEVEL) / 2, p * size
    low = beta.ppf(outside, right, size - right + 1) if right > 0 else 0.0
    high = beta.ppf(1 - outside, right + 1, size - right) if right < size else 1.0
    return float(low), float(high)


def of_mean(value: float, variance: float, *, least: float = -math.inf) -> Interval:
    """Return Student's interval of a mean, with a variance that was estimated from `SPLITS` splits.

    Args:
        value: The mean.
        variance: Its variance.
        least: Lower bound of the interval.

    Returns:
        Both ends.
    """
    wide = float(t.ppf((1 + LEVEL) / 2, SPLITS)) * math.sqrt(variance)
    return max(least, value - wide), value + wide


def of_distance(value: float, linear: float, null: float) -> Interval:
    """Return the interval of a squared distance between two sets, at least 0.

    It consists of the theta with

        (value - theta)^2 <= z^2 (w theta - null),    w = linear / value

    because a squared length sigma^2 chi^2_r(lambda) has the mean theta = sigma^2 (r + lambda) and the
    variance sigma^4 (2 r + 4 lambda) = 4 sigma^2 theta - null. The variance at the value, instead of theta,
    would be small whenever the value is small by chance (Wilson 1927 has the same for a share).

    Args:
        value: The squared distance.
        linear: Its variance in the first order of the two sets.
        null: Its variance if the true distance were 0.

    Returns:
        Both ends. If an argument is infinite, the interval is (value, infinity).
    """
    if not math.isfinite(value + linear + null):
        return value, math.inf
    if value <= 0:
        return 0.0, 0.0
    # squared lengths have longer tails than normals: Student's t with half as many degrees of freedom as splits
    z, w = float(t.ppf((1 + LEVEL) / 2, SPLITS // 2)), linear / value
    middle = value + z**2 * w / 2
    wide = z * math.sqrt(max(w * value + z**2 * w**2 / 4 - null, 0.0))
    return max(0.0, middle - wide), middle + wide


def split(
    sizes: Sequence[int], parts: int, rng: np.random.Generator, most: int | None = None
) -> list[list[np.ndarray]]:
    """Split the rows of each set into random disjoint parts of equal size.

    Args:
        sizes: Number of rows of each set.
        parts: Number of parts.
        rng: Random generator.
        most: Greatest number of rows of each set; None for all.

    Returns:
        Indices of rows, [part][set] -> (row,).
    """
    orders = [rng.permutation(n)[:most] for n in sizes]
    return [
        [order[i * (len(order) // parts) :][: len(order) // parts] for order in orders] for i in range(parts)
    ]


def variances_by_halves(
    measure: Callable[..., float], sizes: Sequence[int], seed: int, *, times: int = SPLITS
) -> Interval:
    """Return `linear` and `null` of a squared distance (see `of_distance`), estimated from halves and quarters.

    Its variance has a part a, which decreases with the number of rows and is 0 if the distance is 0, and a
    part b = null, which decreases with the square of the number of rows. Halves have the variance 2 a + 4 b,
    quarters 4 a + 16 b, and linear is a + 2 b.

    Args:
        measure: Function `measure(*rows)` of indices of rows of each set, (row,) each.
        sizes: Number of rows of each set.
        seed: Seed of the splits.
        times: Number of splits.

    Returns:
        Both variances; infinite if the measure is infinite for a part.
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
    """Return the median of values and its interval by order statistics (Thompson 1936), for any distribution.

    Args:
        values: Values, (row,).

    Returns:
        The median, and both ends of the interval.
    """
    x, n = np.sort(values), len(values)
    below = int(binom.ppf((1 - LEVEL) / 2, n, 0.5))
    return float(np.median(x)), float(x[max(0, below - 1)]), float(x[min(n - 1, n - below)])


def of_ratio_of_medians(a: np.ndarray, b: np.ndarray) -> Interval:
    """Return the interval of median(a) / median(b).

    It combines the intervals of the logarithms of both medians (Donner & Zou 2012, eq. 7: recovered
    variances).

    Args:
        a: Values of at least 0, (row,).
        b: Values of at least 0, (row,).

    Returns:
        Both ends; 0 or infinity if a median of 0 is possible, NaN if a median is 0.
    """
    with np.errstate(divide="ignore"):
        (m, low_m, high_m), (k, low_k, high_k) = (np.log(of_median(x)) for x in (a, b))
    if not np.isfinite([m, k]).all():
        return math.nan, math.nan
    below = math.hypot(m - low_m, high_k - k) if np.isfinite(low_m) else math.inf
    above = math.hypot(high_m - m, k - low_k) if np.isfinite(low_k) else math.inf
    return math.exp(m - k - below), math.exp(m - k + above) if math.isfinite(above) else math.inf


def of_ratio_of_counts(a: float, b: float) -> Interval:
    """Return the interval of the ratio of the means of two Poisson counts (Clopper & Pearson 1934).

    It uses the F distribution. Counts with more variance than a Poisson count are given as the equivalent
    count, mean^2 / variance.

    Args:
        a: Count in the numerator.
        b: Count in the denominator.

    Returns:
        Both ends; the upper end is infinite for b = 0.
    """
    outside = (1 - LEVEL) / 2
    low = a / (b + 1) / f.ppf(1 - outside, 2 * (b + 1), 2 * a) if a else 0.0
    high = (a + 1) / b * f.ppf(1 - outside, 2 * (a + 1), 2 * b) if b else math.inf
    return float(low), float(high)


def of_number(seen: np.ndarray) -> Interval:
    """Return the interval of the number of different things seen in a number of samples.

    A thing with a Poisson mean m is missed with probability e^-m, so the number has the variance sum e^-m (1
    - e^-m). After r sightings m has the posterior Gamma(r + 1/2, 1), by Jeffreys' prior.

    Args:
        seen: How often each thing was seen, (thing,).

    Returns:
        Both ends.
    """
    r = seen + 0.5
    wide = float(norm.ppf((1 + LEVEL) / 2)) * math.sqrt(float((2.0**-r - 3.0**-r).sum()))
    number = float((seen > 0).sum())
    return max(0.0, number - wide), min(float(len(seen)), number + wide)
