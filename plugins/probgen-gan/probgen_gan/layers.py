"""Layers of one network, or of several that are trained at once. What one member has is what a network by itself has."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

DIMENSIONS = 5  # of each kernel of minibatch discrimination


def beside(x: Tensor, c: Tensor | None) -> Tensor:
    """Vectors with their conditions: (..., n), (..., context) -> (..., n + context)."""
    return x if c is None else torch.cat([x, c], -1)


def linear(members: int, n: int, out: int) -> nn.Module:
    """Torch's own of one member, else a layer of each: (*member, row, n) -> (*member, row, out)."""
    return nn.Linear(n, out) if members == 1 else Linears(members, n, out)


class Linears(nn.Module):
    """Linear layers side by side, as batched matrix products: weights (member, out, n), biases (member, out)."""

    def __init__(self, members: int, n: int, out: int):
        super().__init__()
        layers = [nn.Linear(n, out) for _ in range(members)]
        self.weight = nn.Parameter(torch.stack([layer.weight.detach() for layer in layers]))
        self.bias = nn.Parameter(torch.stack([layer.bias.detach() for layer in layers]))

    def forward(self, x: Tensor) -> Tensor:
        """W x + b."""
        return torch.baddbmm(self.bias[:, None], x, self.weight.mT)


class MinibatchDiscrimination(nn.Module):
    """How near a row's features are to those of the others of its batch (Salimans et al. 2016, section 3.2).

        M_i = f_i T,    o_ib = sum_j exp(-|M_ib - M_jb|_1)

    (..., row, n) -> (..., row, n + kernels): o stands beside the features. In evaluation a row is alone.
    """

    def __init__(self, members: int, n: int, kernels: int):
        super().__init__()
        self.kernels = kernels
        T = torch.randn(members, n, kernels * DIMENSIONS) / math.sqrt(n)
        self.T = nn.Parameter(T if members > 1 else T[0])

    def forward(self, f: Tensor) -> Tensor:
        """f beside o."""
        if not self.training:
            return torch.cat([f, f.new_ones(*f.shape[:-1], self.kernels)], -1)
        M = (f @ self.T).unflatten(-1, (self.kernels, DIMENSIONS))
        distance = (M.unsqueeze(-3) - M.unsqueeze(-4)).abs().sum(-1)
        return torch.cat([f, (-distance).exp().sum(-2)], -1)
