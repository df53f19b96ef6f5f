"""The variational bound of a diffusion in its three terms (Kingma et al. 2021, sections 3.5, 4 and 5).

    -log p(x) <= KL(q(z_1 | x) || p(z_1)) - E_q[log p(x | z_0)] + diffusion loss
    diffusion loss = E[1/2 gamma'(t) |eps - eps_hat(z_t; t)|^2]                                     continuous time
                   = E[T/2 (exp(gamma(t) - gamma(s)) - 1) |eps - eps_hat(z_t; t)|^2], s = t - 1/T    T steps

Functions take any eps_hat: a network, or the exact one of a known density.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from probgen_diffusion.schedule import Schedule, noised

Epsilon = Callable[[Tensor, Tensor], Tensor]  # eps_hat(z, gamma): (row, *event), (row,) -> (row, *event)


def prior_loss(y: Tensor, gamma_1: float) -> Tensor:
    """Return KL(q(z_1 | y) || Normal(0, 1)) of each row: (row,), in nats."""
    sigma_2 = torch.sigmoid(torch.tensor(gamma_1, dtype=y.dtype, device=y.device))
    each = (1 - sigma_2) * y.square() + sigma_2 - 1 - sigma_2.log()
    return 0.5 * each.flatten(1).sum(1)


@dataclass(frozen=True)
class Drawn:
    """One sample of the diffusion loss of each row, weight |eps - eps_hat|^2, with its parts, (row,) each.

    Attributes:
        weight: gamma'(t) / 2, or its counterpart for T steps.
        square: |eps - eps_hat|^2.
        norm: |eps|^2, whose mean is the number of dimensions.
        size: Number of dimensions.
    """

    weight: Tensor
    square: Tensor
    norm: Tensor
    size: int

    def loss(self) -> Tensor:
        """Return the losses, in nats, with |eps|^2 as a control variate. Neighbors in dimension 0 have neighboring times.

        At little noise, almost all randomness of the loss is that of |eps|^2. Its coefficient is the squared share of the noise that
        eps_hat does not explain. The share comes from the next sample, whose noise is independent: the loss stays unbiased.
        """
        if len(self.square) == 1:
            return self.weight * self.square
        share = (self.square / self.norm).detach().clamp(max=1).roll(-1, 0)
        return self.weight * (self.square - share.square() * (self.norm - self.size))


def drawn(
    epsilon: Epsilon,
    schedule: Schedule,
    y: Tensor,
    t: Tensor,
    timesteps: int | None = None,
    watch: Callable[[Tensor], None] | None = None,
) -> Drawn:
    """Sample the diffusion loss of each row.

    Args:
        epsilon: The function eps_hat.
        schedule: The noise schedule.
        y: Data, (row, *event).
        t: Times from 0 to 1, (row,). With `timesteps`, each is rounded up to a multiple of 1/T.
        timesteps: Number T of steps; None for continuous time.
        watch: A function that receives numbers of the schedule; see `Schedule.forward`.

    Returns:
        The sample.
    """
    if timesteps is not None:
        t = torch.clamp((t * timesteps).ceil(), min=1) / timesteps
    gamma, slope = schedule(t, watch)
    if timesteps is not None:
        slope = timesteps * torch.expm1(gamma - schedule(t - 1 / timesteps)[0])
    noise = torch.randn_like(y)
    off = noise - epsilon(noised(y, gamma, noise), gamma)
    square, norm = (each.square().flatten(1).sum(1) for each in (off, noise))
    return Drawn(0.5 * slope, square, norm, y[0].numel())


def spread_times(n: int, like: Tensor) -> Tensor:
    """Return n random times that are even together: t_i = (u + i / n) mod 1 (VDM, appendix I.1): (n,)."""
    u = torch.rand((), dtype=like.dtype, device=like.device)
    return (u + torch.arange(n, dtype=like.dtype, device=like.device) / n) % 1


def mean_over_times(draw: Callable[[Tensor], Drawn], n: int, k: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean loss over all times, from one random time in each of k equal intervals.

    The standard error comes from pairs of neighboring intervals (Cochran 1977, section 5A.12). On average it is not too small.

    Args:
        draw: A function from times (row,) to samples of the loss.
        n: Number of rows.
        k: Number of intervals, which is even.
        like: A tensor with the dtype and device of the times.

    Returns:
        Mean and standard error of each row, (row,) each.
    """
    found = [draw((i + torch.rand(n, dtype=like.dtype, device=like.device)) / k) for i in range(k)]
    weight, square, norm = (
        torch.stack(part).double()
        for part in zip(*[(each.weight, each.square, each.norm) for each in found], strict=True)
    )
    each = Drawn(weight, square, norm, found[0].size).loss()
    return each.mean(0), (each[::2] - each[1::2]).square().sum(0).sqrt() / k
