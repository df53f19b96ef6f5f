"""EM for a mixture of Gaussians, compared with scikit-learn and with its own two matrix products.

200,000 x 16 rows, 32 full components, 10 iterations, float64, from the same start; alternately in one
process.
"""

from __future__ import annotations

import statistics
import time
import warnings

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from probgen.contract.rows import Rows
from probgen.contract.run import Run
from probgen.data.describe import event_of
from probgen.data.ingest import as_dataset
from probgen.inference.em import em
from probgen.models.mixture import Mixture, MixtureOptions

N, D, K, STEPS = 200_000, 16, 32, 10


def problem(n: int = N, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows from K random normals, and means to start from: the true ones, moved by half a standard deviation."""
    rng = np.random.default_rng(seed)
    means = 3 * rng.standard_normal((K, D))
    rotations = np.linalg.qr(rng.standard_normal((K, D, D)))[0]
    factors = rotations * rng.uniform(0.5, 1.5, (K, 1, D))
    z = rng.integers(K, size=n)
    x = means[z] + np.einsum("nij,nj->ni", factors[z], rng.standard_normal((n, D)))
    return x, means + 0.5 * rng.standard_normal((K, D))


def ours(x: np.ndarray, start: np.ndarray) -> tuple[float, float]:
    """Seconds, and the mean log-likelihood after the last step."""
    dataset = as_dataset(x)
    data = Rows(dataset, event_of(dataset), dtype=torch.float64)
    with torch.no_grad():
        pair = Mixture(
            MixtureOptions(components=K, steps=STEPS, tolerance=0.0, regularization=0.0), data.event
        ).double()
        pair.standardize(data)
        pair.mu.copy_((torch.from_numpy(start) - pair.center) / pair.scale)
        eye = torch.diag(-pair.scale.log())  # covariances start as the identity in units of the data
        pair.L.copy_(eye.expand(K, D, D))
        begun = time.perf_counter()
        em(pair, data, Run(dtype=torch.float64), STEPS, -np.inf)
        seconds = time.perf_counter() - begun
        pair.to_data_units()
        likelihood = sum(float(pair.log_prob(chunk["x"]).sum()) for chunk in data.chunks()) / len(x)
    return seconds, likelihood


def theirs(x: np.ndarray, start: np.ndarray) -> tuple[float, float]:
    """The same by scikit-learn."""
    model = GaussianMixture(
        K,
        max_iter=STEPS,
        tol=0.0,
        reg_covar=0.0,
        means_init=start,
        weights_init=np.full(K, 1 / K),
        precisions_init=np.tile(np.eye(D), (K, 1, 1)),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        begun = time.perf_counter()
        model.fit(x)
        seconds = time.perf_counter() - begun
    return seconds, float(model.score(x))


def floor(n: int = N) -> float:
    """Seconds of the two matrix products alone: (K, F) (F, block) and (K, block) (block, F) for all blocks."""
    features, block = 1 + D + D * (D + 1) // 2, 4096
    theta, phi = torch.randn(K, features).double(), torch.randn(features, block).double()
    begun = time.perf_counter()
    for _ in range(STEPS * n // block):
        r = theta @ phi
        _ = r @ phi.T
    return time.perf_counter() - begun


def main(turns: int = 3) -> None:
    """Print medians and the ratios of each turn."""
    x, start = problem()
    ours(x[:20_000], start), floor(20_000)  # warm up
    rows = []
    for _ in range(turns):
        (a, mine), (b, other), c = ours(x, start), theirs(x, start), floor()
        rows.append((a, b, c))
        difference = abs(mine - other)
    seconds = [statistics.median(column) for column in zip(*rows, strict=True)]
    speedup = statistics.median(b / a for a, b, _ in rows)
    above = statistics.median(a / c for a, _, c in rows)
    print(
        f"EM {N} x {D}, {K} full components, {STEPS} iterations, float64: {seconds[0]:.2f} s; scikit-learn "
        f"{seconds[1]:.2f} s, ratio {speedup:.1f}; its two matrix products alone {seconds[2]:.2f} s, ratio "
        f"{above:.2f}; mean log-likelihoods differ by {difference:.1e}",
        flush=True,
    )


if __name__ == "__main__":
    main()
