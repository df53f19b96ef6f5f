"""The base of `stylegan`, `progan` and `biggan`: generators of images with layers, each with maps twice as large as the last."""

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
    """The options that all generators with layers share."""

    latent: int = Field(64, ge=1, description="dimensions of z")
    channels: tuple[int, ...] = Field(
        (64, 64, 32, 16), description="channels of G's maps, from the smallest maps; sides double each time"
    )
    batch_size: int = Field(16, ge=1, description="rows per training step")
    average: float = Field(0.998, ge=0, lt=1, description="decay of the exponential average of G's weights")
    r1_every: int = Field(
        1, ge=1, description="D steps between r1 penalties; the weight of r1 is multiplied by it"
    )
    autocast: bool = Field(False, description="products in bfloat16, except in gradient penalties")

    @model_validator(mode="after")
    def _layers(self) -> LayeredOptions:
        if not self.channels or any(n < 1 for n in self.channels):
            raise ValueError(
                f"channels = {self.channels}: give at least one layer, and at least 1 channel for each layer."
            )
        if self.r1_every not in (1, type(self).model_fields["r1_every"].default) and not self.r1:
            raise ValueError(
                f"r1_every = {self.r1_every} has no effect without r1. Set r1, or omit r1_every."
            )
        return self


class HalvingOptions(LayeredOptions):
    """The options of generators with layers whose discriminator has its own channels."""

    d_channels: tuple[int, ...] = Field(
        (32, 64, 128), description="channels of D's layers; each layer halves the image"
    )

    @model_validator(mode="after")
    def _halvings(self) -> HalvingOptions:
        if not self.d_channels or any(n < 1 for n in self.d_channels):
            raise ValueError(
                f"d_channels = {self.d_channels}: give at least one layer, and at least 1 channel for each layer."
            )
        return self


class Layered(Adversarial):
    """The base of GANs for images whose generator has layers.

    Args:
        options: The options of the networks and of the game.
        event: The event of the data.

    Attributes:
        image: Shape of an image, (channel, height, width).
        sides: Height and width of the maps, from the smallest maps.
        maps: Names of the places with maps, from the smallest maps.
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
        """Return the steps from the latents to x.

        Args:
            noise: Whether layers add their noise.

        Returns:
            For each place, a function that computes its value from earlier places.
        """

    @abstractmethod
    def latents_of(self, n: int, given: Mapping[str, Tensor], options: Any, run: Run) -> dict[str, Tensor]:
        """Compute the latents of n samples, from sampled z or from given latents.

        Args:
            n: Number of samples.
            given: Latents and conditions by name, (row, ...).
            options: Options of the sample hook.
            run: The run of the call.

        Returns:
            All latents that can be computed, by name, (row, ...).
        """

    def normal(self, n: int, run: Run) -> Tensor:
        """Sample z ~ Normal(0, 1).

        Args:
            n: Number of samples.
            run: The run of the call.

        Returns:
            z, (row, latent).
        """
        return torch.randn(n, self.options.latent, device=run.device, dtype=run.dtype)

    def finished(self, y: Tensor) -> Tensor:
        """Convert the output of the last layer to units of the data.

        Args:
            y: Output of the last layer, (row, channel, height, width).

        Returns:
            Images, (row, *event).
        """
        y = y.to(self.dtype)
        return self.original(y.tanh() if self.event.discrete else y)

    def check_place(self, name: str, tensor: Tensor) -> None:
        """Check the shape of a latent or of maps.

        Args:
            name: Name of the place.
            tensor: Its values, (row, ...).

        Raises:
            InputError: When the shape is not the shape of this place.
        """
        shape = self.shapes().get(name)
        if shape is not None and tensor.shape[1:] != shape:
            of = " x ".join(map(str, tensor.shape[1:])) or "one number"
            raise InputError(
                f"{name}: {' x '.join(map(str, shape))} numbers per sample are needed, not {of}."
            )

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of one sample at each place.

        Returns:
            Shapes by name of the place.
        """
        o = self.options
        maps = zip(self.maps, o.channels, self.sides, strict=True)
        return {"z": (o.latent,)} | {name: (n, *sides) for name, n, sides in maps}


def layered(fitted: Fitted) -> Layered:
    """Return the module of a fitted GAN whose generator has layers. Another family raises `InputError`."""
    if not isinstance(fitted.module, Layered):
        raise InputError(
            f"family {fitted.family!r} has no generator with layers. Use a fitted stylegan, progan or biggan."
        )
    return fitted.module


@hookimpl
def sample(fitted: Fitted, n: int, given: dict[str, Tensor], options: Any, run: Run) -> dict[str, Tensor]:
    """Sample x and its latents, from sampled z or from given latents. An x that is given is completed by a search.

    Args:
        fitted: The fitted GAN.
        n: Number of samples.
        given: Conditions; and latents, or x with `observed`, by name, (row, ...).
        options: Options of the sample hook.
        run: The run of the call.

    Returns:
        x (row, *event) and its latents by name, (row, ...); for a given x also `search_error` (row,).

    Raises:
        InputError: When a given value does not suit the model.
        DivergedError: When the generator returns values that are not finite.
    """
    module = layered(fitted)
    conditions = {name: given[name] for name in module.event.given}
    if "x" in given:
        many = max(DRAWS, options.restarts * n)
        which = torch.arange(many, device=run.device) % n
        drawn = module.latents_of(
            many, {name: v[which] for name, v in conditions.items()}, type(options)(), run
        )
        # only z is independent of the conditions: a search over other codes could leave the condition
        latent = "z" if module.event.given else [*module.latents][-1]
        return completed(module, latent, drawn, given, options)
    given = {name: t.to(run.dtype) if name in module.latents else t for name, t in given.items()}
    for name, tensor in given.items():
        module.check_place(name, tensor)
    latents = module.latents_of(n, given, options, run)
    noise = isinstance(options, MeanOptions) and not options.mean
    x = At(module.way(noise), {**latents, **conditions}, "a sample")["x"]
    if not torch.isfinite(x).all():
        raise DivergedError(
            "x: the generator returns values that are not finite. Fit again with a lower learning_rate."
        )
    return {"x": module.rounded(x), **latents}


class Projection(nn.Module):
    """The output of D from features and their agreement with a condition (Miyato & Koyama, ICLR 2018, eq. 3).

    f (row, n), c (row, context) -> (row,)

    Args:
        out: Layer from features to one number, psi.
        embedding: Layer from conditions to n numbers, V, or None without conditions.
        scale: Factor of the agreement.
    """

    def __init__(self, out: nn.Module, embedding: nn.Module | None, scale: float = 1.0):
        super().__init__()
        self.out, self.embedding, self.scale = out, embedding, scale

    def forward(self, f: Tensor, c: Tensor | None) -> Tensor:
        """Compute psi(f) + scale <V c, f>."""
        said: Tensor = self.out(f).squeeze(1)
        if c is None or self.embedding is None:
            return said
        return said + self.scale * (self.embedding(c) * f).sum(1)
