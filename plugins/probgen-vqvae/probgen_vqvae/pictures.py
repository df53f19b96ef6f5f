"""Figures of the codes of a fit: reconstructions, codes as images, use of the codes, samples with fixed coarse codes."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

import probgen
from probgen import Fitted
from probgen import figures as common
from probgen.contract.rows import evenly

ROWS = 8
REDRAWN = 6


def pictures(fitted: Fitted, data: xr.Dataset, **again: Any) -> dict[str, Figure]:
    """Plot the figures of a fit.

    Args:
        fitted: The fitted model.
        data: Rows of the data.
        **again: Seed and device of the samples.

    Returns:
        Figures by name: `reconstructions` (with the codes of each level), `perplexity` by step, `use` of the codes, and
        `redrawn` if there are several levels and a prior.
    """
    module: Any = fitted.module
    rows = evenly(data, ROWS)
    found = {"reconstructions": reconstructions(fitted, module, rows, again)}
    found["perplexity"] = perplexity(fitted, module)
    found["use"] = use(fitted, module, evenly(data, 1000), again)
    if len(module.names) > 1 and module.prior is not None:
        found["redrawn"] = redrawn(fitted, module, rows, again)
    return found


def reconstructions(fitted: Fitted, module: Any, rows: xr.Dataset, again: dict[str, Any]) -> Figure:
    """Plot each row, the mean of p(x | z) at its codes, and the codes of each level, with one gray for each code."""
    given = _conditions(fitted, rows)
    codes = _codes(fitted, module, rows, again)
    decoded = probgen.sample(fitted, given=codes | given, mean=True, **again)["x"].values[0]
    height, width = module.image[1:]
    maps = [
        z.repeat(height // z.shape[1], 1).repeat(width // z.shape[2], 2) / (module.options.codes - 1)
        for z in codes.values()
    ]
    names = ["x", "p(x | z), mean", *codes]
    return common.columns([rows["x"].values, decoded, *maps], names, fitted.event, shared=2)


def perplexity(fitted: Fitted, module: Any) -> Figure:
    """Plot the perplexity of a batch by step, for each level: the number of evenly used codes with the same entropy."""
    history = fitted.history.isel(step=fitted.history["stage"].values == "codes")
    figure = Figure(figsize=(7, 3.2), layout="constrained")
    axes = figure.add_subplot()
    for i, name in enumerate(module.names, 1):
        at, mean = common.stretches(history["step"].values + 1, history[f"perplexity_{i}"].values)
        axes.plot(at, mean, lw=1.3, label=name)
    axes.axhline(module.options.codes, color="0.6", lw=1, ls="--", label="all codes evenly")
    axes.set(xlabel="step", ylabel="perplexity of a batch", ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return figure


def use(fitted: Fitted, module: Any, rows: xr.Dataset, again: dict[str, Any]) -> Figure:
    """Plot how often each code is used, from the most used code to the least."""
    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.add_subplot()
    for name, z in _codes(fitted, module, rows, again).items():
        share = np.sort(np.bincount(z.ravel(), minlength=module.options.codes) / z.size)[::-1]
        some = share[share > 0]
        perplexity = np.exp(-(some * np.log(some)).sum())
        axes.plot(share, label=f"{name}: perplexity {perplexity:.0f}, {len(some) / len(share):.0%} in use")
    axes.axhline(1 / module.options.codes, color="0.6", lw=1, ls="--", label="even")
    axes.set(xlabel="code, by its use", ylabel="share", ylim=(0, None))
    axes.legend(fontsize=8)
    return figure


def redrawn(fitted: Fitted, module: Any, rows: xr.Dataset, again: dict[str, Any]) -> Figure:
    """Plot each row, and samples that keep the row's coarsest codes. The differences come from the finer codes."""
    top = module.names[0]
    codes = {top: _codes(fitted, module, rows, again)[top]}
    draws = probgen.sample(fitted, REDRAWN, given=codes | _conditions(fitted, rows), mean=True, **again)[
        "x"
    ].values
    names = ["x", *[""] * REDRAWN]
    return common.columns([rows["x"].values, *draws], names, fitted.event)


def _codes(fitted: Fitted, module: Any, rows: xr.Dataset, again: dict[str, Any]) -> dict[str, np.ndarray]:
    drawn = probgen.sample(fitted, given={"x": rows["x"].values, **_conditions(fitted, rows)}, **again)
    return {name: drawn[name].values[0] for name in module.names}


def _conditions(fitted: Fitted, rows: xr.Dataset) -> dict[str, np.ndarray]:
    return {name: rows[name].values for name in fitted.event.given}
