"""A training step as a graph: the operations of the loss and of its gradient, recorded once and replayed.

The Python code between the operations then runs once, and not at every step.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call

from probgen.errors import InputError
from probgen.inference.programs import Objective

OTHER_WAYS = (
    "graph = true: the loss does not run the same operations at every step (it depends on a value, or branches in Python). "
    "Leave graph out."
)

Step = Callable[[dict[str, Tensor]], dict[str, Tensor]]


class _Loss(nn.Module):
    def __init__(self, pair: Objective, autocast: bool):
        super().__init__()
        self.pair, self.autocast = pair, autocast

    def forward(self, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
        with torch.autocast(batch["x"].device.type, torch.bfloat16, enabled=self.autocast):
            parts = self.pair.loss(n=len(batch["x"]), **batch)
        return parts, parts["loss"] + self.pair.penalty()


def eager(pair: Objective, autocast: bool = False) -> Step:
    """Return a function from a batch to the parts of the loss, which leaves the gradients in the parameters.

    Args:
        pair: The objective.
        autocast: Whether products are in bfloat16 (torch.autocast).

    Returns:
        The training step.
    """
    loss, parameters = _Loss(pair, autocast), list(pair.parameters())

    def step(batch: dict[str, Tensor]) -> dict[str, Tensor]:
        for parameter in parameters:
            parameter.grad = None
        parts, total = loss(batch)
        total.backward()
        return parts

    return step


def captured(
    pair: Objective, batch: dict[str, Tensor], other: dict[str, Tensor], autocast: bool = False
) -> Step:
    """Return the function of `eager`, recorded as a graph.

    Args:
        pair: The objective.
        batch: A batch; the graph accepts batches of its shape.
        other: Another batch of this shape, which checks the graph.
        autocast: Whether products are in bfloat16 (torch.autocast).

    Returns:
        The training step.

    Raises:
        InputError: When three calls show that the loss does not run the same operations at every step.
    """
    from functorch import make_fx  # type: ignore[import-untyped]  # no types; the import is here because it takes seconds

    loss = _Loss(pair, autocast)
    parameters = dict(loss.named_parameters())
    buffers = dict(loss.named_buffers())

    def program(
        weights: dict[str, Tensor], rest: dict[str, Tensor], batch: dict[str, Tensor]
    ) -> tuple[dict[str, Tensor], tuple[Tensor | None, ...]]:
        parts, total = functional_call(loss, {**weights, **rest}, (batch,))
        return parts, torch.autograd.grad(total, list(weights.values()), allow_unused=True)

    with torch.random.fork_rng():
        try:
            graph = make_fx(program)(parameters, buffers, batch)
            graph.graph.eliminate_dead_code()
            graph.recompile()
            for seed, rows in enumerate((batch, other, other)):
                torch.manual_seed(seed)
                with torch.no_grad():
                    found = graph(parameters, buffers, rows)[0]["loss"]
                torch.manual_seed(seed)
                if not torch.allclose(found, loss(rows)[0]["loss"], rtol=1e-4, atol=1e-6):
                    raise InputError(OTHER_WAYS)
        except RuntimeError as error:
            raise InputError(OTHER_WAYS) from error

    def step(batch: dict[str, Tensor]) -> dict[str, Tensor]:
        with torch.no_grad():
            parts, gradients = graph(parameters, buffers, batch)
        for parameter, gradient in zip(parameters.values(), gradients, strict=True):
            # fused Adam on the CPU assumes that a gradient has the strides of its parameter
            parameter.grad = None if gradient is None else gradient.contiguous()
        return parts

    return step
