"""The logistic distribution on the integers 0 .. levels - 1 (Salimans et al. 2017, eq. 2).

    P(x) = sigmoid((x + 1/2 - mu) / s) - sigmoid((x - 1/2 - mu) / s)

The lowest level also has the whole left tail, and the highest level the whole right tail.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from probgen.distributions.discretized import Discretized


class DiscretizedLogistic(Discretized):
    """A logistic distribution that is rounded to the integers 0 .. levels - 1.

    Args:
        mu: Location before rounding, in levels, (*batch,).
        s: Scale before rounding, in levels, (*batch,), above 0.
        levels: Number of levels.
        validate_args: Whether to validate `mu` and `s`; None follows torch's default.
    """

    @staticmethod
    def log_cdf(z: Tensor) -> Tensor:
        """Return log sigmoid(z)."""
        return logsigmoid(z)

    @staticmethod
    def quantile(u: Tensor) -> Tensor:
        """Return logit(u)."""
        return torch.logit(u)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log P(x), without the difference of nearly equal numbers.

        sigmoid(b) - sigmoid(a) = sigmoid(b) sigmoid(-a) (1 - exp(a - b)).

        Args:
            value: Levels, (*sample, *batch).

        Returns:
            Log-probabilities, (*sample, *batch), in nats.
        """
        a, b = (value - 0.5 - self.mu) / self.s, (value + 0.5 - self.mu) / self.s
        left, right = value < 0.5, value > self.levels - 1.5
        width = torch.log(-torch.expm1(-1 / self.s))
        inner = logsigmoid(b) + logsigmoid(-a) + width
        return torch.where(left, logsigmoid(b), torch.where(right, logsigmoid(-a), inner))
