"""Normals and Laplace distributions on whole numbers 0 .. levels - 1: what a number that is measured with noise is rounded to.

    P(x) = F((x + 1/2 - mu) / s) - F((x - 1/2 - mu) / s)

where the lowest level also has the whole left tail, and the highest the right one. For a normal whose s is many levels this is its density;
with one s for all pixels, the one that is most likely, -log2 P is log2 s + 1/2 log2(2 pi e) a pixel: 6.02 dB of peak signal-to-noise ratio
are one bit.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, Self

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.utils import broadcast_all

SCALAR = torch.Size()


class Discretized(TorchDistribution):
    """Of a symmetric distribution with a location `mu` and a scale `s`, both in levels: batch shape as theirs."""

    arg_constraints = {"mu": constraints.real, "s": constraints.positive}  # noqa: RUF012 (as torch has it)

    def __init__(self, mu: Tensor, s: Tensor, levels: int, validate_args: bool | None = None):
        self.mu, self.s = broadcast_all(mu, s)
        self.levels = levels
        super().__init__(self.mu.shape, validate_args=validate_args)

    @staticmethod
    @abstractmethod
    def log_cdf(z: Tensor) -> Tensor:
        """log F(z) for mu = 0 and s = 1."""

    @staticmethod
    @abstractmethod
    def quantile(u: Tensor) -> Tensor:
        """The inverse of F."""

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> Any:
        """0 .. levels - 1."""
        return constraints.integer_interval(0, self.levels - 1)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Self:
        """The same, of another batch shape."""
        shape = torch.Size(batch_shape)
        return type(self)(self.mu.expand(shape), self.s.expand(shape), self.levels, validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        """log P(x), from the tail that x is in, where probabilities are small and keep their digits."""
        away = (value - self.mu).abs()
        a, b = (away - 0.5) / self.s, (away + 0.5) / self.s
        near, far = self.log_cdf(-a), self.log_cdf(-b)
        # log(exp(near) - exp(far)), which are not equal: the interval has a width
        inner = near + torch.log(-torch.expm1((far - near).clamp(max=-1e-30)))
        down, up = (
            self.log_cdf((value + 0.5 - self.mu) / self.s),
            self.log_cdf((self.mu - value + 0.5) / self.s),
        )
        return torch.where(value < 0.5, down, torch.where(value > self.levels - 1.5, up, inner))

    def sample(self, sample_shape: Any = SCALAR) -> Tensor:
        """A draw, rounded and kept within the levels."""
        with torch.no_grad():
            u = torch.rand(self._extended_shape(sample_shape), dtype=self.mu.dtype, device=self.mu.device)
            u = u.clamp(torch.finfo(u.dtype).tiny, 1 - torch.finfo(u.dtype).eps)
            return (self.mu + self.s * self.quantile(u)).round().clamp(0, self.levels - 1)

    @property
    def mean(self) -> Tensor:
        """sum over v of P(x > v): the batch shape."""
        total = torch.zeros_like(self.mu)
        for v in range(self.levels - 1):  # one level at a time, for the memory
            total = total + self.log_cdf((self.mu - v - 0.5) / self.s).exp()  # P(x > v)
        return total


class DiscretizedNormal(Discretized):
    """s is the standard deviation."""

    @staticmethod
    def log_cdf(z: Tensor) -> Tensor:
        """log Phi(z)."""
        return torch.special.log_ndtr(z)

    @staticmethod
    def quantile(u: Tensor) -> Tensor:
        """Phi^-1(u)."""
        return torch.special.ndtri(u)


class DiscretizedLaplace(Discretized):
    """s is the mean distance from mu."""

    @staticmethod
    def log_cdf(z: Tensor) -> Tensor:
        """z - log 2 to the left of 0, log(1 - exp(-z) / 2) to the right."""
        return torch.where(z < 0, z - math.log(2), torch.log1p(-0.5 * torch.exp(-z.clamp(min=0))))

    @staticmethod
    def quantile(u: Tensor) -> Tensor:
        """Of both sides."""
        side = u - 0.5
        return -side.sign() * torch.log1p(-2 * side.abs())
