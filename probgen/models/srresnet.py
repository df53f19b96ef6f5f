"""Super-resolution by a residual network, as a distribution (SRResNet: Ledig et al. 2017).

As in EDSR (Lim et al. 2017), the network has no normalization.

    p(x | low) = prod_i p(x_i; f_i(low))
    f = residual network at the size of low, pixel shuffle, plus bicubic enlargement

    noise = "logistics"   sum_k pi_ik DiscretizedLogistic(x_i; mu_ik, s_ik)   an uncertainty for each pixel
    noise = "laplace"     DiscretizedLaplace(x_i; mu_i, s), one s for all     minimizes |x - mu|
    noise = "normal"      DiscretizedNormal(x_i; mu_i, s), one s for all      minimizes |x - mu|^2

With normal noise, 6.02 dB are one bit per pixel.
Decibels are measured on the mean of the mixture, or on mu, before rounding to levels. For laplace and normal,
the fit ends with the most likely s on the validation rows, or on the rows of the fit if there are none.
Therefore a network that is fitted for decibels has a likelihood that can be compared with the others.
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

TINY = 1e-12  # least loss, for a fit without errors
START = 0.04  # initial s, as a share of the range of x: the error of a bicubic enlargement
SHOWN, SIDE = 4, 96  # number of images in the error map, and their side in pixels


class SRResNetOptions(PatchOptions):
    """Options of `srresnet`."""

    noise: Literal["logistics", "laplace", "normal"] = Field(
        "logistics",
        description="distribution of x around the network's image; laplace and normal have one common scale",
    )
    components: int = Field(
        5,
        ge=1,
        description="logistics in the mixture of each number of x",
        json_schema_extra=only(noise="logistics"),
    )


class SRResNet(Superresolution):
    """SRResNet: super-resolution by a residual network, with independent pixels given the small image.

    Args:
        options: The options of the family.
        event: The event that x is: images in levels, conditioned on one image.
    """

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
        """Return the outputs of the network and the enlarged image, concatenated.

        Args:
            low: The given images, (row, channel, h, w).

        Returns:
            Outputs and enlarged image, (row, parameters of the noise * phase + phase, h, w).
        """
        return torch.cat([self.tail(self.trunk(self.centered(low))), self.up(low)], 1)

    def noise(self, numbers: Tensor) -> Logistics | OneScale:
        """Return the distribution of each number of x.

        Args:
            numbers: The tensor that `numbers` returns.

        Returns:
            The distributions by phases.
        """
        said, up = numbers[:, : -self.phases], numbers[:, -self.phases :]
        if self.options.noise == "logistics":
            return Logistics.of(said, up, self.options.components, self.levels)
        return OneScale(up + (self.levels - 1) / 2 * said, self.log_s.exp(), self.levels, self.options.noise)

    def tiles(self, low: Tensor) -> Iterator[tuple[tuple[slice, slice], Logistics | OneScale]]:
        """Compute the distributions of x tile by tile.

        Args:
            low: The given images, (row, channel, h, w).

        Yields:
            Position of a tile, and the distributions there.
        """
        for at, numbers in by_tiles(self.numbers, (low,), self.reach, self.tile):
            yield at, self.noise(numbers)

    def score_of(self, x: Tensor, low: Tensor) -> Tensor:
        """Return log p(x given low), summed over pixels: (row,), in nats."""
        total = low.new_zeros(len(low))
        for at, p in self.tiles(low):
            total = total + p.log_prob(x[(..., *at)]).flatten(1).sum(1)
        return total

    def drawn(self, low: Tensor, options: Any) -> Tensor:
        """Sample all pixels at once, or with `mean` return their means: (row, channel, height, width)."""
        if options.mean:
            return self.whole(low, lambda p, at: p.mean())
        u = self.uniform(low)
        return self.whole(low, lambda p, at: p.draw(u[at], options.temperature))

    def whole(self, low: Tensor, f: Callable[[Logistics | OneScale, Any], Tensor]) -> Tensor:
        """Apply a function to the distributions of all tiles, and return the results as an image.

        Args:
            low: The given images, (row, channel, h, w).
            f: A function from the distributions of a tile and its position to numbers by phases.

        Returns:
            Images, (row, channel, height, width).
        """
        s = self.scale
        x = low.new_empty(len(low), self.channels, *(s * side for side in low.shape[-2:]))
        for at, p in self.tiles(low):
            rows, columns = (slice(s * side.start, s * side.stop) for side in at)
            x[..., rows, columns] = pixel_shuffle(f(p, (..., *at)), s)
        return x

    def learn(self, data: Rows, run: Run) -> None:
        """Fit to random patches; then, for laplace and normal, set s to its most likely value."""
        super().learn(data, run)
        if self.options.noise == "logistics":
            return
        if data.valid is None:
            run.notes.append(
                "the scale of the noise was set on the rows of the fit. Give validation rows for a scale "
                "that suits new images."
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
        """Return the figure `error_map` of the middle of a few rows.

        Its columns are the bicubic enlargement, the mean, x, the standard deviation, and the error; the last two are means
        over the colors of a pixel.

        Args:
            fitted: The fitted family.
            data: Rows with their given images.
            seed: The seed; unused.
            device: The device; unused.

        Returns:
            Figures by name.
        """
        from probgen import figures  # here, because only figures need Matplotlib

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
        columns: list[np.ndarray | figures.Numbers] = [
            np.stack(parts[name]) for name in ("bicubic", "mean", "x")
        ]
        for name in ("deviation", "error"):
            values = np.stack(parts[name])
            of_pixels = values.mean(1) if values.ndim == 4 else values
            columns.append(figures.Numbers(of_pixels, "levels"))
        title = figures.of_model(
            fitted, "The mean of p(x | low), its deviation and its error", f"{len(rows)} rows"
        )
        return {"error_map": figures.columns(columns, list(parts), shown, title)}


@dataclass(frozen=True)
class OneScale:
    """Discretized normal or Laplace distributions, one for each number of x, with one common scale.

    Attributes:
        mu: Locations in levels, (row, phase, h, w).
        s: The scale in levels, ().
        levels: Number of levels of x.
        noise: The distribution.
    """

    mu: Tensor
    s: Tensor
    levels: int
    noise: Literal["laplace", "normal"]

    @property
    def p(self) -> DiscretizedLaplace | DiscretizedNormal:
        """The distribution of all numbers of x."""
        kind = DiscretizedLaplace if self.noise == "laplace" else DiscretizedNormal
        return kind(self.mu, self.s, self.levels, validate_args=False)

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the log-probability of levels x, in the shape of mu, in nats."""
        return self.p.log_prob(x)

    def mean(self) -> Tensor:
        """Return the location mu, kept within the levels: the network's image."""
        return self.mu.clamp(0, self.levels - 1)

    def deviation(self) -> Tensor:
        """Return the standard deviation, which is the same for all numbers of x."""
        return (self.s * (math.sqrt(2) if self.noise == "laplace" else 1)).expand_as(self.mu)

    def draw(self, u: Tensor, temperature: float) -> Tensor:
        """Sample levels from uniform random numbers.

        Args:
            u: Uniform numbers, (2, row, phase, h, w); only the first half is used.
            temperature: Factor of the scale.

        Returns:
            Levels, (row, phase, h, w).
        """
        off = self.p.quantile(u[0].clamp(1e-7, 1 - 1e-7))
        return (self.mu + temperature * self.s * off).round().clamp(0, self.levels - 1)

    def loss(self, x: Tensor) -> Tensor:
        """Return |x - mu| or its square, whose mean gives the most likely s."""
        off = x - self.mu
        return off.abs() if self.noise == "laplace" else off.square()

    @staticmethod
    def log_s(loss: float, noise: str) -> float:
        """Return the logarithm of the most likely s.

        Args:
            loss: Mean of `loss` over the numbers of x.
            noise: The distribution.

        Returns:
            The logarithm of s in levels.
        """
        return math.log(max(loss, TINY)) * (1 if noise == "laplace" else 0.5)
