"""Figures of images: grids with the rows of the data above them, and sequences of images."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from probgen.contract.event import Event
from probgen.errors import InputError
from probgen.figures.style import FAINT, GRAY, LEAST, PALETTE, bare, plain, sheet, titled

WIDEST, LARGEST = 8.0, 0.8  # width of a grid and of an image in it, in inches
WIDTH = 5  # approximate width of a character of a name, in points


def images(
    x: np.ndarray,
    event: Event,
    across: int | None = None,
    *,
    real: np.ndarray | None = None,
    above: Sequence[str] = (),
    beside: Sequence[str] = (),
    framed: Collection[int] = (),
    title: str = "",
) -> Figure:
    """Return a grid of images, with rows of the data above a rule.

    Args:
        x: Images, (row, *event), with 1 or 3 channels.
        event: Description of the images.
        across: Number of images per line; None for 6 to 12, without a gap in the last line if possible.
        real: Rows of the data, (row, *event), of which the first line is filled; None for none.
        above: Names of the columns.
        beside: Names of the lines.
        framed: Columns with a frame: images that are given, not computed.
        title: Title of the figure; empty for none.

    Returns:
        The figure.
    """
    across = across or next((k for k in (10, 8, 12, 9, 7, 11, 6) if len(x) % k == 0), min(10, len(x)))
    parts = {"draws": x} if real is None else {"data": real[:across], "draws": x}
    values = np.concatenate([part.reshape(-1) for part in parts.values()]).astype(float)
    low, high = (0, (event.levels or 2) - 1) if event.discrete else (values.min(), values.max())
    height, width = x.shape[-2:]
    lines = [math.ceil(len(part) / across) for part in parts.values()]
    side = min(LARGEST, WIDEST / across)
    figure, grid = sheet(
        len(parts),
        1,
        width=side * across,
        height=side * height / width * sum(lines) + 0.4 + 0.25 * any(above),
        heights=lines,
    )
    for axes, part in zip(grid[:, 0], parts.values(), strict=True):
        shown = np.clip((part.astype(float) - low) / max(high - low, 1e-12), 0, 1)
        _mosaic(axes, shown.reshape(len(part), -1, height, width), across, grays_of(event))
        bare(axes)
    _named(grid[-1, 0].xaxis, above, width + 1, 72 * side)
    _named(grid[-1, 0].yaxis, beside, height + 1)
    if real is not None:
        _named(grid[0, 0].yaxis, ["data"], height + 1)
        grid[0, 0].spines["bottom"].set(visible=True, color=GRAY, linewidth=1, position=("outward", 3))
    for column in framed:
        for line in range(lines[-1]):
            place = column * (width + 1) - 0.5, line * (height + 1) - 0.5
            grid[-1, 0].add_patch(
                Rectangle(
                    place, width, height, fill=False, edgecolor=PALETTE[1], linewidth=1.5, clip_on=False
                )
            )
    if event.discrete and x.ndim == 3 and (event.levels or 2) > 2:
        ends = f"0 to {high}" if grays_of(event) == "gray" else f"{high} to 0"
        grid[-1, 0].set_xlabel(f"black to white: {ends}", fontsize=LEAST, color=FAINT)
    return titled(figure, title)


def _mosaic(axes: Any, x: np.ndarray, across: int, grays: str) -> None:
    """Draw images with values of 0 to 1 in lines, with a gap of one pixel."""
    *_, channels, height, width = x.shape
    down = math.ceil(len(x) / across)
    grid = np.full((channels, down * (height + 1) - 1, across * (width + 1) - 1), np.nan)
    for i, image in enumerate(x):
        top, left = i // across * (height + 1), i % across * (width + 1)
        grid[:, top : top + height, left : left + width] = image
    if channels == 3:
        axes.imshow(np.moveaxis(np.nan_to_num(grid, nan=1.0), 0, 2), interpolation="nearest")
    else:
        colors = matplotlib.colormaps[grays].with_extremes(bad="white")
        axes.imshow(grid[0], cmap=colors, vmin=0, vmax=1, interpolation="nearest")


def _named(axis: Any, names: Sequence[str], step: int, room: float = math.inf) -> None:
    """Write names at the centers of columns (above them) or of lines; turned if one needs more room, in points."""
    if not any(names):
        return
    turned = max(map(len, names)) * WIDTH > room
    axis.set_ticks(
        np.arange(len(names)) * step + step / 2 - 1,
        [plain(name) for name in names],
        **({"rotation": 45, "ha": "left"} if turned else {}),
    )
    if axis.axis_name == "x":
        axis.tick_top()


def grays_of(event: Event) -> str:
    """Return the name of the gray color map for images.

    The highest level is white for 256 or more levels, as in a photograph. It is black for fewer levels, as ink on paper.

    Args:
        event: Description of the images.

    Returns:
        "gray" or "gray_r".
    """
    return "gray" if (event.levels or 0) >= 256 else "gray_r"


def strips(
    x: np.ndarray,
    event: Event,
    title: str = "",
    *,
    above: Sequence[str] = (),
    beside: Sequence[str] = (),
    framed: Collection[int] = (),
) -> Figure:
    """Return a figure of sequences of images, one per line.

    Args:
        x: Sequences of images, (row, step, *event).
        event: Description of the images.
        title: Title of the figure; empty for none.
        above: Names of the steps.
        beside: Names of the sequences.
        framed: Steps with a frame: images that are given, not computed.

    Returns:
        The figure.

    Raises:
        InputError: When the event is not an image.
    """
    if event.dims[-2:] != ("height", "width"):
        raise InputError(f"x of {event}: the figure needs images. Choose another figure.")
    flat = x.reshape(-1, *x.shape[2:])
    return images(flat, event, x.shape[1], above=above, beside=beside, framed=framed, title=title)
