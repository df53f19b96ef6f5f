"""A local page on a fitted model: samples that follow sliders, and whatever else the family declares."""

from probgen.explore.serving import serve

__all__ = ["serve"]
