"""Stochastic variational inference (Hoffman et al. 2013) with the ELBO as the objective and AdamW as the optimizer.

For a model without latents, the ELBO is the log-likelihood, and `svi` is maximum likelihood.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from probgen.contract.rows import Rows
from probgen.contract.run import Run, Stateful
from probgen.contract.seeds import key, seed_torch
from probgen.errors import DivergedError
from probgen.inference.capture import Step, captured, eager
from probgen.inference.convergence import settled
from probgen.inference.programs import Batches, Objective
from probgen.inference.training import Training, rate


def svi(pair: Objective, data: Batches, run: Run, training: Training, stage: str = "fit") -> None:
    """Minimize the loss of an objective plus its penalty, in nats per row, with AdamW (Loshchilov & Hutter 2019).

    With `data.valid`, the loss of the validation rows is computed after every epoch, and the weights of the best epoch are
    restored at the end. If the loss is a random bound, the same random numbers are used in every epoch, so that epochs
    differ by their weights only. The learning rate is a function of the step, so a checkpoint stores no scheduler.

    Args:
        pair: The objective; its parameters are changed in place.
        data: The training rows.
        run: The run that performs and stores the steps.
        training: Settings of the training.
        stage: Name of the stage.

    Raises:
        InputError: When the settings do not suit the data or the run; see `Training.check`.
        DivergedError: When the loss is not finite.
    """
    training.check(data, run)
    optimizer = torch.optim.AdamW(
        pair.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay, fused=True
    )
    best, weights = Best(training.patience), list(pair.parameters())
    size, steps = min(training.batch_size, data.n), training.steps_on(data.n)
    work: Step | None = None

    def step(t: int) -> dict[str, Tensor | float]:
        nonlocal work
        batch = data.batch(t, size, stage)
        pair.begin(t * size / data.n)
        optimizer.param_groups[0]["lr"] = training.learning_rate * rate(
            training.schedule, t / steps, training.hold
        )
        if work is None:
            work = (
                captured(pair, batch, data.batch(t + 1, size, stage), training.autocast)
                if training.graph
                else eager(pair, training.autocast)
            )
        done = work
        parts = run.descend([pair], weights, lambda: done(run.rows(batch, pair.counts)))
        loss = parts["loss"].item()
        if not math.isfinite(loss):
            raise DivergedError(
                f"{stage} step {t}: loss is {loss}{_culprit(pair, batch)}. "
                "Try a lower learning_rate or more regularization."
            )
        pair.after(parts)
        optimizer.step()
        metrics: dict[str, Tensor | float] = {k: part.detach() for k, part in parts.items() if not part.ndim}
        epoch_ends = (t + 1) * size // data.n > t * size // data.n or t + 1 == steps
        if data.valid is not None and epoch_ends:
            valid_loss = mean_loss(pair, data.valid, run, training.autocast)
            metrics |= {"valid_loss": valid_loss, "done": best.see(valid_loss, pair)}
        return metrics

    keep: dict[str, Stateful] = {"pair": pair, "optimizer": optimizer, "best": best, **pair.kept()}
    run.train(step, steps, keep=keep, stage=stage, judge=settled)
    best.restore(pair)


def _culprit(pair: Objective, batch: dict[str, Tensor]) -> str:
    """Name the first parameter that is not finite, or the first layer with a non-finite output; run the loss again."""
    for name, parameter in pair.named_parameters():
        if not torch.isfinite(parameter).all():
            return f"; the gradient of {name!r} was not finite in the previous step"
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
    return f"; the first layer with a non-finite output is {found[0]}" if found else ""


@torch.no_grad()
def mean_loss(pair: Objective, data: Rows, run: Run, autocast: bool = False) -> float:
    """Return the mean loss of all rows in eval mode, with the same random numbers at every step of a stage.

    Args:
        pair: The objective.
        data: The rows.
        run: The run. In a fit in several parts, its processes share the blocks of rows, and each block has its own random
            stream.
        autocast: Whether products are in bfloat16 (torch.autocast).

    Returns:
        The mean loss by row weights, in nats per row.
    """

    def of(chunk: dict[str, Tensor]) -> tuple[float, float]:
        n = len(chunk["x"])
        counts = float(chunk["weight"].sum()) if "weight" in chunk else n
        with torch.autocast(chunk["x"].device.type, torch.bfloat16, enabled=autocast):
            return counts * float(pair.loss(n=n, **chunk)["loss"]), counts

    pair.eval()
    if run.parts == 1 or data.event.any_size:
        seed_torch(key(run.seed, run.stage, "valid"))
        each = map(of, data.chunks(pair.at_once))
        total, rows = (sum(numbers) for numbers in zip(*each, strict=True))
    else:
        blocks = data.blocks(min(pair.at_once, max(1, -(-data.n // 16))))

        def block(i: int) -> dict[str, Tensor]:
            seed_torch(key(run.seed, run.stage, "valid", i))
            return {"both": torch.tensor(of(blocks[i]), dtype=torch.float64)}

        total, rows = run.sum(blocks.n, block)["both"].tolist()
        seed_torch(key(run.seed, run.stage, run.t, "validated"))
    pair.train()
    return total / rows


class Best:
    """The weights of the epoch with the lowest validation loss.

    Args:
        patience: Epochs without a lower loss after which the fit stops; None for no limit.
    """

    def __init__(self, patience: int | None):
        self.patience = patience
        self.loss: float | None = None
        self.since = 0
        self.weights: dict[str, Tensor] = {}

    def see(self, loss: float, pair: Objective) -> bool:
        """Record the validation loss of an epoch, and return whether the fit should stop."""
        if self.loss is None or loss < self.loss:
            self.loss, self.since = loss, 0
            self.weights = {name: tensor.clone() for name, tensor in pair.state_dict().items()}
        else:
            self.since += 1
        return self.patience is not None and self.since >= self.patience

    def restore(self, pair: Objective) -> None:
        """Load the best weights into the objective; do nothing if there was no validation."""
        if self.weights:
            pair.load_state_dict(self.weights)

    def state_dict(self) -> dict[str, Any]:
        """Return the lowest loss, the number of epochs since then, and the weights."""
        return {"loss": self.loss, "since": self.since, "weights": self.weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load a state that `state_dict` returned."""
        self.loss, self.since, self.weights = state["loss"], state["since"], state["weights"]
