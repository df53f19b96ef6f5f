"""Figures of the training curves of a fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from probgen.errors import InputError


def curves(history: Mapping[str, np.ndarray], x: np.ndarray, xlabel: str, title: str = "") -> Figure:
    """Return a figure of the metrics of a fit, as means over up to 200 intervals of steps.

    `loss` and `valid_loss` are shown with the opposite sign, as a log-likelihood or a bound that is maximized. They share a
    panel with `reconstruction`. `kl` has its own panel. Other metrics are not shown.

    Args:
        history: Metrics by name, (step,) each, in nats per row, NaN for steps without a value.
        x: Horizontal coordinate of each step, (step,).
        xlabel: Label of the horizontal axis.
        title: Title of the figure; empty for none.

    Returns:
        The figure.

    Raises:
        InputError: When there is no such metric, or there are fewer than 2 steps.
    """
    shown = [(name, -history[name]) for name in ("loss", "valid_loss") if name in history]
    shown += [(name, history[name]) for name in ("reconstruction", "kl") if name in history]
    if not shown or len(x) < 2:
        raise InputError("history: a figure of a fit needs a loss at 2 or more steps. Choose another stage.")
    labels = {"loss": "-loss", "valid_loss": "-loss, validation rows"}
    panels = 2 if "kl" in history else 1
    figure = Figure(figsize=(7, 3.2 * panels), layout="constrained")
    grid: Any = figure.subplots(panels, 1, sharex=True, squeeze=False)[:, 0]
    lows, highs = [], []
    for name, values in shown:
        at, mean = stretches(x, values)
        axes = grid[1] if name == "kl" else grid[0]
        axes.plot(at, mean, lw=1.3, label=labels.get(name, name))
        if name != "kl" and len(mean):
            lows.append(np.quantile(mean, 0.05))
            highs.append(mean.max())
    room = 0.08 * (max(highs) - min(lows)) + 1e-9
    # without the lowest values, the first steps do not dominate the figure
    grid[0].set_ylim(min(lows) - room, max(highs) + room)
    for axes in grid:
        axes.set_ylabel("nats per row")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    grid[-1].set_xlabel(xlabel)
    if title:
        figure.suptitle(title, fontsize=10)
    return figure


def stretches(x: np.ndarray, values: np.ndarray, most: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Return the means of a curve over intervals of steps.

    Args:
        x: Horizontal coordinates, (step,).
        values: Values, (step,); NaN values are left out.
        most: Largest number of intervals.

    Returns:
        The mean coordinate and the mean value of each interval, both (interval,).
    """
    there = np.isfinite(values)
    x, values = x[there], values[there]
    parts = [part for part in np.array_split(np.arange(len(x)), min(most, max(1, len(x)))) if len(part)]
    return np.array([x[part].mean() for part in parts]), np.array([values[part].mean() for part in parts])
