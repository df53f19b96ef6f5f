"""Dequantization: noise u in [0, 1) that makes whole numbers x real, v = x + u (Ho et al. 2019, section 3.1).

P(x) = E_{u ~ q(u | x)}[p(x + u) / q(u | x)]        >= exp E[log p(x + u) - log q(u | x)]
uniform        q(u | x) = 1                                                    Theis, van den Oord & Bethge 2016
variational    u = sigmoid(f(e; x)),  e ~ Normal(0, 1),  f a flow              Ho et al. 2019, eq. 12
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

NOISE_VARIANCE = 1 / 12  # of u that is uniform in [0, 1)
LEAST = 1e-6  # of u and of 1 - u, so that x + u is not rounded to another whole number


class Uniform(nn.Module):
    """Noise that is uniform in [0, 1)."""

    def forward(self, y: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return samples u, in the shape of y, and log q(u | x) in nats, (row,).

        Args:
            y: Standardized x, (row, *event).
            c: Conditions, (row, context), or None.

        Returns:
            u (row, *event) and log q (row,).
        """
        return torch.rand_like(y), y.new_zeros(len(y))

    def center(self, y: Tensor, c: Tensor | None) -> Tensor:
        """Return the mean of u, (row, *event)."""
        return torch.full_like(y, 0.5)


class Variational(nn.Module):
    """Noise by a flow that sees x.

    Args:
        bijection: A bijection from e to the logits of u, given `conditions`.
        conditions: A function from standardized x and the conditions of x to the conditions of the bijection.
    """

    def __init__(self, bijection: nn.Module, conditions: Callable[[Tensor, Tensor | None], Tensor]):
        super().__init__()
        self.bijection, self.conditions = bijection, conditions

    def forward(self, y: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return samples u, in the shape of y, and log q(u | x) in nats, (row,).

        Args:
            y: Standardized x, (row, *event).
            c: Conditions, (row, context), or None.

        Returns:
            u (row, *event) and log q (row,).
        """
        e = torch.randn_like(y)
        logits, log_det = self.bijection(e, self.conditions(y, c))
        logits = logits.reshape(y.shape)
        of_sigmoid = logsigmoid(logits) + logsigmoid(-logits)
        log_q = log_normal(e) - log_det - of_sigmoid.flatten(1).sum(1)
        return logits.sigmoid().clamp(LEAST, 1 - LEAST), log_q

    def center(self, y: Tensor, c: Tensor | None) -> Tensor:
        """Return u at e = 0, (row, *event)."""
        logits, _ = self.bijection(torch.zeros_like(y), self.conditions(y, c))
        return logits.reshape(y.shape).sigmoid().clamp(LEAST, 1 - LEAST)


def log_normal(z: Tensor) -> Tensor:
    """Return the log-density of the standard normal distribution: (row, ...) -> (row,), in nats."""
    z = z.flatten(1)
    return -0.5 * (z.square().sum(1) + z.shape[1] * math.log(2 * math.pi))
