"""Modes: the mode of each row, the distance to it, and the histogram of samples over the modes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2
from sklearn.cluster import KMeans

from probgen.errors import InputError

# share of a Gaussian in two dimensions within 3 standard deviations
CEILING = 1 - np.exp(-4.5)


@dataclass(frozen=True)
class Located:
    """Rows with their modes.

    Attributes:
        mode: Index of the nearest mode, (row,).
        distance: Distance to the mode in standard deviations, (row,); None if modes are classes without a
            center.
        features: Dimension of the space of the distance.
    """

    mode: np.ndarray
    distance: np.ndarray | None = None
    features: int = 0

    @property
    def good(self) -> np.ndarray:
        """Whether each row is of high quality: inside the region that contains 98.9 % of a Gaussian mode.

        In two dimensions this is within 3 standard deviations, the usual protocol (Srivastava et al. 2017).
        Without a distance every row is of high quality.
        """
        if self.distance is None:
            return np.ones(len(self.mode), dtype=bool)
        return self.distance**2 <= chi2.ppf(CEILING, self.features)


@dataclass(frozen=True)
class Modes:
    """Modes with a center and standard deviations.

    Attributes:
        mean: Centers, (mode, feature).
        scale: Standard deviations around the centers, (mode, feature).
    """

    mean: np.ndarray
    scale: np.ndarray

    def locate(self, x: np.ndarray) -> Located:
        """Find the mode of each row that is nearest in standard deviations.

        Args:
            x: Rows, (row, feature).

        Returns:
            Modes and distances of the rows.
        """
        x = np.asarray(x, dtype=np.float64).reshape(len(x), -1)
        mode, least = np.zeros(len(x), dtype=np.int64), np.full(len(x), np.inf)
        for i, (mean, scale) in enumerate(zip(self.mean, self.scale, strict=True)):
            square = np.square((x - mean) / scale).sum(1)
            mode, least = np.where(square < least, i, mode), np.minimum(square, least)
        return Located(mode, np.sqrt(least), x.shape[1])


def modes_of(x: np.ndarray, label: np.ndarray) -> Modes:
    """Compute one mode per label: the mean and standard deviations of its rows.

    Args:
        x: Rows, (row, feature).
        label: Labels, (row,) in 0 .. modes - 1.

    Returns:
        The modes.

    Raises:
        InputError: When a label has fewer than 2 rows.
    """
    x, label = np.asarray(x, dtype=np.float64).reshape(len(x), -1), np.asarray(label)
    counts = np.bincount(label.astype(np.int64))
    if counts.min() < 2:
        raise InputError(
            f"label {int(counts.argmin())} has {counts.min()} rows: a mode needs at least 2. Use more rows of this label."
        )
    least = 1e-3 * x.std(0).max()  # for a feature that is constant within a mode
    mean = np.stack([x[label == i].mean(0) for i in range(len(counts))])
    scale = np.stack([x[label == i].std(0, ddof=1) for i in range(len(counts))])
    return Modes(mean, np.maximum(scale, least if least > 0 else 1.0))


def cells(x: np.ndarray, k: int, seed: int = 0) -> Modes:
    """Use k-means cells of real rows as modes, for data without labels (histogram bins of Richardson & Weiss 2018).

    Args:
        x: Real rows, (row, feature).
        k: Number of cells; cells with fewer than 2 rows are left out.
        seed: Seed of k-means.

    Returns:
        The modes.
    """
    x = np.asarray(x, dtype=np.float64).reshape(len(x), -1)
    label = KMeans(k, n_init=3, random_state=seed).fit_predict(x)
    few = np.bincount(label, minlength=k) < 2
    kept = ~few[label]
    return modes_of(x[kept], np.unique(label[kept], return_inverse=True)[1])


def captured(located: Located, modes: int) -> np.ndarray:
    """Return which modes have at least one sample of high quality.

    Args:
        located: Samples with their modes.
        modes: Number of modes.

    Returns:
        True for captured modes, (mode,).
    """
    return np.bincount(located.mode[located.good], minlength=modes) > 0


def reverse_kl(counts: np.ndarray, share: np.ndarray) -> float:
    """Return KL(samples || data) of histograms over modes, in nats.

    Args:
        counts: Counts of samples, (mode,).
        share: Mode shares of the data, (mode,).

    Returns:
        The divergence; infinite if samples have a mode that the data do not have.
    """
    p = counts / counts.sum()
    some = p > 0
    with np.errstate(divide="ignore"):
        return float((p[some] * (np.log(p[some]) - np.log(share[some]))).sum())


def reverse_kl_variances(counts: np.ndarray, of_data: np.ndarray) -> tuple[float, float]:
    """Return `linear` and `null` of `reverse_kl` (see `intervals.of_distance`).

    With p of samples, q of data, and K modes with samples or data, from the first two orders of the
    expansion:

        linear = (sum p log^2(p/q) - KL^2) / m + (sum p^2/q - 1) / n        null = (K - 1) (1/m + 1/n)^2 / 2

    Args:
        counts: Counts of samples, (mode,).
        of_data: Counts of data, (mode,).

    Returns:
        Both variances; infinite if the divergence is infinite.
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
    """Return the spread of samples around their modes, relative to the data.

    It is the ratio of the median distances: a scale for any shape, which a few outliers or a cut at 3
    standard deviations do not change.

    Args:
        real: Distances of real rows from their modes, (row,).
        fake: Distances of samples from their modes, (row,).

    Returns:
        The ratio; 1 if both medians are 0, infinite if only the median of the real rows is 0.
    """
    of_fake, of_real = float(np.median(fake)), float(np.median(real))
    return of_fake / of_real if of_real > 0 else 1.0 if of_fake == 0 else math.inf
