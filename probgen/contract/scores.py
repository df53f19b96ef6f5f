"""What a score is: a number with what kind of number it is."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import xarray as xr

KINDS = ("exact", "lower_bound", "upper_bound", "estimate", "surrogate")
MEASURES = ("counting", "lebesgue", "mixed")


def log_prob(values: Any, *, kind: str, estimator: str, measure: str, se: Any = None) -> xr.Dataset:
    """Scores as a score hook returns them.

    values     log p(x), or a bound on it: (row,), in nats
    kind       exact, lower_bound, upper_bound, estimate or surrogate
    estimator  how it was got: "exact", "elbo", "iwae-5000", ...
    measure    counting or lebesgue: of the distribution used, not of the type of the data; of a table with columns of both their product, mixed
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


def _array(values: Any) -> np.ndarray:
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)
