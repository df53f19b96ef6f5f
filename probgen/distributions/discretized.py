"""Normal and Laplace distributions that are rounded to the integers 0 .. levels - 1.

    P(x) = F((x + 1/2 - mu) / s) - F((x - 1/2 - mu) / s)

The lowest level also has the whole left tail, and the highest level the whole right tail. For a normal with an s of many
levels, P(x) is close to the density. If all pixels share the s of maximum likelihood, -log2 P is
log2 s + 1/2 log2(2 pi e) per pixel: 6.02 dB of peak signal-to-noise ratio are one bit.
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
    """A symmetric distribution that is rounded to the integers 0 .. levels - 1; base class.

    A subclass defines the distribution for mu = 0 and s = 1 with `log_cdf` and `quantile`. The batch shape is the
    broadcast shape of `mu` and `s`.

    Args:
        mu: Location, in levels, (*batch,).
        s: Scale, in levels, (*batch,), above 0.
        levels: Number of levels.
        validate_args: Whether to validate `mu` and `s`; None follows torch's default.
    """

    arg_constraints = {"mu": constraints.real, "s": constraints.positive}  # noqa: RUF012 (as torch has it)

    def __init__(self, mu: Tensor, s: Tensor, levels: int, validate_args: bool | None = None):
        self.mu, self.s = broadcast_all(mu, s)
        self.levels = levels
        super().__init__(self.mu.shape, validate_args=validate_args)

    @staticmethod
    @abstractmethod
    def log_cdf(z: Tensor) -> Tensor:
        """Return log F(z), the logarithm of the distribution function for mu = 0 and s = 1."""

    @staticmethod
    @abstractmethod
    def quantile(u: Tensor) -> Tensor:
        """Return the quantiles of u in (0, 1), the inverse of F, for mu = 0 and s = 1."""

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> Any:
        """The integers 0 .. levels - 1."""
        return constraints.integer_interval(0, self.levels - 1)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Self:
        """Return the same distribution with another batch shape."""
        shape = torch.Size(batch_shape)
        return type(self)(self.mu.expand(shape), self.s.expand(shape), self.levels, validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log P(x), computed from the tail of x, where small probabilities keep their precision.

        Args:
            value: Levels, (*sample, *batch).

        Returns:
            Log-probabilities, (*sample, *batch), in nats.
        """
        away = (value - self.mu).abs()
        a, b = (away - 0.5) / self.s, (away + 0.5) / self.s
        near, far = self.log_cdf(-a), self.log_cdf(-b)
        # log(exp(near) - exp(far)); the clamp keeps the width of the interval above 0
        inner = near + torch.log(-torch.expm1((far - near).clamp(max=-1e-30)))
        down, up = (
            self.log_cdf((value + 0.5 - self.mu) / self.s),
            self.log_cdf((self.mu - value + 0.5) / self.s),
        )
        return torch.where(value < 0.5, down, torch.where(value > self.levels - 1.5, up, inner))

    def sample(self, sample_shape: Any = SCALAR) -> Tensor:
        """Sample, round and clamp to the levels, without gradients.

        Args:
            sample_shape: Shape of the samples.

        Returns:
            Levels, (*sample, *batch), in the dtype of `mu`.
        """
        with torch.no_grad():
            u = torch.rand(self._extended_shape(sample_shape), dtype=self.mu.dtype, device=self.mu.device)
            u = u.clamp(torch.finfo(u.dtype).tiny, 1 - torch.finfo(u.dtype).eps)
            return (self.mu + self.s * self.quantile(u)).round().clamp(0, self.levels - 1)

    @property
    def mean(self) -> Tensor:
        """The mean sum_v P(x > v), (*batch,), in levels."""
        total = torch.zeros_like(self.mu)
        for v in range(self.levels - 1):  # one level at a time, to save memory
            total = total + self.log_cdf((self.mu - v - 0.5) / self.s).exp()  # P(x > v)
        return total


class DiscretizedNormal(Discretized):
    """A normal distribution that is rounded to the integers 0 .. levels - 1.

    Args:
        mu: Mean before rounding, in levels, (*batch,).
        s: Standard deviation before rounding, in levels, (*batch,), above 0.
        levels: Number of levels.
        validate_args: Whether to validate `mu` and `s`; None follows torch's default.
    """

    @staticmethod
    def log_cdf(z: Tensor) -> Tensor:
        """Return log Phi(z), with Phi the standard normal distribution function."""
        return torch.special.log_ndtr(z)

    @staticmethod
    def quantile(u: Tensor) -> Tensor:
        """Return Phi^-1(u)."""
        return torch.special.ndtri(u)


class DiscretizedLaplace(Discretized):
    """A Laplace distribution that is rounded to the integers 0 .. levels - 1.

    Args:
        mu: Location before rounding, in levels, (*batch,).
        s: Mean absolute deviation from mu before rounding, in levels, (*batch,), above 0.
        levels: Number of levels.
        validate_args: Whether to validate `mu` and `s`; None follows torch's default.
    """

    @staticmethod
    def log_cdf(z: Tensor) -> Tensor:
        """Return z - log 2 for z < 0, and log(1 - exp(-z) / 2) otherwise."""
        return torch.where(z < 0, z - math.log(2), torch.log1p(-0.5 * torch.exp(-z.clamp(min=0))))

    @staticmethod
    def quantile(u: Tensor) -> Tensor:
        """Return -sign(u - 1/2) log(1 - 2 |u - 1/2|)."""
        side = u - 0.5
        return -side.sign() * torch.log1p(-2 * side.abs())
