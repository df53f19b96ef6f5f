"""Functions that evaluate results, as arrays: comparison of scores, diagnosis of samples, distances, BLEU."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from probgen.evaluation.comparison import compare
    from probgen.evaluation.diagnosis import diagnose
    from probgen.evaluation.distances import MMD, frechet
    from probgen.evaluation.manifold import nearest, neighbors
    from probgen.evaluation.modes import Modes, cells, modes_of
    from probgen.evaluation.support import support_size
    from probgen.evaluation.translation import bleu
    from probgen.evaluation.twosample import classifier_two_sample

_HOME = {
    "MMD": "distances",
    "Modes": "modes",
    "bleu": "translation",
    "cells": "modes",
    "classifier_two_sample": "twosample",
    "compare": "comparison",
    "diagnose": "diagnosis",
    "frechet": "distances",
    "modes_of": "modes",
    "nearest": "manifold",
    "neighbors": "manifold",
    "support_size": "support",
}

__all__ = [
    "MMD",
    "Modes",
    "bleu",
    "cells",
    "classifier_two_sample",
    "compare",
    "diagnose",
    "frechet",
    "modes_of",
    "nearest",
    "neighbors",
    "support_size",
]


def __getattr__(name: str) -> Any:
    """Import a function when it is first used, because a comparison of scores needs no scipy or scikit-learn."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
