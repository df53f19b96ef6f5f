"""Figures of table columns: bars, color maps and marginal distributions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.colors import Normalize, SymLogNorm
from matplotlib.figure import Figure

from probgen.contract.columns import Column
from probgen.figures.style import (
    DIVERGING,
    GRAY,
    LEAST,
    PALETTE,
    PLAIN,
    SMALL,
    color_bar,
    labeled,
    legend,
    plain,
    sheet,
    titled,
)

MOST = 40  # most columns of a figure
WIDE = 5  # ratio of the largest number and the 90 % quantile above which colors are logarithmic
MOST_CLASSES = 12  # most classes of a column that are shown; the most frequent ones


def bars(
    names: Sequence[str],
    values: Mapping[str, np.ndarray],
    label: str,
    title: str = "",
    line: float | None = None,
) -> Figure:
    """Return a figure with bars for each column, and with several series side by side.

    Args:
        names: Names of the columns; only the first 40 are shown.
        values: Values by name of the series, (column,) each.
        label: Label of the value axis.
        title: Title of the figure; empty for none.
        line: A reference value, shown as a dashed line; None for no line.

    Returns:
        The figure.
    """
    names = list(names)[:MOST]
    figure, grid = sheet(width=7, height=1.6 + 0.3 * len(names) * max(1, len(values) / 1.5))
    axes = grid[0, 0]
    height = 0.8 / len(values)
    for i, (name, each) in enumerate(values.items()):
        at = np.arange(len(names)) + (i - (len(values) - 1) / 2) * height
        axes.barh(at, each[: len(names)], height, label=name)
    if line is not None:
        axes.axvline(line, color=PALETTE[1], linewidth=1, linestyle="--", label=f"{line:.3g}")
    axes.set_yticks(range(len(names)), [plain(name) for name in names])
    axes.invert_yaxis()
    axes.set_xlim(0, None if axes.get_xlim()[1] > 0 and any(np.any(each) for each in values.values()) else 1)
    labeled(axes, label)
    if len(values) > 1 or line is not None:
        legend(axes, loc="lower left", bbox_to_anchor=(0, 1), ncols=3)
    return titled(figure, title)


def cells(
    values: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    label: str,
    title: str = "",
    beside: str = "",
) -> Figure:
    """Return a figure of numbers as colors, with white for 0.

    Args:
        values: Numbers, (row, column).
        rows: Names of the rows.
        columns: Names of the columns; only the first 40 are shown.
        label: Label of the color bar.
        title: Title of the figure; empty for none.
        beside: Label of the vertical axis.

    Returns:
        The figure.
    """
    columns = list(columns)[:MOST]
    values = values[:, : len(columns)]
    figure, grid = sheet(width=2 + 0.5 * len(columns), height=2 + 0.28 * len(rows))
    axes = grid[0, 0]
    most, usual = float(np.abs(values).max(initial=1e-9)), float(np.quantile(np.abs(values), 0.9))
    wide = most > WIDE * usual > 0  # on a linear scale, a few large numbers would leave all others white
    scale = SymLogNorm(usual, vmin=-most, vmax=most) if wide else Normalize(-most, most)
    drawn = axes.imshow(values, cmap=DIVERGING, norm=scale, aspect="auto")
    axes.set_xticks(range(len(columns)), [plain(c) for c in columns], rotation=60, ha="right", fontsize=SMALL)
    axes.set_yticks(range(len(rows)), [plain(row) for row in rows], fontsize=SMALL)
    labeled(axes, y=beside)
    color_bar(figure, drawn, axes, label)
    return titled(figure, title)


def marginals(
    drawn: np.ndarray, real: np.ndarray | None, columns: Sequence[Column], title: str = ""
) -> Figure:
    """Return a figure with one panel per column, of the marginal distributions of samples and of data.

    Args:
        drawn: Samples, (row, column), NaN for missing values.
        real: Data, (row, column), NaN for missing values; None for samples only.
        columns: Descriptions of the columns; only the first 40 are shown.
        title: Title of the figure; empty for none.

    Returns:
        The figure.
    """
    columns = list(columns)[:MOST]
    across = min(4, len(columns))
    down = -(-len(columns) // across)
    figure, panels = sheet(down, across, width=2.6 * across, height=2.0 * down + 0.8)
    grid = panels.ravel()
    series = {"samples": drawn} if real is None else {"data": real, "samples": drawn}
    inks = {"data": GRAY, "samples": PALETTE[0]}
    for i, (axes, column) in enumerate(zip(grid, columns, strict=False)):
        values = {name: x[~np.isnan(x[:, i]), i] for name, x in series.items()}
        both = np.concatenate(list(values.values()))
        if column.support in ("token", "binary"):
            levels = 2 if column.support == "binary" else column.levels or 1
            shown = np.argsort(-np.bincount(both.astype(int), minlength=levels), kind="stable")[:MOST_CLASSES]
            shown = np.sort(shown)
            for j, (name, x) in enumerate(values.items()):
                share = [float((x == v).mean()) if len(x) else 0.0 for v in shown]
                axes.bar(
                    np.arange(len(shown)) + 0.4 * (j - (len(values) - 1) / 2),
                    share,
                    0.4,
                    label=name,
                    color=inks[name],
                )
            called = [column.classes[v] if column.classes else str(v) for v in shown]
            axes.set_xticks(
                np.arange(len(shown)),
                [plain(each if len(each) <= 12 else f"{each[:11]}…") for each in called],
                rotation=45,
                ha="right",
                fontsize=LEAST,
            )
        elif len(both):
            low, high = np.quantile(both, [0.005, 0.995])
            if both.max() - both.min() <= 2 * (
                high - low
            ):  # otherwise a few values would put all others into one bar
                low, high = both.min(), both.max()
            whole = column.support != "real" and high - low <= 30
            edges = np.arange(low - 0.5, high + 1) if whole else np.linspace(low, max(high, low + 1e-9), 31)
            for name, x in values.items():
                weights = np.full(len(x), 1 / max(1, len(x)))
                axes.hist(x, edges, weights=weights, histtype="step", lw=1.3, label=name, color=inks[name])
            axes.tick_params(labelsize=LEAST)
        labeled(axes, f"{column.name} [{column.unit}]" if column.unit else column.name)
        axes.set_yticks([])
    for axes in grid[len(columns) :]:
        axes.set_visible(False)
    if real is not None:
        legend(grid[0], loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    figure.supylabel("share of rows", fontsize=PLAIN)
    return titled(figure, title)
