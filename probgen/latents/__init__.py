"""Functions on latent codes, arrays in and arrays out. Nothing here knows how data are made from codes."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from probgen.latents.clusters import agreement, cluster, plane
    from probgen.latents.measures import path_length, separability
    from probgen.latents.paths import grid, interpolate, random_walk

_HOME = {
    "agreement": "clusters",
    "cluster": "clusters",
    "grid": "paths",
    "interpolate": "paths",
    "path_length": "measures",
    "plane": "clusters",
    "random_walk": "paths",
    "separability": "measures",
}

__all__ = [
    "agreement",
    "cluster",
    "grid",
    "interpolate",
    "path_length",
    "plane",
    "random_walk",
    "separability",
]


def __getattr__(name: str) -> Any:
    """Loaded when first used: paths do not need scikit-learn."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
