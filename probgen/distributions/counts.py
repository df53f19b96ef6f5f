"""Distributions of counts without an upper bound: mixtures of negative binomials."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from probgen.distributions.gamma import log_negative_binomial

LOG_MEAN, LOG_SIZE = (-12.0, 25.0), (-8.0, 14.0)  # ranges to which parameters of a component are clamped


class NegativeBinomialMixture(TorchDistribution):
    """A mixture of negative binomials, sum_k w_k NegativeBinomial(mean m_k, size r_k).

    Component k has the variance m_k + m_k^2 / r_k. Computations are in float64, because log Gamma of a count of a million
    has seven digits before the decimal point. Results have the dtype of `log_m`.

    Args:
        logits: Logits of the weights w_k, (*batch, component).
        log_m: Logarithms of the means m_k, (*batch, component), clamped to [-12, 25].
        log_r: Logarithms of the sizes r_k, (*batch, component), clamped to [-8, 14].
        validate_args: Has no effect; arguments and values are not validated.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    support = constraints.nonnegative_integer

    def __init__(self, logits: Tensor, log_m: Tensor, log_r: Tensor, validate_args: bool | None = None):
        self.logits = logits.double().log_softmax(-1)
        self.log_m, self.log_r = log_m.double().clamp(*LOG_MEAN), log_r.double().clamp(*LOG_SIZE)
        self.dtype = log_m.dtype  # dtype of values and probabilities
        super().__init__(log_m.shape[:-1], validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> NegativeBinomialMixture:
        """Return the same distribution with a larger batch shape."""
        shape = (*batch_shape, self.logits.shape[-1])
        logits, log_m, log_r = (part.expand(shape) for part in (self.logits, self.log_m, self.log_r))
        return NegativeBinomialMixture(logits, log_m, log_r, validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The mean sum_k w_k m_k, (*batch,)."""
        return (self.logits.exp() * self.log_m.exp()).sum(-1).to(self.dtype)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log p(x).

        Args:
            value: Counts, (*sample, *batch).

        Returns:
            Log-probabilities, (*sample, *batch), in nats.
        """
        each = log_negative_binomial(value.double()[..., None], self.log_m, self.log_r)
        return (self.logits + each).logsumexp(-1).to(self.dtype)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Sample a component, then a Gamma rate, then a Poisson count.

        Args:
            sample_shape: Shape of the samples.

        Returns:
            Counts, (*sample, *batch).
        """
        shape = self._extended_shape(torch.Size(sample_shape))
        with torch.no_grad():
            k = torch.distributions.Categorical(logits=self.logits).sample(sample_shape)[..., None]
            m, r = (part.expand(*shape, -1).gather(-1, k)[..., 0].exp() for part in (self.log_m, self.log_r))
            return torch.poisson(torch.distributions.Gamma(r, r / m).sample()).to(self.dtype)
