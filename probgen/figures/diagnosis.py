"""A figure of a diagnosis."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
from matplotlib.figure import Figure

WIDEST = 2.0  # end of the axis of measures; larger values are shown at the end


def diagnosis(found: Any) -> Figure:
    """Return a figure of a diagnosis: mode shares in data and samples, and measures with a best value of 1.

    Args:
        found: The result of `probgen.diagnose`.

    Returns:
        The figure.
    """
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    mode = found["mode"].values
    left.bar(mode - 0.2, found["data"].values, 0.4, label="data", color="0.7")
    left.bar(mode + 0.2, found["draws"].values, 0.4, label="samples", color="C0")
    left.set_xlabel("mode")
    left.set_ylabel("share")
    left.legend(frameon=False, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1))
    wanted = ("high_quality", "spread", "precision", "recall", "density", "coverage", "accuracy")
    some = [name for name in wanted if name in found["measure"].values]
    value, low, high = (found[name].sel(measure=some).values for name in ("value", "low", "high"))
    value, low, high = (np.minimum(v, WIDEST) for v in (value, low, high))
    errors = np.maximum([value - low, high - value], 0)
    right.errorbar(value, np.arange(len(some)), xerr=errors, fmt="o", capsize=3, clip_on=False)
    told = [f"{name.replace('_', ' ')}  {float(found['value'].sel(measure=name)):.3g}" for name in some]
    right.set_yticks(np.arange(len(some)), told)
    right.invert_yaxis()
    right.axvline(1, color="0.8", zorder=0)
    right.set_xlim(0, WIDEST)
    figure.suptitle(textwrap.fill(found.attrs["verdict"], 110), fontsize=10)
    return figure
