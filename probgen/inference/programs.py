"""Interfaces of the models that inference uses: `Program`, `Statistics` and `Objective`.

`Program` is a model and its guide, for bounds, importance weights, annealing and posterior samples. `Statistics` has an
E-step and an M-step, for `em`. `Objective` is a module with a loss, for `svi`.
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
    """A Pyro model and its guide."""

    @property
    def latents(self) -> Mapping[str, tuple[str, ...]]:
        """Dimension names of each latent of the model, by name of the latent."""
        ...

    def model(self, x: Tensor | None = None, *, n: int, **given: Any) -> Any:
        """Run the model p(z) p(x | z).

        Args:
            x: Rows to condition on, (row, *event); None to sample x.
            n: Number of rows.
            **given: Conditions and other inputs, (row, ...) each.

        Returns:
            Any value; inference does not use it.
        """

    def guide(self, x: Tensor | None = None, *, n: int, **given: Any) -> Any:
        """Run the guide q(z | x).

        Args:
            x: Rows, (row, *event).
            n: Number of rows.
            **given: Conditions and other inputs, (row, ...) each.

        Returns:
            Any value; inference does not use it.
        """


class Statistics(Stateful, Protocol):
    """A model with an E-step and an M-step, for `em`."""

    def e_step(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the expected sufficient statistics of some rows; `em` sums them over chunks of rows.

        Args:
            batch: Rows by name, such as `x (row, *event)` and `weight (row,)`.

        Returns:
            Statistics by name, with `log_likelihood` (in nats), `rows` (sum of the row weights), and `penalty` (in nats)
            if the likelihood is penalized.
        """

    def m_step(self, statistics: dict[str, Tensor]) -> None:
        """Set the parameters to the maximum of the expected log-likelihood.

        Args:
            statistics: Statistics of all rows.
        """


class Objective(nn.Module, ABC):
    """A module that `svi` can train: a pair, or a part of a model with its own loss."""

    @abstractmethod
    def loss(self, x: Tensor, *, n: int, **given: Tensor) -> dict[str, Tensor]:
        """Return the loss of a batch and its parts; change no state.

        In eval mode, the loss is that of validation rows.

        Args:
            x: Rows, (row, *event).
            n: Number of rows.
            **given: Conditions and other variables of the rows, (row, ...) each.

        Returns:
            `loss`, a scalar in nats per row, which is minimized, and other scalars for the history. Entries of shape
            (row, ...) are not metrics: `after` receives them, concatenated if the batch is computed in parts.
        """

    def counts(self, **batch: Tensor) -> Tensor:
        """Return the total weight of a batch in the mean loss.

        Args:
            **batch: Variables of the rows, (row, ...) each.

        Returns:
            The sum of the row weights, or the number of rows without weights, ().
        """
        return counted(**batch)

    def penalty(self) -> Tensor | float:
        """Return a term that is added to the loss, in nats per row."""
        return 0.0

    def begin(self, epoch: float) -> None:
        """Prepare a step, for example the weight of a warm-up; called before each step.

        Args:
            epoch: Number of epochs so far, which may be a fraction.
        """

    def after(self, parts: Mapping[str, Tensor]) -> None:
        """Change state that has no gradient; called after the gradient is computed and before the optimizer's step.

        Args:
            parts: The values that `loss` returned.
        """

    def kept(self) -> dict[str, Stateful]:
        """Return further state by name, besides parameters and buffers, that a checkpoint needs to resume a fit."""
        return {}

    @property
    def at_once(self) -> int:
        """Rows per evaluation of the loss without gradients."""
        return 1024


class Batches(Protocol):
    """The data that `svi` needs: `Rows`, or another source of numbered batches."""

    @property
    def n(self) -> int:
        """Number of training rows."""
        ...

    @property
    def valid(self) -> Rows | None:
        """Validation rows; None for none."""
        ...

    def batch(self, t: int, size: int, stage: str = "fit") -> dict[str, Tensor]:
        """Return a batch of rows.

        Args:
            t: Number of the batch, from 0.
            size: Number of rows.
            stage: Name of the stage, which determines the order of the rows.

        Returns:
            Variables by name, (row, ...) each.
        """
