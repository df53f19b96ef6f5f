"""The likelihood of a diffusion by its probability-flow ODE (Song et al., ICLR 2021, section 4.3 and appendix D).

    dz = 1/4 sin(2 phi) v(z, gamma) dgamma,    v = (eps_hat - sigma z) / alpha,    tan(phi) = sigma / alpha = exp(gamma / 2)
    log p(z_0) = log Normal(z_1; 0, 1) + integral of 1/4 sin(2 phi) tr(dv/dz) dgamma

The first line is the flow dz = v dphi in the angle phi (Salimans & Ho 2022, appendix D). Even steps in gamma suit all scales of the data.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from probgen_diffusion.bound import Epsilon
from probgen_diffusion.schedule import along, alpha_sigma

EXACT = 16  # most dimensions of a trace without Hutchinson's estimator
ORDER = 15  # 2^4 - 1: the error of a Runge-Kutta solution, from that of half as many steps

Slope = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def ode_log_prob(
    epsilon: Epsilon, z: Tensor, gamma_0: float, gamma_1: float, steps: int, probe: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return log p(z_0) under the density that the probability-flow ODE makes of a standard normal.

    Args:
        epsilon: The function eps_hat, differentiable, where rows are independent.
        z: z_0, (row, *event).
        gamma_0: gamma of z_0.
        gamma_1: gamma of the normal noise.
        steps: Number of Runge-Kutta steps; even.
        probe: Random signs of Hutchinson's estimator, (row, *event); None for the exact trace.

    Returns:
        log p(z_0) and an estimate of the error by the steps, (row,) each, in nats.
    """

    def slope(z: Tensor, gamma: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            alpha, sigma = alpha_sigma(gamma)
            v = (epsilon(z, gamma.expand(len(z))) - sigma * z) / alpha
            trace = _trace(v, z) if probe is None else _probed(v, z, probe)
        speed = 0.5 * alpha * sigma  # 1/4 sin(2 phi)
        return speed * v.detach(), speed * trace

    fine = _solved(slope, z, gamma_0, gamma_1, steps)
    coarse = _solved(slope, z, gamma_0, gamma_1, steps // 2)
    return fine, (fine - coarse).abs() / ORDER


def _solved(slope: Slope, z: Tensor, gamma_0: float, gamma_1: float, steps: int) -> Tensor:
    """Return log p(z_0) by Runge-Kutta steps of order 4."""
    at = torch.linspace(gamma_0, gamma_1, 2 * steps + 1, dtype=z.dtype, device=z.device)
    h = (gamma_1 - gamma_0) / steps
    total = torch.zeros(len(z), dtype=torch.float64, device=z.device)
    for i in range(steps):
        first, middle, last = at[2 * i : 2 * i + 3]
        k1, d1 = slope(z, first)
        k2, d2 = slope(z + h / 2 * k1, middle)
        k3, d3 = slope(z + h / 2 * k2, middle)
        k4, d4 = slope(z + h * k3, last)
        z = z + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        total = total + h / 6 * (d1 + 2 * d2 + 2 * d3 + d4).double()
    normal = -0.5 * (z.double().square() + math.log(2 * math.pi)).flatten(1).sum(1)
    return normal + total


def _trace(v: Tensor, z: Tensor) -> Tensor:
    """Return tr(dv/dz) of each row: (row,)."""
    each: Iterable[Tensor] = v.flatten(1).unbind(1)
    rows = [
        torch.autograd.grad(v_i.sum(), z, retain_graph=True)[0].flatten(1)[:, i] for i, v_i in enumerate(each)
    ]
    return torch.stack(rows).sum(0)


def _probed(v: Tensor, z: Tensor, probe: Tensor) -> Tensor:
    """Return probe^T (dv/dz) probe, Hutchinson's estimate of the trace of each row: (row,)."""
    return (torch.autograd.grad(v, z, probe)[0] * probe).flatten(1).sum(1)


def signs(like: Tensor) -> Tensor:
    """Return random signs of the shape of a tensor."""
    return torch.randint_like(like, 2) * 2 - 1


def denoising_density(z_0: Tensor, y: Tensor, gamma_0: float) -> Tensor:
    """Return log q(z_0 | y) of each row: (row,), in nats."""
    alpha, sigma = alpha_sigma(torch.tensor(gamma_0, dtype=y.dtype, device=y.device))
    off = (z_0 - alpha * y) / along(sigma, y)
    return (-0.5 * off.square() - sigma.log() - 0.5 * math.log(2 * math.pi)).flatten(1).sum(1)
