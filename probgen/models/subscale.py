"""Super-resolution phase by phase (Menick & Kalchbrenner 2019: subscale; Reed et al. 2017: multiscale).

    p(x | low) = prod_k p(x_(k) | x_(<k), low)       k = 1 .. scale^2, the phases of a cell, for each channel

All pixels of a phase are predicted at once, as mixtures of discretized logistics. Their parameters are the
output of a residual network that works at the size of low, from low and the earlier phases. The likelihood is
exact, and images may have any size. Sampling takes scale^2 passes per channel, and the order of the phases is
from coarse to fine.

A further input of the network is the residual: low less the bicubic reduction of the known phases, with
unknown phases enlarged from low. A fit uses one phase of each patch per step, and every phase in turn. Its
gradient is unbiased, at the cost of one pass.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import BaseModel, Field
from torch import Tensor, nn
from torch.nn.functional import conv2d, pixel_shuffle

from probgen.contract.event import Event
from probgen.models.bases.scaling import reduced
from probgen.models.bases.superresolution import Logistics, PatchOptions, Superresolution
from probgen.nn.residual import SMALL, Residual
from probgen.nn.tiles import by_tiles, tile_for

LEFT = 2  # neighbors in low, to each side, that the residual of a pixel depends on
TOLD = 4.0  # factor of the differences and the residual as network inputs


class SubscaleOptions(PatchOptions):
    """Options of `subscale`."""

    components: int = Field(5, ge=1, description="logistics in the mixture of each number of x")


class Subscale(Superresolution):
    """Subscale super-resolution: an image phase by phase, exact, autoregressive over phases.

    Args:
        options: The options of the family.
        event: The event that x is: images in levels, conditioned on one image.
    """

    Options: ClassVar[type[BaseModel]] = SubscaleOptions

    def __init__(self, options: Any, event: Event):
        super().__init__(options, event)
        low, width = event.given[self.name].channels, options.width
        self.order = [
            c * self.scale**2 + phase for phase in coarse_to_fine(self.scale) for c in range(self.channels)
        ]
        self.trunk = Residual(low + self.channels + 2 * self.phases, width, options.blocks)
        self.phase = nn.Parameter(torch.zeros(self.phases, width))
        self.tail = nn.Parameter(torch.empty(self.phases, 3 * options.components, width, 3, 3))
        self.bias = nn.Parameter(torch.zeros(self.phases, 3 * options.components))
        bound = SMALL / (9 * width) ** 0.5
        nn.init.uniform_(self.tail, -bound, bound)
        self.reach = self.trunk.reach + 1 + LEFT
        self.tile = tile_for(max(width, 2 * self.phases))
        self.dims = {
            "phase": ("phase", "feature"),
            "tail": ("phase", "number", "feature", "kernel_height", "kernel_width"),
            "bias": ("phase", "number"),
        }

    def told(self, low: Tensor, up: Tensor, x: Tensor, known: Tensor) -> Tensor:
        """Return the inputs of the network: low, its residual, the known values of x, and a mask of phases.

        Args:
            low: The given images, (row, channel, h, w).
            up: The enlarged images by phases, (row, phase, h, w).
            x: Levels by phases, (row, phase, h, w).
            known: Whether a phase is known, (row or 1, phase, 1, 1).

        Returns:
            Inputs, (row, feature, h, w).
        """
        there = torch.where(known, x, up)
        left = low - reduced(pixel_shuffle(there, self.scale), self.scale)
        range_ = self.levels - 1
        where = known.expand(*x.shape).to(low.dtype)
        return torch.cat(
            [self.centered(low), left * (TOLD * self.scale / range_), (there - up) * (TOLD / range_), where],
            1,
        )

    def numbers(self, told: Tensor, phase: int) -> Tensor:
        """Return the outputs of the network for one phase.

        Args:
            told: Inputs, (row, feature, h, w).
            phase: Number of the phase.

        Returns:
            Outputs, (row, 3 * component, h, w).
        """
        return conv2d(
            self.trunk(told, self.phase[phase, :, None, None]), self.tail[phase], self.bias[phase], padding=1
        )

    def passes(self, x: Tensor, low: Tensor) -> Any:
        """Yield phase, position of a tile, and distribution of its pixels; x may be filled between phases."""
        up = self.up(low)
        known = torch.zeros(1, self.phases, 1, 1, dtype=torch.bool, device=low.device)
        for phase in self.order:

            def numbers(low: Tensor, up: Tensor, x: Tensor, phase: int = phase) -> Tensor:
                return self.numbers(self.told(low, up, x, known), phase)

            for at, said in by_tiles(numbers, (low, up, x), self.reach, self.tile):
                around = up[:, phase : phase + 1][(..., *at)]
                yield phase, at, Logistics.of(said, around, self.options.components, self.levels)
            known[:, phase] = True

    def score_of(self, x: Tensor, low: Tensor) -> Tensor:
        """Return log p(x given low), summed over phases and pixels: (row,), in nats."""
        total = low.new_zeros(len(low))
        for phase, at, p in self.passes(x, low):
            total = total + p.log_prob(x[:, phase : phase + 1][(..., *at)]).flatten(1).sum(1)
        return total

    def drawn(self, low: Tensor, options: Any) -> Tensor:
        """Sample x phase by phase: (row, channel, height, width)."""
        u = self.uniform(low)
        x = low.new_zeros(len(low), self.phases, *low.shape[-2:])
        for phase, at, p in self.passes(x, low):
            x[:, phase : phase + 1][(..., *at)] = p.draw(
                u[:, :, phase : phase + 1][(..., *at)], options.temperature
            )
        return pixel_shuffle(x, self.scale)

    def loss(self, x: Tensor, *, n: int, **given: Tensor) -> dict[str, Tensor]:
        """Return the mean of -log p(x given low) over the numbers of x, in nats.

        While training, each row contributes one random phase. In a batch, a phase repeats only after all
        others.

        Args:
            x: Images, (row, [channel,] height, width).
            n: Number of rows.
            **given: The conditions by name.

        Returns:
            `loss`.
        """
        if not self.training:
            return super().loss(x, n=n, **given)
        phases, low = self.by_phases(x), self.low_of(given)
        up, P = self.up(low), self.phases
        turn = (torch.randperm(P, device=x.device).repeat(-(-n // P)))[:n]  # position in the sampling order
        rank = torch.empty(P, dtype=torch.long, device=x.device)
        rank[torch.tensor(self.order, device=x.device)] = torch.arange(P, device=x.device)
        known = (rank[None] < turn[:, None])[:, :, None, None]
        mine = torch.tensor(self.order, device=x.device)[turn]
        features = self.trunk(self.told(low, up, phases, known), self.phase[mine][:, :, None, None])
        # one convolution per row, as groups
        kernels = self.tail[mine].flatten(0, 1)
        said = conv2d(features.flatten(0, 1)[None], kernels, self.bias[mine].flatten(), padding=1, groups=n)
        rows = torch.arange(n, device=x.device)
        around, truth = up[rows, mine][:, None], phases[rows, mine][:, None]
        p = Logistics.of(said[0].unflatten(0, (n, -1)), around, self.options.components, self.levels)
        return {"loss": -p.log_prob(truth).mean()}


def coarse_to_fine(scale: int) -> list[int]:
    """Return the order of the phases of a cell: each is the farthest from the earlier phases in all cells.

    For powers of 2, this is Bayer's order.

    Args:
        scale: Side of a cell.

    Returns:
        The phases in order.
    """
    at = np.stack(np.divmod(np.arange(scale**2), scale), 1)
    off = np.abs(at[:, None] - at[None])
    apart = np.minimum(off, scale - off)  # distances wrap around, since equal cells are adjacent
    distance = np.square(apart).sum(2)
    order, nearest = [0], distance[0].copy()
    while len(order) < scale**2:
        best = int(nearest.argmax())
        order.append(best)
        nearest = np.minimum(nearest, distance[best])
    return order
