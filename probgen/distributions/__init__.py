"""Distributions that torch and Pyro lack: legal at any `pyro.sample` site."""

from probgen.distributions.autoregressive import Autoregressive
from probgen.distributions.discretized import DiscretizedLaplace, DiscretizedNormal
from probgen.distributions.discretized_logistic import DiscretizedLogistic
from probgen.distributions.ensemble import Ensemble
from probgen.distributions.observed_normal import ObservedNormal
from probgen.distributions.sites import (
    Bernoulli,
    Categorical,
    Logistic,
    LogisticMixture,
    Normal,
    NormalMixture,
    Ordinal,
)
from probgen.distributions.standardization import Standardization
from probgen.distributions.vectors import BernoulliVector, NormalVector

__all__ = [
    "Autoregressive",
    "Bernoulli",
    "BernoulliVector",
    "Categorical",
    "DiscretizedLaplace",
    "DiscretizedLogistic",
    "DiscretizedNormal",
    "Ensemble",
    "Logistic",
    "LogisticMixture",
    "Normal",
    "NormalMixture",
    "NormalVector",
    "ObservedNormal",
    "Ordinal",
    "Standardization",
]
