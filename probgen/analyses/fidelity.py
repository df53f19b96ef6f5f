"""Measure the fidelity of a sampled table: marginals, dependence, a classifier two-sample test, and copies.

Held-out rows are compared with rows of the fit in the same way. These values are the reference of a perfect
model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from pydantic import Field
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
)  # at the top: its import uses Python's random generator
from sklearn.model_selection import cross_val_predict
from sklearn.neighbors import NearestNeighbors

from probgen.api.sampling import sample
from probgen.contract.analysis import Call
from probgen.contract.columns import Column
from probgen.contract.fitted import Fitted
from probgen.contract.options import Options as BaseOptions
from probgen.contract.rows import evenly
from probgen.contract.seeds import key
from probgen.data.describe import described, known_values
from probgen.errors import InputError
from probgen.figures import of_results
from probgen.figures.tables import bars, cells
from probgen.readers.series import rounded

needs = "a table with named columns, sampled without conditions"
SEEN = "The rows are the rows of the fit: copies are not detected, and a model that memorized them looks good. Use other rows (--split test)."
FOLDS = 2  # cross-validation folds of the classifier test
MOST = 50_000  # at most, rows of the fit in the search for copies


class Options(BaseOptions):
    """Options of the comparison."""

    rows: int = Field(
        2000, ge=20, description="number of samples, and greatest number of real rows (evenly spaced)"
    )
    target: str | None = Field(
        None,
        description="column of classes or bits; classifiers trained on samples and on real rows predict it",
    )


def applies(fitted: Fitted) -> bool:
    """Return whether the event is a table without conditions."""
    return bool(fitted.event.columns) and fitted.definition.offers("sample") and not fitted.event.given


def run(fitted: Fitted, data: xr.Dataset, options: Options, call: Call) -> xr.Dataset:
    """Compare a sampled table with real rows.

    The result contains:

    - `marginal` (feature,): the largest difference of distribution functions; for classes, the total
      variation.
    - `dependence` (feature, feature_): rank correlations of samples minus rank correlations of real rows;
      classes by number.
    - `told_apart`: accuracy of a classifier of samples and real rows (1/2 is best).
    - `copied`: share of samples that are nearer to a row of the fit than half of the held-out rows are (1/2
      is best, 1 means copies).

    If the rows of the fit are known, `..._held_out` compares them with the real rows in the same way. With
    `target`, `accuracy_of_draws` and `accuracy_of_rows` are accuracies on the given rows of a classifier
    trained on samples and on rows of the fit. `accuracy_of_most` is the accuracy of always predicting the
    most frequent class.
    """
    columns = fitted.event.columns
    names = [column.name for column in columns]
    if options.target is not None and options.target not in names:
        raise InputError(
            f"fidelity.target = {options.target!r}: there is no such column. Columns: {', '.join(names[:20])}"
        )
    real = known_values(evenly(data, options.rows))
    drawn = rounded(sample(fitted, len(real), **call.common)["x"].values.astype(np.float64), columns)
    seen = call.reference is not None and call.reference["x"].equals(data["x"])
    known = None if call.reference is None or seen else known_values(evenly(call.reference, 4 * options.rows))
    if known is not None:  # a file may be sorted, and the first rows must represent all of it
        known = np.random.default_rng(key(call.seed, "order")).permutation(known)
    seed = key(call.seed, "fidelity") % (1 << 31)
    found: dict[str, Any] = {
        "marginal": ("feature", _marginals(drawn, real, columns)),
        "dependence": (("feature", "feature_"), _ranks(drawn) - _ranks(real)),
        "told_apart": (
            (),
            told_apart(drawn, real, columns, seed),
            _said("accuracy of a classifier of samples and rows; 1/2 is best"),
        ),
        "draws": (("sample", "feature"), drawn[:200], described(fitted.event)),
    }
    found["marginal_mean"] = (
        (),
        float(found["marginal"][1].mean()),
        _said("mean distance of marginal distributions; 0 is best"),
    )
    found["dependence_mean"] = (
        (),
        _off_diagonal(found["dependence"][1]),
        _said("mean absolute difference of rank correlations; 0 is best"),
    )
    if known is not None and call.reference is not None:
        some = known[: len(real)]
        found["marginal_held_out"] = ("feature", _marginals(some, real, columns))
        found["marginal_mean_held_out"] = ((), float(found["marginal_held_out"][1].mean()))
        found["dependence_mean_held_out"] = ((), _off_diagonal(_ranks(some) - _ranks(real)))
        found["told_apart_held_out"] = ((), told_apart(some, real, columns, seed))
        whole = known_values(evenly(call.reference, MOST))
        masked = np.where(np.isnan(real), np.nan, drawn)  # missing where real rows are
        said = _said(
            "share of samples nearer to a row of the fit than half of the held-out rows; 1/2 is best, 1: copies"
        )
        found["copied"] = ((), _copied(masked, real, whole, columns), said)
    if options.target is not None:
        found |= useful(names.index(options.target), drawn, real, known, columns, seed)
    attrs = {"note": SEEN} if seen else {}
    return xr.Dataset(found, {"feature": names, "feature_": names}, attrs)


def _marginals(a: np.ndarray, b: np.ndarray, columns: tuple[Column, ...]) -> np.ndarray:
    """Return Kolmogorov's distance, for classes the total variation: (row, column) twice -> (column,)."""
    out = []
    for i, column in enumerate(columns):
        one, two = (x[~np.isnan(x[:, i]), i] for x in (a, b))
        if not len(one) or not len(two):
            out.append(1.0)
            continue
        values = np.unique(np.concatenate([one, two]))
        if column.support in ("token", "binary"):
            shares = [(x[:, None] == values).mean(0) for x in (one, two)]
            out.append(0.5 * float(np.abs(shares[0] - shares[1]).sum()))
        else:
            below = [np.searchsorted(np.sort(x), values, side="right") / len(x) for x in (one, two)]
            out.append(float(np.abs(below[0] - below[1]).max()))
    return np.array(out)


