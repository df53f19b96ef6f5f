"""Printed Monte Carlo errors of scores, compared with the spread over 200 seeds.

The ratio is the spread divided by the root mean square of the printed errors, pooled over rows: the square
root of the mean variance divided by the square root of the mean squared error.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

import probgen

SEEDS, ROWS = 200, 40


def ratio(fitted: probgen.Fitted, data: xr.Dataset, **options: Any) -> float:
    """Spread over error, of the scores of some rows."""
    found = [probgen.score(fitted, data, seed=seed, **options) for seed in range(SEEDS)]
    values = np.stack([scores["log_prob"].values for scores in found]).astype(np.float64)
    errors = np.stack([scores["log_prob_se"].values for scores in found]).astype(np.float64)
    return float(np.sqrt(values.var(0, ddof=1).mean() / np.square(errors).mean()))


def main() -> None:
    """One line an estimator."""
    digits = probgen.datasets.load("digits-binary")
    plain, labeled = digits.drop_vars("label"), digits.assign(label=digits["label"].astype(float))
    few = plain.isel(row=slice(0, ROWS))
    models = {
        "vae": (probgen.fit("vae", plain, latent=4, hidden=(50,), epochs=5), few),
        "vae, one step of a fit": (probgen.fit("vae", plain, latent=4, hidden=(50,), steps=1), few),
        "m2": (
            probgen.fit("m2", labeled, latent=4, hidden=(50,), epochs=5, classes=10),
            labeled.isel(row=slice(0, ROWS)),
        ),
    }
    ways: list[dict[str, Any]] = [{"estimator": "elbo", "k": k} for k in (2, 10, 100)]
    ways += [{"estimator": "iwae", "k": k} for k in (2, 3, 10, 25, 100, 1000)]
    ways += [{"estimator": "ais", "steps": 20, "chains": 8}]
    for name, (fitted, rows) in models.items():
        for way in ways:
            print(f"{name}, {way}: {ratio(fitted, rows, **way):.3f}", flush=True)
    ring = probgen.datasets.load("ring", "train").isel(row=slice(0, 1000)).drop_vars("label")
    gan = probgen.fit("gan", ring, steps=200)
    way = {"estimator": "ais", "noise": 0.3, "steps": 50, "chains": 8}
    print(f"gan, {way}: {ratio(gan, ring.isel(row=slice(0, ROWS)), **way):.3f}")
    posterior = [
        probgen.fit("bayesian-mixture", "iris", components=2, method="svi", steps=300, draws=200, seed=seed)
        for seed in range(20)
    ]
    found = [probgen.score(fit, "iris") for fit in posterior]
    spread = np.stack([scores["log_prob"].values for scores in found]).var(0, ddof=1).mean()
    error = np.stack([scores["log_prob_se"].values for scores in found]).__pow__(2).mean()
    print(
        f"bayesian-mixture by svi, 20 fits (their approximations also differ): {np.sqrt(spread / error):.3f}"
    )
