"""Independent normals and bits as one event: `Normal(loc, scale).to_event(k)` with less between the operations.

A training step of a small net takes a few milliseconds, and what Python does around a few dozen operations is then a tenth
of it. These two are what most models with latent codes consist of.
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
    """What both share: the last `event_dim` dimensions of the parameters are the event."""

    arg_constraints = {}  # noqa: RUF012 (as torch has it)

    def _init(self, shape: torch.Size, event_dim: int) -> None:
        cut = len(shape) - event_dim
        super().__init__(shape[:cut], shape[cut:], validate_args=False)

    def _parameters(self) -> tuple[Tensor, ...]:
        raise NotImplementedError

    def _like(self, *parameters: Tensor) -> Any:
        raise NotImplementedError

    def expand(self, batch_shape: Any, _instance: Any = None) -> Self:
        """The same, of another batch shape."""
        batch_shape = torch.Size(batch_shape)
        if batch_shape == self.batch_shape:
            return self
        whole = batch_shape + self.event_shape
        return self._like(*(p.expand(whole) for p in self._parameters()))

    def _sum(self, term: Tensor) -> Tensor:
        event_dim = len(self.event_shape)
        return term.flatten(-event_dim).sum(-1) if event_dim else term


class NormalVector(_Vector):
    """Independent normals of means `loc` and standard deviations `scale`, of one shape, as an event of `event_dim`."""

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
        """Reals."""
        return constraints.independent(constraints.real, len(self.event_shape))

    @property
    def mean(self) -> Tensor:
        """loc."""
        return self.loc

    @property
    def variance(self) -> Tensor:
        """scale squared."""
        return self.scale.square()

    def rsample(self, sample_shape: Any = SCALAR) -> Tensor:
        """loc + scale e, with e of a standard normal."""
        shape = self._extended_shape(sample_shape)
        e = torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device)
        return torch.addcmul(self.loc, self.scale, e)

    def log_prob(self, value: Tensor) -> Tensor:
        """Summed over the event."""
        return self._sum(Normal(self.loc, self.scale, validate_args=False).log_prob(value))

    def entropy(self) -> Tensor:
        """Summed over the event."""
        return self._sum(Normal(self.loc, self.scale, validate_args=False).entropy())

    def divergences(self, p: NormalVector) -> Tensor:
        """KL to another of each dimension: batch and event shape."""
        r, d = self.scale / p.scale, (self.loc - p.loc) / p.scale
        return 0.5 * (r * r + d * d - 1) - r.log()


@register_kl(NormalVector, NormalVector)
def _kl(q: NormalVector, p: NormalVector) -> Tensor:
    return q._sum(q.divergences(p))


class BernoulliVector(_Vector):
    """Independent bits of log-odds `logits`, as an event of `event_dim`."""

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
        """0 and 1."""
        return constraints.independent(constraints.boolean, len(self.event_shape))

    @property
    def mean(self) -> Tensor:
        """Probabilities of ones."""
        return self.logits.sigmoid()

    def sample(self, sample_shape: Any = SCALAR) -> Tensor:
        """Bits, in the dtype of the logits."""
        with torch.no_grad():
            return torch.bernoulli(self.mean.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        """Summed over the event."""
        y = self.logits
        if value.shape != y.shape:
            value, y = torch.broadcast_tensors(value, y)
        return -self._sum(F.binary_cross_entropy_with_logits(y, value.to(y.dtype), reduction="none"))
