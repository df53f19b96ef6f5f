"""How a module is trained: the options, and one value made from them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Self

import torch
from pydantic import Field

from probgen.contract.options import Options, only
from probgen.contract.run import Run
from probgen.errors import InputError, PluginError
from probgen.inference.programs import Batches

Schedule = Literal["constant", "cosine", "linear"]


class SVIOptions(Options):
    """Options of a pair that is trained by `svi`."""

    epochs: int = Field(10, ge=1, description="passes over the data")
    steps: int | None = Field(None, ge=1, description="steps, instead of epochs")
    batch_size: int = Field(128, ge=1, description="rows a step")
    learning_rate: float = Field(1e-3, gt=0, description="of Adam")
    schedule: Schedule = Field("constant", description="of the learning rate; cosine and linear go down to 0")
    hold: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of the steps in which the schedule leaves the learning rate as it is",
        json_schema_extra=only(schedule=("cosine", "linear")),
    )
    weight_decay: float = Field(
        0.0, ge=0, description="decoupled L2 penalty (AdamW), times the learning rate a step"
    )
    graph: bool = Field(
        False,
        description="record the operations of a step once and replay them: for a loss that is the same ones always",
    )
    patience: int | None = Field(
        None,
        ge=1,
        description="epochs without a better validation loss before the fit ends; needs valid rows",
    )


@dataclass(frozen=True)
class Training:
    """How `svi` trains an objective; fields are those of `SVIOptions`.

    autocast  whether products are in bfloat16 (torch.autocast)
    """

    batch_size: int
    learning_rate: float
    steps: int | None = None
    epochs: int = 1
    schedule: Schedule = "constant"
    hold: float = 0.0
    weight_decay: float = 0.0
    patience: int | None = None
    graph: bool = False
    autocast: bool = False

    @classmethod
    def of(cls, options: SVIOptions, *, autocast: bool = False) -> Self:
        """As the options of a family say. Errors: `PluginError` for options of another class."""
        if not isinstance(options, SVIOptions):
            raise PluginError(
                f"{type(options).__name__} does not say how to train: inherit from probgen.inference.training.SVIOptions, "
                "or replace `learn`"
            )
        return cls(
            options.batch_size,
            options.learning_rate,
            options.steps,
            options.epochs,
            options.schedule,
            options.hold,
            options.weight_decay,
            options.patience,
            options.graph,
            autocast,
        )

    def steps_on(self, n: int) -> int:
        """How many steps there are, on n rows."""
        return self.steps or math.ceil(self.epochs * n / min(self.batch_size, n))

    def check(self, data: Batches, run: Run) -> None:
        """What cannot be trained so, before anything is. Errors: `InputError`."""
        if self.patience is not None and data.valid is None:
            raise InputError(f"patience = {self.patience}: there are no rows to choose by; give valid=")
        if self.graph and run.parts > 1:
            raise InputError(
                f"graph = true: operations are recorded of a whole batch, and parts = {run.parts}; leave one of them out"
            )
        if self.autocast and run.dtype != torch.float32:
            raise InputError(f"autocast = true: the fit is in {run.dtype}; leave it out, or dtype")


def rate(schedule: Schedule, gone: float, hold: float = 0.0, floor: float = 0.0) -> float:
    """The factor of a learning rate after a share of the steps: 1 up to `hold`, then from 1 down to `floor`.

    gone  the share of the steps that are over, 0 to 1
    """
    falling = (gone - hold) / (1 - hold)
    if schedule == "constant" or falling <= 0:
        return 1.0
    left = 1 - falling if schedule == "linear" else 0.5 * (1 + math.cos(math.pi * falling))
    return floor + (1 - floor) * left
