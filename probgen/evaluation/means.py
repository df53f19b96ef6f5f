"""Means of scores over rows with standard errors, weighted if the rows have weights."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import xarray as xr


def mean(values: Any, weight: np.ndarray | None = None) -> tuple[float, float]:
    """Return the weighted mean of values and its standard error.

    m = sum w x / sum w, and the standard error is an estimate by weighted moments of independent rows (Huber
    1967, White 1980),

        se^2 = n / (n - 1)  sum w^2 (x - m)^2 / (sum w)^2         n the number of rows with a weight other than 0

    It equals s^2 / n for equal weights, does not depend on the scale of the weights, and ignores rows of
    weight 0. A weight is the importance of a row, not a number of observations: a row of weight 2 is one
    observation, not two.

    Args:
        values: Values, (row,).
        weight: Weights, (row,); None for equal weights.

    Returns:
        Mean and standard error; the error is NaN with fewer than two rows, and both are NaN without rows.
    """
    x = np.asarray(values, dtype=np.float64)
    w = np.ones(len(x)) if weight is None else np.asarray(weight, dtype=np.float64)
    x, w = x[w > 0], w[w > 0]
    if not len(x):
        return math.nan, math.nan
    w = w / w.sum()
    m, n = float(w @ x), len(x)
    if not math.isfinite(m):
        return m, math.nan
    return m, math.sqrt(n / (n - 1) * float(w**2 @ (x - m) ** 2)) if n > 1 else math.nan


def weights_of(scores: xr.Dataset) -> np.ndarray | None:
    """Return the row weights of scores.

    Args:
        scores: Result of `probgen.score`.

    Returns:
        Weights, (row,), or None.
    """
    return np.asarray(scores["weight"].values, dtype=np.float64) if "weight" in scores else None


def rows_of(scores: xr.Dataset) -> str:
    """Describe the rows of a mean in words.

    Args:
        scores: Result of `probgen.score`.

    Returns:
        The number of rows, and whether they are weighted.
    """
    n, weight = scores.sizes["row"], weights_of(scores)
    if weight is None:
        return f"{n} row" if n == 1 else f"{n} rows"
    none = int((weight == 0).sum())
    return f"{n} rows, weighted" + (f" ({none} with weight 0)" if none else "")


def rows_sha256(scores: xr.Dataset) -> str | None:
    """Return the SHA-256 of the scored rows, or None if no score has it."""
    found = (values.attrs["rows"] for values in scores.data_vars.values() if "rows" in values.attrs)
    return next(found, None)


def mean_bits_per_dim(scores: xr.Dataset) -> float:
    """Return the bits per dimension of all rows together; long rows count more than short ones.

    Args:
        scores: Result of `probgen.score`.

    Returns:
        Bits per dimension.
    """
    x, weight = scores["log_prob"], weights_of(scores)
    length = scores["length"].values if "length" in scores else 1
    bits = -np.asarray(x.values, dtype=np.float64) / (x.attrs["event_size"] * math.log(2) * length)
    w = (1 if weight is None else weight) * length * np.ones(len(bits))
    return mean(bits, w)[0]


def numbers_of(found: xr.Dataset) -> dict[str, float]:
    """Return the results without dimensions by name: figures of a table, and what a recipe may expect something of."""
    return {str(k): float(v) for k, v in found.data_vars.items() if v.ndim == 0 and v.dtype.kind in "biuf"}


def texts_of_rows(found: xr.Dataset) -> dict[str, list[str]]:
    """Return the results that are texts, one per row or one per cell."""
    return {
        str(name): [str(text) for text in value.values]
        for name, value in found.data_vars.items()
        if value.dims in (("row",), ("cell",)) and value.dtype.kind in "OUT"
    }


def means_of(scores: xr.Dataset) -> dict[str, float]:
    """Return the mean of each score over the rows, with row weights, and the bits per dimension of a likelihood."""
    found = {
        str(name): mean(values, weights_of(scores))[0]
        for name, values in scores.data_vars.items()
        if values.dims == ("row",) and values.dtype.kind in "biuf" and name not in ("length", "weight")
    }
    return found | ({"bits_per_dim": mean_bits_per_dim(scores)} if "log_prob" in scores else {})


def summary(scores: xr.Dataset) -> list[dict[str, Any]]:
    """Summarize scores: one line for each variable of numbers per row, except weights and standard errors.

    Args:
        scores: Result of `probgen.score`.

    Returns:
        Dictionaries with the mean over rows, its standard error, and the attributes of the variable.
    """
    lines = []
    for name, values in scores.data_vars.items():
        if (
            values.dims != ("row",)
            or str(name).endswith("_se")
            or name == "weight"
            or values.dtype.kind != "f"
        ):
            continue
        value, error = mean(values, weights_of(scores))
        line: dict[str, Any] = {"score": str(name), "mean": value}
        line["standard_error"] = error if math.isfinite(error) else None
        if name == "log_prob":
            line["bits_per_dim"] = mean_bits_per_dim(scores)
        lines.append(
            line
            | {k: values.attrs[k] for k in ("kind", "estimator", "measure", "units") if k in values.attrs}
        )
    return lines
