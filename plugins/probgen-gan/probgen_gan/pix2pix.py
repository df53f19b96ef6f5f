"""Translation of images, learned from pairs (pix2pix: Isola, Zhu, Zhou & Efros, CVPR 2017).

    min_G max_D  L_GAN(G, D) + l1 E |x - G(source, z)|                              (eq. 4)

G is a U-net (section 3.2.1). D sees source and x together, patch by patch (section 3.2.2). In the paper, dropout is the source of
noise. Here the noise is z, which adapts every layer. Without `latent`, G is a deterministic function.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Literal

import torch
import xarray as xr
from pydantic import Field, model_validator
from torch import Tensor, nn

from probgen import Event, Fitted, Rows, Run, hookimpl
from probgen.contract.options import NoOptions
from probgen.contract.options import Options as BaseOptions
from probgen.contract.places import Step, decoded
from probgen.errors import DivergedError, InputError
from probgen_gan.game import Player, Turn, play
from probgen_gan.given_images import (
    Deviation,
    ScoreOptions,
    check_images,
    critic,
    d_and_g,
    original,
    rows_of_noise,
    standardized,
    under_noise,
)
from probgen_gan.losses import LOSSES
from probgen_gan.translators import Norm, PatchDiscriminator, UNet

__all__ = [
    "Options",
    "Pix2Pix",
    "SampleOptions",
    "ScoreOptions",
    "accepts",
    "build",
    "fit",
    "sample",
    "score",
]

accepts = frozenset({"size"})
SampleOptions = NoOptions


class Options(BaseOptions):
    """The options of `pix2pix`. The defaults suit images of 32 x 32 and one thread."""

    given: tuple[str, ...] = Field(("source",), description="name of the image that x is conditioned on")
    steps: int = Field(3000, ge=1, description="training steps of both networks")
    batch_size: int = Field(16, ge=1, description="rows per training step")
    loss: Literal["nonsaturating", "least_squares", "hinge"] = Field(
        "nonsaturating", description="adversarial loss of G and D, in addition to l1"
    )
    l1: float = Field(50.0, ge=0, description="weight of |x - G(source)|")
    learning_rate: float = Field(1e-3, gt=0, description="Adam's learning rate for G")
    d_rate: float = Field(0.4, gt=0, description="learning rate of D, as a multiple of G's")
    beta1: float = Field(0.5, ge=0, lt=1, description="Adam's beta1, for both networks")
    hold: float = Field(
        0.5, ge=0, lt=1, description="share of the steps before the learning rate decreases linearly"
    )
    average: float = Field(0.995, ge=0, lt=1, description="decay of the exponential average of G's weights")
    latent: int = Field(
        0, ge=0, description="dimensions of z, the variation beyond the source; 0: G is deterministic"
    )
    width: int = Field(24, ge=1, description="channels of G before the first halving")
    halvings: int = Field(3, ge=1, le=8, description="number of times that G halves the image")
    norm: Norm = Field("instance", description="normalization of G and D: instance or none")
    dropout: float = Field(
        0.3, ge=0, lt=1, description="share of channels of G's smallest maps dropped in training"
    )
    d_channels: tuple[int, ...] = Field(
        (32, 64), min_length=1, description="channels of D's layers; each layer halves the image"
    )
    mirrored: bool = Field(False, description="mirror pairs at random, left to right, in training")

    @model_validator(mode="after")
    def _used(self) -> Options:
        if len(self.given) != 1:
            raise ValueError(f"given = {list(self.given)}: give the name of exactly one image.")
        if any(n < 1 for n in self.d_channels):
            raise ValueError(f"d_channels = {self.d_channels}: give at least 1 channel for each layer.")
        return self


class Pix2Pix(nn.Module):
    """The networks G and D, and the average of G.

    Args:
        options: The options of the networks and of the game.
        event: The event of the data.

    Attributes:
        log_s: Logarithm of the standard deviation of x around the average's image, in levels.
        latents: Names and dimensions of the latents.

    Raises:
        InputError: When x or its source is not an image of integer levels, or when their sizes differ.
    """

    def __init__(self, options: Options, event: Event):
        super().__init__()
        self.options, self.event = options, event
        (self.name,) = options.given
        given = check_images(event, self.name)
        if (given.scale or 1) != 1:
            raise InputError(
                f"given {self.name!r} = {given}: the image must be as large as x. Use srgan or srresnet to enlarge images."
            )
        o, n = options, given.channels
        self.G = UNet(n, event.channels, o.width, o.halvings, o.norm, o.latent, o.dropout)
        self.average = copy.deepcopy(self.G)
        self.D = PatchDiscriminator(n + event.channels, o.d_channels, o.norm)
        self.register_buffer("log_s", torch.zeros(()))
        self.log_s: Tensor
        self.latents: Mapping[str, tuple[str, ...]] = {"z": ("latent",)} if o.latent else {}

    @property
    def deterministic(self) -> bool:
        """Whether all samples of one source are equal, which is true without z."""
        return not self.options.latent

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the networks."""
        return next(self.parameters()).dtype

    def source_of(self, given: Mapping[str, Tensor]) -> Tensor:
        """Return the standardized source: (row, channel, height, width)."""
        return standardized(given[self.name], self.event.given[self.name].levels, self.dtype)

    def z(self, n: int, like: Tensor) -> Tensor | None:
        """Sample z ~ Normal(0, 1), (row, latent), or return None without z."""
        latent = self.options.latent
        return torch.randn(n, latent, device=like.device, dtype=like.dtype) if latent else None

    def decode(self, start: Mapping[str, Tensor], until: str = "x") -> Tensor:
        """Compute x from z and a source, not rounded.

        Args:
            start: The source, and z if the model has z, by name, (row, ...).
            until: Name of the place to compute.

        Returns:
            x in levels, (row, *event).

        Raises:
            InputError: When a place is unknown, or when z has another shape.
        """
        return decoded(self.way(), start, until, [*self.latents, self.name])

    def way(self) -> dict[str, Step]:
        """Return the step x = G(source, z), by the average."""

        def x(at: Mapping[str, Tensor]) -> Tensor:
            z = at["z"].to(self.dtype) if self.latents else None
            if z is not None and z.shape[1:] != (self.options.latent,):
                raise InputError(
                    f"z: {self.options.latent} numbers per sample are needed, not {z.shape[1:].numel()}."
                )
            return original(self.average(self.source_of(at), z), self.event)

        return {"x": x}


