"""Curves of a fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from probgen.errors import InputError


def curves(history: Mapping[str, np.ndarray], x: np.ndarray, xlabel: str, title: str = "") -> Figure:
    """Metrics of a fit in nats a row, on average over up to 200 stretches: each (step,), NaN where it was not measured.

    `loss` and `valid_loss` are drawn upside down, as what is maximized (a log-likelihood or a bound, say), with
    `reconstruction` beside them, and `kl` in a panel of its own. Errors: `InputError` where there is neither.
    """
    shown = [(name, -history[name]) for name in ("loss", "valid_loss") if name in history]
    shown += [(name, history[name]) for name in ("reconstruction", "kl") if name in history]
    if not shown or len(x) < 2:
        raise InputError("a curve needs a loss at several steps")
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
    grid[0].set_ylim(
        min(lows) - room, max(highs) + room
    )  # the first steps would leave no room for the others
    for axes in grid:
        axes.set_ylabel("nats a row")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    grid[-1].set_xlabel(xlabel)
    if title:
        figure.suptitle(title, fontsize=10)
    return figure


def stretches(x: np.ndarray, values: np.ndarray, most: int = 200) -> tuple[np.ndarray, np.ndarray]:
    there = np.isfinite(values)
    x, values = x[there], values[there]
    parts = [part for part in np.array_split(np.arange(len(x)), min(most, max(1, len(x)))) if len(part)]
    return np.array([x[part].mean() for part in parts]), np.array([values[part].mean() for part in parts])
