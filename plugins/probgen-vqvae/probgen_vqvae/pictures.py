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
    """Plot each row, the mean of p(x | z) at its codes, their difference, and the codes of each level."""
    given = _conditions(fitted, rows)
    codes = _codes(fitted, module, rows, again)
    x, decoded = (
        rows["x"].values,
        probgen.sample(fitted, given=codes | given, mean=True, **again)["x"].values[0],
    )
    error = np.abs(decoded.astype(float) - x)
    of_pixels = error.mean(1) if error.ndim == 4 else error
    parts: list[Any] = [x, decoded, common.Numbers(of_pixels, "|difference|")]
    parts += [common.Codes(z, module.options.codes) for z in codes.values()]
    names = ["x", "p(x | z), mean", "residual", *(f"codes {name}" for name in codes)]
    title = common.of_model(fitted, "Rows, their reconstructions and their codes", f"{len(x)} rows")
    return common.columns(parts, names, fitted.event, title)


def perplexity(fitted: Fitted, module: Any) -> Figure:
    """Plot the perplexity of a batch by step, for each level: the number of evenly used codes with the same entropy."""
    history = fitted.history.isel(step=fitted.history["stage"].values == "codes")
    figure, grid = common.sheet(width=7, height=3.6)
    axes, lines = grid[0, 0], {}
    for i, name in enumerate(module.names):
        step, values = history["step"].values + 1, history[f"perplexity_{i + 1}"].values
        color = common.PALETTE[i % len(common.PALETTE)]
        axes.plot(step, values, lw=0.4, alpha=0.3, color=color)
        lines[name] = axes.plot(*common.stretches(step, values), lw=1.6, color=color)[0]
    lines["all, evenly"] = axes.axhline(module.options.codes, color="0.5", lw=1, ls="--")
    axes.set_ylim(0, 1.05 * module.options.codes)
    common.name_lines(axes, lines)
    common.labeled(axes, "step", "perplexity of a batch, in codes")
    common.whole_ticks(axes.xaxis)
    return common.titled(figure, common.of_model(fitted, "Codes in use by step"))


def use(fitted: Fitted, module: Any, rows: xr.Dataset, again: dict[str, Any]) -> Figure:
    """Plot how often each code is used, from the most used code to the least; a code that is not used has no bar."""
    found, n = _codes(fitted, module, rows, again), module.options.codes
    figure, grid = common.sheet(len(found), 1, width=7, height=2.2 * len(found) + 0.8, sharex=True)
    for i, (axes, (name, z)) in enumerate(zip(grid[:, 0], found.items(), strict=True)):
        share = np.sort(np.bincount(z.ravel(), minlength=n) / z.size)[::-1]
        some = share[share > 0]
        perplexity = np.exp(-(some * np.log(some)).sum())
        told = f"{name}: perplexity {perplexity:.0f} of {n}, {len(some) / n:.0%} in use"
        axes.bar(np.arange(1, n + 1), share, width=1.0, color=common.PALETTE[i % len(common.PALETTE)])
        axes.set_yscale("log")
        even = axes.axhline(1 / n, color="0.5", lw=1, ls="--")
        common.name_lines(axes, {"even": even})
        common.labeled(axes, y="share of places", title=told)
    common.labeled(grid[-1, 0], "rank of the code", "share of places", grid[-1, 0].get_title())
    common.whole_ticks(grid[-1, 0].xaxis)
    return common.titled(figure, common.of_model(fitted, "Use of each code", f"{rows.sizes['row']} rows"))


def redrawn(fitted: Fitted, module: Any, rows: xr.Dataset, again: dict[str, Any]) -> Figure:
    """Plot each row, and samples that keep the row's coarsest codes. The differences come from the finer codes."""
    top = module.names[0]
    codes = {top: _codes(fitted, module, rows, again)[top]}
    draws = probgen.sample(fitted, REDRAWN, given=codes | _conditions(fitted, rows), mean=True, **again)[
        "x"
    ].values
    names = ["x", *(f"draw {i}" for i in range(1, REDRAWN + 1))]
    title = common.of_model(fitted, f"Samples that keep the codes {top} of each row")
    return common.columns([rows["x"].values, *draws], names, fitted.event, title)


def _codes(fitted: Fitted, module: Any, rows: xr.Dataset, again: dict[str, Any]) -> dict[str, np.ndarray]:
    drawn = probgen.sample(fitted, given={"x": rows["x"].values, **_conditions(fitted, rows)}, **again)
    return {name: drawn[name].values[0] for name in module.names}


def _conditions(fitted: Fitted, rows: xr.Dataset) -> dict[str, np.ndarray]:
    return {name: rows[name].values for name in fitted.event.given}
