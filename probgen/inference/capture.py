"""A training step as a graph: the operations of one call of a pair's loss and of its gradient, recorded and replayed.

What Python does between the operations is then done once and not at every step.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call

from probgen.errors import InputError
from probgen.inference.programs import Objective

OTHER_WAYS = "graph = true: the loss is not the same operations at every step (it looks at a value, or chooses in Python); leave it out"

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
    """From a batch to the parts of the loss, with gradients left in the parameters; products in bfloat16 if told so."""
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
    """The same from a graph, for batches of the shape of this one; `other` is another, to check the graph by.

    Errors: `InputError` where the loss is not the same operations at every step, as far as three calls tell.
    """
    from functorch import make_fx  # type: ignore[import-untyped]  # no types; and its import takes seconds

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
            # fused Adam on the CPU takes a gradient for one of the parameter's strides, whatever it has
            parameter.grad = None if gradient is None else gradient.contiguous()
        return parts

    return step
