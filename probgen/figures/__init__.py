"""Matplotlib figures from arrays and the description of an event."""

from probgen.figures.animation import Animation, animation
from probgen.figures.curves import curves, stretches
from probgen.figures.detection import roc_curves
from probgen.figures.diagnosis import diagnosis
from probgen.figures.draws import draw, save
from probgen.figures.images import grays_of, images, strips
from probgen.figures.search import importance, search_history
from probgen.figures.semantics import by_layer, table
from probgen.figures.side_by_side import Codes, Numbers, columns
from probgen.figures.sounds import sounds
from probgen.figures.style import (
    PALETTE,
    color_bar,
    distinct,
    labeled,
    legend,
    mark,
    name_lines,
    sheet,
    titled,
    whole_ticks,
)
from probgen.figures.suiting import suiting
from probgen.figures.texts import attention, surprise
from probgen.figures.titles import heading, of_model, of_results, source
from probgen.figures.vectors import codes, lines, raster, scatter

__all__ = [
    "PALETTE",
    "Animation",
    "Codes",
    "Numbers",
    "animation",
    "attention",
    "by_layer",
    "codes",
    "color_bar",
    "columns",
    "curves",
    "diagnosis",
    "distinct",
    "draw",
    "grays_of",
    "heading",
    "images",
    "importance",
    "labeled",
    "legend",
    "lines",
    "mark",
    "name_lines",
    "of_model",
    "of_results",
    "raster",
    "roc_curves",
    "save",
    "scatter",
    "search_history",
    "sheet",
    "sounds",
    "source",
    "stretches",
    "strips",
    "suiting",
    "surprise",
    "table",
    "titled",
    "whole_ticks",
]
