"""Generators that make an image by layers, each of maps twice as large as those before: what `stylegan`, `progan` and `biggan` share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from probgen import Event, Fitted, Run, hookimpl
from probgen.contract.options import MeanOptions
from probgen.contract.places import At, Step, maps_of
from probgen.errors import DivergedError, InputError
from probgen_gan.adversarial import Adversarial, DuelOptions
from probgen_gan.searching import DRAWS, completed


class LayeredOptions(DuelOptions):
    """What can be chosen of networks and game."""

    latent: int = Field(64, ge=1, description="dimensions of z")
    channels: tuple[int, ...] = Field(
        (64, 64, 32, 16), description="of G's maps, from the smallest; each next one is twice as large"
    )
    batch_size: int = Field(16, ge=1, description="rows a step")
    average: float = Field(0.998, ge=0, lt=1, description="decay of the exponential average of G")
    r1_every: int = Field(
        1, ge=1, description="steps of D from one r1 to the next, which weighs as much more"
    )
    autocast: bool = Field(False, description="products in bfloat16; penalties on gradients are not")

    @model_validator(mode="after")
    def _layers(self) -> LayeredOptions:
        if not self.channels or any(n < 1 for n in self.channels):
            raise ValueError(f"channels = {self.channels}: at least one layer, each of at least 1 channel")
        if self.r1_every not in (1, type(self).model_fields["r1_every"].default) and not self.r1:
            raise ValueError(
                f"r1_every = {self.r1_every} has no effect without r1: give it, or leave this out"
            )
        return self


class HalvingOptions(LayeredOptions):
    """The same with a discriminator of its own channels."""

    d_channels: tuple[int, ...] = Field((32, 64, 128), description="of D, each halves the image")

    @model_validator(mode="after")
    def _halvings(self) -> HalvingOptions:
        if not self.d_channels or any(n < 1 for n in self.d_channels):
            raise ValueError(
                f"d_channels = {self.d_channels}: at least one layer, each of at least 1 channel"
            )
        return self


class Layered(Adversarial):
    """A generator of layers, and its discriminator.

    image  (channel, height, width)
    sides  height and width of the maps, from the smallest
    maps   the names of the places where they are
    """

    options: LayeredOptions
    alone = False
    judged = True

    def __init__(self, options: LayeredOptions, event: Event):
        doublings = len(options.channels) - 1
        self.image = event.image(doublings, "channels", "`gan` takes vectors")
        _, height, width = self.image
        self.sides = [(height >> i, width >> i) for i in range(doublings, -1, -1)]
        self.places = maps_of(self.sides)
        self.maps = [*self.places]
        super().__init__(options, event, self.image)

    @abstractmethod
    def way(self, noise: bool = False) -> dict[str, Step]:
        """How each place is made; with noise where layers have some."""

    @abstractmethod
    def latents_of(self, n: int, given: Mapping[str, Tensor], options: Any, run: Run) -> dict[str, Tensor]:
        """All latents of n draws that can be known: of z that is drawn, or of latents that are given."""

    def normal(self, n: int, run: Run) -> Tensor:
        """z ~ Normal(0, 1): (row, latent)."""
        return torch.randn(n, self.options.latent, device=run.device, dtype=run.dtype)

    def finished(self, y: Tensor) -> Tensor:
        """Standardized images of what the last layer gives, in the units of the data: (row, *event)."""
        y = y.to(self.dtype)
        return self.original(y.tanh() if self.event.discrete else y)

    def check_place(self, name: str, tensor: Tensor) -> None:
        """Of latents and maps."""
        shape = self.shapes().get(name)
        if shape is not None and tensor.shape[1:] != shape:
            of = " x ".join(map(str, tensor.shape[1:])) or "one number"
            raise InputError(f"{name}: {' x '.join(map(str, shape))} numbers a draw are needed, not {of}")

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of one draw at each place."""
        o = self.options
        maps = zip(self.maps, o.channels, self.sides, strict=True)
        return {"z": (o.latent,)} | {name: (n, *sides) for name, n, sides in maps}


def layered(fitted: Fitted) -> Layered:
    """The module of a generator with layers. Errors: `InputError` where it is none."""
    if not isinstance(fitted.module, Layered):
        raise InputError(f"family {fitted.family!r} has no generator with layers")
    return fitted.module


@hookimpl
def sample(fitted: Fitted, n: int, given: dict[str, Tensor], options: Any, run: Run) -> dict[str, Tensor]:
    """x and its latents, of z that is drawn or of whatever latents are given; x that is given is completed by a search."""
    module = layered(fitted)
    conditions = {name: given[name] for name in module.event.given}
    if "x" in given:
        many = max(DRAWS, options.restarts * n)
        which = torch.arange(many, device=run.device) % n
        drawn = module.latents_of(
            many, {name: v[which] for name, v in conditions.items()}, type(options)(), run
        )
        # of a condition z alone knows nothing: other codes would leave it
        latent = "z" if module.event.given else [*module.latents][-1]
        return completed(module, latent, drawn, given, options)
    given = {name: t.to(run.dtype) if name in module.latents else t for name, t in given.items()}
    for name, tensor in given.items():
        module.check_place(name, tensor)
    latents = module.latents_of(n, given, options, run)
    noise = isinstance(options, MeanOptions) and not options.mean
    x = At(module.way(noise), {**latents, **conditions}, "a draw")["x"]
    if not torch.isfinite(x).all():
        raise DivergedError("the generator gives what is not finite")
    return {"x": module.rounded(x), **latents}


class Projection(nn.Module):
    """What D says of features, and of how they suit a condition (Miyato & Koyama, ICLR 2018, eq. 3).

    f (row, n), c (row, context) -> (row,)
    """

    def __init__(self, out: nn.Module, embedding: nn.Module | None, scale: float = 1.0):
        super().__init__()
        self.out, self.embedding, self.scale = out, embedding, scale

    def forward(self, f: Tensor, c: Tensor | None) -> Tensor:
        """psi(f) + scale <V c, f>."""
        said: Tensor = self.out(f).squeeze(1)
        if c is None or self.embedding is None:
            return said
        return said + self.scale * (self.embedding(c) * f).sum(1)
