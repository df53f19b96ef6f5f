"""The progressive GAN (Karras, Aila, Laine & Lehtinen, ICLR 2018): both networks grow from small images to large images.

The game has one stage for each size of maps. In the first part of a stage, the new layers fade in:

    x = (1 - alpha) up(x_before) + alpha x_new,    alpha from 0 to 1             (section 2, figure 2)

D sees real images with the same blending. Level and alpha follow from stage and step. A fit that was interrupted during a
fade thus resumes with bit-identical results. Layers have equalized learning rates. G normalizes the features of each pixel, and D
sees the standard deviation within a group of images (sections 3 and 4).

In the game, all images have the full size: G up-samples the images of a level by repeating pixels, and D averages them back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import xarray as xr
from matplotlib.figure import Figure
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from probgen import Event, Fitted, Run
from probgen.contract.places import Step
from probgen.errors import InputError
from probgen_gan.adversarial import Some, Stage
from probgen_gan.equalized import (
    GAIN,
    EqualizedConv,
    EqualizedLinear,
    MinibatchDeviation,
    leaky,
    normalized,
    pixel_norm,
)
from probgen_gan.fitting import fit
from probgen_gan.implicit import ScoreOptions, score
from probgen_gan.layered import Layered, LayeredOptions, Projection, sample
from probgen_gan.layered_pictures import classes, levels
from probgen_gan.pictures import pictures as of_game
from probgen_gan.searching import SearchOptions

__all__ = [
    "Options",
    "ProGAN",
    "SampleOptions",
    "ScoreOptions",
    "build",
    "fit",
    "pictures",
    "sample",
    "score",
    "x_dtype",
]

x_dtype = "float64"
SampleOptions = SearchOptions


class Options(LayeredOptions):
    """The options of `progan`. The defaults suit images of 32 x 32 and one thread."""

    learning_rate: float = Field(2e-3, gt=0, description="Adam's learning rate, for both networks")
    r1: float = Field(0.1, ge=0, description="weight of the penalty |grad D|^2 / 2 at real rows")
    r1_every: int = Field(
        8, ge=1, description="D steps between r1 penalties; the weight of r1 is multiplied by it"
    )
    growth: float = Field(
        2.0, gt=0, description="steps of a stage, as a multiple of the steps of the stage before"
    )
    fade: float = Field(0.5, ge=0, lt=1, description="share of a stage in which its layers fade in")

    @model_validator(mode="after")
    def _fades(self) -> Options:
        if len(self.channels) == 1 and (self.growth, self.fade) != (2.0, 0.5):
            raise ValueError(
                f"growth = {self.growth}, fade = {self.fade}: they have no effect with one layer of channels. Omit both."
            )
        return self


class Generator(nn.Module):
    """A generator with one block of convolutions for each level, and a layer to colors for each level."""

    def __init__(self, o: Options, image: tuple[int, int, int], smallest: tuple[int, int], context: int):
        super().__init__()
        self.embedding = EqualizedLinear(context, o.latent, gain=1.0) if context else None
        n = (2 if context else 1) * o.latent
        self.small = (o.channels[0], *smallest)
        self.first = EqualizedLinear(n, self.small[0] * smallest[0] * smallest[1], gain=GAIN / 4)
        blocks = [nn.Sequential(EqualizedConv(o.channels[0], o.channels[0], 3))]
        for n, out in zip(o.channels, o.channels[1:], strict=False):
            blocks.append(nn.Sequential(EqualizedConv(n, out, 3, up=True), EqualizedConv(out, out, 3)))
        self.blocks = nn.ModuleList(blocks)
        self.colors = nn.ModuleList(EqualizedConv(n, image[0], 1, gain=1.0) for n in o.channels)

    def start(self, z: Tensor, c: Tensor | None) -> Tensor:
        """Compute the input of the first block."""
        x = normalized(z, c, self.embedding)
        x = self.first(x).unflatten(1, self.small).contiguous(memory_format=torch.channels_last)
        return pixel_norm(leaky(x))

    def block(self, i: int, x: Tensor) -> Tensor:
        """Compute the i-th maps from the maps before."""
        for layer in self.blocks[i].children():
            x = pixel_norm(leaky(layer(x)))
        return x

    def forward(self, z: Tensor, c: Tensor | None, level: int, alpha: float) -> Tensor:
        """Generate images of a level, up-sampled to the full size: (row, channel, height, width)."""
        x = before = self.start(z, c)
        for i in range(level + 1):
            before, x = x, self.block(i, x)
        y = self.colors[level](x)
        if alpha < 1:
            y = (1 - alpha) * doubled(self.colors[level - 1](before)) + alpha * y
        return doubled(y, 2 ** (len(self.blocks) - 1 - level))


class Discriminator(nn.Module):
    """A discriminator that mirrors G: (row, channel, height, width), (row, context) -> (row,)."""

    def __init__(self, o: Options, image: tuple[int, int, int], smallest: tuple[int, int], context: int):
        super().__init__()
        n = o.channels[0]
        self.colors = nn.ModuleList(EqualizedConv(image[0], width, 1) for width in o.channels)
        self.blocks = nn.ModuleList(
            nn.Sequential(EqualizedConv(b, b, 3), EqualizedConv(b, a, 3))
            for a, b in zip(o.channels, o.channels[1:], strict=False)
        )
        self.deviation = MinibatchDeviation()
        self.conv = EqualizedConv(n + 1, n, 3)
        self.features = EqualizedLinear(n * smallest[0] * smallest[1], n)
        embedding = EqualizedLinear(context, n, gain=1.0) if context else None
        self.last = Projection(EqualizedLinear(n, 1, gain=1.0), embedding, n**-0.5)

    def forward(self, x: Tensor, c: Tensor | None, level: int, alpha: float) -> Tensor:
        """Compute the outputs for images of the full size, which are first reduced to the size of the level."""
        top = len(self.blocks)
        y = halved(x, 2 ** (top - level))
        if alpha < 1:
            y = (1 - alpha) * doubled(halved(y)) + alpha * y
        h = leaky(self.colors[level](y.contiguous(memory_format=torch.channels_last)))
        for i in range(level, 0, -1):
            for layer in self.blocks[i - 1].children():
                h = leaky(layer(h))
            h = halved(h)
            if i == level and alpha < 1:
                h = (1 - alpha) * leaky(self.colors[level - 1](halved(y))) + alpha * h
        h = leaky(self.conv(self.deviation(h)))
        return self.last(leaky(self.features(h.flatten(1))), c)


def doubled(x: Tensor, times: int = 2) -> Tensor:
    """Repeat each pixel `times` times in both directions."""
    return x if times == 1 else interpolate(x, scale_factor=float(times), mode="nearest")


def halved(x: Tensor, times: int = 2) -> Tensor:
    """Average blocks of `times` x `times` pixels."""
    return x if times == 1 else avg_pool2d(x, times)


class ProGAN(Layered):
    """A progressive GAN.

    Args:
        options: The options of the networks and of the game.
        event: The event of the data.

    Attributes:
        level: Number of the current level, from 0. Outside a fit, it is the last level.
        alpha: Progress of the fade, from 0 to 1. Outside a fit, it is 1.
    """

    options: Options
    G: Generator
    average: Generator

    def __init__(self, options: Options, event: Event):
        super().__init__(options, event)
        self.level, self.alpha = len(self.maps) - 1, 1.0
        weights = [options.growth**i for i in range(len(self.maps))]
        self.stages = tuple(Stage(name, w / sum(weights)) for name, w in zip(self.maps, weights, strict=True))

    def discriminator(self) -> nn.Module:
        """Build D, which halves the image once per level."""
        return Discriminator(self.options, self.image, self.sides[0], self.context)

    def generator(self) -> nn.Module:
        """Build G, which doubles the maps once per level."""
        return Generator(self.options, self.image, self.sides[0], self.context)

    def at(self, stage: Stage, gone: float) -> None:
        """Set the level of the stage, and alpha, which increases linearly in the first part of the stage."""
        self.level = self.maps.index(stage.name)
        fade = self.options.fade
        self.alpha = min(1.0, gone / fade) if self.level and fade else 1.0

    @property
    def grown(self) -> bool:
        """Whether the game is in the last stage, with all layers faded in."""
        return self.level == len(self.maps) - 1 and self.alpha == 1

    def check_stages(self, steps: Mapping[str, int]) -> None:
        """Check that the layers of each stage have faded in at its end, and raise `InputError` otherwise."""
        for i, name in enumerate(self.maps):
            n = steps.get(name, 0)
            if n < 1 or (i and (n - 1) / n < self.options.fade):
                raise InputError(
                    f"steps = {self.options.steps}: the stage {name} has {n} steps, too few for its layers to fade in. Use more steps, a "
                    "growth nearer to 1, or a smaller fade."
                )

    def generate(self, net: nn.Module, z: Tensor, c: Tensor | None) -> Tensor:
        """Generate standardized samples of the current level."""
        y = net(z, c, self.level, self.alpha)
        return y.tanh() if self.event.discrete else y

    def discriminate(self, x: Tensor, c: Tensor | None, theta: Mapping[str, Tensor] | None = None) -> Tensor:
        """Compute the outputs of D at the current level."""
        assert theta is None  # the game has no look-ahead
        said: Tensor = self.D(x, c, self.level, self.alpha)
        return said

    def settle(self, some: Some, run: Run) -> None:
        """Set the last level and alpha = 1, also if the last stage was restored and not played."""
        self.level, self.alpha = len(self.maps) - 1, 1.0

    def of_level(self, start: Mapping[str, Tensor], level: int) -> Tensor:
        """Compute the output of the average for z at a level, at full size and standardized: (row, channel, height, width)."""
        y: Tensor = self.average(start["z"].to(self.dtype), self.condition(start), level, 1.0)
        return y

    def way(self, noise: bool = False) -> dict[str, Step]:
        """Return the steps z -> maps -> x, at full size."""
        G = self.average

        def maps(i: int) -> Step:
            return lambda at: G.block(i, at[self.maps[i - 1]] if i else G.start(at["z"], self.condition(at)))

        return {
            **{name: maps(i) for i, name in enumerate(self.maps)},
            "x": lambda at: self.finished(G.colors[-1](at[self.maps[-1]])),
        }

    def latents_of(self, n: int, given: Mapping[str, Tensor], options: Any, run: Run) -> dict[str, Tensor]:
        """Return z, the only latent."""
        return {"z": given["z"] if "z" in given else self.normal(n, run)}


def pictures(fitted: Fitted, data: xr.Dataset, **again: Any) -> dict[str, Figure]:
    """Plot the figures of every game, of each level for the same z, and of the classes.

    Args:
        fitted: The fitted GAN.
        data: Rows of the data.
        **again: Seed and device for samples and scores.

    Returns:
        Figures by name, with `levels`, and `classes` if x has conditions.
    """
    assert isinstance(fitted.module, ProGAN)
    found = of_game(fitted, data, **again) | {"levels": levels(fitted, fitted.module.of_level, **again)}
    return found | ({"classes": classes(fitted, **again)} if fitted.event.given else {})


def build(options: Options, event: Event) -> ProGAN:
    """Build the module in its initial state.

    Args:
        options: The options of the networks and of the game.
        event: The event of the data.

    Returns:
        The module, which `fit` then trains in place.
    """
    return ProGAN(options, event)
