"""Means of scores over rows, each with its standard error; where rows have weights, by these."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import xarray as xr


def mean(values: Any, weight: np.ndarray | None = None) -> tuple[float, float]:
    """The mean of values (row,) by weights (row,), and its standard error; NaN where fewer than two rows count.

    m = sum w x / sum w, and, as an estimate by weighted moments of independent rows (Huber 1967, White 1980),

        se^2 = n / (n - 1)  sum w^2 (x - m)^2 / (sum w)^2         n the number of rows whose weight is not 0

    which is the usual s^2 / n where all weights are equal, does not change with their scale, and knows no row of weight 0.
    Weights say how much a row stands for, not how often it was seen: a row of weight 2 is one observation and not two.
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
    """The weights of the rows that were scored; None where they have none."""
    return np.asarray(scores["weight"].values, dtype=np.float64) if "weight" in scores else None


def rows_of(scores: xr.Dataset) -> str:
    """How many rows the means are of, and by which weights, in words."""
    n, weight = scores.sizes["row"], weights_of(scores)
    if weight is None:
        return f"{n} rows"
    none = int((weight == 0).sum())
    return f"{n} rows by their weights" + (f", {none} of which are 0" if none else "")


def mean_bits_per_dim(scores: xr.Dataset) -> float:
    """Bits a dimension of all rows together: long rows count for more than short ones."""
    x, weight = scores["log_prob"], weights_of(scores)
    length = scores["length"].values if "length" in scores else 1
    bits = -np.asarray(x.values, dtype=np.float64) / (x.attrs["event_size"] * math.log(2) * length)
    w = (1 if weight is None else weight) * length * np.ones(len(bits))
    return mean(bits, w)[0]


def numbers_of(found: xr.Dataset) -> dict[str, float]:
    """Return the results without dimensions by name: figures of a table, and what a recipe may expect something of."""
    return {str(k): float(v) for k, v in found.data_vars.items() if v.ndim == 0 and v.dtype.kind in "biuf"}


def summary(scores: xr.Dataset) -> list[dict[str, Any]]:
    """A row for each kind of number in scores: its mean over rows, the standard error of that, and what it is."""
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
