"""Modes: which one each row belongs to, how far it is from it, and what the histogram of draws over them says."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2
from sklearn.cluster import KMeans

from probgen.errors import InputError

CEILING = 1 - np.exp(
    -4.5
)  # of the share of high quality: a Gaussian in two dimensions within 3 standard deviations


@dataclass(frozen=True)
class Located:
    """Rows by mode.

    mode      (row,) which one is nearest
    distance  (row,) to it, in standard deviations; None where modes are classes without a place
    features  of the space in which the distance is measured
    """

    mode: np.ndarray
    distance: np.ndarray | None = None
    features: int = 0

    @property
    def good(self) -> np.ndarray:
        """Whether each row is of high quality: where the mode, if it is a Gaussian, has all but 1.1 % of its rows.

        In two dimensions that is within 3 standard deviations, the usual protocol (Srivastava et al. 2017). Without a
        distance every row is.
        """
        if self.distance is None:
            return np.ones(len(self.mode), dtype=bool)
        return self.distance**2 <= chi2.ppf(CEILING, self.features)


@dataclass(frozen=True)
class Modes:
    """Centers (mode, feature), and standard deviations around them (mode, feature)."""

    mean: np.ndarray
    scale: np.ndarray

    def locate(self, x: np.ndarray) -> Located:
        """The mode of each row, nearest in standard deviations: (row, feature)."""
        x = np.asarray(x, dtype=np.float64).reshape(len(x), -1)
        mode, least = np.zeros(len(x), dtype=np.int64), np.full(len(x), np.inf)
        for i, (mean, scale) in enumerate(zip(self.mean, self.scale, strict=True)):
            square = np.square((x - mean) / scale).sum(1)
            mode, least = np.where(square < least, i, mode), np.minimum(square, least)
        return Located(mode, np.sqrt(least), x.shape[1])


def modes_of(x: np.ndarray, label: np.ndarray) -> Modes:
    """One mode a label: mean and standard deviations of its rows. x: (row, feature), label: (row,) of 0 .. modes - 1.

    Errors: `InputError` for a label with fewer than 2 rows.
    """
    x, label = np.asarray(x, dtype=np.float64).reshape(len(x), -1), np.asarray(label)
    counts = np.bincount(label.astype(np.int64))
    if counts.min() < 2:
        raise InputError(f"label {int(counts.argmin())} has {counts.min()} rows: a mode needs at least 2")
    least = 1e-3 * x.std(0).max()  # of a feature that never varies in a mode
    mean = np.stack([x[label == i].mean(0) for i in range(len(counts))])
    scale = np.stack([x[label == i].std(0, ddof=1) for i in range(len(counts))])
    return Modes(mean, np.maximum(scale, least if least > 0 else 1.0))


def cells(x: np.ndarray, k: int, seed: int = 0) -> Modes:
    """Where nobody named modes: the k cells of k-means on real rows, as bins of a histogram (Richardson & Weiss 2018)."""
    x = np.asarray(x, dtype=np.float64).reshape(len(x), -1)
    label = KMeans(k, n_init=3, random_state=seed).fit_predict(x)
    few = np.bincount(label, minlength=k) < 2
    kept = ~few[label]
    return modes_of(x[kept], np.unique(label[kept], return_inverse=True)[1])


def captured(located: Located, modes: int) -> np.ndarray:
    """Which modes have at least one draw of high quality: (mode,)."""
    return np.bincount(located.mode[located.good], minlength=modes) > 0


def reverse_kl(counts: np.ndarray, share: np.ndarray) -> float:
    """KL(draws || data) in nats of histograms over modes: counts of draws (mode,), the modes' shares of the data (mode,).

    Infinite where draws have a mode that the data do not.
    """
    p = counts / counts.sum()
    some = p > 0
    with np.errstate(divide="ignore"):
        return float((p[some] * (np.log(p[some]) - np.log(share[some]))).sum())


def reverse_kl_variances(counts: np.ndarray, of_data: np.ndarray) -> tuple[float, float]:
    """`linear` and `null` of `reverse_kl` (see `intervals.of_distance`), of counts of draws and of data over the modes: (mode,) each.

    With p of draws, q of data, and K modes that either has, from the first two orders of the expansion:

        linear = (sum p log^2(p/q) - KL^2) / m + (sum p^2/q - 1) / n        null = (K - 1) (1/m + 1/n)^2 / 2

    Infinite where KL is.
    """
    m, n = counts.sum(), of_data.sum()
    kl = reverse_kl(counts, of_data / n)
    if not math.isfinite(kl):
        return math.inf, math.inf
    some = counts > 0
    p, q = counts[some] / m, of_data[some] / n
    linear = ((p * np.log(p / q) ** 2).sum() - kl**2) / m + ((p**2 / q).sum() - 1) / n
    either = int(((counts > 0) | (of_data > 0)).sum())
    return float(linear), min((either - 1) * (1 / m + 1 / n) ** 2 / 2, float(linear) / 2)


def spread(real: np.ndarray, fake: np.ndarray) -> float:
    """How wide draws lie around their modes, as a multiple of the data: distances (row,) of both.

    The ratio of medians: a scale, whatever the shape, which a few outliers or a cut at 3 standard deviations do not change.
    Where all rows of both are the mode itself it is 1.
    """
    of_fake, of_real = float(np.median(fake)), float(np.median(real))
    return of_fake / of_real if of_real > 0 else 1.0 if of_fake == 0 else math.inf
