"""Penalties on the gradient of the discriminator, each of one value for each pack of rows.

Rows are (*member, row, *form), vectors or images; what the discriminator says of them is (*member, pack), and a pack is as
many rows as it sees together.
"""

from __future__ import annotations

import torch
from torch import Tensor


def squared_slope(out: Tensor, rows: Tensor) -> Tensor:
    """|grad D|^2, differentiable in the weights of D: (*member, pack) (Mescheder et al. 2018, eq. 9)."""
    (gradient,) = torch.autograd.grad(out.sum(), rows, create_graph=True)
    return gradient.reshape(*out.shape, -1).square().sum(-1)


def from_one(out: Tensor, rows: Tensor) -> Tensor:
    """(|grad D| - 1)^2: (*member, pack) (Gulrajani et al. 2017, eq. 3)."""
    return ((squared_slope(out, rows) + 1e-16).sqrt() - 1).square()  # the root of 0 has no gradient


def between(x: Tensor, y: Tensor, e: Tensor) -> Tensor:
    """Points between rows x and y, of e (*member, pack), the same for the rows of a pack."""
    e = e.repeat_interleave(x.shape[e.ndim - 1] // e.shape[-1], -1)
    e = e.reshape(*e.shape, *[1] * (x.ndim - e.ndim))
    return e * x + (1 - e) * y
