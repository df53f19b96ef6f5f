"""Figures of vectors: scatter plots, panels, lines, rasters, codes in a plane."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse

from probgen.contract.event import Event
from probgen.figures.style import (
    GRAY,
    INK,
    PALETTE,
    SHAPES,
    SMALL,
    labeled,
    legend,
    mark,
    plain,
    sheet,
    titled,
    whole_ticks,
)

PANELS = 6  # most features of a scatter matrix
SHOWN = 50  # most rows of a figure of lines
Gaussians = tuple[np.ndarray, np.ndarray, np.ndarray]


def codes(
    z: np.ndarray,
    label: np.ndarray | None = None,
    names: Sequence[str] = (),
    title: str = "",
    axes: tuple[str, str] = ("z1", "z2"),
) -> Figure:
    """Return a scatter plot of codes in a plane.

    A class has a color and a shape. Of more than 7 classes with short names, the names are the marks.

    Args:
        z: Coordinates, (row, 2).
        label: Class of each row, (row,); None for one color.
        names: Names of the classes.
        title: Title of the figure; empty for none.
        axes: Names of the two coordinates.

    Returns:
        The figure.
    """
    figure, grid = sheet(width=6.8, height=6.4)
    panel = grid[0, 0]
    if label is None:
        panel.scatter(z[:, 0], z[:, 1], s=6, color=GRAY, linewidths=0)
    else:
        values = np.unique(label)
        called = [names[int(v)] if 0 <= v < len(names) else f"{v:g}" for v in values]
        # of more classes than shapes, the names are the marks if Matplotlib can set them as formulas
        written = len(values) > len(SHAPES) and all(name.isalnum() and len(name) <= 2 for name in called)
        for i, (value, name) in enumerate(zip(values, called, strict=True)):
            at = label == value
            look = mark(i)
            if written:
                look["marker"] = f"${name}$"
            panel.scatter(
                z[at, 0], z[at, 1], s=30 if written else 14, linewidths=0, label=plain(name), **look
            )
        if not written:
            legend(panel, loc="upper left", bbox_to_anchor=(1, 1), markerscale=1.6)
    labeled(panel, *axes)
    panel.set_aspect("equal", adjustable="datalim")
    return titled(figure, title)


def scatter(
    x: np.ndarray,
    names: list[str],
    gaussians: Gaussians | None = None,
    *,
    real: np.ndarray | None = None,
    title: str = "",
) -> Figure:
    """Return a histogram of one feature, a scatter plot of two features, or a matrix of scatter plots of more.

    Args:
        x: Rows, (row, feature).
        names: Names of the features.
        gaussians: Weights, (component,), means, (component, feature), and covariances, (component, feature, feature), shown
            as ellipses of one and two standard deviations. None for no ellipses.
        real: Rows of the data, (row, feature), in gray below x; None for none.
        title: Title of the figure; empty for none.

    Returns:
        The figure.
    """
    features = x.shape[1]
    if features == 1:
        figure, grid = sheet(width=6, height=4)
        _histogram(grid[0, 0], x, real, 0)
        labeled(grid[0, 0], names[0], "density")
    elif features == 2:
        figure, grid = sheet(width=6, height=6)
        _panel(grid[0, 0], x, real, (0, 1), gaussians)
        for k, (weight, mean, _) in enumerate(zip(*gaussians, strict=True) if gaussians else ()):
            color = PALETTE[(k + 1) % len(PALETTE)]
            place: dict[str, Any] = {"xytext": (3, 3), "textcoords": "offset points"}
            grid[0, 0].annotate(f"{weight:.2f}", mean, fontsize=SMALL, color=color, **place)
        labeled(grid[0, 0], *names)
    else:
        figure, grid = sheet(features, features, width=1.9 * features, height=1.9 * features, sharex="col")
        for i, j in np.ndindex(features, features):
            if i == j:
                _histogram(grid[i, i], x, real, i)
                grid[i, i].set_yticks([])
            else:
                _panel(grid[i, j], x, real, (j, i), gaussians)
            labeled(grid[i, j], names[j] if i == features - 1 else "", names[i] if j == 0 else "")
            if j:
                grid[i, j].tick_params(labelleft=False)
        for i, j in np.ndindex(features, features):
            if i != j:  # the same scale in each line, as in each column
                grid[i, j].set_ylim(grid[i, i].get_xlim())
    if real is not None:
        legend(grid[0, 0], loc="lower left", bbox_to_anchor=(0, 1), ncols=2, markerscale=2)
    return titled(figure, title)


def _histogram(axes: Any, x: np.ndarray, real: np.ndarray | None, i: int) -> None:
    if real is not None:
        known = real[np.isfinite(real[:, i]), i]
        edges = np.histogram_bin_edges(np.concatenate([x[:, i], known]), "auto")
        axes.hist(known, edges, density=True, color=GRAY, alpha=0.4, label="data")
        axes.hist(x[:, i], edges, density=True, histtype="step", color=PALETTE[0], lw=1.3, label="samples")
    else:
        axes.hist(x[:, i], bins="auto", density=True, color=GRAY)


def _panel(
    axes: Any, x: np.ndarray, real: np.ndarray | None, pair: tuple[int, int], gaussians: Gaussians | None
) -> None:
    look: dict[str, Any] = {"s": 6, "alpha": 0.5, "linewidths": 0}
    if real is not None:
        axes.scatter(*real[:, pair].T, color=GRAY, marker="s", label="data", **look)
    axes.scatter(*x[:, pair].T, color=INK if real is None else PALETTE[0], label="samples", **look)
    for k, (_, mean, covariance) in enumerate(zip(*gaussians, strict=True) if gaussians else ()):
        part = covariance[np.ix_(pair, pair)]
        lengths, directions = np.linalg.eigh(part)
        angle = math.degrees(math.atan2(directions[1, 1], directions[0, 1]))
        color, center = PALETTE[(k + 1) % len(PALETTE)], mean[list(pair)]
        for deviations in (1, 2):
            width, height = 2 * deviations * np.sqrt(lengths[::-1])
            axes.add_patch(
                Ellipse(center, width, height, angle=angle, fill=False, color=color, lw=1.5 / deviations)
            )
        axes.plot(*center, "+", color=color)
    axes.autoscale_view()


def raster(x: np.ndarray, event: Event, *, real: np.ndarray | None = None, title: str = "") -> Figure:
    """Return a figure of discrete vectors as lines of dots, dark for the highest level.

    Args:
        x: Rows, (row, position); only the first 100 are shown.
        event: Description of the rows.
        real: Rows of the data, (row, position), in a panel of their own; None for none.
        title: Title of the figure; empty for none.

    Returns:
        The figure.
    """
    parts = {"samples": x} if real is None else {"data": real, "samples": x}
    figure, grid = sheet(1, len(parts), width=4.5 * len(parts), height=4, sharey=True)
    top = (event.levels or 2) - 1
    for j, (axes, (name, rows)) in enumerate(zip(grid[0], parts.items(), strict=True)):
        axes.imshow(rows[:100], cmap="gray_r", vmin=0, vmax=top, aspect="auto", interpolation="nearest")
        labeled(axes, "position", "" if j else "row", name if real is not None else "")
        whole_ticks(axes.xaxis, axes.yaxis)
    return titled(figure, title)


def lines(x: np.ndarray, *, real: np.ndarray | None = None, title: str = "") -> Figure:
    """Return a figure of vectors as curves over their positions.

    Args:
        x: Rows, (row, position); only the first 50 are shown.
        real: Rows of the data, (row, position), in a panel of their own; None for none.
        title: Title of the figure; empty for none.

    Returns:
        The figure.
    """
    parts = {"samples": x} if real is None else {"data": real, "samples": x}
    figure, grid = sheet(len(parts), 1, width=8, height=2.4 * len(parts) + 1, sharex=True, sharey=True)
    for axes, (name, rows) in zip(grid[:, 0], parts.items(), strict=True):
        color = GRAY if name == "data" else PALETTE[0]
        axes.plot(rows[:SHOWN].T, lw=0.6, alpha=0.5, color=color)
        labeled(axes, y="x", title=name if real is not None else "")
    labeled(grid[-1, 0], "position", "x", grid[-1, 0].get_title())
    whole_ticks(grid[-1, 0].xaxis)
    return titled(figure, title)
