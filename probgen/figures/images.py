"""Figures of images: grids, columns side by side, strips."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from probgen.contract.event import Event
from probgen.errors import InputError


def images(x: np.ndarray, event: Event, across: int | None = None) -> Figure:
    """Return a grid of images.

    Args:
        x: Images, (row, *event), with 1 or 3 channels.
        event: Description of the images.
        across: Number of images per line; None for a nearly square grid.

    Returns:
        The figure.
    """
    rows = len(x)
    across = across or math.ceil(math.sqrt(rows))
    down = math.ceil(rows / across)
    low, high = (0, (event.levels or 2) - 1) if event.discrete else (float(x.min()), float(x.max()))
    x = np.clip((x.astype(float) - low) / max(high - low, 1e-12), 0, 1)
    x = x[:, None] if x.ndim == 3 else x
    *_, channels, height, width = x.shape
    grid = np.full((channels, down * (height + 1) - 1, across * (width + 1) - 1), np.nan)
    for i, image in enumerate(x):
        top, left = i // across * (height + 1), i % across * (width + 1)
        grid[:, top : top + height, left : left + width] = image
    figure = Figure(figsize=(6, 6 * down / across), layout="constrained")
    axes = figure.add_subplot()
    if channels == 3:
        axes.imshow(np.moveaxis(np.nan_to_num(grid, nan=1.0), 0, 2), interpolation="nearest")
    else:
        grays = matplotlib.colormaps[grays_of(event)].with_extremes(bad="white")
        axes.imshow(grid[0], cmap=grays, vmin=0, vmax=1, interpolation="nearest")
    axes.set_axis_off()
    return figure


def grays_of(event: Event) -> str:
    """Return the name of the gray color map for images.

    The highest level is white for 256 or more levels, as in a photograph. It is black for fewer levels, as ink on paper.

    Args:
        event: Description of the images.

    Returns:
        "gray" or "gray_r".
    """
    return "gray" if (event.levels or 0) >= 256 else "gray_r"


def columns(
    parts: Sequence[np.ndarray],
    names: Sequence[str],
    event: Event,
    title: str = "",
    *,
    shared: int | None = None,
) -> Figure:
    """Return a figure of images side by side, with one line for each row of x.

    Args:
        parts: The columns: images, (row, *event), or one number per pixel, (row, height, width). NaN (unknown) is blue.
        names: Title of each column.
        event: Description of the images.
        title: Title of the figure; empty for none.
        shared: Number of columns, from the left, with the color scale of the first; None for all. Other columns have their
            own scale.

    Returns:
        The figure.

    Raises:
        InputError: When the event is not an image with 1 or 3 channels.
    """
    colors = event.shape[0] if len(event.dims) == 3 else 1
    if event.dims[-2:] != ("height", "width") or colors not in (1, 3):
        raise InputError(
            f"x of {event}: the figure needs images with 1 or 3 channels. Choose another figure."
        )
    rows = len(parts[0])
    figure = Figure(figsize=(1.1 * len(parts), 1.1 * rows + 0.5), layout="constrained")
    grid: Any = figure.subplots(rows, len(parts), squeeze=False)
    unknown = "#a6bddb"
    for j, part in enumerate(parts):
        shown = np.asarray(part, dtype=float)
        gray = colors == 1 or shown.ndim == 3
        shown = shown.reshape(rows, *event.shape[-2:]) if gray else np.moveaxis(shown, 1, 3)
        ink = matplotlib.colormaps[grays_of(event) if colors == 1 else "magma"].with_extremes(bad=unknown)
        scale = np.asarray(parts[0] if shared is None or j < shared else part)
        low, high = min(0.0, float(scale.min())), float(scale.max())
        if event.discrete and scale is parts[0]:
            high = (event.levels or 2) - 1
        high = max(high, low + 1e-12)
        if not gray:
            rgb = ((shown - low) / (high - low)).clip(0, 1)
            shown = np.where(np.isnan(rgb), matplotlib.colors.to_rgb(unknown), rgb)
        for i in range(rows):
            grid[i, j].imshow(shown[i], cmap=ink, vmin=low, vmax=high)
            grid[i, j].set_axis_off()
        grid[0, j].set_title(names[j], fontsize=8)
    if title:
        figure.suptitle(title, fontsize=10)
    return figure


def strips(x: np.ndarray, event: Event, title: str = "") -> Figure:
    """Return a figure of sequences of images, one per line.

    Args:
        x: Sequences of images, (row, step, *event).
        event: Description of the images.
        title: Title of the figure; empty for none.

    Returns:
        The figure.

    Raises:
        InputError: When the event is not an image.
    """
    if event.dims[-2:] != ("height", "width"):
        raise InputError(f"x of {event}: the figure needs images. Choose another figure.")
    figure = images(x.reshape(-1, *x.shape[2:]), event, across=x.shape[1])
    if title:
        figure.suptitle(title, fontsize=10)
    return figure
