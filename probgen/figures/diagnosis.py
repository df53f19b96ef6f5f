"""A figure of a diagnosis."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from probgen.figures.style import GRAY, PALE, PALETTE, SMALL, labeled, legend, sheet, titled, whole_ticks

END = 1.2  # end of the axis of measures; larger values are at the end, with an arrow
# a classifier that cannot tell samples from rows is right half of the time; the others are 1 for a perfect model
IDEAL = {
    "high_quality": 1.0,
    "spread": 1.0,
    "precision": 1.0,
    "recall": 1.0,
    "density": 1.0,
    "coverage": 1.0,
    "accuracy": 0.5,
}
MANY = 20  # up to so many modes, each has its number


def diagnosis(found: Any, title: str = "") -> Figure:
    """Return a figure of a diagnosis: the verdict, mode shares in data and samples, and measures beside their ideal values.

    Args:
        found: The result of `probgen.diagnose`.
        title: Lines below the verdict; empty for none.

    Returns:
        The figure.
    """
    figure, grid = sheet(1, 2, width=9, height=4)
    left, right = grid[0]
    mode = found["mode"].values
    left.bar(mode - 0.2, found["data"].values, 0.4, label="data", color=PALE)
    left.bar(mode + 0.2, found["draws"].values, 0.4, label="samples", color=PALETTE[0])
    labeled(left, "mode", "share of rows")
    if len(mode) <= MANY:
        left.set_xticks(mode)
    else:
        whole_ticks(left.xaxis)
    legend(left, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1))
    some = [name for name in IDEAL if name in found["measure"].values]
    value, low, high = (found[name].sel(measure=some).values for name in ("value", "low", "high"))
    at, ideal = np.arange(len(some)), np.array([IDEAL[name] for name in some])
    within = [np.minimum(v, END) for v in (value, low, high)]
    errors = np.maximum([within[0] - within[1], within[2] - within[0]], 0)
    right.errorbar(
        within[0], at, xerr=errors, fmt="o", capsize=3, color=PALETTE[0], clip_on=False, label="95 % interval"
    )
    right.plot(ideal, at, "D", color=PALETTE[1], fillstyle="none", markersize=9, label="ideal")
    for i in np.flatnonzero(value > END):
        right.plot(END, i, ">", color=PALETTE[0], markersize=9, clip_on=False)
    right.set_yticks(
        at,
        [f"{name.replace('_', ' ')}  {v:.3g}" for name, v in zip(some, value, strict=True)],
        fontsize=SMALL,
    )
    right.invert_yaxis()
    right.set_xlim(0, END)
    right.grid(axis="x", alpha=0.3, color=GRAY, lw=0.4)
    labeled(right, "measure")
    legend(right, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1))
    verdict = str(found.attrs["verdict"])
    return titled(figure, f"{verdict[:1].upper()}{verdict[1:]}\n{title}".strip())
