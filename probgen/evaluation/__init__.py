"""Functions on results: comparison of scores, and what is wrong with draws. They know arrays, no model."""

from probgen.evaluation.comparison import compare
from probgen.evaluation.diagnosis import diagnose
from probgen.evaluation.distances import MMD, frechet
from probgen.evaluation.manifold import nearest, neighbours
from probgen.evaluation.modes import Modes, cells, modes_of
from probgen.evaluation.support import support_size
from probgen.evaluation.translation import bleu
from probgen.evaluation.twosample import classifier_two_sample

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
    "neighbours",
    "support_size",
]