class Pairs:
    """The players D and G. G receives the pairs of D's turn in the same step."""

    def __init__(self, module: Pix2Pix, data: Rows, run: Run):
        self.module, self.data, self.run, self.options = module, data, run, module.options
        self.seen: dict[int, tuple[Tensor, Tensor]] = {}  # x and source of each part
        self.size = min(self.options.batch_size, data.n)
        self.loss = LOSSES[self.options.loss]

    def players(self) -> dict[str, Player]:
        """Return the players, D and then G."""
        o = self.options
        betas = (o.beta1, 0.999)
        return d_and_g(self.module, self.d_loss, self.g_loss, learning_rate=o.learning_rate, betas=betas)

    def d_loss(self, turn: Turn) -> Tensor:
        """Compute D's loss for a new batch of pairs, and for G's images from the same sources."""
        module = self.module
        batch = self.run.rows(self.data.batch(turn.number, self.size))
        x, source = standardized(batch["x"], module.event.levels, module.dtype), module.source_of(batch)
        if self.options.mirrored:
            mirrored = (torch.rand(len(x), device=x.device) < 0.5)[:, None, None, None]
            x, source = torch.where(mirrored, x.flip(3), x), torch.where(mirrored, source.flip(3), source)
        self.seen[self.run.part] = x, source
        with torch.no_grad():
            y = module.G(source, module.z(len(x), x))
        said = module.D(torch.cat([source, x], 1)), module.D(torch.cat([source, y], 1))
        return self.loss.discriminator(*said).mean()

    def g_loss(self, turn: Turn) -> dict[str, Tensor]:
        """Compute G's loss and its parts for the same pairs."""
        module, (x, source) = self.module, self.seen[self.run.part]
        y = module.G(source, module.z(len(x), x))
        fake = module.D(torch.cat([source, y], 1))
        parts = {"adversarial": self.loss.generator(fake, fake).mean(), "l1": (y - x).abs().mean()}
        return {"loss": parts["adversarial"] + self.options.l1 * parts["l1"], **parts}


