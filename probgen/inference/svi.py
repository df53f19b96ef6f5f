"""Stochastic variational inference (Hoffman et al. 2013) by Pyro's ELBO and torch's optimizers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, Protocol

import torch
from pydantic import Field
from torch import Tensor

from probgen.options import Options

if TYPE_CHECKING:
    from probgen.pair import Pair
    from probgen.rows import Rows
    from probgen.run import Run


class SVIOptions(Options):
    """Options of a pair that is trained by `svi`."""

    epochs: int = Field(10, ge=1, description="passes over the data")
    steps: int | None = Field(None, ge=1, description="steps, instead of epochs")
    batch_size: int = Field(128, ge=1, description="rows a step")
    learning_rate: float = Field(1e-3, gt=0, description="of Adam")
    schedule: Literal["constant", "cosine"] = Field("constant", description="of the learning rate")


class Schedule(Protocol):
    """What `svi` needs of its options; any class with these fields will do."""

    @property
    def batch_size(self) -> int: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def schedule(self) -> str: ...


def svi(pair: Pair, data: Rows, run: Run, options: Schedule, steps: int, stage: str = "fit") -> None:
    """Maximise the ELBO of a pair, in nats a row, by Adam (Kingma & Ba 2015); train in place.

    The learning rate is a function of the step, so there is no scheduler to keep.
    """
    elbo = pair.elbo()
    optimizer = torch.optim.Adam(pair.parameters(), lr=options.learning_rate)

    def step(t: int) -> dict[str, Tensor]:
        batch = data.batch(t, options.batch_size, stage)
        n = len(batch["x"])
        optimizer.param_groups[0]["lr"] = options.learning_rate * _decay(options.schedule, t, steps)
        optimizer.zero_grad()
        loss = elbo.differentiable_loss(pair.model, pair.guide, n=n, **batch) / n
        loss.backward()
        optimizer.step()
        return {"loss": loss.detach()}

    run.train(step, steps, keep={"pair": pair, "optimizer": optimizer}, stage=stage)


def steps_of(options: SVIOptions, n: int) -> int:
    """How many steps the options ask for, on n rows."""
    return options.steps or math.ceil(options.epochs * n / min(options.batch_size, n))


def _decay(schedule: str, t: int, steps: int) -> float:
    return 0.5 * (1 + math.cos(math.pi * t / steps)) if schedule == "cosine" else 1.0
