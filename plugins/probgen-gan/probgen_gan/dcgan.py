"""Generative adversarial networks for images, with convolutions (DCGAN; Radford, Metz & Chintala, ICLR 2016).

The networks have convolutions of stride 2 instead of pooling, ReLU in G, and leaky ReLU in D. G has batch normalization. D
has it only without spectral normalization and gradient penalties. The reason: batch normalization makes D a function of
whole batches, and a gradient penalty is defined for single rows (Gulrajani et al. 2017, section 4).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from probgen import Event
from probgen.contract.places import Step, maps_of
from probgen_gan.adversarial import Adversarial, GameOptions
from probgen_gan.fitting import fit
from probgen_gan.implicit import ScoreOptions, sample, score
from probgen_gan.layers import MinibatchDiscrimination, beside
from probgen_gan.pictures import pictures
from probgen_gan.searching import SearchOptions

__all__ = [
    "DCGAN",
    "Options",
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


class Options(GameOptions):
    """The options of `dcgan`. The defaults of the optimizer are from the paper."""

    latent: int = Field(64, ge=1, description="dimensions of z")
    channels: tuple[int, ...] = Field(
        (64, 128), description="channels of D's layers; each layer halves the image; reversed in G"
    )
    batch_size: int = Field(64, ge=1, description="rows per training step")
    learning_rate: float = Field(2e-4, gt=0, description="Adam's learning rate, for both networks")
    beta1: float = Field(0.5, ge=0, lt=1, description="Adam's beta1, for both networks")
    beta2: float = Field(0.999, ge=0, lt=1, description="Adam's beta2, for both networks")

    @model_validator(mode="after")
    def _sizes(self) -> Options:
        if not self.channels or any(n < 1 for n in self.channels):
            raise ValueError(
                f"channels = {self.channels}: give at least one layer, and at least 1 channel for each layer."
            )
        return self


class Discriminator(nn.Module):
    """A discriminator of images: (row, channel, height, width), (row, context) -> (pack,).

    The images of a pack and their contexts are concatenated as channels.
    """

    def __init__(self, options: Options, image: tuple[int, int, int], context: int):
        super().__init__()
        self.packing = options.packing
        depth, height, width = image
        penalized = options.spectral or options.r1 + options.r2 + options.gradient_penalty > 0
        layers: list[nn.Module] = []
        before = options.packing * (depth + context)
        for i, n in enumerate(options.channels):
            layers.append(_normalized(nn.Conv2d(before, n, 4, stride=2, padding=1), options.spectral))
            if i and not penalized:
                layers.append(nn.BatchNorm2d(n))
            layers.append(nn.LeakyReLU(0.2))
            before = n
        self.convolutions = nn.Sequential(*layers)
        scale = 2 ** len(options.channels)
        features = before * (height // scale) * (width // scale)
        self.minibatch = (
            MinibatchDiscrimination(1, features, options.minibatch) if options.minibatch else nn.Identity()
        )
        self.last = _normalized(nn.Linear(features + options.minibatch, 1), options.spectral)

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        """Compute one output for each pack. A context is constant over the image."""
        images = x.reshape(len(x) // self.packing, -1, *x.shape[2:])
        if c is not None:
            planes = c.reshape(len(images), -1, 1, 1).expand(-1, -1, *x.shape[2:])
            images = torch.cat([images, planes], 1)
        features = self.minibatch(self.convolutions(images).flatten(1))
        return self.last(features).squeeze(1)


class Generator(nn.Module):
    """A generator of images: (row, latent), (row, context) -> (row, channel, height, width)."""

    def __init__(self, n: int, channels: tuple[int, ...], image: tuple[int, int, int]):
        super().__init__()
        depth, height, width = image
        scale = 2 ** len(channels)
        self.small = (channels[-1], height // scale, width // scale)
        self.first = nn.Linear(n, self.small[0] * self.small[1] * self.small[2])
        layers: list[nn.Module] = []
        for before, after in zip(channels[::-1], (*channels[-2::-1], depth), strict=True):
            layers += [
                nn.BatchNorm2d(before),
                nn.ReLU(),
                nn.ConvTranspose2d(before, after, 4, stride=2, padding=1),
            ]
        self.convolutions = nn.Sequential(*layers)

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """Generate images. The last layer is linear; `Adversarial.generate` adds tanh for discrete data."""
        return self.convolutions(self.start(z, c))

    def start(self, z: Tensor, c: Tensor | None) -> Tensor:
        """Compute the smallest maps."""
        return self.first(beside(z, c)).unflatten(1, self.small)

    def grow(self, i: int, maps: Tensor) -> Tensor:
        """Compute the next maps from the i-th maps, or the image from the last maps."""
        y: Tensor = self.convolutions[3 * i : 3 * i + 3](maps)
        return y


def _normalized(layer: nn.Module, spectral: bool) -> nn.Module:
    return spectral_norm(layer) if spectral else layer


class DCGAN(Adversarial):
    """A GAN for images, with two convolutional networks.

    Args:
        options: The options of the networks and of the game.
        event: The event of the data.
    """

    options: Options
    average: Generator

    def __init__(self, options: Options, event: Event):
        self.image = event.image(len(options.channels), "channels", "`gan` takes vectors")
        super().__init__(options, event, self.image)
        norms = any(isinstance(layer, nn.BatchNorm2d) for layer in self.D.modules())
        self.alone = not norms and not options.minibatch
        _, height, width = self.image
        self.places = maps_of([(height >> i, width >> i) for i in range(len(options.channels), 0, -1)])

    def discriminator(self) -> nn.Module:
        """Build D, which halves the image once per layer."""
        return Discriminator(self.options, self.image, self.context)

    def generator(self) -> nn.Module:
        """Build G, which doubles the smallest maps once per layer."""
        return Generator(self.options.latent + self.context, self.options.channels, self.image)

    def way(self) -> dict[str, Step]:
        """Return the steps z -> maps -> x, by the average."""
        G, names = self.average, [*self.places]

        def maps(i: int) -> Step:
            return lambda at: G.grow(i - 1, at[names[i - 1]]) if i else G.start(at["z"], self.condition(at))

        def x(at: Mapping[str, Tensor]) -> Tensor:
            y = G.grow(len(names) - 1, at[names[-1]])
            return self.original(y.tanh() if self.event.discrete else y)

        return {**{name: maps(i) for i, name in enumerate(names)}, "x": x}


def build(options: Options, event: Event) -> DCGAN:
    """Build the module in its initial state.

    Args:
        options: The options of the networks and of the game.
        event: The event of the data.

    Returns:
        The module, which `fit` then trains in place.
    """
    return DCGAN(options, event)
