"""False-alarm rates of the tests of `diagnose`, and their power to detect modes out of proportion.

Each setting has 20,000 runs of the cheap tests, and 1,000 of the classifier. Mode shares are equal or 1 /
i^2; distances are those of normals in two dimensions. For the power, samples have the first mode half as
often as the data, or not at all.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from scipy.stats import chi2_contingency

from probgen.evaluation.diagnosis import ALARM, _missing, _tests
from probgen.evaluation.histograms import same_histogram
from probgen.evaluation.modes import Located
from probgen.evaluation.twosample import classifier_two_sample
from tests.benchmarks.coverage import LAWS, SIZES, rows_of, shares

RUNS = 20_000
PLANTED = (("the first half as often", 0.5), ("the first dropped", 0.0))


def alarms(runs: int) -> None:
    """False alarms of each test, and of modes that are said to be dropped; `any` is that of a verdict without the classifier."""
    for (n, m), law, modes in product((*SIZES, (10_000, 200), (100, 100)), ("even", "1/i^2"), (3, 8, 50)):
        p, rng, seen = shares(law, modes), np.random.default_rng(1), np.zeros(5)
        for seed in range(runs):
            real, fake = (
                Located(rng.choice(modes, size, p=p), np.sqrt(rng.chisquare(2, size)), 2) for size in (n, m)
            )
            found = _tests(real, fake, modes, seed)
            alarmed = [*(v < ALARM for v in found.values()), bool(_missing(real, fake, modes))]
            seen += [*alarmed, any(alarmed)]
        line = ", ".join(
            f"{name} {k / runs:.5f}" for name, k in zip((*found, "dropped", "any"), seen, strict=True)
        )
        print(f"{n}/{m} rows/samples, {modes} modes, {law}: {line}", flush=True)
    for (n, m), dimensions, law in product(SIZES, (2, 10), LAWS):
        rng = np.random.default_rng(2)
        few = max(1, runs // 20)
        told = [
            classifier_two_sample(
                rows_of(law, dimensions, n, rng), rows_of(law, dimensions, m, rng), seed
            ).p_value
            < ALARM
            for seed in range(few)
        ]
        print(
            f"{n}/{m}, {dimensions} dimensions, {law}: apart alarms in {np.mean(told):.5f} of {few}",
            flush=True,
        )


def power(runs: int) -> None:
    """Of the test of the histogram, by permutations and by the chi-square distribution, which is not valid with rare modes."""
    for (n, m), law, modes, (what, left) in product(SIZES, ("even", "1/i^2"), (3, 8, 50), PLANTED):
        p = shares(law, modes)
        other = np.where(np.arange(modes) == 0, left * p, p)
        rng, seen = np.random.default_rng(3), np.zeros(2)
        for seed in range(runs):
            a, b = rng.multinomial(n, p), rng.multinomial(m, other / other.sum())
            table = np.stack([a, b])[:, a + b > 0]
            seen += [same_histogram(a, b, seed) < ALARM, chi2_contingency(table)[1] < ALARM]
        line = " and ".join(f"{k / runs:.3f}" for k in seen)
        print(f"{n}/{m} rows/samples, {modes} modes, {law}, {what}: {line}", flush=True)


def main() -> None:
    """False alarms, then power."""
    alarms(RUNS)
    power(500)
