"""Vectors of independent normals or bits: `Normal(loc, scale).to_event(k)` with less overhead.

A training step of a small network takes a few milliseconds. Python's overhead around a few dozen operations is a tenth of
that time. Most models with latent codes consist of these two distributions.
"""

from __future__ import annotations

from typing import Any, Self

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import Normal, constraints, register_kl
from torch.nn import functional as F

SCALAR = torch.Size()


class _Vector(TorchDistribution):
    """The common base: the last `event_dim` dimensions of the parameters are the event."""

    arg_constraints = {}  # noqa: RUF012 (as torch has it)

    def _init(self, shape: torch.Size, event_dim: int) -> None:
        cut = len(shape) - event_dim
        super().__init__(shape[:cut], shape[cut:], validate_args=False)

    def _parameters(self) -> tuple[Tensor, ...]:
        raise NotImplementedError

    def _like(self, *parameters: Tensor) -> Any:
        raise NotImplementedError

    def expand(self, batch_shape: Any, _instance: Any = None) -> Self:
        """Return the same distribution with another batch shape."""
        batch_shape = torch.Size(batch_shape)
        if batch_shape == self.batch_shape:
            return self
        whole = batch_shape + self.event_shape
        return self._like(*(p.expand(whole) for p in self._parameters()))

    def _sum(self, term: Tensor) -> Tensor:
        event_dim = len(self.event_shape)
        return term.flatten(-event_dim).sum(-1) if event_dim else term


class NormalVector(_Vector):
    """A vector (or array) of independent normals.

    Args:
        loc: Means, (*batch, *event).
        scale: Standard deviations, of the shape of `loc`, above 0.
        event_dim: Number of event dimensions.
    """

    has_rsample = True

    def __init__(self, loc: Tensor, scale: Tensor, event_dim: int = 1):
        self.loc, self.scale = loc, scale
        self._init(loc.shape, event_dim)

    def _parameters(self) -> tuple[Tensor, ...]:
        return self.loc, self.scale

    def _like(self, *parameters: Tensor) -> NormalVector:
        loc, scale = parameters
        return NormalVector(loc, scale, len(self.event_shape))

    @constraints.dependent_property
    def support(self) -> Any:
        """The real numbers, with `event_dim` event dimensions."""
        return constraints.independent(constraints.real, len(self.event_shape))

    @property
    def mean(self) -> Tensor:
        """The mean `loc`, (*batch, *event)."""
        return self.loc

    @property
    def variance(self) -> Tensor:
        """The variance `scale` squared, (*batch, *event)."""
        return self.scale.square()

    def rsample(self, sample_shape: Any = SCALAR) -> Tensor:
        """Sample loc + scale e with e from a standard normal, with gradients to `loc` and `scale`.

        Args:
            sample_shape: Shape of the samples.

        Returns:
            Samples, (*sample, *batch, *event).
        """
        shape = self._extended_shape(sample_shape)
        e = torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device)
        return torch.addcmul(self.loc, self.scale, e)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density, summed over the event.

        Args:
            value: Events, (*sample, *batch, *event).

        Returns:
            Log-densities, (*sample, *batch), in nats.
        """
        return self._sum(Normal(self.loc, self.scale, validate_args=False).log_prob(value))

    def entropy(self) -> Tensor:
        """Return the entropy, summed over the event, (*batch,), in nats."""
        return self._sum(Normal(self.loc, self.scale, validate_args=False).entropy())

    def divergences(self, p: NormalVector) -> Tensor:
        """Return the divergence KL(self || p) of each dimension.

        Args:
            p: The other distribution, of the same shape.

        Returns:
            Divergences, (*batch, *event), in nats.
        """
        r, d = self.scale / p.scale, (self.loc - p.loc) / p.scale
        return 0.5 * (r * r + d * d - 1) - r.log()


@register_kl(NormalVector, NormalVector)
def _kl(q: NormalVector, p: NormalVector) -> Tensor:
    return q._sum(q.divergences(p))


class BernoulliVector(_Vector):
    """A vector (or array) of independent bits.

    Args:
        logits: Log-odds of ones, (*batch, *event).
        event_dim: Number of event dimensions.
    """

    def __init__(self, logits: Tensor, event_dim: int = 1):
        self.logits = logits
        self._init(logits.shape, event_dim)

    def _parameters(self) -> tuple[Tensor, ...]:
        return (self.logits,)

    def _like(self, *parameters: Tensor) -> BernoulliVector:
        (logits,) = parameters
        return BernoulliVector(logits, len(self.event_shape))

    @constraints.dependent_property(is_discrete=True)
    def support(self) -> Any:
        """The values 0 and 1, with `event_dim` event dimensions."""
        return constraints.independent(constraints.boolean, len(self.event_shape))

    @property
    def mean(self) -> Tensor:
        """The probabilities of ones, (*batch, *event)."""
        return self.logits.sigmoid()

    def sample(self, sample_shape: Any = SCALAR) -> Tensor:
        """Sample bits, without gradients.

        Args:
            sample_shape: Shape of the samples.

        Returns:
            Bits, (*sample, *batch, *event), in the dtype of the logits.
        """
        with torch.no_grad():
            return torch.bernoulli(self.mean.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-probability, summed over the event.

        Args:
            value: Bits, (*sample, *batch, *event).

        Returns:
            Log-probabilities, (*sample, *batch), in nats.
        """
        y = self.logits
        if value.shape != y.shape:
            value, y = torch.broadcast_tensors(value, y)
        return -self._sum(F.binary_cross_entropy_with_logits(y, value.to(y.dtype), reduction="none"))
