"""Networks from vectors to vectors and images, each with a context beside its input.

They share one signature, `net(x, context)`, so that one stands in for another.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU, "softplus": nn.Softplus, "silu": nn.SiLU}


class MLP(nn.Module):
    """Layers of `hidden` units: (row, ...), (row, context) -> (row, outputs)."""

    def __init__(self, inputs: int, hidden: Sequence[int], outputs: int, activation: str, context: int = 0):
        super().__init__()
        widths = (inputs + context, *hidden)
        layers: list[nn.Module] = []
        for n, units in zip(widths, hidden, strict=False):
            layers += [nn.Linear(n, units), ACTIVATIONS[activation]()]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], outputs))

    @property
    def dtype(self) -> torch.dtype:
        """Of its weights."""
        dtype = self.layers[-1].weight.dtype
        assert isinstance(dtype, torch.dtype)
        return dtype

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The last layer is linear."""
        return self.layers(_beside(x.flatten(1), context))


class Halving(nn.Module):
    """Convolutions of stride 2, each of which halves an image: (row, channel, height, width) -> (row, outputs)."""

    def __init__(
        self,
        image: tuple[int, int, int],
        channels: Sequence[int],
        outputs: int,
        activation: str,
        context: int = 0,
    ):
        super().__init__()
        depth, height, width = image
        layers: list[nn.Module] = []
        for n, out in zip((depth, *channels), channels, strict=False):
            layers += [nn.Conv2d(n, out, 4, stride=2, padding=1), ACTIVATIONS[activation]()]
        self.layers = nn.Sequential(*layers)
        scale = 2 ** len(channels)
        self.last = nn.Linear(channels[-1] * (height // scale) * (width // scale) + context, outputs)

    @property
    def dtype(self) -> torch.dtype:
        """Of its weights."""
        return self.last.weight.dtype

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The last layer is linear."""
        return self.last(_beside(self.layers(x).flatten(1), context))


class Doubling(nn.Module):
    """Its mirror: (row, inputs), (row, context) -> (row, channel, height, width).

    sides  height and width of its maps, from the smallest
    """

    def __init__(
        self,
        inputs: int,
        channels: Sequence[int],
        image: tuple[int, int, int],
        activation: str,
        context: int = 0,
    ):
        super().__init__()
        depth, height, width = image
        scale = 2 ** len(channels)
        self.small = (channels[0], height // scale, width // scale)
        self.sides = [(height // 2**i, width // 2**i) for i in range(len(channels), 0, -1)]
        self.first = nn.Linear(inputs + context, self.small[0] * self.small[1] * self.small[2])
        layers: list[nn.Module] = []
        for n, out in zip(channels, (*channels[1:], depth), strict=True):
            layers += [ACTIVATIONS[activation](), nn.ConvTranspose2d(n, out, 4, stride=2, padding=1)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The last layer is linear."""
        y: Tensor = self.layers(self.start(x, context))
        return y

    def start(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The smallest maps."""
        y: Tensor = self.first(_beside(x, context)).unflatten(1, self.small)
        return y

    def grow(self, i: int, maps: Tensor) -> Tensor:
        """The next maps of the i-th, or the image of the last ones."""
        y: Tensor = self.layers[2 * i : 2 * i + 2](maps)
        return y


def _beside(x: Tensor, context: Tensor | None) -> Tensor:
    return x if context is None else torch.cat([x, context], 1)
