"""The multi-scale architecture of Glow (Dinh et al. 2017, section 3.6; Kingma & Dhariwal 2018, figure 2).

Each level halves the sides of the maps (2 x 2 pixels become four channels), takes several steps, and sets half of the
channels aside. These have the distribution Normal(mu(h), sigma(h)) given the other half h:

    h, y' = split(steps(squeeze(y))),    z_l = (y' - mu(h)) / sigma(h)

z joins z_l of all levels, so that z is standard normal and has as many numbers as y.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from probgen_flow.steps import Step


class Split(nn.Module):
    """Half of the channels, standardized by a mean and a scale that a convolution of the other half predicts.

    Args:
        channels: Number of channels, even.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.net = nn.Conv2d(channels // 2, channels, 3, padding=1)
        nn.init.zeros_(self.net.weight)
        assert self.net.bias is not None
        nn.init.zeros_(self.net.bias)

    def forward(self, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return h, the latents (row, number), and the log-determinants (row,)."""
        h, rest = y.chunk(2, 1)
        mu, log_sigma = self.net(h).chunk(2, 1)
        z = (rest - mu) * (-log_sigma).exp()
        return h, z.flatten(1), -log_sigma.flatten(1).sum(1)

    def inverse(self, h: Tensor, z: Tensor) -> Tensor:
        """Return y."""
        mu, log_sigma = self.net(h).chunk(2, 1)
        return torch.cat([h, mu + log_sigma.exp() * z.reshape(mu.shape)], 1)


class ImageBijection(nn.Module):
    """A bijection y -> z from images to vectors, with several levels.

    Args:
        shape: Channels, height and width of y. Height and width are multiples of 2^levels.
        context: Number of conditions.
        levels: Number of levels.
        steps: K, steps of each level.
        hidden: Channels of the networks.
    """

    def __init__(self, shape: tuple[int, int, int], context: int, levels: int, steps: int, hidden: int):
        super().__init__()
        self.shape = shape
        channels, height, width = shape
        self.levels: Any = nn.ModuleList()
        self.splits: Any = nn.ModuleList()
        self.sizes: list[int] = []  # numbers of z_l
        for level in range(levels):
            channels, height, width = 4 * channels, height // 2, width // 2
            self.levels.append(nn.ModuleList(Step(channels, context, hidden) for _ in range(steps)))
            if level + 1 < levels:
                self.splits.append(Split(channels))
                channels //= 2
            self.sizes.append(channels * height * width)
        self.last = channels, height, width

    def forward(self, y: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return z and log |det dz/dy|.

        Args:
            y: Images, (row, *event).
            c: Conditions, (row, context), or None.

        Returns:
            z (row, latent), and the log-determinants (row,).
        """
        y = y.reshape(-1, *self.shape)
        zs: list[Tensor] = []
        log_det = y.new_zeros(len(y))
        for level, steps in enumerate(self.levels):
            y = pixel_unshuffle(y, 2)
            at = planes(c, y)
            for step in steps:
                y, more = step(y, at)
                log_det = log_det + more
            if level < len(self.splits):
                y, z, more = self.splits[level](y)
                zs, log_det = [*zs, z], log_det + more
        return torch.cat([*zs, y.flatten(1)], 1), log_det

    def inverse(self, z: Tensor, c: Tensor | None) -> Tensor:
        """Return y.

        Args:
            z: Latents, (row, latent).
            c: Conditions, (row, context), or None.

        Returns:
            y, (row, channel, height, width).
        """
        zs = z.split(self.sizes, 1)
        y = zs[-1].reshape(-1, *self.last)
        for level in reversed(range(len(self.levels))):
            if level < len(self.splits):
                y = self.splits[level].inverse(y, zs[level])
            at = planes(c, y)
            for step in reversed(self.levels[level]):
                y = step.inverse(y, at)
            y = pixel_shuffle(y, 2)
        return y


class SqueezedSteps(nn.Module):
    """Steps on squeezed images, for a bijection of images of the same shape, given maps.

    Args:
        shape: Channels, height and width, where height and width are even.
        context: Channels of the maps.
        steps: Number of steps.
        hidden: Channels of the networks.
    """

    def __init__(self, shape: tuple[int, int, int], context: int, steps: int, hidden: int):
        super().__init__()
        self.shape = shape
        self.steps = nn.ModuleList(Step(4 * shape[0], 4 * context, hidden) for _ in range(steps))

    def forward(self, e: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """Return the image of e, and the log-determinants.

        Args:
            e: Images, (row, *event).
            c: Maps, (row, context, height, width).

        Returns:
            Images (row, *event), and log-determinants (row,).
        """
        y, c = pixel_unshuffle(e.reshape(-1, *self.shape), 2), pixel_unshuffle(c, 2)
        log_det = y.new_zeros(len(y))
        for step in self.steps:
            y, more = step(y, c)
            log_det = log_det + more
        return pixel_shuffle(y, 2).reshape(e.shape), log_det


def planes(c: Tensor | None, y: Tensor) -> Tensor | None:
    """Return a vector for each row as constant maps of the size of y, (row, context, height, width)."""
    return None if c is None else c[:, :, None, None].expand(-1, -1, *y.shape[2:])
