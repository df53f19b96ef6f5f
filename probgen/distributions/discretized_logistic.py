"""The logistic distribution on whole numbers 0 .. levels - 1 (Salimans et al. 2017, eq. 2).

    P(x) = sigmoid((x + 1/2 - mu) / s) - sigmoid((x - 1/2 - mu) / s)

where the lowest level also has the whole left tail, and the highest the right one.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from probgen.distributions.discretized import Discretized


class DiscretizedLogistic(Discretized):
    """Of a location `mu` and a scale `s`, both in levels: batch shape as theirs."""

    @staticmethod
    def log_cdf(z: Tensor) -> Tensor:
        """log sigmoid(z)."""
        return logsigmoid(z)

    @staticmethod
    def quantile(u: Tensor) -> Tensor:
        """The logit."""
        return torch.logit(u)

    def log_prob(self, value: Tensor) -> Tensor:
        """log P(x), without a difference of nearly equal numbers: sigmoid(b) - sigmoid(a) is
        sigmoid(b) sigmoid(-a) (1 - exp(a - b)).
        """
        a, b = (value - 0.5 - self.mu) / self.s, (value + 0.5 - self.mu) / self.s
        left, right = value < 0.5, value > self.levels - 1.5
        width = torch.log(-torch.expm1(-1 / self.s))
        inner = logsigmoid(b) + logsigmoid(-a) + width
        return torch.where(left, logsigmoid(b), torch.where(right, logsigmoid(-a), inner))
