"""Mean and standard deviation of each feature, for samples and for data.

    d_i = |mean_i(samples) - mean_i(data)| / std_i(data)

For a model that has learned p(x), each d_i is near 1 / sqrt(n), and the standard deviations are nearly equal.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from pydantic import Field

from probgen import Fitted, Options, sample
from probgen.contract.analysis import Call

needs = "samples that depend on no condition"  # requirement of a model, as a phrase for error messages


class MomentsOptions(Options):
    """The options of the analysis; each field has a type, a default, its limits and a description."""

    n: int = Field(1000, ge=2, description="number of samples")


Options = MomentsOptions


def applies(fitted: Fitted) -> bool:
    """Return whether the analysis applies to a model."""
    return fitted.definition.offers("sample") and not fitted.event.given


def run(fitted: Fitted, data: xr.Dataset, options: MomentsOptions, call: Call) -> xr.Dataset:
    """Return named arrays; a number without dimensions can be checked by `[expect]` of a recipe."""
    x = data["x"].where(data["observed"] == 1) if "observed" in data else data["x"]
    draws = sample(fitted, options.n, **call.common)["x"]
    each = [values.values.reshape(len(values), -1) for values in (x, draws)]
    mean, std = (np.stack([f(values, axis=0) for values in each]) for f in (np.nanmean, np.nanstd))
    off = np.abs(mean[1] - mean[0]) / np.where(std[0] > 0, std[0], 1)
    dims = ("source", "feature")
    found = xr.Dataset({"mean": (dims, mean), "std": (dims, std)}, {"source": ["data", "samples"]})
    return found.assign(largest_difference=float(off.max()))


def figures(found: xr.Dataset) -> Mapping[str, Figure]:
    """Plot the figure `features`, with means as points and standard deviations as bars."""
    figure = Figure(figsize=(6, 3), layout="constrained")
    axes = figure.subplots()
    for i, source in enumerate(found["source"].values):
        place = np.arange(found.sizes["feature"]) + 0.2 * i
        axes.errorbar(place, found["mean"][i], found["std"][i], fmt="o", capsize=3, label=source)
    axes.set(xlabel="feature", ylabel="mean and standard deviation", title=found.attrs["title"])
    axes.legend()
    return {"features": figure}
