"""Options and settings of training with `svi`."""

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
    """Options of a family that is trained with `svi`."""

    epochs: int = Field(10, ge=1, description="number of passes over the training rows")
    steps: int | None = Field(None, ge=1, description="number of training steps; replaces epochs")
    batch_size: int = Field(128, ge=1, description="rows per training step")
    learning_rate: float = Field(1e-3, gt=0, description="Adam's learning rate")
    schedule: Schedule = Field("constant", description="learning-rate schedule; cosine and linear fall to 0")
    hold: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of the steps before the learning rate starts to fall",
        json_schema_extra=only(schedule=("cosine", "linear")),
    )
    weight_decay: float = Field(
        0.0, ge=0, description="decoupled weight decay (AdamW), times the learning rate at each step"
    )
    graph: bool = Field(
        False,
        description="record the operations of a training step once and replay them; the loss must not branch on data",
    )
    patience: int | None = Field(
        None,
        ge=1,
        description="epochs without a lower validation loss before the fit stops; needs validation rows",
    )


class AutocastOptions(SVIOptions):
    """Options of a family that can be trained with products in bfloat16."""

    autocast: bool = Field(
        False,
        description="compute products in bfloat16 while training (torch.autocast), which some processors do in half "
        "the time; weights and scores keep their dtype",
    )


@dataclass(frozen=True)
class Training:
    """The settings with which `svi` trains an objective.

    Args:
        batch_size: Rows per training step.
        learning_rate: Adam's learning rate.
        steps: Number of training steps; None to use `epochs`.
        epochs: Number of passes over the training rows.
        schedule: Learning-rate schedule; "cosine" and "linear" fall to 0.
        hold: Share of the steps before the learning rate starts to fall.
        weight_decay: Decoupled weight decay (AdamW), times the learning rate at each step.
        patience: Epochs without a lower validation loss before the fit stops; None for no limit.
        graph: Whether to record the operations of a training step once and replay them.
        autocast: Whether products are in bfloat16 (torch.autocast).
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
    def of(cls, options: SVIOptions) -> Self:
        """Return the settings from the options of a family.

        Args:
            options: The options.

        Returns:
            The settings.

        Raises:
            PluginError: When the options are not `SVIOptions`.
        """
        if not isinstance(options, SVIOptions):
            raise PluginError(
                f"{type(options).__name__} has no training options. "
                "Inherit from probgen.inference.training.SVIOptions, or override `learn`."
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
            isinstance(options, AutocastOptions) and options.autocast,
        )

    def steps_on(self, n: int) -> int:
        """Return the number of training steps.

        Args:
            n: Number of training rows.

        Returns:
            `steps`, or the number of steps of `epochs` passes.
        """
        return self.steps or math.ceil(self.epochs * n / min(self.batch_size, n))

    def check(self, data: Batches, run: Run) -> None:
        """Check that the settings suit the data and the run, before training.

        Args:
            data: The training rows.
            run: The run.

        Raises:
            InputError: When `patience` is set without validation rows, `graph` is used with several parts, or `autocast`
                is used with another dtype than float32.
        """
        if self.patience is not None and data.valid is None:
            raise InputError(
                f"patience = {self.patience}: there are no validation rows. Pass valid=..., or leave patience out."
            )
        if self.graph and run.parts > 1:
            raise InputError(
                f"graph = true: a graph needs complete batches, but parts = {run.parts}. Leave one of them out."
            )
        if self.autocast and run.dtype != torch.float32:
            raise InputError(
                f"autocast = true: the fit is in {run.dtype}, but autocast needs torch.float32. Leave out autocast or dtype."
            )


def rate(schedule: Schedule, gone: float, hold: float = 0.0, floor: float = 0.0) -> float:
    """Return the factor of the learning rate: 1 up to `hold`, then falling from 1 to `floor`.

    Args:
        schedule: "constant", "cosine" or "linear".
        gone: Share of the steps that are done, 0 to 1.
        hold: Share of the steps before the factor starts to fall.
        floor: Factor at the end.

    Returns:
        The factor, `floor` to 1.
    """
    falling = (gone - hold) / (1 - hold)
    if schedule == "constant" or falling <= 0:
        return 1.0
    left = 1 - falling if schedule == "linear" else 0.5 * (1 + math.cos(math.pi * falling))
    return floor + (1 - floor) * left
