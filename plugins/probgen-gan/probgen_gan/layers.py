"""Layers that hold one set of weights for each member, so that several networks are trained at once."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

DIMENSIONS = 5  # of each kernel of minibatch discrimination


class Linear(nn.Module):
    """A linear layer of each member, weights (member, n, out): (member, row, n) -> (member, row, out)."""

    def __init__(self, members: int, n: int, out: int):
        super().__init__()
        layers = [nn.Linear(n, out) for _ in range(members)]
        self.weight = nn.Parameter(torch.stack([layer.weight.detach().T for layer in layers]))
        self.bias = nn.Parameter(torch.stack([layer.bias.detach() for layer in layers]))

    def forward(self, x: Tensor) -> Tensor:
        """x W + b."""
        return torch.baddbmm(self.bias[:, None], x, self.weight)


class MinibatchDiscrimination(nn.Module):
    """How near a row's features are to those of the others of its batch (Salimans et al. 2016, section 3.2).

        M_i = f_i T,    o_ib = sum_j exp(-|M_ib - M_jb|_1)

    (member, row, n) -> (member, row, n + kernels): o stands beside the features. In evaluation a row is alone.
    """

    def __init__(self, members: int, n: int, kernels: int):
        super().__init__()
        self.kernels = kernels
        self.T = nn.Parameter(torch.randn(members, n, kernels * DIMENSIONS) / math.sqrt(n))

    def forward(self, f: Tensor) -> Tensor:
        """f beside o."""
        if not self.training:
            return torch.cat([f, f.new_ones(*f.shape[:2], self.kernels)], 2)
        M = (f @ self.T).unflatten(2, (self.kernels, DIMENSIONS))
        distance = (M[:, :, None] - M[:, None]).abs().sum(4)
        return torch.cat([f, (-distance).exp().sum(2)], 2)
