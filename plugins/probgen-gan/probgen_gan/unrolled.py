"""The discriminator some steps ahead, as a function of the generator's current move (Metz et al., ICLR 2017)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn


def ahead(
    D: nn.Module, optimizer: torch.optim.Adam, loss: Callable[[Mapping[str, Tensor]], Tensor], steps: int
) -> dict[str, Tensor]:
    """Compute the parameters of D after further steps of its optimizer (Metz et al. 2017, eq. 2 to 4).

    D and the optimizer do not change. Adam's epsilon is inside the square root, so that a gradient of 0 is harmless.

    Args:
        D: The discriminator. Its optimizer has made at least one step.
        optimizer: Adam, with the state of D's parameters.
        loss: Function of D's parameters by name that returns the loss of D.
        steps: Number of steps to look ahead.

    Returns:
        The parameters by name, with their graph.
    """
    group = optimizer.param_groups[0]
    rate, (beta1, beta2), eps = group["lr"], group["betas"], group["eps"]
    state = {name: optimizer.state[parameter] for name, parameter in D.named_parameters()}
    theta = {name: parameter.detach().requires_grad_() for name, parameter in D.named_parameters()}
    m = {name: s["exp_avg"] for name, s in state.items()}
    v = {name: s["exp_avg_sq"] for name, s in state.items()}
    t = float(next(iter(state.values()))["step"])
    for _ in range(steps):
        t += 1
        gradients = torch.autograd.grad(loss(theta), list(theta.values()), create_graph=True)
        for (name, value), gradient in zip(list(theta.items()), gradients, strict=True):
            m[name] = beta1 * m[name] + (1 - beta1) * gradient
            v[name] = beta2 * v[name] + (1 - beta2) * gradient.square()
            root = (v[name] / (1 - beta2**t) + eps**2).sqrt()
            theta[name] = value - rate * m[name] / (1 - beta1**t) / root
    return theta
