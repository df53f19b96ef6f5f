"""Figures of vectors: scatter plots, panels, lines, rasters, codes in a plane."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse

from probgen.contract.event import Event

PANELS = 6  # most features of a scatter matrix


def codes(
    z: np.ndarray, label: np.ndarray | None = None, names: Sequence[str] = (), title: str = ""
) -> Figure:
    """Return a scatter plot of codes in a plane.

    Args:
        z: Coordinates, (row, 2).
        label: Class of each row, (row,), shown as colors; None for one color.
        names: Names of the classes.
        title: Title of the figure; empty for none.

    Returns:
        The figure.
    """
    figure = Figure(figsize=(6.5, 6), layout="constrained")
    axes = figure.add_subplot()
    if label is None:
        axes.scatter(z[:, 0], z[:, 1], s=5, color="0.35", linewidths=0)
    else:
        values = np.unique(label)
        colors = matplotlib.colormaps["tab10" if len(values) <= 10 else "tab20"]
        for i, value in enumerate(values):
            at = label == value
            name = names[int(value)] if len(names) > value else str(value)
            axes.scatter(z[at, 0], z[at, 1], s=8, color=colors(i % colors.N), linewidths=0, label=name)
        axes.legend(markerscale=2.5, fontsize=8, loc="best", framealpha=0.8)
    axes.set(xlabel="first axis", ylabel="second axis")
    if title:
        figure.suptitle(title, fontsize=10)
    return figure


def scatter(
    x: np.ndarray, names: list[str], gaussians: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
) -> Figure:
    """Return a histogram of one feature, a scatter plot of two features, or a matrix of scatter plots of more.

    Args:
        x: Rows, (row, feature).
        names: Names of the features.
        gaussians: Weights, (component,), means, (component, feature), and covariances, (component, feature, feature), shown
            as ellipses of one and two standard deviations. None for no ellipses.

    Returns:
        The figure.
    """
    features = x.shape[1]
    if features == 1:
        figure = Figure(figsize=(6, 4), layout="constrained")
        axes = figure.add_subplot()
        axes.hist(x[:, 0], bins="auto", density=True, color="0.6")
        axes.set(xlabel=names[0], ylabel="density")
        return figure
    if features == 2:
        figure = Figure(figsize=(6, 6), layout="constrained")
        _panel(figure.add_subplot(), x, (0, 1), names, gaussians)
        return figure
    figure = Figure(figsize=(2.2 * features, 2.2 * features), layout="constrained")
    grid: Any = figure.subplots(features, features, sharex="col")
    for i in range(features):
        for j in range(features):
            if i == j:
                grid[i, i].hist(x[:, i], bins="auto", density=True, color="0.6")
            else:
                _panel(grid[i, j], x, (j, i), ["", ""], gaussians)
        grid[i, 0].set_ylabel(names[i])
        grid[-1, i].set_xlabel(names[i])
    return figure


def _panel(
    axes: Any,
    x: np.ndarray,
    pair: tuple[int, int],
    names: list[str],
    gaussians: tuple[np.ndarray, np.ndarray, np.ndarray] | None,
) -> None:
    axes.scatter(x[:, pair[0]], x[:, pair[1]], s=4, alpha=0.5, color="0.35", linewidths=0)
    for k, (weight, mean, covariance) in enumerate(zip(*gaussians, strict=True) if gaussians else ()):
        part = covariance[np.ix_(pair, pair)]
        lengths, directions = np.linalg.eigh(part)
        angle = math.degrees(math.atan2(directions[1, 1], directions[0, 1]))
        for deviations in (1, 2):
            width, height = 2 * deviations * np.sqrt(lengths[::-1])
            axes.add_patch(
                Ellipse(
                    mean[list(pair)],
                    width,
                    height,
                    angle=angle,
                    fill=False,
                    color=f"C{k % 10}",
                    lw=1.5 / deviations,
                )
            )
        axes.plot(*mean[list(pair)], "+", color=f"C{k % 10}", label=f"{weight:.2f}")
    axes.autoscale_view()
    axes.set(xlabel=names[0], ylabel=names[1])


def raster(x: np.ndarray, event: Event) -> Figure:
    """Return a figure of discrete vectors as lines of dots, dark for the highest level.

    Args:
        x: Rows, (row, position); only the first 100 are shown.
        event: Description of the rows.

    Returns:
        The figure.
    """
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.add_subplot()
    top = (event.levels or 2) - 1
    axes.imshow(x[:100], cmap="gray_r", vmin=0, vmax=top, aspect="auto", interpolation="nearest")
    axes.set(xlabel="position", ylabel="row")
    return figure


def lines(x: np.ndarray) -> Figure:
    """Return a figure of vectors as curves over their positions.

    Args:
        x: Rows, (row, position); only the first 50 are shown.

    Returns:
        The figure.
    """
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(x[:50].T, lw=0.6, alpha=0.6)
    axes.set(xlabel="position", ylabel="x")
    return figure
