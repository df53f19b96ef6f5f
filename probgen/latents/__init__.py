"""Functions on latent codes, arrays in and arrays out. Nothing here knows how data are made from codes."""

from probgen.latents.clusters import agreement, cluster, plane
from probgen.latents.paths import grid, interpolate, random_walk

__all__ = ["agreement", "cluster", "grid", "interpolate", "plane", "random_walk"]
