"""Convolutions between images and maps of vectors, with residual blocks (van den Oord et al. 2017, section 4.1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Residual(nn.Module):
    """A residual block with relu, 3 x 3, relu, 1 x 1: (row, channels, height, width) -> (row, channels, height, width)."""

    def __init__(self, channels: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 1),
        )

    def forward(self, h: Tensor) -> Tensor:
        """Compute the sum of the input and the layers' output."""
        return h + self.layers(h)


def encoder(inputs: int, channels: int, halvings: int, blocks: int) -> nn.Sequential:
    """Build an encoder that halves images `halvings` times: (row, inputs, height, width) -> (row, channels, smaller, smaller)."""
    layers: list[nn.Module] = []
    for i in range(halvings):
        layers += [nn.Conv2d(inputs if i == 0 else channels, channels, 4, stride=2, padding=1), nn.ReLU()]
    layers.append(nn.Conv2d(channels, channels, 3, padding=1))
    return nn.Sequential(*layers, *(Residual(channels) for _ in range(blocks)), nn.ReLU())


def decoder(inputs: int, channels: int, halvings: int, blocks: int, outputs: int) -> nn.Sequential:
    """Build a decoder that mirrors `encoder`: (row, inputs, smaller, smaller) -> (row, outputs, height, width)."""
    layers: list[nn.Module] = [nn.Conv2d(inputs, channels, 3, padding=1)]
    layers += [*(Residual(channels) for _ in range(blocks)), nn.ReLU()]
    for _ in range(halvings):
        layers += [nn.ConvTranspose2d(channels, channels, 4, stride=2, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(channels, outputs, 1))


def seen_from_all_sides(inputs: int, outputs: int, blocks: int = 2) -> nn.Sequential:
    """Build layers that keep the sides of a map. Each output depends on `blocks` + 1 places in each direction."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1), *(Residual(outputs) for _ in range(blocks)), nn.ReLU()
    )


def larger(h: Tensor, sides: tuple[int, int]) -> Tensor:
    """Repeat each place of a map: (row, channels, height, width) -> (row, channels, *sides)."""
    height, width = h.shape[2:]
    return h.repeat_interleave(sides[0] // height, 2).repeat_interleave(sides[1] // width, 3)


def upwards(inputs: int, outputs: int) -> nn.Module:
    """Build a layer that doubles the sides of a map: (row, inputs, height, width) -> (row, outputs, 2 height, 2 width)."""
    return nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1)


def vectors(z: Tensor) -> Tensor:
    """Return the vectors of a map: (row, number, height, width) -> (row * height * width, number)."""
    return z.movedim(1, 3).flatten(0, 2)


def as_map(q: Tensor) -> Tensor:
    """Return vectors as a map: (row, height, width, number) -> (row, number, height, width)."""
    return q.movedim(3, 1)


def planes(c: Tensor, height: int, width: int) -> Tensor:
    """Return a vector as constant planes: (row, n) -> (row, n, height, width)."""
    return c[:, :, None, None].expand(-1, -1, height, width)


def beside(*maps: Tensor | None) -> Tensor:
    """Concatenate the channels of maps of equal size. None is left out."""
    return torch.cat([m for m in maps if m is not None], 1)
