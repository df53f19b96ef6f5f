"""Percentile bootstrap intervals (Efron 1979)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np


def interval(
    measure: Callable[..., float],
    sizes: Sequence[int],
    *,
    times: int = 200,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Between which values a measure lies when its sets of rows are drawn again.

    measure  of one vector of weights (row,) a set: how often each of its rows was drawn
    sizes    rows of each set
    """
    rng = np.random.default_rng(seed)
    found = [measure(*(rng.multinomial(n, np.full(n, 1 / n)) for n in sizes)) for _ in range(times)]
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def mean_interval(values: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """Of the mean of values (row,)."""
    return interval(lambda w: float(w @ values / w.sum()), [len(values)], seed=seed)
