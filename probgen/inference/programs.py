"""What inference works on, as interfaces: a program, statistics, an objective.

Program     a model and its guide: for bounds, importance weights, annealing, posterior draws
Statistics  an E-step and an M-step: for `em`
Objective   a module with a loss: for `svi`
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor, nn

from probgen.contract.descent import counted
from probgen.contract.rows import Rows
from probgen.contract.run import Stateful


class Program(Protocol):
    """A Pyro model and its guide. latents: names and dimensions of the latents of the model."""

    @property
    def latents(self) -> Mapping[str, tuple[str, ...]]: ...

    def model(self, x: Tensor | None = None, *, n: int, **given: Any) -> Any:
        """p(z) p(x | z)."""

    def guide(self, x: Tensor | None = None, *, n: int, **given: Any) -> Any:
        """q(z | x)."""


class Statistics(Stateful, Protocol):
    """What `em` alternates between."""

    def e_step(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Expected statistics of some rows; they add up over chunks."""

    def m_step(self, statistics: dict[str, Tensor]) -> None:
        """Set the parameters to the maximum of the expected log-likelihood."""


class Objective(nn.Module, ABC):
    """What `svi` can train: a pair, or a part of a model that has a loss of its own."""

    @abstractmethod
    def loss(self, x: Tensor, *, n: int, **given: Tensor) -> dict[str, Tensor]:
        """What is minimized, as `loss`, in nats a row, and its parts for the history. It changes nothing.

        Entries (row, ...) are no metrics: they are handed to `after`, and put together where a batch is done in parts. In eval mode it is what validation rows are
        judged by.
        """

    def counts(self, **batch: Tensor) -> Tensor:
        """How much some rows count in the mean that the loss is: their weights, or how many they are."""
        return counted(**batch)

    def penalty(self) -> Tensor | float:
        """What is added to the loss, in nats a row."""
        return 0.0

    def begin(self, epoch: float) -> None:
        """Called before each step, with the epochs gone by: for what changes with them, as a warm-up does."""

    def after(self, parts: Mapping[str, Tensor]) -> None:
        """What a step changes beside the gradient, from what `loss` returned; called once the gradient is known."""

    def kept(self) -> dict[str, Stateful]:
        """What a fit needs to go on beside the parameters and buffers, by name."""
        return {}

    @property
    def at_once(self) -> int:
        """Rows whose loss is worked out together where no gradient is wanted."""
        return 1024


class Batches(Protocol):
    """What `svi` needs of its data: `Rows`, or whatever else gives batches by number."""

    @property
    def n(self) -> int: ...
    @property
    def valid(self) -> Rows | None: ...

    def batch(self, t: int, size: int, stage: str = "fit") -> dict[str, Tensor]:
        """Batch number t of `size` rows."""
