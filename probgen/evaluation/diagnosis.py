"""Diagnosis of the samples of a generator: all measures with intervals, and a verdict in one line.

The verdict is based on four tests against real rows that did not define the modes. Each test has a
false-alarm rate of `ALARM`:

- weights: compares the histograms of samples and real rows over the modes (Pearson's statistic, by
  permutations). Each mode without a sample is tested as well.
- outliers: counts samples that are further from their mode than all real rows. The count is hypergeometric if
  both have the same distribution.
- spread: compares distances of samples and real rows from their modes (Mann & Whitney 1947).
- apart: a classifier two-sample test, for differences that the other tests do not detect.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr
from scipy.stats import hypergeom

from probgen.errors import InputError
from probgen.evaluation import intervals
from probgen.evaluation.distances import MMD, frechet
from probgen.evaluation.histograms import same_histogram, same_ranks
from probgen.evaluation.manifold import (
    TIE,
    centered,
    check_k,
    neighbor_intervals,
    neighbors,
    squared_distances,
)
from probgen.evaluation.modes import Located, captured, reverse_kl, reverse_kl_variances, spread
from probgen.evaluation.support import pairs, relative_support
from probgen.evaluation.twosample import classifier_two_sample

ALARM = 1e-3  # false-alarm rate of each of the four tests
# nearest pairs of real rows that count as equal; their greatest distance is the radius of `support`
NEAR = 20
LEAST = 50  # rows, and samples
MOST = 1000  # at most, rows of each set for the MMD, whose kernel matrix is in memory
# with more features, eigenvalues take seconds, and variances use fewer splits
WIDE = 200

MEANING = {
    "modes": "number of modes with a good sample",
    "reverse_kl": "divergence of mode shares, samples from data, in nats; 0 if equal",
    "high_quality": "share of samples that are near their mode",
    "spread": "distance of samples from their modes, relative to data; 1 if equal",
    "precision": "share of samples that are near rows",
    "recall": "share of rows that are near samples",
    "density": "number of rows near a sample, relative to k; 1 if equal",
    "coverage": "share of rows that have a sample near them",
    "mmd": "squared maximum mean discrepancy; 0 if equal",
    "frechet": "squared Wasserstein distance of two Gaussians with the same moments; 0 if equal",
    "support": "number of different samples, relative to data",
    "accuracy": "accuracy of a classifier of samples and rows; 0.5 if equal",
}


def diagnose(
    real: np.ndarray,
    fake: np.ndarray,
    locate: Callable[[np.ndarray], Located],
    modes: int,
    *,
    k: int = 5,
    seed: int = 0,
) -> xr.Dataset:
    """Compare samples with real rows by every measure, and give a verdict.

    Args:
        real: Real rows, (row, feature).
        fake: Samples, (row, feature).
        locate: Function from rows to their modes: `Modes.locate` of modes fitted to other rows, or a
            classifier.
        modes: Number of modes.
        k: Number of neighbors for precision, recall, density and coverage.
        seed: Seed of tests and intervals.

    Returns:
        A Dataset with

        - `value`, `low`, `high` (measure): each measure and its 95 % interval. The measures are modes
          (captured modes), high_quality, reverse_kl, spread, precision, recall, density, coverage, mmd,
          frechet, support (number of different samples, relative to the data) and accuracy (of a classifier
          of samples and data; 0.5 if it cannot distinguish them). The coordinate `meaning` describes each.
        - `p_value` (test): p-values of the four tests.
        - `data`, `draws`, `missing` (mode): mode shares of data and samples, and whether a mode was dropped.
        - attributes `verdict` and, if a number is infinite, `note`, which explains it.

    Raises:
        InputError: When there are fewer than 50 rows or samples, k is out of range, or a value is not finite.
    """
    check_sizes(len(real), len(fake), k)
    real, fake = (np.asarray(x, dtype=np.float64).reshape(len(x), -1) for x in (real, fake))
    for name, x in (("rows", real), ("samples", fake)):
        if not np.isfinite(x).all():
            raise InputError(
                f"{name}: row {int((~np.isfinite(x)).any(1).argmax())} has a value that is not finite. Remove the row."
            )
    at, drawn = locate(real), locate(fake)
    found: dict[str, tuple[float, float, float]] = {}
    _by_mode(found, at, drawn, modes)
    _by_neighbors(found, real, fake, k, seed)
    _by_distance(found, real, fake, seed)
    apart = classifier_two_sample(real, fake, seed)
    found["accuracy"] = (apart.accuracy, *intervals.of_share(apart.accuracy, len(apart.right)))
    p = {**_tests(at, drawn, modes, seed), "apart": apart.p_value}
    missing = _missing(at, drawn, modes)
    note = _notes(found)
    alarms = [name for name, p_value in p.items() if p_value < ALARM]
    table = np.array(list(found.values()))
    return xr.Dataset(
        {name: ("measure", table[:, i]) for i, name in enumerate(("value", "low", "high"))}
        | {"p_value": ("test", list(p.values()))}
        | {name: ("mode", _share(s, modes)) for name, s in (("data", at), ("draws", drawn))}
        | {"missing": ("mode", np.isin(np.arange(modes), missing).astype(np.int8))},
        {
            "measure": list(found),
            "meaning": ("measure", [MEANING[name] for name in found]),
            "test": list(p),
            "mode": np.arange(modes),
        },
        {
            "verdict": _verdict(found, alarms, missing, modes, len(fake), len(real)),
            "n": len(fake),
            "rows": len(real),
            "k": k,
        }
        | ({"note": note} if note else {}),
    )


def check_sizes(rows: int, draws: int, k: int) -> None:
    """Check that there are enough rows and samples for a diagnosis.

    Args:
        rows: Number of real rows.
        draws: Number of samples.
        k: Number of neighbors.

    Raises:
        InputError: When there are fewer than 50 rows or samples, or k is out of range.
    """
    if min(rows, draws) < LEAST:
        raise InputError(
            f"{rows} rows and {draws} samples: a diagnosis needs at least {LEAST} of each. Use more."
        )
    check_k(k, rows, draws)


def _by_mode(found: dict[str, tuple[float, float, float]], at: Located, drawn: Located, modes: int) -> None:
    counts, of_data = (np.bincount(s.mode, minlength=modes) for s in (drawn, at))
    seen = np.bincount(drawn.mode[drawn.good], minlength=modes)
    found["modes"] = (float((seen > 0).sum()), *intervals.of_number(seen))
    kl = reverse_kl(counts, of_data / of_data.sum())
    found["reverse_kl"] = (kl, *intervals.of_distance(kl, *reverse_kl_variances(counts, of_data)))
    if at.distance is None or drawn.distance is None:
        return
    good = float(drawn.good.mean())
    found["high_quality"] = (good, *intervals.of_share(good, len(drawn.good)))
    wide = intervals.of_ratio_of_medians(drawn.distance, at.distance)
    found["spread"] = (spread(at.distance, drawn.distance), *wide)


def _by_neighbors(
    found: dict[str, tuple[float, float, float]], real: np.ndarray, fake: np.ndarray, k: int, seed: int
) -> None:
    near = neighbors(real, fake, k)
    for name, ends in neighbor_intervals(near, real, fake, k, seed).items():
        found[name] = (float(getattr(near, name).mean()), *ends)


def _by_distance(
    found: dict[str, tuple[float, float, float]], real: np.ndarray, fake: np.ndarray, seed: int
) -> None:
    some = MMD(real[:MOST], fake[:MOST])
    sizes = (min(len(real), MOST), min(len(fake), MOST))
    unbiased, biased = some.value(), some.biased()
    low, high = intervals.of_distance(biased, *intervals.variances_by_halves(some.biased, sizes, seed))
    found["mmd"] = (unbiased, low - (biased - unbiased), high - (biased - unbiased))

    def far(a: np.ndarray, b: np.ndarray) -> float:
        return frechet(real[a], fake[b])

    value, sizes = frechet(real, fake), (len(real), len(fake))
    times = intervals.SPLITS // (4 if real.shape[1] > WIDE else 1)
    parts = intervals.variances_by_halves(far, sizes, seed, times=times)
    found["frechet"] = (value, *intervals.of_distance(value, *parts))
    n = min(len(real), len(fake))
    radius = _nearest_pairs(real[:n])
    found["support"] = relative_support(pairs(fake[:n], radius), pairs(real[:n], radius))


def _notes(found: dict[str, tuple[float, float, float]]) -> str:
    """Return an explanation of each infinite measure and of each open interval, or an empty text."""
    said = []
    if np.isnan(found["support"][2]):
        said.append(
            f"support has only a lower bound, {found['support'][1]:.2g}: no two samples are as near to each other as the "
            f"{NEAR} nearest pairs of rows"
        )
    if np.isinf(found["reverse_kl"][0]):
        said.append("reverse_kl is infinite: some samples are in modes without rows")
    if "spread" in found and np.isinf(found["spread"][0]):
        said.append("spread is infinite: samples spread around their modes, and rows do not")
    return "; ".join(said)


def _nearest_pairs(x: np.ndarray) -> float:
    """Return the distance of the rows in the `NEAR`-th nearest pair."""
    x, _ = centered(x, x)
    least: np.ndarray = np.empty(0)
    for rows, d in squared_distances(x, x):
        i = np.arange(len(x))[rows][:, None]
        beyond = np.where(np.arange(len(x)) > i, d, np.inf).ravel()  # each pair once
        least = np.sort(np.concatenate([least, np.partition(beyond, NEAR)[:NEAR]]))[:NEAR]
    return float(np.sqrt(least[-1] * (1 + TIE)))


def _share(located: Located, modes: int) -> np.ndarray:
    return np.bincount(located.mode, minlength=modes) / len(located.mode)


def _tests(at: Located, drawn: Located, modes: int, seed: int) -> dict[str, float]:
    counts = np.stack([np.bincount(s.mode, minlength=modes) for s in (at, drawn)])
    p = {"weights": same_histogram(counts[0], counts[1], seed)}
    if at.distance is not None and drawn.distance is not None:
        beyond = int((drawn.distance > at.distance.max()).sum())
        n, m = len(drawn.distance), len(at.distance)
        # the probability that the `beyond` points furthest out are all samples is at most this, under the null
        p["outliers"] = float(hypergeom.sf(beyond - 1, n + m, n, beyond)) if beyond else 1.0
        p["spread"] = same_ranks(at.distance, drawn.distance, seed)
    return p


def _missing(at: Located, drawn: Located, modes: int) -> list[int]:
    """Return the modes without a good sample that were dropped significantly.

    With many good real rows in a mode, samples from the same distribution are unlikely to have none there.
    """
    real, n, m = np.bincount(at.mode[at.good], minlength=modes), len(drawn.mode), len(at.mode)
    # the probability that all `real` good points of the mode, among n + m, are real rows
    p = np.where(real > 0, hypergeom.sf(real - 1, n + m, m, real), 1.0)
    return [int(i) for i in np.flatnonzero(~captured(drawn, modes) & (p < ALARM / modes))]


def _verdict(
    found: dict[str, tuple[float, float, float]],
    alarms: list[str],
    missing: list[int],
    modes: int,
    n: int,
    m: int,
) -> str:
    said = []
    if missing:
        which = ", ".join(map(str, missing[:8])) + (", ..." if len(missing) > 8 else "")
        said.append(f"{len(missing)} of {modes} modes dropped ({which})")
    elif "weights" in alarms:
        said.append(f"modes out of proportion (reverse KL {found['reverse_kl'][0]:.3g} nats)")
    if "outliers" in alarms:
        said.append(f"outliers beyond all data (high quality {found['high_quality'][0]:.1%})")
    if "spread" in alarms:
        wide = found["spread"][0]
        said.append(f"modes too {'narrow' if wide < 1 else 'wide'} (spread {wide:.2f} relative to the data)")
    if not said and "apart" in alarms:
        said.append(
            f"distribution differs from the data (accuracy of a classifier {found['accuracy'][0]:.1%})"
        )
    return "; ".join(said) or f"no fault found in {n} samples, compared with {m} rows"
