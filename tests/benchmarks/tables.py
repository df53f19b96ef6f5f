"""Missing values of a table: `mixture` and `made` compared with mean imputation, nearest neighbors and chained regressions.

    python -m tests.benchmarks tables

All methods impute the same hidden cells. Log-likelihoods are those of hidden real cells given the other cells
of the row, in nats per cell: exact for `mixture`, otherwise of a normal around the imputed value, with the
standard deviation of the errors on other rows. Errors are root mean squares in standard deviations of a
column.
"""

from __future__ import annotations

import time

import numpy as np
from sklearn.experimental import enable_iterative_imputer  # noqa: F401 (scikit-learn asks for it)
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer

import probgen
from probgen.datasets import load

REAL = slice(0, 2)
NUMBERS = slice(0, 4)


def main() -> None:
    train, test = load("customers", "train"), load("customers", "test")
    x, y = train.x.values, test.x.values
    rng = np.random.default_rng(0)
    hidden_fit, hidden = (rng.random(z.shape) < 0.2 for z in (x[:4000], y))
    gaps_fit, gaps = (np.where(h, np.nan, z) for h, z in ((hidden_fit, x[:4000]), (hidden, y)))
    deviation = x.std(0)
    for name, imputer in (
        ("mean", SimpleImputer()),
        ("nearest neighbors", KNNImputer(n_neighbors=20)),
        ("chained regressions", IterativeImputer(max_iter=10, random_state=0)),
    ):
        start = time.perf_counter()
        filled = imputer.fit(x[4000:8000]).transform(gaps)
        seconds = time.perf_counter() - start
        off = (imputer.transform(gaps_fit) - x[:4000])[:, REAL]
        s = np.array([off[hidden_fit[:, i], i].std() for i in range(2)])
        e = (filled - y)[:, REAL]
        log_p = -0.5 * (e / s) ** 2 - np.log(s) - 0.5 * np.log(2 * np.pi)
        report(name, filled, y, hidden, deviation, float(log_p[hidden[:, REAL]].mean()), seconds)
    for family, options in (
        ("mixture", {"components": 3}),
        ("made", {"components": 3, "hidden": 100, "epochs": 15, "learning_rate": 3e-3}),
    ):
        start = time.perf_counter()
        fitted = probgen.fit(family, train.drop_vars("label"), **options)
        draws = probgen.sample(fitted, 20, given={"x": gaps}).x.values
        filled = np.where(hidden, draws.mean(0), y)
        seconds = time.perf_counter() - start
        told = gaps.copy()
        told[:, REAL] = y[:, REAL]
        nats = float((score(fitted, told) - score(fitted, gaps)).sum() / hidden[:, REAL].sum())
        report(family, filled, y, hidden, deviation, nats, seconds)


def score(fitted: probgen.Fitted, x: np.ndarray) -> np.ndarray:
    return np.asarray(probgen.score(fitted, x).log_prob.values)


def report(
    name: str,
    filled: np.ndarray,
    y: np.ndarray,
    hidden: np.ndarray,
    deviation: np.ndarray,
    nats: float,
    seconds: float,
) -> None:
    error = ((filled - y) / deviation)[:, NUMBERS][hidden[:, NUMBERS]]
    print(
        f"{name:20s} {nats:8.3f} nats per hidden real cell, error {np.sqrt(np.square(error).mean()):.3f}, {seconds:.1f} s"
    )


if __name__ == "__main__":
    main()
