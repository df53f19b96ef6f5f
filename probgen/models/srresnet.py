"""Super-resolution by a residual network (SRResNet: Ledig et al. 2017; without normalization: Lim et al. 2017, EDSR) as a distribution.

    p(x | low) = prod_i p(x_i; f_i(low)),    f = residual network at the size of low, pixel shuffle, around the bicubic enlargement

    noise = "logistics"   sum_k pi_ik DiscretizedLogistic(x_i; mu_ik, s_ik)       says of each pixel how sure it is
    noise = "laplace"     DiscretizedLaplace(x_i; mu_i, s), one s for all          minimizes |x - mu|
    noise = "normal"      DiscretizedNormal(x_i; mu_i, s), one s for all           minimizes |x - mu|^2: 6.02 dB are one bit a pixel

What is measured in decibels is the mean of the mixture, or mu, both before they are rounded to levels. s of the latter two is in the end the most likely one of the rows to choose by (of those of the
fit, if there are none), so that a network that is fitted for decibels stands in one table of likelihoods with the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
import xarray as xr
from pydantic import BaseModel, Field
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle

from probgen.contract.event import Event
from probgen.contract.fitted import Fitted
from probgen.contract.options import only
from probgen.contract.rows import Rows, evenly
from probgen.contract.run import Run
from probgen.contract.sizes import sizes_of
from probgen.distributions import DiscretizedLaplace, DiscretizedNormal
from probgen.models.bases.scaling import ENLARGING
from probgen.models.bases.superresolution import Logistics, MeanOrDrawOptions, PatchOptions, Superresolution
from probgen.nn.residual import SMALL, Residual, conv
from probgen.nn.tiles import by_tiles, tile_for

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TINY = 1e-12  # of a loss: a fit without errors
START = 0.04  # of s at first, of the range of x: what a bicubic enlargement is off by
SHOWN, SIDE = 4, 96  # images of the error map, and how many pixels of them a side


class SRResNetOptions(PatchOptions):
    """Options of `srresnet`."""

    noise: Literal["logistics", "laplace", "normal"] = Field(
        "logistics",
        description="what x is around the network's image; laplace and normal have one scale, and minimize |x - mu| or its square",
    )
    components: int = Field(
        5, ge=1, description="of the mixture of each pixel", json_schema_extra=only(noise="logistics")
    )


class SRResNet(Superresolution):
    """SRResNet behind the hooks."""

    Options: ClassVar[type[BaseModel]] = SRResNetOptions
    SampleOptions: ClassVar[type[BaseModel]] = MeanOrDrawOptions

    def __init__(self, options: Any, event: Event):
        super().__init__(options, event)
        mixture = options.noise == "logistics"
        numbers = 3 * options.components if mixture else 1
        self.trunk = Residual(event.given[self.name].channels, options.width, options.blocks)
        self.tail = conv(options.width, numbers * self.phases, SMALL)
        self.tile = tile_for(max(options.width, numbers * self.phases))
        if not mixture:
            self.log_s = nn.Parameter(torch.tensor(math.log(START * (self.levels - 1))))
        self.reach = max(self.trunk.reach + 1, ENLARGING)

    def numbers(self, low: Tensor) -> Tensor:
        """What the network says, and the enlarged image: (row, number of the noise * phase + phase, h, w)."""
        return torch.cat([self.tail(self.trunk(self.centered(low))), self.up(low)], 1)

    def noise(self, numbers: Tensor) -> Logistics | OneScale:
        """p(x_i) for each number of x."""
        said, up = numbers[:, : -self.phases], numbers[:, -self.phases :]
        if self.options.noise == "logistics":
            return Logistics.of(said, up, self.options.components, self.levels)
        return OneScale(up + (self.levels - 1) / 2 * said, self.log_s.exp(), self.levels, self.options.noise)

    def tiles(self, low: Tensor) -> Iterator[tuple[tuple[slice, slice], Logistics | OneScale]]:
        """Where each tile lies, and p(x_i) there."""
        for at, numbers in by_tiles(self.numbers, (low,), self.reach, self.tile):
            yield at, self.noise(numbers)

    def score_of(self, x: Tensor, low: Tensor) -> Tensor:
        """The sum over pixels."""
        total = low.new_zeros(len(low))
        for at, p in self.tiles(low):
            total = total + p.log_prob(x[(..., *at)]).flatten(1).sum(1)
        return total

    def drawn(self, low: Tensor, options: Any) -> Tensor:
        """All pixels at once, or their means."""
        if options.mean:
            return self.whole(low, lambda p, at: p.mean())
        u = self.uniform(low)
        return self.whole(low, lambda p, at: p.draw(u[at], options.temperature))

    def whole(self, low: Tensor, f: Callable[[Logistics | OneScale, Any], Tensor]) -> Tensor:
        """What f says of p(x_i), and of where a tile lies, as an image: (row, channel, height, width)."""
        s = self.scale
        x = low.new_empty(len(low), self.channels, *(s * side for side in low.shape[-2:]))
        for at, p in self.tiles(low):
            rows, columns = (slice(s * side.start, s * side.stop) for side in at)
            x[..., rows, columns] = pixel_shuffle(f(p, (..., *at)), s)
        return x

    def learn(self, data: Rows, run: Run) -> None:
        """By patches; then s of the one that is most likely."""
        super().learn(data, run)
        if self.options.noise == "logistics":
            return
        if data.valid is None:
            run.notes.append(
                "the scale of the noise is that of the rows of the fit; give rows to choose by for one that holds for others"
            )
        rows, loss, numbers = data.valid or data, 0.0, 0
        with torch.no_grad():
            for chunk in rows.chunks(1):
                x = self.by_phases(chunk["x"])
                for at, p in self.tiles(self.low_of(chunk)):
                    assert isinstance(p, OneScale)
                    loss += float(p.loss(x[(..., *at)]).double().sum())
                numbers += x.numel()
            self.log_s.fill_(OneScale.log_s(loss / numbers, self.options.noise))

    @staticmethod
    def pictures(fitted: Fitted, data: xr.Dataset, *, seed: int, device: str | None) -> dict[str, Figure]:
        """Of a few rows the middle: enlarged, the mean, x, how sure the network is of each pixel, how far off it is: `error_map`."""
        from probgen import figures  # Matplotlib: for pictures alone

        pair, event = fitted.module, fitted.event
        assert isinstance(pair, SRResNet)
        rows = evenly(data, SHOWN)
        side = int(min(SIDE, sizes_of(rows).min()))
        parts: dict[str, list[np.ndarray]] = {}
        for chunk in Rows(rows, event, device=next(pair.parameters()).device).chunks(1):
            low = pair.low_of(chunk)
            with torch.no_grad():
                maps = {
                    "bicubic": pixel_shuffle(pair.up(low), pair.scale),
                    "mean": pair.whole(low, lambda p, at: p.mean()),
                    "x": chunk["x"].reshape(1, pair.channels, *chunk["x"].shape[-2:]),
                }
                maps["deviation"] = pair.whole(low, lambda p, at: p.deviation())
            maps["error"] = (maps["mean"] - maps["x"]).abs()
            for name, whole in maps.items():
                image = pair.image(whole)[0].cpu().numpy()
                top, left = ((length - side) // 2 for length in image.shape[-2:])
                parts.setdefault(name, []).append(image[..., top : top + side, left : left + side])
        shown = replace(event, shape=(*event.shape[:-2], side, side))
        found = figures.columns([np.stack(part) for part in parts.values()], list(parts), shown, shared=3)
        return {"error_map": found}


@dataclass(frozen=True)
class OneScale:
    """A discretized normal or Laplace distribution of each number of x, all of one scale: mu (row, phase, h, w), s (), in levels."""

    mu: Tensor
    s: Tensor
    levels: int
    noise: Literal["laplace", "normal"]

    @property
    def p(self) -> DiscretizedLaplace | DiscretizedNormal:
        """The distribution."""
        kind = DiscretizedLaplace if self.noise == "laplace" else DiscretizedNormal
        return kind(self.mu, self.s, self.levels, validate_args=False)

    def log_prob(self, x: Tensor) -> Tensor:
        """log p of levels: the shape of mu."""
        return self.p.log_prob(x)

    def mean(self) -> Tensor:
        """The location mu, kept within the levels: the network's image."""
        return self.mu.clamp(0, self.levels - 1)

    def deviation(self) -> Tensor:
        """The same for all."""
        return (self.s * (math.sqrt(2) if self.noise == "laplace" else 1)).expand_as(self.mu)

    def draw(self, u: Tensor, temperature: float) -> Tensor:
        """By a uniform number each, the first of u: (2, row, phase, h, w)."""
        off = self.p.quantile(u[0].clamp(1e-7, 1 - 1e-7))
        return (self.mu + temperature * self.s * off).round().clamp(0, self.levels - 1)

    def loss(self, x: Tensor) -> Tensor:
        """What the best s follows from: |x - mu|, or its square."""
        off = x - self.mu
        return off.abs() if self.noise == "laplace" else off.square()

    @staticmethod
    def log_s(loss: float, noise: str) -> float:
        """The logarithm of the most likely s, from the mean of `loss`."""
        return math.log(max(loss, TINY)) * (1 if noise == "laplace" else 0.5)
