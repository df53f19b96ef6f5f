"""Figures of a search: the values of its trials in order, and against each option."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from probgen.figures.style import GRAY, LEAST, PALETTE, PLAIN, labeled, legend, sheet, titled, whole_ticks


def search_history(trial: np.ndarray, value: np.ndarray, title: str = "") -> Figure:
    """Return a figure of the value of each trial and of the best value so far.

    Args:
        trial: Numbers of the trials, (trial,).
        value: Values, (trial,), in nats per row; NaN for a trial without a value.
        title: Title of the figure; empty for none.

    Returns:
        The figure.
    """
    figure, grid = sheet(width=7, height=3.6)
    axes = grid[0, 0]
    there = np.isfinite(value)
    axes.scatter(trial[there], value[there], s=14, color=GRAY, linewidths=0, label="trial")
    best = np.fmax.accumulate(np.where(there, value, np.nan))
    axes.step(trial, best, where="post", color=PALETTE[0], lw=1.3, label="best so far")
    axes.scatter(
        trial[:1], value[:1], s=40, facecolors="none", edgecolors=PALETTE[1], label="the recipe's own options"
    )
    if (~there).any():
        below = axes.get_xaxis_transform()
        axes.plot(
            trial[~there], np.zeros((~there).sum()), "|", color=GRAY, transform=below, label="without a value"
        )
    axes.set_ylim(*_room(value[there]))
    whole_ticks(axes.xaxis)
    labeled(axes, "trial", "nats per row, validation rows")
    axes.grid(alpha=0.3, color=GRAY, lw=0.4)
    legend(axes, loc="lower left", bbox_to_anchor=(0, 1), ncols=4)
    return titled(figure, title)


def importance(
    importances: Mapping[str, float],
    options: Mapping[str, np.ndarray],
    value: np.ndarray,
    logs: Collection[str] = (),
    texts: Mapping[str, Sequence[str]] = {},
    title: str = "",
) -> Figure:
    """Return a figure of the importance of each option and of the values of the trials against each option.

    Args:
        importances: Importance by name of the option, as shares of 1; empty if unknown.
        options: Option values of the trials by name, (trial,) each: numbers or texts.
        value: Values, (trial,), in nats per row; NaN for a trial without a value.
        logs: Names of the options with a logarithmic axis.
        texts: Possible texts, in order, of the options that are texts.
        title: Title of the figure; empty for none.

    Returns:
        The figure.
    """
    panels = len(options) + bool(importances)
    across = min(3, panels)
    down = math.ceil(panels / across)
    figure, grid = sheet(down, across, width=3.2 * across, height=2.6 * down + 0.5)
    places = iter(grid.flat)
    if importances:
        axes = next(places)
        names = sorted(importances, key=lambda name: importances[name])
        axes.barh(names, [importances[name] for name in names], color=PALETTE[0])
        labeled(axes, "importance, share of 1")
    there = np.isfinite(value)
    limits = _room(value[there])
    for name, values in options.items():
        axes = next(places)
        if name in texts:
            x = np.array([texts[name].index(each) for each in values])
            axes.set_xticks(range(len(texts[name])), texts[name])
        else:
            x = values
        axes.scatter(x[there], value[there], s=14, color=GRAY, linewidths=0)
        axes.scatter(x[:1], value[:1], s=30, facecolors="none", edgecolors=PALETTE[1])
        if name in logs:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
            axes.xaxis.set_major_formatter("{x:g}")
            axes.xaxis.set_minor_locator(NullLocator())
        axes.set_ylim(*limits)
        axes.tick_params(labelsize=LEAST)
        axes.grid(alpha=0.3, color=GRAY, lw=0.4)
        labeled(axes, name)
    for axes in places:
        axes.set_axis_off()
    figure.supylabel("nats per row, validation rows", fontsize=PLAIN)
    return titled(figure, title)


def _room(value: np.ndarray) -> tuple[float, float]:
    """Return the limits of the value axis, without the lowest values, which would compress the others."""
    value = value[np.isfinite(value)]
    if not len(value):
        return 0.0, 1.0
    low, high = np.quantile(value, 0.1), value.max()
    room = 0.1 * (high - low) + 1e-9 + 1e-6 * abs(high)
    return float(min(low, value[0]) - room), float(high + room)
