"""Figures of detectors: ROC curves."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from probgen.evaluation.detection import roc
from probgen.figures.style import GRAY, PALETTE, labeled, legend, plain, sheet, titled

STROKES = ("-", "--", "-.", ":")  # a stroke distinguishes curves where a color does not


def roc_curves(real: np.ndarray, fakes: Mapping[str, np.ndarray], title: str = "") -> Figure:
    """Return a figure of ROC curves of one detector, one curve for each kind of fakes.

    Args:
        real: Numbers of real rows by the detector, (row,).
        fakes: Numbers of the fakes by name, (row,) each.
        title: Title of the figure; empty for none.

    Returns:
        The figure.
    """
    figure, grid = sheet(width=4.8, height=4.4)
    axes = grid[0, 0]
    axes.plot([0, 1], [0, 1], lw=0.8, color=GRAY, label="chance")
    for i, (name, numbers) in enumerate(fakes.items()):
        stroke = STROKES[i % len(STROKES)]
        axes.plot(*roc(real, numbers), stroke, lw=1.6, color=PALETTE[i % len(PALETTE)], label=plain(name))
    labeled(axes, "false alarms, share of real rows", "found, share of fakes")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    legend(axes, loc="lower right")
    return titled(figure, title)
