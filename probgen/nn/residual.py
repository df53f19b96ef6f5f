"""A residual network for maps of any size (EDSR: Lim et al. 2017).

Without normalization, an output pixel depends only on input pixels within a fixed reach.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

# initial scale of the last weights of a block or a network, which thus starts close to the term that it is added to
SMALL = 0.1


class Block(nn.Module):
    """A residual block x + f(x) with two 3 x 3 convolutions."""

    def __init__(self, width: int):
        super().__init__()
        self.first, self.second = conv(width, width), conv(width, width, SMALL)

    def forward(self, x: Tensor) -> Tensor:
        """Return maps of the shape of x, (row, channel, height, width)."""
        y: Tensor = x + self.second(self.first(x).relu())
        return y


class Residual(nn.Module):
    """A residual network that keeps height and width: (row, inputs, h, w) -> (row, width, h, w).

    Args:
        inputs: Number of input channels.
        width: Number of output channels.
        blocks: Number of residual blocks.

    Attributes:
        reach: Largest distance, in pixels, between an output pixel and an input pixel on which it depends.
    """

    def __init__(self, inputs: int, width: int, blocks: int):
        super().__init__()
        self.head = conv(inputs, width)
        self.body = nn.Sequential(*(Block(width) for _ in range(blocks)), conv(width, width))
        self.reach = 2 * blocks + 2

    def forward(self, x: Tensor, shift: Tensor | None = None) -> Tensor:
        """Return the features of maps.

        Args:
            x: Maps, (row, inputs, h, w).
            shift: Term that is added to the first features, (row, width, 1, 1); None for no term.

        Returns:
            Features, (row, width, h, w).
        """
        h = self.head(x)
        h = h if shift is None else h + shift
        y: Tensor = h + self.body(h)
        return y


def conv(inputs: int, outputs: int, scale: float = 1.0) -> nn.Conv2d:
    """Return a 3 x 3 convolution that keeps height and width; its initial weights are scaled, its bias is 0."""
    layer = nn.Conv2d(inputs, outputs, 3, padding=1)
    with torch.no_grad():
        layer.weight.mul_(scale)
        if layer.bias is not None:
            layer.bias.zero_()
    return layer
