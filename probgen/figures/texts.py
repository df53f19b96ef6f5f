"""Figures of texts: the surprise of each symbol, and attention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure


def surprise(symbols: Sequence[str], nats: np.ndarray, title: str = "", across: int = 80) -> Figure:
    """Return a figure of a text with the surprise of each symbol, -log p(x_t | x_<t), as the background color.

    Args:
        symbols: Symbols of the text.
        nats: Surprise of each symbol, (symbol,), in nats.
        title: Title of the figure, to which the mean surprise is added; empty for none.
        across: Characters per line.

    Returns:
        The figure.
    """
    text, each = "".join(symbols), nats
    nats = np.repeat(each, [len(symbol) for symbol in symbols])
    places, row, column = [], 0, 0
    for character in text:
        places.append((row, column))
        column += 1
        if character == "\n" or column == across:
            row, column = row + 1, 0
    down = places[-1][0] + 1
    grid = np.full((down, across), np.nan)
    grid[tuple(np.transpose(places))] = nats
    figure = Figure(figsize=(10, 0.5 + 0.2 * down), layout="constrained")
    axes = figure.add_subplot()
    top = max(float(np.quantile(nats, 0.99)), 1e-9)
    shown = axes.imshow(grid, cmap="OrRd", vmin=0, vmax=top, aspect="auto")
    look: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 7, "family": "monospace"}
    for character, (i, j), at in zip(text, places, nats / top, strict=True):
        if character.isprintable():
            axes.text(j, i, character.replace("$", r"\$"), color="white" if at > 0.7 else "black", **look)
    axes.set_axis_off()
    figure.colorbar(shown, ax=axes, label="nats", fraction=0.02)
    if title:
        figure.suptitle(f"{title}: surprise, {each.mean():.2f} nats per symbol here", fontsize=10)
    return figure


def attention(maps: Sequence[tuple[np.ndarray, Sequence[str], Sequence[str]]]) -> Figure:
    """Return a figure of attention weights, with the symbols of x down and the symbols of the source across.

    Args:
        maps: For each panel: weights, (step, source step), symbols of x, and symbols of the source.

    Returns:
        The figure.
    """
    across = min(2, len(maps))
    figure = Figure(figsize=(6 * across, 5 * -(-len(maps) // across)), layout="constrained")
    grid = figure.subplots(-(-len(maps) // across), across, squeeze=False)
    for axes in grid.flat[len(maps) :]:
        axes.set_visible(False)
    for axes, (weights, targets, sources) in zip(grid.flat, maps, strict=False):
        axes.imshow(weights, cmap="gray_r", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
        axes.set_xticks(
            range(len(sources)), [name.replace("$", r"\$") for name in sources], rotation=60, ha="right"
        )
        axes.set_yticks(range(len(weights)), [name.replace("$", r"\$") for name in targets[: len(weights)]])
        axes.tick_params(labelsize=7, length=0)
    return figure
