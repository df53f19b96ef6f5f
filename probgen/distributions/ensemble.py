"""Mixtures with equal weights, p(x) = 1/M sum_m p_m(x), to average over orderings or masks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor

from probgen.errors import InputError


class Ensemble(TorchDistribution):
    """A mixture of distributions with equal weights, p(x) = 1/M sum_m p_m(x).

    The average is over likelihoods of whole events. Averaged conditionals of different orderings would not be the
    conditionals of any density, because each ordering conditions on other sites.

    Args:
        parts: The distributions, all of one batch shape and one event shape; at least one.
        validate_args: Has no effect; each distribution validates its own values.

    Raises:
        InputError: When `parts` is empty.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}

    def __init__(self, parts: Sequence[Any], validate_args: bool | None = None):
        self.parts = tuple(parts)
        if not self.parts:
            raise InputError("parts = []: an ensemble needs at least one distribution. Add a distribution.")
        super().__init__(self.parts[0].batch_shape, self.parts[0].event_shape, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Ensemble:
        """Return the same distribution with a larger batch shape."""
        return Ensemble([part.expand(batch_shape) for part in self.parts], validate_args=False)

    @property
    def support(self) -> Any:
        """The support of the first distribution."""
        return self.parts[0].support

    @property
    def has_enumerate_support(self) -> bool:  # type: ignore[override]  # torch has a plain attribute
        """Whether the first distribution has an enumerable support."""
        return bool(self.parts[0].has_enumerate_support)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """Return all possible events of the first distribution.

        Args:
            expand: Whether to expand the batch dimensions to the batch shape; otherwise they have size 1.

        Returns:
            All events, (value, *batch, *event).

        Raises:
            NotImplementedError: When the support cannot be enumerated.
        """
        return self.parts[0].enumerate_support(expand)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log 1/M sum_m p_m(x).

        Args:
            value: Events, (*sample, *batch, *event).

        Returns:
            Log-probabilities, (*sample, *batch), in nats.
        """
        each = torch.stack([part.log_prob(value) for part in self.parts])
        return each.logsumexp(0) - math.log(len(self.parts))

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Sample events; each event comes from one distribution, chosen at random.

        Args:
            sample_shape: Shape of the samples.

        Returns:
            Samples, (*sample, *batch, *event).
        """
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
