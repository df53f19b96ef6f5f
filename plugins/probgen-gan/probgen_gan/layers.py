"""Layers of one network, or of several networks that are trained together. A single member has the layers of one network."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

DIMENSIONS = 5  # of each kernel of minibatch discrimination


def beside(x: Tensor, c: Tensor | None) -> Tensor:
    """Concatenate vectors and their conditions.

    Args:
        x: Vectors, (..., n).
        c: Conditions, (..., context), or None.

    Returns:
        The concatenation, (..., n + context), or x if c is None.
    """
    return x if c is None else torch.cat([x, c], -1)


def linear(members: int, n: int, out: int) -> nn.Module:
    """Build a linear layer for each member: (*member, row, n) -> (*member, row, out).

    Args:
        members: Number of members.
        n: Number of inputs.
        out: Number of outputs.

    Returns:
        `torch.nn.Linear` for one member, `Linears` for several.
    """
    return nn.Linear(n, out) if members == 1 else Linears(members, n, out)


class Linears(nn.Module):
    """Linear layers of several members, as batched matrix products: weights (member, out, n), biases (member, out).

    Args:
        members: Number of members.
        n: Number of inputs.
        out: Number of outputs.
    """

    def __init__(self, members: int, n: int, out: int):
        super().__init__()
        layers = [nn.Linear(n, out) for _ in range(members)]
        self.weight = nn.Parameter(torch.stack([layer.weight.detach() for layer in layers]))
        self.bias = nn.Parameter(torch.stack([layer.bias.detach() for layer in layers]))

    def forward(self, x: Tensor) -> Tensor:
        """Compute W x + b.

        Args:
            x: Inputs, (member, row, n).

        Returns:
            Outputs, (member, row, out).
        """
        return torch.baddbmm(self.bias[:, None], x, self.weight.mT)


class MinibatchDiscrimination(nn.Module):
    """A layer that adds the similarity of a row's features to its batch (Salimans et al. 2016, section 3.2).

        M_i = f_i T,    o_ib = sum_j exp(-|M_ib - M_jb|_1)

    (..., row, n) -> (..., row, n + kernels): o is concatenated to the features. In evaluation mode, each row is a
    batch of its own.

    Args:
        members: Number of members.
        n: Number of features.
        kernels: Number of kernels.
    """

    def __init__(self, members: int, n: int, kernels: int):
        super().__init__()
        self.kernels = kernels
        T = torch.randn(members, n, kernels * DIMENSIONS) / math.sqrt(n)
        self.T = nn.Parameter(T if members > 1 else T[0])

    def forward(self, f: Tensor) -> Tensor:
        """Concatenate the features and o.

        Args:
            f: Features, (..., row, n).

        Returns:
            Features and o, (..., row, n + kernels).
        """
        if not self.training:
            return torch.cat([f, f.new_ones(*f.shape[:-1], self.kernels)], -1)
        M = (f @ self.T).unflatten(-1, (self.kernels, DIMENSIONS))
        distance = (M.unsqueeze(-3) - M.unsqueeze(-4)).abs().sum(-1)
        return torch.cat([f, (-distance).exp().sum(-2)], -1)
