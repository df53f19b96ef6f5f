"""Figures of the training curves of a fit."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from probgen.errors import InputError
from probgen.figures.style import GRAY, PALETTE, labeled, name_lines, sheet, titled, whole_ticks

FEW = 40  # up to so many points, each has a mark
NOTHING = "history: a figure of a fit needs a loss at 2 or more steps. Choose another stage."


def curves(
    history: Mapping[str, np.ndarray],
    x: np.ndarray,
    xlabel: str,
    title: str = "",
    unit: str = "nats per row",
) -> Figure:
    """Return a figure of the metrics of a fit: values of single steps in pale, and means over intervals of steps.

    `loss` and `valid_loss` are shown with the opposite sign, as a log-likelihood or a bound that is maximized. They share a
    panel with `reconstruction`. `kl` has its own panel. Other metrics are not shown. The best value of the validation rows,
    whose weights a fit keeps, has a ring. A triangle at the lower edge marks the last step below the panel.

    Args:
        history: Metrics by name, (step,) each, NaN for steps without a value.
        x: Horizontal coordinate of each step, (step,).
        xlabel: Label of the horizontal axis.
        title: Title of the figure; empty for none.
        unit: Unit of the metrics.

    Returns:
        The figure.

    Raises:
        InputError: When there is no such metric, or there are fewer than 2 steps.
    """
    shown = {
        "batches": -history["loss"] if "loss" in history else None,
        "validation": -history["valid_loss"] if "valid_loss" in history else None,
        "reconstruction": history.get("reconstruction"),
    }
    main = {name: values for name, values in shown.items() if values is not None}
    kl = history.get("kl")
    if not (main or kl is not None) or len(x) < 2:
        raise InputError(NOTHING)
    panels = [*([main] if main else []), *([{"KL": kl}] if kl is not None else [])]
    figure, grid = sheet(len(panels), 1, width=7, height=2.6 * len(panels) + 0.6, sharex=True)
    for axes, panel in zip(grid[:, 0], panels, strict=True):
        lines, means = {}, []
        for i, (name, values) in enumerate(panel.items()):
            assert values is not None
            there = np.isfinite(values)
            at, mean = stretches(x, values)
            means.append((at, mean))
            if len(at) < there.sum():
                axes.plot(x[there], values[there], lw=0.4, alpha=0.3, color=PALETTE[i])
            few = {"marker": "o", "markersize": 4} if len(at) <= FEW else {}
            lines[name] = axes.plot(at, mean, lw=1.6, color=PALETTE[i], **few)[0]
            if name == "validation":
                best = int(np.argmax(mean))
                axes.plot(at[best], mean[best], "o", markersize=9, fillstyle="none", color=PALETTE[i])
        low = min(np.quantile(mean, 0.05) for _, mean in means)
        high = max(float(mean.max()) for _, mean in means)
        room = 0.08 * (high - low) + 1e-9
        # without the lowest values, the first steps do not dominate the panel
        axes.set_ylim(low - room, high + room)
        for (at, mean), line in zip(means, lines.values(), strict=True):
            if (below := mean < low - room).any():
                axes.plot(
                    at[below].max(), 0.03, "v", transform=axes.get_xaxis_transform(), color=line.get_color()
                )
        labeled(axes, y=unit if panel is main else f"KL, {unit}")
        axes.grid(alpha=0.3, color=GRAY, lw=0.4)
        if panel is main:
            name_lines(axes, lines)
    labeled(grid[-1, 0], xlabel, grid[-1, 0].get_ylabel())
    whole_ticks(grid[-1, 0].xaxis)
    return titled(figure, title)


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
