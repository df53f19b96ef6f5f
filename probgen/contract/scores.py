"""Scores: numbers with the kind of number that they are."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import xarray as xr

KINDS = ("exact", "lower_bound", "upper_bound", "estimate", "surrogate")
MEASURES = ("counting", "lebesgue", "mixed")


def log_prob(values: Any, *, kind: str, estimator: str, measure: str, se: Any = None) -> xr.Dataset:
    """Return scores in the form that a score hook returns.

    Args:
        values: log p(x) or a bound on it, in nats: (row,).
        kind: "exact", "lower_bound", "upper_bound", "estimate" or "surrogate".
        estimator: The method of computation: "exact", "elbo", "iwae-5000", ...
        measure: "counting" or "lebesgue": the measure of the distribution that was used, not of the type of
            the data. "mixed" is the product of both, for a table with columns of both.
        se: The Monte Carlo standard error of each value, in nats: (row,).

    Returns:
        A Dataset with `log_prob (row)` and, if `se` is given, `log_prob_se (row)`, in nats.

    Raises:
        ValueError: When `kind` or `measure` is not one of these names, or an array is not one number for each row.
    """
    if kind not in KINDS:
        raise ValueError(f"kind = {kind!r}: not a kind of score. Use one of: {', '.join(KINDS)}.")
    if measure not in MEASURES:
        raise ValueError(f"measure = {measure!r}: not a measure. Use one of: {', '.join(MEASURES)}.")
    attrs = {
        "kind": kind,
        "estimator": estimator,
        "measure": measure,
        "units": "nat",
        "long_name": "log p(x)",
    }
    variables: dict[str, Any] = {"log_prob": ("row", _rows(values, "values"), attrs)}
    if se is not None:
        variables["log_prob_se"] = (
            "row",
            _rows(se, "se"),
            {"units": "nat", "long_name": "Monte Carlo standard error"},
        )
        if len(variables["log_prob_se"][1]) != len(variables["log_prob"][1]):
            raise ValueError("se: it has another number of rows than values. Give one for each row.")
    return xr.Dataset(variables)


def bits_per_dim(scores: xr.Dataset) -> xr.DataArray:
    """Return the negative log-likelihood in bits per dimension: -log p(x) / (event_size ln 2).

    The size of a row with a length of its own is its length times `event_size`.

    Args:
        scores: The scores of `probgen.score`, with `log_prob (row)` in nats.

    Returns:
        The values of the rows, in bits per dimension: (row,).
    """
    x = scores["log_prob"]
    bits = -x / (x.attrs["event_size"] * math.log(2))
    if "length" in scores:
        bits = bits / scores["length"]
    bits.attrs = {**x.attrs, "units": "bit/dim", "long_name": "negative log p(x)"}
    return bits


def _rows(values: Any, name: str) -> np.ndarray:
    array = np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)
    if array.ndim != 1 or array.dtype.kind not in "fiu":
        raise ValueError(
            f"{name} has dtype {array.dtype} and shape {array.shape}. Give one number for each row."
        )
    return array if array.dtype.kind == "f" else array.astype(np.float64)
