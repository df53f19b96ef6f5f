"""Figures of rows of images, with one column for each version of a row: known parts, samples, numbers of pixels, codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from probgen.contract.event import Event
from probgen.errors import InputError
from probgen.figures.images import grays_of
from probgen.figures.style import (
    LEAST,
    PALETTE,
    PLAIN,
    SEQUENTIAL,
    UNKNOWN,
    bare,
    color_bar,
    distinct,
    plain,
    sheet,
    titled,
)

SIDE = 0.95  # width of an image, in inches
WRITTEN = 5  # most codes along a side whose numbers are written


@dataclass(frozen=True)
class Numbers:
    """Numbers of pixels, drawn in colors with a scale of their own.

    Attributes:
        values: Numbers, (row, height, width).
        unit: Label of the color bar.
    """

    values: np.ndarray
    unit: str


@dataclass(frozen=True)
class Codes:
    """Codes of places, drawn in colors without an order; of a few places the numbers are written.

    Attributes:
        values: Codes, (row, height, width), integers.
        levels: Number of codes.
    """

    values: np.ndarray
    levels: int


def columns(
    parts: Sequence[np.ndarray | Numbers | Codes],
    names: Sequence[str],
    event: Event,
    title: str = "",
    *,
    known: np.ndarray | None = None,
) -> Figure:
    """Return a figure of images side by side, with one line for each row of x.

    Args:
        parts: The columns: images, (row, *event), which share one scale, `Numbers` or `Codes`. NaN (unknown) is blue.
        names: Title of each column.
        event: Description of the images.
        title: Title of the figure; empty for none.
        known: Which values of x are known, (row, height, width), bool: their border is drawn. None for no border.

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
    pictures = [np.asarray(part, dtype=float) for part in parts if not isinstance(part, Numbers | Codes)]
    low, high = min(0.0, float(np.nanmin(pictures[0]))), float(np.nanmax(pictures[0]))
    high = (event.levels or 2) - 1 if event.discrete else max(high, low + 1e-12)
    rows = len(pictures[0])
    bars = any(isinstance(part, Numbers) for part in parts)
    figure, grid = sheet(
        rows, len(parts), width=SIDE * len(parts), height=SIDE * (rows + bars) * _ratio(event) + 0.6
    )
    for j, (part, name) in enumerate(zip(parts, names, strict=True)):
        for axes in grid[:, j]:
            bare(axes)
        grid[0, j].set_title(plain(name), fontsize=PLAIN)
        if isinstance(part, Numbers):
            _numbers(figure, grid[:, j], part)
        elif isinstance(part, Codes):
            _codes(grid[:, j], part)
        else:
            _images(grid[:, j], np.asarray(part, dtype=float), event, (low, high))
    if known is not None:
        shown = [j for j, part in enumerate(parts) if not isinstance(part, Numbers | Codes)]
        for line, mask in zip(grid[:, shown], known, strict=True):
            for axes in line:
                axes.add_collection(LineCollection(border(mask), colors=PALETTE[1], linewidths=1.2))
    return titled(figure, title)


def _ratio(event: Event) -> float:
    height, width = event.shape[-2:]
    return (height or 1) / (width or 1)


def _images(lines: Any, x: np.ndarray, event: Event, limits: tuple[float, float]) -> None:
    low, high = limits
    color = len(event.dims) == 3 and event.shape[0] == 3
    grays = matplotlib.colormaps[grays_of(event)].with_extremes(bad=UNKNOWN)
    for axes, image in zip(lines, x, strict=True):
        if color:
            rgb = ((np.moveaxis(image, 0, 2) - low) / (high - low)).clip(0, 1)
            axes.imshow(np.where(np.isnan(rgb), matplotlib.colors.to_rgb(UNKNOWN), rgb))
        else:
            axes.imshow(image.reshape(image.shape[-2:]), cmap=grays, vmin=low, vmax=high)


def _numbers(figure: Figure, lines: Any, part: Numbers) -> None:
    high = max(float(np.nanmax(part.values)), 1e-12)
    for axes, values in zip(lines, part.values, strict=True):
        drawn = axes.imshow(values, cmap=SEQUENTIAL, vmin=min(0.0, float(np.nanmin(part.values))), vmax=high)
    color_bar(
        figure, drawn, list(lines), part.unit, location="bottom", shrink=0.9, ticks=[0, high], format="%.3g"
    )


def _codes(lines: Any, part: Codes) -> None:
    colors = distinct(part.levels)
    for axes, values in zip(lines, part.values, strict=True):
        axes.imshow(values, cmap=colors, vmin=-0.5, vmax=part.levels - 0.5, interpolation="nearest")
        if max(values.shape) > WRITTEN:
            continue
        for i, j in np.ndindex(*values.shape):
            dark = matplotlib.colors.rgb_to_hsv(colors(int(values[i, j]))[:3])[2] < 0.75
            axes.text(
                j,
                i,
                int(values[i, j]),
                ha="center",
                va="center",
                fontsize=LEAST,
                color="white" if dark else "black",
            )


def border(mask: np.ndarray) -> list[list[tuple[float, float]]]:
    """Return the lines between pixels of which one is known and the other is not.

    Args:
        mask: Which pixels are known, (height, width), bool.

    Returns:
        Lines as pairs of points (x, y), in pixels.
    """
    found = [
        [(j - 0.5, i + 0.5), (j + 0.5, i + 0.5)]
        for i, j in zip(*np.nonzero(mask[1:] != mask[:-1]), strict=True)
    ]
    found += [
        [(j + 0.5, i - 0.5), (j + 0.5, i + 0.5)]
        for i, j in zip(*np.nonzero(mask[:, 1:] != mask[:, :-1]), strict=True)
    ]
    return found