@hookimpl
def fit(module: Pix2Pix, data: Rows, run: Run) -> None:
    """Play the game, and then compute the deviation of x around G's image if there is no z.

    Args:
        module: The networks to fit, in place.
        data: Pairs of x and source, with validation rows or without.
        run: The run of the fit.

    Raises:
        InputError: When images have several sizes.
        DivergedError: When a loss is not finite.
    """
    if "size" in data.dataset:
        raise InputError("x has images of several sizes: the fit needs one size. Scale them with --size.")
    play(run, Pairs(module, data, run).players(), module.options.steps)
    if module.latents:
        return
    deviation = Deviation()
    with torch.no_grad():
        for chunk in rows_of_noise(data, run).chunks(256):
            deviation.add(module.decode({module.name: chunk[module.name]}) - chunk["x"])
    module.log_s.fill_(deviation.log)


@hookimpl
def sample(fitted: Fitted, n: int, given: dict[str, Tensor], options: Any, run: Run) -> dict[str, Tensor]:
    """Sample x = G(source, z), rounded. Without z, all samples of one source are equal.

    Args:
        fitted: The fitted model.
        n: Number of samples.
        given: The source, and optionally z, by name, (row, ...).
        options: There are no options.
        run: The run of the call.

    Returns:
        x in levels (row, *event), and z (row, latent) if the model has z.

    Raises:
        InputError: When z has another shape.
        DivergedError: When the generator returns values that are not finite.
    """
    module = pix2pix(fitted)
    latents: dict[str, Tensor] = {}
    if module.latents:
        z = given.get("z")
        latents["z"] = (
            torch.randn(n, module.options.latent, device=run.device, dtype=run.dtype) if z is None else z
        )
    x = module.decode({**latents, module.name: given[module.name]})
    if not torch.isfinite(x).all():
        raise DivergedError(
            "x: the generator returns values that are not finite. Fit again with a lower learning_rate."
        )
    return {"x": x.round(), **latents}


@hookimpl
def score(fitted: Fitted, data: dict[str, Tensor], options: ScoreOptions, run: Run) -> xr.Dataset:
    """Score rows by D, or by a normal around the image of a G without z.

    Args:
        fitted: The fitted model.
        data: Pairs of x and source, by name, (row, ...).
        options: Options of the score.
        run: The run of the call.

    Returns:
        The surrogate `critic` (row,), or `log_prob` (row,) in nats.

    Raises:
        InputError: When the estimator is `normal` and the model has z.
    """
    module = pix2pix(fitted)
    if options.estimator == "normal":
        if module.latents:
            raise InputError(
                "estimator = 'normal': with latent z, the result for a source is not one image. Use estimator = 'critic'."
            )
        return under_noise(
            data["x"], module.decode({module.name: data[module.name]}), module.log_s.exp(), module.event
        )
    x = standardized(data["x"], module.event.levels, module.dtype)
    return critic(module.D(torch.cat([module.source_of(data), x], 1)), module.options.loss)


def pix2pix(fitted: Fitted) -> Pix2Pix:
    """Return the module of a fitted `pix2pix`. Another family raises `InputError`."""
    if not isinstance(fitted.module, Pix2Pix):
        raise InputError(f"family {fitted.family!r} is not pix2pix. Use a fitted pix2pix.")
    return fitted.module


def build(options: Options, event: Event) -> Pix2Pix:
    """Build the module in its initial state.

    Args:
        options: The options of the networks and of the game.
        event: The event of the data.

    Returns:
        The module, which `fit` then trains in place.
    """
    return Pix2Pix(options, event)
