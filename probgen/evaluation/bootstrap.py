"""Bootstrap intervals (Efron 1979)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np


def interval(
    measure: Callable[..., float],
    sizes: Sequence[int],
    *,
    least: float = -math.inf,
    most: float = math.inf,
    times: int = 200,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Between which values a measure lies: the basic interval (Davison & Hinkley 1997, eq. 5.6).

    It reflects what resampling does about the measure itself, since a distance grows when rows come twice, and a count of
    modes shrinks: a percentile would keep that bias, and lie beside the value.

    measure      of one vector of weights (row,) a set: how often each of its rows was drawn
    sizes        rows of each set
    least, most  what the measure can be

    Where the measure is not finite, so are both ends.
    """
    rng = np.random.default_rng(seed)
    value = measure(*(np.ones(n, dtype=np.int64) for n in sizes))
    if not math.isfinite(value):
        return value, value
    found = [measure(*(rng.multinomial(n, np.full(n, 1 / n)) for n in sizes)) for _ in range(times)]
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return float(np.clip(2 * value - high, least, most)), float(np.clip(2 * value - low, least, most))


def mean_interval(
    values: np.ndarray, seed: int = 0, *, times: int = 200, level: float = 0.95
) -> tuple[float, float]:
    """Of the mean of values (row,), by percentiles: a mean has no bias, and that of shares stays a share."""
    rng = np.random.default_rng(seed)
    n = len(values)
    found = [rng.multinomial(n, np.full(n, 1 / n)) @ values / n for _ in range(times)]
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
