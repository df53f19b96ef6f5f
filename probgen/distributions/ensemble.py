"""Equal parts of several distributions, p(x) = 1/M sum_m p_m(x): how orderings or masks are averaged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor

from probgen.errors import InputError


class Ensemble(TorchDistribution):
    """A mixture of distributions of one batch and event shape, each with the same weight.

    The average is of likelihoods of whole events. (Averages of the conditionals of different orderings are the
    conditionals of no density: what is asked of one site has been told to another.)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}

    def __init__(self, parts: Sequence[Any], validate_args: bool | None = None):
        self.parts = tuple(parts)
        if not self.parts:
            raise InputError("an ensemble needs at least one distribution")
        super().__init__(self.parts[0].batch_shape, self.parts[0].event_shape, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Ensemble:
        """The same distribution with a larger batch shape."""
        return Ensemble([part.expand(batch_shape) for part in self.parts], validate_args=False)

    @property
    def support(self) -> Any:
        """That of the first part."""
        return self.parts[0].support

    @property
    def has_enumerate_support(self) -> bool:  # type: ignore[override]  # torch has a plain attribute
        """As of the first part."""
        return bool(self.parts[0].has_enumerate_support)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """Every value: as of the first part."""
        return self.parts[0].enumerate_support(expand)

    def log_prob(self, value: Tensor) -> Tensor:
        """log 1/M sum_m p_m(x): (*sample, *batch), in nats."""
        each = torch.stack([part.log_prob(value) for part in self.parts])
        return each.logsumexp(0) - math.log(len(self.parts))

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draws, each of a part chosen for it alone: (*sample, *batch, *event)."""
        shape = self._extended_shape(torch.Size(sample_shape))
        rows = shape[: len(shape) - len(self.event_shape)]
        chosen = torch.randint(len(self.parts), rows)
        x = self.parts[0].sample(sample_shape)
        for m, part in enumerate(self.parts[1:], 1):
            here = (chosen == m).to(x.device)
            if here.any():
                x = torch.where(
                    here.reshape(*rows, *(1,) * len(self.event_shape)), part.sample(sample_shape), x
                )
        return x
