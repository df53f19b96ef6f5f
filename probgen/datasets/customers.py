"""A simulated table with a known density: 8 columns of four kinds, from a mixture of three classes of customers.

The column names are invented. The exact log p(x) of each row is a benchmark for models of mixed tables.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr
from scipy.special import gammaln, logsumexp, xlogy

from probgen.contract.columns import Column
from probgen.datasets.base import DataSet
from probgen.readers.base import joined
from probgen.readers.described import attributes_of

_SIZES = {"train": 20_000, "valid": 4_000, "test": 4_000}
_PI = np.array([0.5, 0.3, 0.2])
_MU = np.array([[0.0, 1.0], [3.0, -1.0], [-2.0, 4.0]])
_SIGMA = np.array([[[1, 0.5], [0.5, 1]], [[0.5, -0.2], [-0.2, 0.4]], [[2, 0], [0, 0.3]]])
_MEAN = np.array([[1.0, 20.0], [6.0, 8.0], [12.0, 50.0]])  # means of counts, then their sizes
_SIZE = np.array([[2.0, 5.0], [1e5, 1.0], [4.0, 10.0]])
_CHANNEL = np.array([[0.7, 0.1, 0.1, 0.1], [0.1, 0.6, 0.2, 0.1], [0.05, 0.05, 0.2, 0.7]])
_GRADE = np.array([[0.6, 0.3, 0.1], [0.2, 0.6, 0.2], [0.1, 0.2, 0.7]])
_YES = np.array([[0.9, 0.2], [0.5, 0.7], [0.1, 0.5]])
COLUMNS = (
    Column("income", "real"),
    Column("spent", "real"),
    Column("orders", "count"),
    Column("visits", "count"),
    Column("channel", "token", 4, classes=("app", "mail", "shop", "web")),
    Column("grade", "token", 3, classes=("low", "mid", "high"), ordered=True),
    Column("member", "binary", classes=("False", "True")),
    Column("returned", "binary", classes=("False", "True")),
)


def _draw(n: int, seed: int) -> xr.Dataset:
    rng = np.random.Generator(np.random.PCG64(seed))
    z = rng.choice(3, n, p=_PI)
    real = _MU[z] + np.einsum("nij,nj->ni", np.linalg.cholesky(_SIGMA)[z], rng.standard_normal((n, 2)))
    counts = rng.poisson(_MEAN[z] * rng.gamma(_SIZE[z], 1 / _SIZE[z]))
    classes = [(p[z].cumsum(1)[:, :-1] < rng.random((n, 1))).sum(1) for p in (_CHANNEL, _GRADE)]
    yes = rng.random((n, 2)) < _YES[z]
    x = np.stack([*real.T, *counts.T, *classes, *yes.T], 1).astype(np.float64)
    variables = {
        "x": (("row", "feature"), x, attributes_of(COLUMNS)),
        "label": ("row", z, {"levels": 3, "symbols": ["one", "two", "three"]}),
    }
    return xr.Dataset(variables, {"feature": [column.name for column in COLUMNS]})


def log_joint(x: np.ndarray) -> np.ndarray:
    """Return log p(x, z = k), in nats: (row, feature) -> (row, component)."""
    parts = []
    for k in range(3):
        d = np.linalg.solve(np.linalg.cholesky(_SIGMA[k]), (x[:, :2] - _MU[k]).T)
        log_p = (
            np.log(_PI[k]) - 0.5 * (d**2).sum(0) - np.log(2 * np.pi) - 0.5 * np.linalg.slogdet(_SIGMA[k])[1]
        )
        n, r, m = x[:, 2:4], _SIZE[k], _MEAN[k]
        choose = gammaln(n + r) - gammaln(r) - gammaln(n + 1)
        log_p += (choose - r * np.log1p(m / r) + xlogy(n, m / (r + m))).sum(1)
        log_p += np.log(_CHANNEL[k])[x[:, 4].astype(int)] + np.log(_GRADE[k])[x[:, 5].astype(int)]
        parts.append(log_p + np.log(np.where(x[:, 6:] == 1, _YES[k], 1 - _YES[k])).sum(1))
    return np.stack(parts, 1)


def _density(x: np.ndarray) -> np.ndarray:
    return np.asarray(logsumexp(log_joint(x), axis=1))


def _customers(split: str | None, folder: Path | None) -> xr.Dataset:
    return joined({part: _draw(n, seed) for seed, (part, n) in enumerate(_SIZES.items())}, split)


customers = DataSet(
    "a simulated table of 8 columns of four kinds, with a known density",
    tuple(_SIZES),
    _customers,
    _density,
)
