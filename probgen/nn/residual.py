"""A residual network over maps of any size, without normalization, so that it sees no farther than its reach (EDSR: Lim et al. 2017)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

SMALL = 0.1  # of the last weights of a block and of the network at first, so that it begins near what it is added to


class Block(nn.Module):
    """x + f(x), two convolutions of 3 x 3."""

    def __init__(self, width: int):
        super().__init__()
        self.first, self.second = conv(width, width), conv(width, width, SMALL)

    def forward(self, x: Tensor) -> Tensor:
        """(row, width, height, width) -> the same."""
        y: Tensor = x + self.second(self.first(x).relu())
        return y


class Residual(nn.Module):
    """Maps to features of the same height and width: (row, inputs, h, w) -> (row, width, h, w).

    reach  how many pixels away from one it still sees
    """

    def __init__(self, inputs: int, width: int, blocks: int):
        super().__init__()
        self.head = conv(inputs, width)
        self.body = nn.Sequential(*(Block(width) for _ in range(blocks)), conv(width, width))
        self.reach = 2 * blocks + 2

    def forward(self, x: Tensor, shift: Tensor | None = None) -> Tensor:
        """shift: what is added to the first features, (row, width, 1, 1)."""
        h = self.head(x)
        h = h if shift is None else h + shift
        y: Tensor = h + self.body(h)
        return y


def conv(inputs: int, outputs: int, scale: float = 1.0) -> nn.Conv2d:
    """A convolution of 3 x 3 that keeps height and width; its weights times `scale` at first, its bias 0."""
    layer = nn.Conv2d(inputs, outputs, 3, padding=1)
    with torch.no_grad():
        layer.weight.mul_(scale)
        if layer.bias is not None:
            layer.bias.zero_()
    return layer
