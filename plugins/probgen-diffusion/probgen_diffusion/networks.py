"""Networks of a diffusion: residual blocks that receive gamma and the conditions, as an MLP or as a small U-Net.

They return v, and eps_hat = sigma z + alpha v (Salimans & Ho 2022). A network that returns 0 is exact for standard normal data.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WAVES = 32  # numbers that encode gamma
GROUPS = 8  # most groups of a group normalization
L = TypeVar("L", bound=nn.Linear | nn.Conv2d)


class Signal(nn.Module):
    """The vector that all blocks receive, from gamma and from the conditions (row, context).

    Dropped conditions are zeros, and a flag tells whether conditions are there.

    Args:
        context: Numbers of the conditions; 0 for none.
        width: Size of the vector.
    """

    def __init__(self, context: int, width: int):
        super().__init__()
        self.first, self.last = nn.Linear(2 * WAVES, width), nn.Linear(width, width)
        self.of_conditions = nn.Linear(context + 1, width, bias=False) if context else None

    def forward(self, share: Tensor, c: Tensor | None, kept: Tensor) -> Tensor:
        """Return the vector.

        Args:
            share: gamma as numbers from 0 to 1, (row,).
            c: Conditions, (row, context), or None.
            kept: 1 for rows with conditions and 0 for rows without, (row,).

        Returns:
            The vector, (row, width).
        """
        rates = torch.logspace(0, 2, WAVES, dtype=share.dtype, device=share.device)
        phase = share[:, None] * rates
        h = self.last(F.silu(self.first(torch.cat([phase.sin(), phase.cos()], 1))))
        if self.of_conditions is not None and c is not None:
            h = h + self.of_conditions(torch.cat([c, torch.ones_like(c[:, :1])], 1) * kept[:, None])
        return F.silu(h)


class Block(nn.Module):
    """A residual block: norm, layer, norm scaled and shifted by the signal, layer. The last layer starts at 0.

    Args:
        inputs: Channels before the block.
        outputs: Channels after the block.
        signal: Size of the signal.
        dropout: Share of the features dropped in training.
        convolution: Whether layers are 3 x 3 convolutions; otherwise they are linear.
    """

    def __init__(self, inputs: int, outputs: int, signal: int, dropout: float, convolution: bool):
        super().__init__()
        self.norm1, self.norm2 = _norm(inputs), _norm(outputs)
        self.layer1, self.layer2 = (_layer(n, outputs, convolution) for n in (inputs, outputs))
        self.skip = _layer(inputs, outputs, convolution, 1) if inputs != outputs else nn.Identity()
        self.modulation = nn.Linear(signal, 2 * outputs)
        self.dropout = nn.Dropout(dropout)
        zeroed(self.layer2)

    def forward(self, x: Tensor, signal: Tensor) -> Tensor:
        """Return features (row, outputs, ...) of features (row, inputs, ...)."""
        h = self.layer1(F.silu(self.norm1(x)))
        scale, shift = self.modulation(signal).reshape(len(x), -1, *[1] * (x.ndim - 2)).chunk(2, 1)
        h = torch.addcmul(shift, self.norm2(h), 1 + scale)
        h = self.layer2(self.dropout(F.silu(h)))
        skipped: Tensor = self.skip(x)
        return skipped + h


class Attention(nn.Module):
    """Self-attention of all places of a map, with one head. It starts as the identity."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = _norm(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1, bias=False)
        self.last = zeroed(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return the map (row, channels, height, width) with attended features added."""
        q, k, v = self.qkv(self.norm(x)).flatten(2).mT.chunk(3, 2)
        seen: Tensor = self.last(F.scaled_dot_product_attention(q, k, v).mT.reshape(x.shape))
        return x + seen


class MLP(nn.Module):
    """A residual MLP for vectors.

    Args:
        features: Features of each number of z.
        size: Number of numbers.
        hidden: Units of each group of blocks.
        blocks: Blocks of each group.
        context: Numbers of the conditions.
        dropout: Share of the features dropped in training.
    """

    def __init__(
        self, features: int, size: int, hidden: Sequence[int], blocks: int, context: int, dropout: float
    ):
        super().__init__()
        self.signal = Signal(context, hidden[0])
        self.first = nn.Linear(features * size, hidden[0])
        before = [hidden[0], *(units for units in hidden for _ in range(blocks))]
        self.blocks = nn.ModuleList(Block(a, b, hidden[0], dropout, False) for a, b in pairwise(before))
        self.norm, self.last = _norm(hidden[-1]), zeroed(nn.Linear(hidden[-1], size))

    def forward(self, z: Tensor, share: Tensor, c: Tensor | None, kept: Tensor) -> Tensor:
        """Return v (row, size) of features of z (row, size, features)."""
        signal, h = self.signal(share, c, kept), self.first(z.flatten(1))
        for block in self.blocks:
            h = block(h, signal)
        v: Tensor = self.last(F.silu(self.norm(h)))
        return v


class UNet(nn.Module):
    """A small U-Net for images (Ho, Jain & Abbeel 2020), with attention at the coarsest resolution.

    Args:
        planes: Channels of the input: features of z, and given images.
        channels: Channels of v.
        hidden: Channels at each resolution, from the finest. Each resolution halves the last.
        blocks: Blocks at each resolution, on either side.
        context: Numbers of the conditions.
        dropout: Share of the features dropped in training.
    """

    def __init__(
        self,
        planes: int,
        channels: int,
        hidden: Sequence[int],
        blocks: int,
        context: int,
        dropout: float,
    ):
        super().__init__()
        width = 2 * hidden[0]
        self.signal = Signal(context, width)
        self.first = nn.Conv2d(planes, hidden[0], 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        before, skips = hidden[0], [hidden[0]]
        for i, n in enumerate(hidden):
            for _ in range(blocks):
                self.down.append(Block(before, n, width, dropout, True))
                before = n
                skips.append(n)
            if i + 1 < len(hidden):
                self.down.append(nn.Conv2d(n, n, 3, stride=2, padding=1))
                skips.append(n)
        self.middle = nn.ModuleList(Block(before, before, width, dropout, True) for _ in range(2))
        self.attention = Attention(before)
        for i, n in reversed(list(enumerate(hidden))):
            for _ in range(blocks + 1):
                self.up.append(Block(before + skips.pop(), n, width, dropout, True))
                before = n
            if i:
                self.up.append(nn.Conv2d(n, n, 3, padding=1))
        self.norm, self.last = _norm(before), zeroed(nn.Conv2d(before, channels, 3, padding=1))

    def forward(self, z: Tensor, share: Tensor, c: Tensor | None, kept: Tensor) -> Tensor:
        """Return v (row, channels, height, width) of z and given images (row, planes, height, width)."""
        signal, h = self.signal(share, c, kept), self.first(z)
        skips = [h]
        for layer in self.down:
            h = layer(h, signal) if isinstance(layer, Block) else layer(h)
            skips.append(h)
        h = self.middle[1](self.attention(self.middle[0](h, signal)), signal)
        for layer in self.up:
            if isinstance(layer, Block):
                h = layer(torch.cat([h, skips.pop()], 1), signal)
            else:
                h = layer(F.interpolate(h, scale_factor=2.0))
        v: Tensor = self.last(F.silu(self.norm(h)))
        return v


def zeroed(layer: L) -> L:
    """Set the weights of a layer to 0, and return the layer."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(GROUPS, math.gcd(max(1, channels // 4), channels)), channels)


def _layer(inputs: int, outputs: int, convolution: bool, side: int = 3) -> nn.Linear | nn.Conv2d:
    if convolution:
        return nn.Conv2d(inputs, outputs, side, padding=side // 2)
    return nn.Linear(inputs, outputs)
