"""Distributions that torch and Pyro do not provide; each can be used at a `pyro.sample` site.

The sites (`Bernoulli`, `Categorical`, `Normal`, ...) are not distributions. A site turns the outputs of a network into
the distribution of one coordinate of an `Autoregressive` distribution.
"""

from probgen.distributions.autoregressive import Autoregressive
from probgen.distributions.columns import ColumnSites
from probgen.distributions.counts import NegativeBinomialMixture
from probgen.distributions.discretized import DiscretizedLaplace, DiscretizedNormal
from probgen.distributions.discretized_logistic import DiscretizedLogistic
from probgen.distributions.ensemble import Ensemble
from probgen.distributions.observed_normal import ObservedNormal
from probgen.distributions.sites import (
    Bernoulli,
    Categorical,
    Counts,
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
    "ColumnSites",
    "Counts",
    "DiscretizedLaplace",
    "DiscretizedLogistic",
    "DiscretizedNormal",
    "Ensemble",
    "Logistic",
    "LogisticMixture",
    "NegativeBinomialMixture",
    "Normal",
    "NormalMixture",
    "NormalVector",
    "ObservedNormal",
    "Ordinal",
    "Standardization",
]
