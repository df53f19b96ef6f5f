"""Matplotlib figures from arrays and the description of an event."""

from probgen.figures.animation import Animation, animation
from probgen.figures.curves import curves, stretches
from probgen.figures.diagnosis import diagnosis
from probgen.figures.draws import draw, save
from probgen.figures.images import columns, grays_of, images, strips
from probgen.figures.search import importance, search_history
from probgen.figures.semantics import by_layer, table
from probgen.figures.sounds import sounds
from probgen.figures.suiting import suiting
from probgen.figures.texts import attention, surprise
from probgen.figures.vectors import codes, lines, raster, scatter

__all__ = [
    "Animation",
    "animation",
    "attention",
    "by_layer",
    "codes",
    "columns",
    "curves",
    "diagnosis",
    "draw",
    "grays_of",
    "images",
    "importance",
    "lines",
    "raster",
    "save",
    "scatter",
    "search_history",
    "sounds",
    "stretches",
    "strips",
    "suiting",
    "surprise",
    "table",
]
