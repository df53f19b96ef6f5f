"""Noise schedules: gamma(t), the negative logarithm of the signal-to-noise ratio (Kingma et al. 2021, section 3.2).

    q(z_t | x) = Normal(alpha_t x, sigma_t^2),    alpha_t^2 = sigmoid(-gamma(t)),    sigma_t^2 = sigmoid(gamma(t))

t goes from 0 (almost no noise) to 1 (almost only noise), and gamma increases with t.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

UNITS = 32  # of the learned schedule
SMALL = -4.0  # initial weights of the learned schedule, before the softplus: nearly linear


def alpha_sigma(gamma: Tensor) -> tuple[Tensor, Tensor]:
    """Return the factors of signal and noise, alpha and sigma, in the shape of gamma."""
    return torch.sigmoid(-gamma).sqrt(), torch.sigmoid(gamma).sqrt()


def noised(y: Tensor, gamma: Tensor, epsilon: Tensor) -> Tensor:
    """Return z = alpha y + sigma epsilon, in the shape of y.

    Args:
        y: Data, (row, *event).
        gamma: Negative log signal-to-noise ratios, (row,) or ().
        epsilon: Standard normal noise, (row, *event).

    Returns:
        A sample of q(z | y).
    """
    alpha, sigma = alpha_sigma(along(gamma, y))
    return alpha * y + sigma * epsilon


def along(numbers: Tensor, y: Tensor) -> Tensor:
    """Return numbers (row,) with dimensions of size 1 for the event of y (row, *event)."""
    return numbers.reshape(*numbers.shape, *[1] * (y.ndim - 1)) if numbers.ndim else numbers


class Schedule(nn.Module):
    """A schedule gamma(t) = gamma_0 + (gamma_1 - gamma_0) u(t), with u from 0 to 1. This class is linear: u(t) = t.

    Args:
        gamma_0: gamma at t = 0.
        gamma_1: gamma at t = 1.
    """

    def __init__(self, gamma_0: float, gamma_1: float):
        super().__init__()
        self.gamma_0, self.gamma_1 = gamma_0, gamma_1

    def u(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return u and its derivative at times t, (row,) each."""
        return t, torch.ones_like(t)

    def forward(self, t: Tensor, watch: Callable[[Tensor], None] | None = None) -> tuple[Tensor, Tensor]:
        """Return gamma and its derivative at times t.

        Args:
            t: Times from 0 to 1, (row,).
            watch: A function that receives u and its derivative, for example to change their gradients.

        Returns:
            gamma(t) and gamma'(t), (row,) each.
        """
        u, slope = self.u(t)
        if watch is not None:
            watch(u)
            watch(slope)
        span = self.gamma_1 - self.gamma_0
        return self.gamma_0 + span * u, span * slope

    def times(self, steps: int, like: Tensor) -> Tensor:
        """Return gamma at even times from 1 to 0: (steps + 1,), in the dtype and on the device of `like`."""
        gamma: Tensor = self(torch.linspace(1, 0, steps + 1, dtype=like.dtype, device=like.device))[0]
        return gamma


class Cosine(Schedule):
    """The cosine schedule (Nichol & Dhariwal 2021): the angle of (alpha, sigma) = (cos phi, sin phi) is linear in t."""

    def u(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return u and its derivative at times t, (row,) each."""
        first, last = (math.atan(math.exp(gamma / 2)) for gamma in (self.gamma_0, self.gamma_1))
        phi, span = first + (last - first) * t, self.gamma_1 - self.gamma_0
        u = (2 * torch.tan(phi).log() - self.gamma_0) / span
        return u, 4 * (last - first) / torch.sin(2 * phi) / span


class Learned(Schedule):
    """A learned schedule: u is a monotone network of one hidden layer (Kingma et al. 2021, appendix H).

    u(t) is proportional to t + sum_k a_k (sigmoid(w_k t + b_k) - sigmoid(b_k)), with positive a and w.
    """

    def __init__(self, gamma_0: float, gamma_1: float):
        super().__init__(gamma_0, gamma_1)
        self.a = nn.Parameter(torch.full((UNITS,), SMALL))
        self.w = nn.Parameter(torch.linspace(4, 12, UNITS))
        self.b = nn.Parameter(-self.w.detach() * (torch.arange(UNITS) * 7 % UNITS + 0.5) / UNITS)

    def u(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return u and its derivative at times t, (row,) each."""
        a, w = softplus(self.a), softplus(self.w)
        at = torch.sigmoid(w * t[:, None] + self.b)
        first, last = torch.sigmoid(self.b), torch.sigmoid(w + self.b)
        whole = 1 + (a * (last - first)).sum()
        return (t + (a * (at - first)).sum(1)) / whole, (1 + (a * w * at * (1 - at)).sum(1)) / whole


SCHEDULES: dict[str, type[Schedule]] = {"linear": Schedule, "cosine": Cosine, "learned": Learned}
