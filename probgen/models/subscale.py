"""Super-resolution one phase of a cell after the other (subscale order: Menick & Kalchbrenner 2019; parallel multiscale: Reed et al. 2017).

    p(x | low) = prod_k p(x_(k) | x_(<k), low)          k = 1 .. scale^2, the phases of a cell, for each channel

Each phase is, all over the image at once, mixtures of discretized logistics whose numbers a residual network of the size of low tells from low
and from the phases before: exact, for images of any size, drawn in scale^2 passes (times the channels). The order goes from coarse to fine.
The network is also told what is left: low less the bicubic reduction of what is known, the rest of it enlarged from low. In a fit
each patch is judged by one phase, which is in turn every one: an unbiased gradient at the cost of one pass.
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

LEFT = 2  # pixels of low beside one that what is left there depends on
TOLD = 4.0  # what is seen and what is left are told as so many times their differences


class SubscaleOptions(PatchOptions):
    """Options of `subscale`."""

    components: int = Field(5, ge=1, description="of the mixture of each pixel")


class Subscale(Superresolution):
    """A subscale network behind the hooks."""

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
        """What the network sees, by phases: low, what is left of it, where x is known and what it is there.

        low (row, channel, h, w), up and x (row, phase, h, w), known (row or 1, phase, 1, 1)
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
        """Of one phase of all rows: (row, 3 * component, h, w)."""
        return conv2d(
            self.trunk(told, self.phase[phase, :, None, None]), self.tail[phase], self.bias[phase], padding=1
        )

    def passes(self, x: Tensor, low: Tensor) -> Any:
        """Phase after phase: which it is, where a tile lies, and p of its pixels there; x is read as it stands when a phase comes."""
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
        """The sum over phases and pixels."""
        total = low.new_zeros(len(low))
        for phase, at, p in self.passes(x, low):
            total = total + p.log_prob(x[:, phase : phase + 1][(..., *at)]).flatten(1).sum(1)
        return total

    def drawn(self, low: Tensor, options: Any) -> Tensor:
        """Phase after phase."""
        u = self.uniform(low)
        x = low.new_zeros(len(low), self.phases, *low.shape[-2:])
        for phase, at, p in self.passes(x, low):
            x[:, phase : phase + 1][(..., *at)] = p.draw(
                u[:, :, phase : phase + 1][(..., *at)], options.temperature
            )
        return pixel_shuffle(x, self.scale)

    def loss(self, x: Tensor, *, n: int, **given: Tensor) -> dict[str, Tensor]:
        """-log p(x given low) a number of x; in a fit of one phase a row, which are drawn without replacement while there are some."""
        if not self.training:
            return super().loss(x, n=n, **given)
        phases, low = self.by_phases(x), self.low_of(given)
        up, P = self.up(low), self.phases
        turn = (torch.randperm(P, device=x.device).repeat(-(-n // P)))[:n]  # in the order of the draw
        rank = torch.empty(P, dtype=torch.long, device=x.device)
        rank[torch.tensor(self.order, device=x.device)] = torch.arange(P, device=x.device)
        known = (rank[None] < turn[:, None])[:, :, None, None]
        mine = torch.tensor(self.order, device=x.device)[turn]
        features = self.trunk(self.told(low, up, phases, known), self.phase[mine][:, :, None, None])
        # a convolution of its own for each row, as groups
        kernels = self.tail[mine].flatten(0, 1)
        said = conv2d(features.flatten(0, 1)[None], kernels, self.bias[mine].flatten(), padding=1, groups=n)
        rows = torch.arange(n, device=x.device)
        around, truth = up[rows, mine][:, None], phases[rows, mine][:, None]
        p = Logistics.of(said[0].unflatten(0, (n, -1)), around, self.options.components, self.levels)
        return {"loss": -p.log_prob(truth).mean()}


def coarse_to_fine(scale: int) -> list[int]:
    """The phases of a cell, each the farthest from those before it, all cells being alike (Bayer's order for powers of 2)."""
    at = np.stack(np.divmod(np.arange(scale**2), scale), 1)
    off = np.abs(at[:, None] - at[None])
    apart = np.minimum(off, scale - off)  # the next cell is beside this one
    distance = np.square(apart).sum(2)
    order, nearest = [0], distance[0].copy()
    while len(order) < scale**2:
        best = int(nearest.argmax())
        order.append(best)
        nearest = np.minimum(nearest, distance[best])
    return order
