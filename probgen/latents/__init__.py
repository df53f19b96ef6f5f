"""Functions on latent codes, arrays in and arrays out. Nothing here knows how data are made from codes."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from probgen.latents.clusters import agreement, cluster, plane
    from probgen.latents.paths import grid, interpolate, random_walk

__all__ = ["agreement", "cluster", "grid", "interpolate", "plane", "random_walk"]


def __getattr__(name: str) -> Any:
    """Loaded when first used: paths do not need scikit-learn."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "clusters" if name in ("agreement", "cluster", "plane") else "paths"
    return getattr(import_module(f"{__name__}.{home}"), name)
