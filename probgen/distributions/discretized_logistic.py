"""The logistic distribution on whole numbers 0 .. levels - 1 (Salimans et al. 2017, eq. 2).

    P(x) = sigmoid((x + 1/2 - mu) / s) - sigmoid((x - 1/2 - mu) / s)

where the lowest level also has the whole left tail, and the highest the right one.
"""

from __future__ import annotations

from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.utils import broadcast_all
from torch.nn.functional import logsigmoid

SCALAR = torch.Size()


class DiscretizedLogistic(TorchDistribution):
    """Of a location `mu` and a scale `s`, both in levels: batch shape as theirs."""

    arg_constraints = {"mu": constraints.real, "s": constraints.positive}  # noqa: RUF012 (as torch has it)

    def __init__(self, mu: Tensor, s: Tensor, levels: int, validate_args: bool | None = None):
        self.mu, self.s = broadcast_all(mu, s)
        self.levels = levels
        super().__init__(self.mu.shape, validate_args=validate_args)

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> Any:
        """0 .. levels - 1."""
        return constraints.integer_interval(0, self.levels - 1)

    def expand(self, batch_shape: Any, _instance: Any = None) -> DiscretizedLogistic:
        """The same, of another batch shape."""
        shape = torch.Size(batch_shape)
        return DiscretizedLogistic(
            self.mu.expand(shape), self.s.expand(shape), self.levels, validate_args=False
        )

    def log_prob(self, value: Tensor) -> Tensor:
        """log P(x), without a difference of nearly equal numbers: sigmoid(b) - sigmoid(a) is
        sigmoid(b) sigmoid(-a) (1 - exp(a - b)).
        """
        a, b = (value - 0.5 - self.mu) / self.s, (value + 0.5 - self.mu) / self.s
        left, right = value < 0.5, value > self.levels - 1.5
        width = torch.log(-torch.expm1(-1 / self.s))
        inner = logsigmoid(b) + logsigmoid(-a) + width
        return torch.where(left, logsigmoid(b), torch.where(right, logsigmoid(-a), inner))

    def sample(self, sample_shape: Any = SCALAR) -> Tensor:
        """A logistic draw, rounded and kept within the levels."""
        with torch.no_grad():
            u = torch.rand(self._extended_shape(sample_shape), dtype=self.mu.dtype, device=self.mu.device)
            u = u.clamp(torch.finfo(u.dtype).tiny, 1 - torch.finfo(u.dtype).eps)
            return (self.mu + self.s * torch.logit(u)).round().clamp(0, self.levels - 1)

    @property
    def mean(self) -> Tensor:
        """sum over v of P(x > v): the batch shape."""
        total = torch.zeros_like(self.mu)
        for v in range(
            self.levels - 1
        ):  # one level at a time: all together would take as many times the memory
            total = total + torch.sigmoid((self.mu - v - 0.5) / self.s)
        return total
