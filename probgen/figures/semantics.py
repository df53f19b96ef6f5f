"""Figures of directions in a latent space: tables of effects as colors, and effects by layer."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from probgen.figures.style import (
    DIVERGING,
    GRAY,
    LEAST,
    PALE,
    PALETTE,
    PLAIN,
    SMALL,
    labeled,
    plain,
    sheet,
    titled,
)


def table(
    values: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str = "",
    *,
    beside: str = "",
    above: str = "",
) -> Figure:
    """Return a figure of a table, with numbers as colors and as text.

    Args:
        values: Numbers, (row, column): blue below 0, red above 0, empty for NaN.
        rows: Names of the rows.
        columns: Names of the columns.
        title: Title of the figure; empty for none.
        beside: Label of the vertical axis.
        above: Label of the horizontal axis.

    Returns:
        The figure.
    """
    down, across = values.shape
    figure, grid = sheet(width=1.6 + 0.55 * across, height=1.4 + 0.38 * down)
    axes = grid[0, 0]
    most = max(float(np.nanmax(np.abs(values), initial=0)), 1e-12)
    axes.imshow(values, cmap=DIVERGING, vmin=-most, vmax=most, aspect="auto")
    for i, j in np.ndindex(down, across):
        if np.isfinite(values[i, j]):
            ink = "white" if abs(values[i, j]) > 0.6 * most else "black"
            axes.text(j, i, f"{values[i, j]:.2f}", ha="center", va="center", fontsize=LEAST, color=ink)
    axes.set_xticks(range(across), [plain(name) for name in columns], rotation=45, ha="right", fontsize=SMALL)
    axes.set_yticks(range(down), [plain(name) for name in rows], fontsize=SMALL)
    labeled(axes, above, beside)
    return titled(figure, title)


def by_layer(
    effect: np.ndarray,
    interval: np.ndarray,
    called: np.ndarray,
    chance: np.ndarray,
    names: Sequence[str],
    layers: Sequence[str],
    title: str = "",
) -> Figure:
    """Return a figure with one panel per attribute, of its change by layer with 95 % intervals.

    Args:
        effect: Change of the attribute, (factor, layer), in standard deviations.
        interval: Half-widths of the 95 % intervals, (factor, layer).
        called: Whether the change stands out, (factor, layer), bool; its bar is then colored.
        chance: Largest change by random directions, (factor,), shown as a gray band.
        names: Names of the attributes.
        layers: Names of the layers.
        title: Title of the figure; empty for none.

    Returns:
        The figure.
    """
    across = min(4, len(names))
    down = math.ceil(len(names) / across)
    figure, grid = sheet(down, across, width=2.3 * across, height=1.9 * down + 0.8, sharex=True)
    for axes in grid.flat[len(names) :]:
        axes.set_axis_off()
    for k, (axes, name) in enumerate(zip(grid.flat, names, strict=False)):
        places = np.arange(effect.shape[1])
        axes.axhspan(-chance[k], chance[k], color=PALE, alpha=0.5)
        axes.bar(
            places,
            effect[k],
            yerr=interval[k],
            color=np.where(called[k], PALETTE[0], PALE),
            error_kw={"lw": 0.8},
        )
        axes.axhline(0, color=GRAY, lw=0.6)
        axes.set_xticks(places, layers)
        axes.tick_params(labelbottom=k + across >= len(names))
        labeled(axes, title=name)
    figure.supxlabel("layer; gray band: the largest change by random directions", fontsize=PLAIN)
    figure.supylabel("change in standard deviations", fontsize=PLAIN)
    return titled(figure, title)
