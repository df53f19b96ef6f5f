"""Figures of texts: the surprise of each symbol, and attention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from probgen.figures.style import BEHIND_TEXT, LEAST, SMALL, bare, color_bar, plain, sheet, titled

LINES = 40  # most lines of a text
LINE_FEED = "↵"  # shown where a line of the text ends


def surprise(
    symbols: Sequence[str], nats: np.ndarray, title: str = "", across: int = 100, top: float | None = None
) -> Figure:
    """Return a figure of a text with the surprise of each symbol, -log p(x_t | x_<t), as the background color.

    The text runs on across line feeds, which have a mark. At most 40 lines are shown.

    Args:
        symbols: Symbols of the text.
        nats: Surprise of each symbol, (symbol,), in nats.
        title: Title of the figure, to which the mean surprise is added; empty for none.
        across: Characters per line.
        top: Surprise with the darkest color: log V for V symbols, so that figures of several models compare. None for the
            99 % quantile.

    Returns:
        The figure.
    """
    text = "".join(symbols)[: LINES * across]
    each = np.repeat(nats, [len(symbol) for symbol in symbols])[: len(text)]
    down = -(-len(text) // across)
    grid = np.full(down * across, np.nan)
    grid[: len(text)] = each
    figure, panels = sheet(width=8.5, height=0.8 + 0.17 * down)
    axes = panels[0, 0]
    top = max(float(np.quantile(each, 0.99)), 1e-9) if top is None else top
    shown = axes.imshow(grid.reshape(down, across), cmap=BEHIND_TEXT, vmin=0, vmax=top, aspect="auto")
    look: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": SMALL, "family": "monospace"}
    for k, character in enumerate(text):
        seen = LINE_FEED if character == "\n" else character
        if seen.isprintable() and seen != " ":
            axes.text(k % across, k // across, plain(seen), color="black", **look)
    bare(axes)
    color_bar(figure, shown, axes, "surprise, nats per symbol", fraction=0.02)
    return titled(figure, f"{title}, mean {nats.mean():.2f} nats per symbol" if title else "")


def attention(maps: Sequence[tuple[np.ndarray, Sequence[str], Sequence[str]]], title: str = "") -> Figure:
    """Return a figure of attention weights, with the symbols of x down and the symbols of the source across.

    Args:
        maps: For each panel: weights, (step, source step), symbols of x, and symbols of the source.
        title: Title of the figure; empty for none.

    Returns:
        The figure.
    """
    across = min(2, len(maps))
    down = -(-len(maps) // across)
    figure, grid = sheet(down, across, width=5.5 * across, height=4.5 * down)
    for axes in grid.flat[len(maps) :]:
        axes.set_axis_off()
    for axes, (weights, targets, sources) in zip(grid.flat, maps, strict=False):
        shown = axes.imshow(weights, cmap="gray_r", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
        axes.set_xticks(range(len(sources)), [plain(name) for name in sources], rotation=60, ha="right")
        axes.set_yticks(range(len(weights)), [plain(name) for name in targets[: len(weights)]])
        axes.tick_params(labelsize=LEAST, length=0)
    color_bar(figure, shown, list(grid.flat), "weight of a symbol of the source", shrink=0.6)
    return titled(figure, title)
