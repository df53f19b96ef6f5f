"""Figures of attributes: predicted values against known values."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from probgen.figures.style import GRAY, LEAST, PALETTE, PLAIN, labeled, sheet, titled


def told_against_known(
    known: np.ndarray, told: np.ndarray, levels: Mapping[str, int], title: str = ""
) -> Figure:
    """Return a figure with one panel per attribute, of predicted against known values.

    For a number, the panel is a scatter plot. For a class, the panel shows the shares of the predicted classes for each
    known class.

    Args:
        known: Known values, (row, factor), NaN for unknown ones.
        told: Predicted values, (row, factor).
        levels: Number of classes of each attribute by name, in the order of the factors; 0 for a number.
        title: Title of the figure; empty for none.

    Returns:
        The figure.
    """
    across = min(4, len(levels))
    down = math.ceil(len(levels) / across)
    figure, grid = sheet(down, across, width=2.4 * across, height=2.4 * down + 0.6)
    for axes in grid.flat[len(levels) :]:
        axes.set_axis_off()
    for k, (axes, (name, classes)) in enumerate(zip(grid.flat, levels.items(), strict=False)):
        there = np.isfinite(known[:, k])
        a, b = known[there, k], told[there, k]
        if classes:
            counts = np.zeros((classes, classes))
            np.add.at(counts, (b.astype(int), a.astype(int)), 1)
            shown = counts / np.maximum(counts.sum(0), 1)
            axes.imshow(shown, cmap="gray_r", vmin=0, vmax=1, origin="lower")
            axes.set_xticks(range(classes))
            axes.set_yticks(range(classes))
        else:
            axes.scatter(a, b, s=3, color=GRAY, linewidths=0)
            ends = [min(a.min(), b.min()), max(a.max(), b.max())]
            axes.plot(ends, ends, color=PALETTE[1], lw=0.8)
        axes.tick_params(labelsize=LEAST)
        labeled(axes, title=name)
    figure.supxlabel("known", fontsize=PLAIN)
    figure.supylabel("predicted", fontsize=PLAIN)
    return titled(figure, title)
