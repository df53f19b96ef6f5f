"""The style of all figures: colors, marks, axes, titles, legends and color bars.

Functions set the style of one figure. No setting of Matplotlib changes, so other figures of a script keep their own style.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import Colormap, LinearSegmentedColormap, ListedColormap
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.ticker import MaxNLocator

# Okabe and Ito 2008, without yellow, which is too pale for a line on white
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
SHAPES = ("o", "s", "^", "D", "v", "P", "X")  # a shape tells a class where a color does not
INK, FAINT, GRAY, PALE = "#222222", "#555555", "#777777", "#cccccc"  # texts, lesser texts, data, references
UNKNOWN = "#a6bddb"  # pixels without a value
SEQUENTIAL, DIVERGING = "cividis", "RdBu_r"  # color maps for nats, and for numbers of both signs
# up to this color, black text has a contrast of 5 to 1
BEHIND_TEXT = LinearSegmentedColormap.from_list("behind text", ["#ffffff", PALETTE[1]])
BOLD, PLAIN, SMALL = 11, 9, 8  # sizes of texts, in points
LEAST = 7  # smallest size of a text, in points
NARROWEST = 4.5  # smallest width of a figure, in inches: a title needs it
APART = 0.07  # least distance of two names at the ends of lines, as a share of the height of the axes


def sheet(
    down: int = 1,
    across: int = 1,
    *,
    width: float,
    height: float,
    heights: Sequence[float] | None = None,
    sharex: Any = False,
    sharey: Any = False,
) -> tuple[Figure, Any]:
    """Return a figure and its axes, without top and right spines and with colors from the palette.

    Args:
        down: Number of lines of axes.
        across: Number of axes in a line.
        width: Width in inches; at least 4.5, which a title needs.
        height: Height in inches.
        heights: Relative height of each line; None for equal heights.
        sharex: Which axes share the horizontal axis, as for `Figure.subplots`.
        sharey: Which axes share the vertical axis, as for `Figure.subplots`.

    Returns:
        The figure and its axes, (down, across).
    """
    figure = Figure(figsize=(max(width, NARROWEST), height), layout="constrained")
    grid = figure.subplots(down, across, squeeze=False, sharex=sharex, sharey=sharey, height_ratios=heights)
    for axes in grid.flat:
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(GRAY)
        axes.tick_params(which="both", labelsize=SMALL, color=GRAY, labelcolor=INK)
        axes.set_prop_cycle(color=list(PALETTE))
        for axis in (axes.xaxis, axes.yaxis):
            axis.label.set(size=PLAIN, color=INK)
            axis.get_offset_text().set_size(SMALL)
    return figure, grid


def titled(figure: Figure, title: str) -> Figure:
    """Give a figure a title: its first line in bold, and further lines in plain type.

    Args:
        figure: The figure.
        title: Lines of the title; empty for none.

    Returns:
        The same figure.
    """
    if not title:
        return figure
    first, *rest = title.splitlines()
    across = figure.get_size_inches()[0] * 72
    bold = textwrap.wrap(plain(first), int(across / (0.62 * BOLD)))
    small = [line for each in rest for line in textwrap.wrap(plain(each), int(across / (0.55 * PLAIN)))]
    # the empty lines are room for the plain ones, which hang from the bottom of the bold ones
    whole = figure.suptitle("\n".join(bold), fontsize=BOLD, fontweight="bold", color=INK)
    if small:
        whole.set_text("\n".join([*bold, *" " * len(small)]))
        figure.add_artist(
            Annotation(
                "\n".join(small),
                (0.5, 0),
                xycoords=whole,
                ha="center",
                va="bottom",
                fontsize=PLAIN,
                color=FAINT,
            )
        )
    return figure


def plain(text: str) -> str:
    """Return a text that Matplotlib does not read as a formula.

    Args:
        text: Any text, for example the name of a column.

    Returns:
        The text with escaped dollar signs.
    """
    return text.replace("$", r"\$")


def labeled(axes: Any, x: str = "", y: str = "", title: str = "") -> None:
    """Set labels of both axes and the title of a panel.

    Args:
        axes: The axes.
        x: Label of the horizontal axis, with its unit; empty for none.
        y: Label of the vertical axis, with its unit; empty for none.
        title: Title of the panel; empty for none.
    """
    axes.set_xlabel(plain(x), fontsize=PLAIN, color=INK)
    axes.set_ylabel(plain(y), fontsize=PLAIN, color=INK)
    axes.set_title(plain(title), fontsize=PLAIN, color=INK)


def bare(axes: Any) -> None:
    """Remove spines and ticks of an axes that shows an image; names of lines and columns may be added.

    Args:
        axes: The axes.
    """
    axes.spines[:].set_visible(False)
    axes.set(xticks=[], yticks=[])
    axes.tick_params(length=0, labelsize=SMALL, labelcolor=INK)


def legend(axes: Any, **place: Any) -> None:
    """Add a legend without a frame, for marks that no text names where they are.

    Args:
        axes: The axes, whose artists have labels.
        **place: Arguments of `Axes.legend`: its place, and the number of columns.
    """
    axes.legend(**{"fontsize": SMALL, "frameon": False, **place})


def whole_ticks(*axes: Any) -> None:
    """Put ticks on integers only.

    Args:
        *axes: Axes of steps, epochs, positions or numbers of trials: `axes.xaxis`, `axes.yaxis`.
    """
    for axis in axes:
        axis.set_major_locator(MaxNLocator(nbins=8, integer=True))


def name_lines(axes: Any, names: Mapping[str, Any]) -> None:
    """Write the name of each line at its right end, in its color, without overlap.

    The limits of the axes are kept.

    Args:
        axes: The axes.
        names: Lines by name.
    """
    low, high = axes.get_ylim()
    named = []
    for name, line in names.items():
        y = np.asarray(line.get_ydata(), dtype=float)
        ends = axes.get_yaxis_transform().transform([(0, y[np.isfinite(y)][-1]), (0, low), (0, high)])[:, 1]
        named.append((float(np.clip((ends[0] - ends[1]) / (ends[2] - ends[1]), 0, 1)), name, line))
    for (_, name, line), end in zip(named, apart([at for at, *_ in named]), strict=True):
        axes.annotate(
            name, (1, end), xycoords="axes fraction", xytext=(5, 0), textcoords="offset points",
            va="center", fontsize=SMALL, color=line.get_color(), annotation_clip=False,
        )  # fmt: skip
    axes.set_ylim(low, high)


def apart(ends: Sequence[float], least: float = APART) -> np.ndarray:
    """Move heights apart until neighbors have the least distance, and keep their order and their middle.

    Args:
        ends: Heights.
        least: Least distance of two neighbors.

    Returns:
        New heights, in the order of `ends`.
    """
    order = np.argsort(ends, kind="stable")
    # with the places i * least taken off, heights that do not fall are heights that are apart
    rest = np.asarray(ends, dtype=float)[order] - least * np.arange(len(order))
    blocks: list[list[float]] = []  # isotonic regression by pooling neighbors: [mean, number]
    for value in rest:
        blocks.append([value, 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (a, m), (b, n) = blocks[-2:]
            blocks[-2:] = [[(m * a + n * b) / (m + n), m + n]]
    found = np.empty(len(order))
    found[order] = np.repeat([b[0] for b in blocks], [int(b[1]) for b in blocks]) + least * np.arange(
        len(order)
    )
    return found


def color_bar(figure: Figure, drawn: Any, axes: Any, label: str, **place: Any) -> None:
    """Add a color bar with a label.

    Args:
        figure: The figure.
        drawn: The image whose colors the bar explains.
        axes: The axes, or several of them, beside which the bar stands.
        label: Meaning of the colors, with their unit.
        **place: Arguments of `Figure.colorbar`.
    """
    bar = figure.colorbar(drawn, ax=axes, **place)
    bar.set_label(plain(label), fontsize=PLAIN, color=INK)
    bar.ax.tick_params(labelsize=SMALL, labelcolor=INK)
    bar.outline.set_visible(False)


def mark(i: int) -> dict[str, str]:
    """Return the color and the shape of class i: 49 pairs, of which neighbors differ in both.

    Args:
        i: Number of the class.

    Returns:
        Arguments of `Axes.scatter` and `Axes.plot`: color and marker.
    """
    return {"color": PALETTE[i % len(PALETTE)], "marker": SHAPES[(i + i // len(PALETTE)) % len(SHAPES)]}


def distinct(n: int) -> Colormap:
    """Return a color map of n codes whose order has no meaning, so that neighbors get different colors.

    Args:
        n: Number of codes.

    Returns:
        The colors of the palette in three strengths each, repeated.
    """
    base = np.array([[int(color[i : i + 2], 16) for i in (1, 3, 5)] for color in PALETTE[:-1]]) / 255
    shades = np.concatenate([1 - (1 - base) * share for share in (1.0, 0.45, 0.75)])
    return ListedColormap(shades[np.arange(n) % len(shades)], name="codes")
