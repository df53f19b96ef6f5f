"""Networks for vectors and images, with an optional context vector as a second input.

All networks are called as `net(x, context)`, so that one can replace another.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU, "softplus": nn.Softplus, "silu": nn.SiLU}


class MLP(nn.Module):
    """A fully connected network: (row, ...), (row, context) -> (row, outputs); the last layer is linear.

    Args:
        inputs: Number of entries of x per row.
        hidden: Units of each hidden layer.
        outputs: Number of outputs.
        activation: Activation function: "tanh", "relu", "softplus" or "silu".
        context: Length of the context vector; 0 for no context.
    """

    def __init__(self, inputs: int, hidden: Sequence[int], outputs: int, activation: str, context: int = 0):
        super().__init__()
        widths = (inputs + context, *hidden)
        layers: list[nn.Module] = []
        for n, units in zip(widths, hidden, strict=False):
            layers += [nn.Linear(n, units), ACTIVATIONS[activation]()]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], outputs))

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the weights."""
        dtype = self.layers[-1].weight.dtype
        assert isinstance(dtype, torch.dtype)
        return dtype

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the outputs, (row, outputs), for inputs (row, ...) and contexts (row, context)."""
        return self.layers(_beside(x.flatten(1), context))


class Halving(nn.Module):
    """Convolutions with stride 2, each of which halves an image, and a last linear layer.

    It maps (row, channel, height, width) and (row, context) to (row, outputs).

    Args:
        image: Channels, height and width of the images.
        channels: Output channels of each convolution.
        outputs: Number of outputs.
        activation: Activation function: "tanh", "relu", "softplus" or "silu".
        context: Length of the context vector; 0 for no context.
    """

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
        """The dtype of the weights."""
        return self.last.weight.dtype

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the outputs, (row, outputs), for images (row, channel, height, width) and contexts (row, context)."""
        return self.last(_beside(self.layers(x).flatten(1), context))


class Doubling(nn.Module):
    """The mirror image of `Halving`: a linear layer, then transposed convolutions, each of which doubles an image.

    It maps (row, inputs) and (row, context) to (row, channel, height, width). The last layer is linear.

    Args:
        inputs: Length of the input vector.
        channels: Input channels of each transposed convolution.
        image: Channels, height and width of the images.
        activation: Activation function: "tanh", "relu", "softplus" or "silu".
        context: Length of the context vector; 0 for no context.

    Attributes:
        sides: Height and width of the maps, from the smallest.
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
        """Return images, (row, channel, height, width), for inputs (row, inputs) and contexts (row, context)."""
        y: Tensor = self.layers(self.start(x, context))
        return y

    def start(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the smallest maps, (row, channel, height, width), for inputs (row, inputs) and contexts (row, context)."""
        y: Tensor = self.first(_beside(x, context)).unflatten(1, self.small)
        return y

    def grow(self, i: int, maps: Tensor) -> Tensor:
        """Return the maps after the i-th maps; after the last maps, return the images."""
        y: Tensor = self.layers[2 * i : 2 * i + 2](maps)
        return y


def _beside(x: Tensor, context: Tensor | None) -> Tensor:
    return x if context is None else torch.cat([x, context], 1)
