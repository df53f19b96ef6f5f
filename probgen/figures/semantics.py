"""What directions in a space of codes do: tables of numbers in colors, and effects by layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure


def table(
    values: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str = "",
    *,
    beside: str = "",
    above: str = "",
) -> Figure:
    """Numbers as colors and as text: (row, column). Blue is below 0, red above; NaN is left empty."""
    down, across = values.shape
    figure = Figure(figsize=(1.6 + 0.55 * across, 1.2 + 0.38 * down), layout="constrained")
    axes = figure.add_subplot()
    most = max(float(np.nanmax(np.abs(values), initial=0)), 1e-12)
    axes.imshow(values, cmap="RdBu_r", vmin=-most, vmax=most, aspect="auto")
    for i, j in np.ndindex(down, across):
        if np.isfinite(values[i, j]):
            ink = "white" if abs(values[i, j]) > 0.6 * most else "black"
            axes.text(j, i, f"{values[i, j]:.2f}", ha="center", va="center", fontsize=7, color=ink)
    axes.set_xticks(range(across), columns, rotation=45, ha="right", fontsize=8)
    axes.set_yticks(range(down), rows, fontsize=8)
    axes.set_xlabel(above, fontsize=8)
    axes.set_ylabel(beside, fontsize=8)
    if title:
        figure.suptitle(title, fontsize=10)
    return figure


def by_layer(
    effect: np.ndarray,
    interval: np.ndarray,
    called: np.ndarray,
    chance: np.ndarray,
    names: Sequence[str],
    layers: Sequence[str],
    title: str = "",
) -> Figure:
    """A panel an attribute: its change by layer with 95 % intervals, dark where that stands out.

    effect, called (factor, layer), and interval, half of its width; chance: the largest change by random directions (factor,), drawn as a band
    """
    across = min(4, len(names))
    down = math.ceil(len(names) / across)
    figure = Figure(figsize=(2.4 * across, 1.9 * down + 0.4), layout="constrained")
    grid: Any = figure.subplots(down, across, squeeze=False, sharex=True)
    for axes in grid.flat[len(names) :]:
        axes.set_axis_off()
    for k, (axes, name) in enumerate(zip(grid.flat, names, strict=False)):
        places = np.arange(effect.shape[1])
        axes.axhspan(-chance[k], chance[k], color="0.92")
        axes.bar(
            places,
            effect[k],
            yerr=interval[k],
            color=np.where(called[k], "C0", "0.7"),
            error_kw={"lw": 0.8},
        )
        axes.axhline(0, color="0.3", lw=0.6)
        axes.set_xticks(places, layers)
        axes.set_title(name, fontsize=9)
        axes.tick_params(labelsize=7)
    figure.supxlabel("layer; gray band: the largest change by random directions", fontsize=8)
    figure.supylabel("change in deviations", fontsize=8)
    if title:
        figure.suptitle(title, fontsize=10)
    return figure
