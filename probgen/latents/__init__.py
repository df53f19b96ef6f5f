"""Functions on latent codes: arrays in, arrays out, without any model."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from probgen.latents.clusters import agreement, cluster, plane
    from probgen.latents.directions import factorized, predictive, principal, sensitive
    from probgen.latents.edits import edit, gentle, mix, project, step
    from probgen.latents.hyperplanes import Boundaries, boundaries
    from probgen.latents.measures import dci, mig, path_length, sap, separability
    from probgen.latents.paths import grid, interpolate, random_walk
    from probgen.latents.rescoring import Rescored, rescore
    from probgen.latents.slopes import Slope
    from probgen.latents.whitening import Whitened

_HOME = {
    "Boundaries": "hyperplanes",
    "Rescored": "rescoring",
    "Slope": "slopes",
    "Whitened": "whitening",
    "agreement": "clusters",
    "boundaries": "hyperplanes",
    "cluster": "clusters",
    "dci": "measures",
    "edit": "edits",
    "factorized": "directions",
    "gentle": "edits",
    "grid": "paths",
    "interpolate": "paths",
    "mig": "measures",
    "mix": "edits",
    "path_length": "measures",
    "plane": "clusters",
    "predictive": "directions",
    "principal": "directions",
    "project": "edits",
    "random_walk": "paths",
    "rescore": "rescoring",
    "sap": "measures",
    "sensitive": "directions",
    "separability": "measures",
    "step": "edits",
}

__all__ = [
    "Boundaries",
    "Rescored",
    "Slope",
    "Whitened",
    "agreement",
    "boundaries",
    "cluster",
    "dci",
    "edit",
    "factorized",
    "gentle",
    "grid",
    "interpolate",
    "mig",
    "mix",
    "path_length",
    "plane",
    "predictive",
    "principal",
    "project",
    "random_walk",
    "rescore",
    "sap",
    "sensitive",
    "separability",
    "step",
]


def __getattr__(name: str) -> Any:
    """Import a function when it is first used, because some functions need scikit-learn."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
