"""Stochastic variational inference (Hoffman et al. 2013) by Pyro's ELBO and torch's optimizers.

Where nothing is latent the ELBO is the log-likelihood, and this is maximum likelihood.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch
from pydantic import Field
from torch import Tensor, nn

from probgen.errors import DivergedError, InputError
from probgen.inference.capture import Step, captured, eager
from probgen.options import Options

if TYPE_CHECKING:
    from probgen.rows import Rows
    from probgen.run import Run, Stateful


class SVIOptions(Options):
    """Options of a pair that is trained by `svi`."""

    epochs: int = Field(10, ge=1, description="passes over the data")
    steps: int | None = Field(None, ge=1, description="steps, instead of epochs")
    batch_size: int = Field(128, ge=1, description="rows a step")
    learning_rate: float = Field(1e-3, gt=0, description="of Adam")
    schedule: Literal["constant", "cosine", "linear"] = Field(
        "constant", description="of the learning rate; cosine and linear go down to 0"
    )
    hold: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of the steps in which the schedule leaves the learning rate as it is",
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


class Objective(nn.Module, ABC):
    """What `svi` can train: a pair, or a part of a model that has a loss of its own."""

    @abstractmethod
    def loss(self, x: Tensor, *, n: int, **given: Tensor) -> dict[str, Tensor]:
        """What is minimised, as `loss`, in nats a row, and its parts for the history.

        In eval mode it is what validation rows are judged by.
        """

    def penalty(self) -> Tensor | float:
        """What is added to the loss, in nats a row."""
        return 0.0

    def begin(self, epoch: float) -> None:
        """Called before each step, with the epochs gone by: for what changes with them, as a warm-up does."""

    def kept(self) -> dict[str, Stateful]:
        """What a fit needs to go on beside the parameters and buffers, by name."""
        return {}

    @property
    def at_once(self) -> int:
        """Rows whose loss is worked out together where no gradient is wanted."""
        return 1024


class Schedule(Protocol):
    """What `svi` needs of its options; any class with these fields will do."""

    @property
    def batch_size(self) -> int: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def schedule(self) -> str: ...


class Batches(Protocol):
    """What `svi` needs of its data: `Rows`, or whatever else gives batches by number."""

    @property
    def n(self) -> int: ...
    @property
    def valid(self) -> Rows | None: ...

    def batch(self, t: int, size: int, stage: str = "fit") -> dict[str, Tensor]:
        """Batch number t of `size` rows."""


def svi(pair: Objective, data: Batches, run: Run, options: Schedule, steps: int, stage: str = "fit") -> None:
    """Maximise the ELBO of a pair less its penalty, in nats a row, by AdamW (Loshchilov & Hutter 2019); in place.

    With `data.valid` the loss of those rows is measured after every epoch, and the weights of the best epoch are
    what is left in the end. The learning rate is a function of the step, so there is no scheduler to keep.
    """
    decay = float(getattr(options, "weight_decay", 0.0))
    optimizer = torch.optim.AdamW(pair.parameters(), lr=options.learning_rate, weight_decay=decay, fused=True)
    hold = float(getattr(options, "hold", 0.0))
    check_options(options, data, run)
    best = Best(getattr(options, "patience", None))
    size = min(options.batch_size, data.n)
    work: Step | None = None
    autocast = bool(getattr(options, "autocast", False))

    def step(t: int) -> dict[str, Tensor | float]:
        batch = data.batch(t, size, stage)
        pair.begin(t * size / data.n)
        optimizer.param_groups[0]["lr"] = options.learning_rate * _decay(
            options.schedule, (t / steps - hold) / (1 - hold)
        )
        nonlocal work
        if work is None:
            graph = getattr(options, "graph", False)
            work = (
                captured(pair, batch, data.batch(t + 1, size, stage), autocast)
                if graph
                else eager(pair, autocast)
            )
        parts = work(batch)
        loss = parts["loss"].item()
        if not math.isfinite(loss):
            raise DivergedError(
                f"{stage} step {t}: loss is {loss}{_culprit(pair, batch)}. "
                "A lower learning_rate, or more regularization, may help"
            )
        optimizer.step()
        metrics: dict[str, Tensor | float] = {name: part.detach() for name, part in parts.items()}
        epoch_ends = (t + 1) * size // data.n > t * size // data.n or t + 1 == steps
        if data.valid is not None and epoch_ends:
            valid_loss = mean_loss(pair, data.valid, autocast)
            metrics |= {"valid_loss": valid_loss, "done": best.see(valid_loss, pair)}
        return metrics

    keep: dict[str, Stateful] = {"pair": pair, "optimizer": optimizer, "best": best, **pair.kept()}
    run.train(step, steps, keep=keep, stage=stage)
    best.restore(pair)


def check_options(options: Schedule, data: Batches, run: Run) -> None:
    """What `svi` would refuse, for families that have a stage before it. Errors: `InputError`."""
    patience = getattr(options, "patience", None)
    if patience is not None and data.valid is None:
        raise InputError(f"patience = {patience}: there are no rows to choose by; give valid=")
    if getattr(options, "autocast", False) and run.dtype != torch.float32:
        raise InputError(f"autocast = true: the fit is in {run.dtype}; leave it out, or dtype")


def _culprit(pair: Objective, batch: dict[str, Tensor]) -> str:
    """The first parameter that is not finite, or else the first layer that gives what is not; the loss is run again."""
    for name, parameter in pair.named_parameters():
        if not torch.isfinite(parameter).all():
            return f"; the gradient of {name!r} was not finite in the step before"
    found: list[str] = []

    def watch(name: str) -> Callable[..., None]:
        def seen(layer: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and not found and not torch.isfinite(output).all():
                found.append(f"{name} ({type(layer).__name__})")

        return seen

    handles = [
        layer.register_forward_hook(watch(name))
        for name, layer in pair.named_modules()
        if name and not next(layer.children(), None)
    ]
    try:
        pair.loss(n=len(batch["x"]), **batch)
    finally:
        for handle in handles:
            handle.remove()
    return f"; the first layer to give what is not finite is {found[0]}" if found else ""


@torch.no_grad()
def mean_loss(pair: Objective, data: Rows, autocast: bool = False) -> float:
    """The loss of all rows in eval mode, in nats a row."""
    pair.eval()
    total = 0.0
    for chunk in data.chunks(pair.at_once):
        n = len(chunk["x"])
        with torch.autocast(chunk["x"].device.type, torch.bfloat16, enabled=autocast):
            total += n * float(pair.loss(n=n, **chunk)["loss"])
    pair.train()
    return total / data.n


class Best:
    """The best weights so far, and for how many epochs they have been."""

    def __init__(self, patience: int | None):
        self.patience = patience
        self.loss: float | None = None
        self.since = 0
        self.weights: dict[str, Tensor] = {}

    def see(self, loss: float, pair: Objective) -> bool:
        """Whether patience has run out."""
        if self.loss is None or loss < self.loss:
            self.loss, self.since = loss, 0
            self.weights = {name: tensor.clone() for name, tensor in pair.state_dict().items()}
        else:
            self.since += 1
        return self.patience is not None and self.since >= self.patience

    def restore(self, pair: Objective) -> None:
        """Give the pair its best weights, where there was a validation."""
        if self.weights:
            pair.load_state_dict(self.weights)

    def state_dict(self) -> dict[str, Any]:
        """Loss, age and weights."""
        return {"loss": self.loss, "since": self.since, "weights": self.weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.loss, self.since, self.weights = state["loss"], state["since"], state["weights"]


def steps_of(options: SVIOptions, n: int) -> int:
    """How many steps the options ask for, on n rows."""
    return options.steps or math.ceil(options.epochs * n / min(options.batch_size, n))


def _decay(schedule: str, gone: float) -> float:
    """By what the learning rate is multiplied when so much of the schedule is over; before it begins, below 0."""
    if schedule == "constant" or gone <= 0:
        return 1.0
    return 1 - gone if schedule == "linear" else 0.5 * (1 + math.cos(math.pi * gone))