def _ranks(x: np.ndarray) -> np.ndarray:
    """Return rank correlations over rows with both values: (row, column) -> (column, column)."""
    import pandas as pd

    found = pd.DataFrame(x).corr(method="spearman").to_numpy()
    return np.nan_to_num(found)


def _off_diagonal(difference: np.ndarray) -> float:
    n = len(difference)
    return float(np.abs(difference[~np.eye(n, dtype=bool)]).mean()) if n > 1 else 0.0


def _classifier(columns: tuple[Column, ...], seed: int) -> HistGradientBoostingClassifier:
    few = [
        i
        for i, c in enumerate(columns)
        if c.support == "token" and 2 < (c.levels or 0) <= 255 and not c.ordered
    ]
    return HistGradientBoostingClassifier(max_iter=100, categorical_features=few or None, random_state=seed)


def told_apart(drawn: np.ndarray, real: np.ndarray, columns: tuple[Column, ...], seed: int) -> float:
    """Return the accuracy of a classifier of samples and real rows on unseen rows (Lopez-Paz & Oquab 2017).

    The missing values of real rows are removed from the samples as well.

    Args:
        drawn: Samples, (row, column).
        real: Real rows, (row, column).
        columns: The columns of the table.
        seed: Seed of the classifier and of the folds.

    Returns:
        A share; 1/2 means that the classifier cannot distinguish them.
    """
    n = min(len(drawn), len(real))
    one, two = drawn[:n].copy(), real[:n]
    one[np.isnan(two)] = np.nan  # missing values must not help the classifier
    x, y = np.concatenate([one, two]), np.repeat([0, 1], n)
    order = np.random.default_rng(seed).permutation(2 * n)
    told = cross_val_predict(_classifier(columns, seed), x[order], y[order], cv=FOLDS)
    return float((told == y[order]).mean())


def _copied(drawn: np.ndarray, real: np.ndarray, known: np.ndarray, columns: tuple[Column, ...]) -> float:
    """Return the share of samples that are nearer to a row of the fit than the median real row is."""
    deviation = np.nanstd(known, axis=0)
    center = np.nanmean(known, axis=0)

    def points(x: np.ndarray) -> np.ndarray:
        parts = []
        for i, column in enumerate(columns):
            if column.support == "token":
                parts.append((x[:, i, None] == np.arange(column.levels or 1)) * 0.5**0.5)
            else:
                parts.append(np.nan_to_num((x[:, i, None] - center[i]) / (deviation[i] or 1.0)))
        return np.concatenate(parts, 1)

    near = NearestNeighbors(n_neighbors=1).fit(points(known))
    usual = np.median(near.kneighbors(points(real))[0])
    distance = near.kneighbors(points(drawn))[0][:, 0]
    return float((distance < usual).mean() + 0.5 * (distance == usual).mean())


def useful(
    at: int,
    drawn: np.ndarray,
    real: np.ndarray,
    known: np.ndarray | None,
    columns: tuple[Column, ...],
    seed: int,
) -> dict[str, Any]:
    """Return accuracies on real rows of classifiers that predict one column.

    Args:
        at: Index of the column to predict.
        drawn: Samples, (row, column).
        real: Real rows to test on, (row, column).
        known: Rows of the fit, (row, column), or None.
        columns: The columns of the table.
        seed: Seed of the classifier.

    Returns:
        Variables of the result, by name.

    Raises:
        InputError: When the column has no classes or bits.
    """
    column = columns[at]
    if column.support not in ("token", "binary"):
        raise InputError(
            f"fidelity.target = {column.name!r}: this column is {column}. Choose a column of classes or bits."
        )
    rest = tuple(c for i, c in enumerate(columns) if i != at)
    test = real[~np.isnan(real[:, at])]
    x, y = np.delete(test, at, 1), test[:, at]

    def accuracy(rows: np.ndarray) -> float:
        rows = rows[~np.isnan(rows[:, at])]
        if len(np.unique(rows[:, at])) < 2:
            return float((y == rows[0, at]).mean()) if len(rows) else 0.0
        learned = _classifier(rest, seed).fit(np.delete(rows, at, 1), rows[:, at])
        return float((learned.predict(x) == y).mean())

    _, counts = np.unique(y, return_counts=True)
    found: dict[str, Any] = {
        "accuracy_of_draws": ((), accuracy(drawn), _said("accuracy of a classifier trained on samples")),
        "accuracy_of_most": (
            (),
            float(counts.max() / len(y)),
            _said("accuracy of always predicting the most frequent class"),
        ),
    }
    if known is not None:
        said = _said("accuracy of a classifier trained on rows of the fit")
        found["accuracy_of_rows"] = ((), accuracy(known[: len(drawn)]), said)
    return found


def _said(words: str) -> dict[str, str]:
    return {"long_name": words}


def figures(found: xr.Dataset) -> Mapping[str, Figure]:
    """Return `marginals` (distance of each column) and `dependence` (difference of rank correlations)."""
    names = [str(name) for name in found["feature"].values]
    series = {"samples": found["marginal"].values}
    if "marginal_held_out" in found:
        series["held-out rows"] = found["marginal_held_out"].values
    return {
        "marginals": bars(
            names,
            series,
            "distance of distributions, 0 to 1",
            of_results(found, "Distance of each column from the data"),
        ),
        "dependence": cells(
            found["dependence"].values,
            names,
            names,
            "rank correlation, samples minus rows",
            of_results(found, "Difference of the dependence of columns"),
        ),
    }
