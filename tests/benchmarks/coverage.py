"""How often the intervals of `diagnose` cover the expected value.

Rows and samples are simulated from 8 Gaussian modes with standard deviation 0.5 in 2, 5 or 10 dimensions. The
modes have equal shares, or shares of 1 / i^2; in other settings a tenth of the rows is at one point, or rows
are whole numbers. Samples have the distribution of the rows, or are 1.3 times as wide around their modes. An
interval covers if the mean of the measure over all runs lies in it.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from scipy.stats import binom

from probgen.evaluation.diagnosis import diagnose
from probgen.evaluation.modes import Modes

SIZES = ((100, 1000), (200, 200), (1000, 1000), (2000, 500))
DIMENSIONS = (2, 5, 10)
LAWS = ("even", "1/i^2", "an atom", "whole numbers")
WIDER = (1.0, 1.3)
MODES, WIDTH = 8, 0.5


def modes_in(dimensions: int) -> Modes:
    """The centers of the simulated modes, the same at every call."""
    centers = 3 * np.random.default_rng(5).normal(size=(MODES, dimensions))
    return Modes(centers, np.full_like(centers, WIDTH))


def shares(law: str, modes: int = MODES) -> np.ndarray:
    """Of the modes: (mode,)."""
    p = 1 / np.arange(1, modes + 1) ** 2 if law == "1/i^2" else np.ones(modes)
    return p / p.sum()


def rows_of(law: str, dimensions: int, n: int, rng: np.random.Generator, wider: float = 1.0) -> np.ndarray:
    """n rows of a law, or of what is wider about its modes: (row, feature)."""
    centers = modes_in(dimensions).mean
    x = centers[rng.choice(MODES, n, p=shares(law))] + wider * WIDTH * rng.normal(size=(n, dimensions))
    if law == "an atom":
        x[rng.random(n) < 0.1] = centers[0]
    return np.round(x) if law == "whole numbers" else x


def held(
    law: str, dimensions: int, n: int, m: int, wider: float, runs: int
) -> dict[str, tuple[float, float]]:
    """The mean of each measure over the runs, and the share of the intervals that hold it."""
    locate, found = modes_in(dimensions).locate, []
    for seed in range(runs):
        rng = np.random.default_rng([seed, n, m])
        real, fake = rows_of(law, dimensions, n, rng), rows_of(law, dimensions, m, rng, wider)
        report = diagnose(real, fake, locate, MODES, seed=seed)
        found.append(report[["value", "low", "high"]].to_dataarray().values)
        names = list(map(str, report["measure"].values))
    value, low, high = np.array(found).transpose(1, 2, 0)  # (measure, run)
    out = {}
    for i, name in enumerate(names):
        some = np.isfinite(value[i])
        if not some.any():
            continue
        # the support is that of infinitely many rows: the ratio of the means of two counts, near the median of the ratios
        truth = float(np.median(value[i]) if name == "support" else value[i][some].mean())
        above = np.where(np.isnan(high[i]), np.inf, high[i])
        out[name] = truth, float(((low[i] <= truth + 1e-12) & (truth <= above + 1e-12))[some].mean())
    return out


def coverage(runs: int) -> None:
    """A line a setting, and the least and the most of each measure over all of them."""
    ends: dict[str, list[float]] = {}
    for (n, m), dimensions, law, wider in product(SIZES, DIMENSIONS, LAWS, WIDER):
        found = held(law, dimensions, n, m, wider, runs)
        line = ", ".join(f"{name} {truth:.3g}: {share:.3f}" for name, (truth, share) in found.items())
        print(
            f"{n}/{m} rows/samples, {dimensions} dimensions, {law}, {wider} times as wide: {line}", flush=True
        )
        for name, (_, share) in found.items():
            ends.setdefault(name, []).append(share)
    noise = binom.ppf([0.025, 0.975], runs, 0.95) / runs
    print(f"{runs} runs each: a coverage of 0.95 is observed between {noise[0]:.3f} and {noise[1]:.3f}")
    for name, values in ends.items():
        few = np.mean(np.array(values) < 0.93)
        print(
            f"{name}: {np.mean(values):.3f}, {min(values):.3f} to {max(values):.3f}; below 0.93 in {few:.0%} of the settings"
        )


def main() -> None:
    """200 runs a setting: hours."""
    coverage(200)
