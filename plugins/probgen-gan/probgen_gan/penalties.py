"""Penalties on the gradient of the discriminator, with one value for each pack of rows.

Rows have the shape (*member, row, *form), for vectors and images. The outputs of the discriminator have the shape
(*member, pack). A pack contains the rows that the discriminator sees together.
"""

from __future__ import annotations

import torch
from torch import Tensor


def squared_slope(out: Tensor, rows: Tensor) -> Tensor:
    """Compute |grad D|^2, differentiable in the weights of D (Mescheder et al. 2018, eq. 9).

    Args:
        out: Outputs of D for `rows`, (*member, pack).
        rows: Rows that require gradients, (*member, row, *form).

    Returns:
        The squared norm for each pack, (*member, pack).
    """
    (gradient,) = torch.autograd.grad(out.sum(), rows, create_graph=True)
    return gradient.reshape(*out.shape, -1).square().sum(-1)


def from_one(out: Tensor, rows: Tensor) -> Tensor:
    """Compute (|grad D| - 1)^2, differentiable in the weights of D (Gulrajani et al. 2017, eq. 3).

    Args:
        out: Outputs of D for `rows`, (*member, pack).
        rows: Rows that require gradients, (*member, row, *form).

    Returns:
        The penalty for each pack, (*member, pack).
    """
    return ((squared_slope(out, rows) + 1e-16).sqrt() - 1).square()  # the square root has no gradient at 0


def between(x: Tensor, y: Tensor, e: Tensor) -> Tensor:
    """Compute the points e x + (1 - e) y between two sets of rows.

    Args:
        x: Rows, (*member, row, *form).
        y: Rows of the same shape.
        e: Share of x for each pack, (*member, pack). The rows of a pack have the same share.

    Returns:
        The points, (*member, row, *form).
    """
    e = e.repeat_interleave(x.shape[e.ndim - 1] // e.shape[-1], -1)
    e = e.reshape(*e.shape, *[1] * (x.ndim - e.ndim))
    return e * x + (1 - e) * y
