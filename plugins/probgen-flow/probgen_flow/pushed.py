"""The distribution of a bijection of a random vector (Rezende & Mohamed, ICML 2015, eq. 5)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from probgen_flow.vectors import VectorBijection


class Pushed(TorchDistribution):
    """The distribution of z, where e has a base distribution, and z = g(e; c) or e = g(z; c).

    The density of a sample that was just drawn costs no inverse.

    Args:
        base: The distribution of e, with batch shape (row,) and event shape (value,).
        g: The bijection.
        c: Conditions, (row, context), or None.
        inverse: Whether e = g(z; c), so that densities cost one pass of g.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}

    def __init__(self, base: Any, g: VectorBijection, c: Tensor | None, *, inverse: bool = False):
        self.base, self.g, self.c, self.inverse = base, g, c, inverse
        self.last: tuple[Tensor, Tensor, Tensor] | None = None  # z, e and log |det de/dz| of the last sample
        super().__init__(base.batch_shape, base.event_shape, validate_args=False)

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]  # a class attribute of torch's distributions
        """Whether samples have gradients: those of the base have."""
        return bool(self.base.has_rsample)

    @property
    def support(self) -> Any:
        """The real numbers."""
        return constraints.real_vector

    def expand(self, batch_shape: Any, _instance: Any = None) -> Pushed:
        """Return the distribution itself, whose batch shape is that of the rows."""
        assert torch.Size(batch_shape) == self.batch_shape
        return self

    def push(self, e: Tensor) -> tuple[Tensor, Tensor]:
        """Return z and log |det dz/de|, for e (*sample, row, value)."""
        return self._through(e, forward=not self.inverse)

    def pull(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return e and log |det de/dz|, for z (*sample, row, value)."""
        return self._through(z, forward=self.inverse)

    def _through(self, y: Tensor, forward: bool) -> tuple[Tensor, Tensor]:
        flat = y.reshape(-1, y.shape[-1])
        c = None if self.c is None else self.c.expand(*y.shape[:-1], -1).reshape(len(flat), -1)
        if forward:
            found, log_det = self.g(flat, c)
        else:
            found = self.g.inverse(flat, c)
            log_det = -self.g(found, c)[1]
        return found.reshape(y.shape), log_det.reshape(y.shape[:-1])

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Return samples with gradients, (*sample, row, value)."""
        return self._drawn(self.base.rsample(torch.Size(sample_shape)))

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Return samples, (*sample, row, value)."""
        with torch.no_grad():
            return self._drawn(self.base.sample(torch.Size(sample_shape)))

    def _drawn(self, e: Tensor) -> Tensor:
        z, log_det = self.push(e)
        self.last = z, e, -log_det
        return z

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-densities, (*sample, row), in nats."""
        if self.last is not None and value is self.last[0]:
            _, e, log_det = self.last
        else:
            e, log_det = self.pull(value)
        return self.base.log_prob(e) + log_det
