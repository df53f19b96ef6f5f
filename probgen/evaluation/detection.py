"""Measures of a detector: a number for each row, which is larger for fakes than for real rows.

A detector calls a row a fake if its number is above a threshold. A real row that is called a fake is a false
alarm. A fake that is not called a fake is a miss.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.stats import rankdata


def area_under_curve(real: np.ndarray, fake: np.ndarray) -> tuple[float, float]:
    """Return the area under the ROC curve, and its standard error.

    The area is P(fake > real) + P(fake = real) / 2. Its variance is estimated from the mean ranks of single
    rows in the other set (DeLong, DeLong & Clarke-Pearson 1988).

    Args:
        real: Numbers of real rows, (row,); at least 2.
        fake: Numbers of fakes, (row,); at least 2.

    Returns:
        The area and its standard error.
    """
    m, n = len(real), len(fake)
    among = rankdata(np.concatenate([real, fake]))
    below = (among[m:] - rankdata(fake)) / m  # of each fake, the share of real rows below it
    above = 1 - (among[:m] - rankdata(real)) / n  # of each real row, the share of fakes above it
    variance = above.var(ddof=1) / m + below.var(ddof=1) / n
    return float(below.mean()), math.sqrt(float(variance))


def roc(real: np.ndarray, fake: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the points of the ROC curve, from (0, 0) to (1, 1), for all thresholds.

    Args:
        real: Numbers of real rows, (row,).
        fake: Numbers of fakes, (row,).

    Returns:
        Rates of false alarms and of found fakes, (threshold,) each.
    """
    thresholds = np.unique(np.concatenate([real, fake]))[::-1]
    rates = (
        np.concatenate([[0.0], 1 - np.searchsorted(np.sort(x), thresholds) / len(x)]) for x in (real, fake)
    )
    alarms, found = rates
    return alarms, found
