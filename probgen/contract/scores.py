"""What a score is: a number with what kind of number it is."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import xarray as xr

KINDS = ("exact", "lower_bound", "upper_bound", "estimate", "surrogate")
MEASURES = ("counting", "lebesgue")


def log_prob(values: Any, *, kind: str, estimator: str, measure: str, se: Any = None) -> xr.Dataset:
    """Scores as a score hook returns them.

    values     log p(x), or a bound on it: (row,), in nats
    kind       exact, lower_bound, upper_bound, estimate or surrogate
    estimator  how it was got: "exact", "elbo", "iwae-5000", ...
    measure    counting or lebesgue: of the distribution used, not of the type of the data
    se         Monte Carlo standard error of each value: (row,)
    """
    if kind not in KINDS:
        raise ValueError(f"kind = {kind!r}: {', '.join(KINDS)}")
    if measure not in MEASURES:
        raise ValueError(f"measure = {measure!r}: {', '.join(MEASURES)}")
    attrs = {
        "kind": kind,
        "estimator": estimator,
        "measure": measure,
        "units": "nat",
        "long_name": "log p(x)",
    }
    variables: dict[str, Any] = {"log_prob": ("row", _array(values), attrs)}
    if se is not None:
        variables["log_prob_se"] = (
            "row",
            _array(se),
            {"units": "nat", "long_name": "Monte Carlo standard error"},
        )
    return xr.Dataset(variables)


def bits_per_dim(scores: xr.Dataset) -> xr.DataArray:
    """Negative log-likelihood in bits a dimension: -log p(x) / (event_size ln 2), one a row; the sizes of rows of several
    lengths are `event_size` times these.
    """
    x = scores["log_prob"]
    bits = -x / (x.attrs["event_size"] * math.log(2))
    if "length" in scores:
        bits = bits / scores["length"]
    bits.attrs = {**x.attrs, "units": "bit/dim", "long_name": "negative log p(x)"}
    return bits


def mean_bits_per_dim(scores: xr.Dataset) -> float:
    """Bits a dimension of all rows together: long rows count for more than short ones."""
    bits = bits_per_dim(scores)
    return float(bits.weighted(scores["length"]).mean() if "length" in scores else bits.mean())


def summary(scores: xr.Dataset) -> list[dict[str, Any]]:
    """A row for each kind of number in scores: its mean over rows, the standard error of that, and what it is."""
    lines = []
    for name, values in scores.data_vars.items():
        if values.dims != ("row",) or str(name).endswith("_se") or values.dtype.kind != "f":
            continue
        n = values.sizes["row"]
        line: dict[str, Any] = {"score": str(name), "mean": float(values.mean())}
        line["standard_error"] = float(values.std(ddof=1) / math.sqrt(n)) if n > 1 else None
        if name == "log_prob":
            line["bits_per_dim"] = mean_bits_per_dim(scores)
        lines.append(
            line
            | {k: values.attrs[k] for k in ("kind", "estimator", "measure", "units") if k in values.attrs}
        )
    return lines


def _array(values: Any) -> np.ndarray:
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)
