"""Super-resolution by a game (SRGAN: Ledig et al., CVPR 2017), with parts of its successor (ESRGAN: Wang et al. 2018).

    stage `pixels`   min_G E |x - G(low)|
    stage `game`     min_G E |x - G(low)| + perceptual l_F + adversarial L_G,     min_D L_D              (eq. 3)

D sees x together with the enlarged low image. L is relativistic, for pairs of rows and samples. l_F is a distance of features. The
paper uses features of VGG, whose weights this plugin does not include. The default features are from D (Larsen et al. 2016). Your
own distribution can add a network by an entry point of the group `probgen_gan.features`.

G is the network of `srresnet`, with two more convolutions at the size of x after the pixel shuffle, to avoid checkerboard artifacts
(Odena et al. 2016). The fit keeps the network of the first stage: `mix` interpolates between its weights and the weights of the
game's network (ESRGAN, section 3.4).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Literal

import torch
import xarray as xr
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import leaky_relu, pixel_shuffle, pixel_unshuffle

from probgen import Event, Fitted, Rows, Run, hookimpl
from probgen.contract.options import Options as BaseOptions
from probgen.contract.options import only
from probgen.contract.patches import Patches
from probgen.contract.state import digest_of, state_of
from probgen.errors import InputError
from probgen.inference.training import rate
from probgen.models.bases.scaling import ENLARGING, check_channels, enlarged
from probgen.nn.residual import SMALL, Residual, conv
from probgen.nn.tiles import TILE, by_tiles
from probgen_gan.game import Player, Turn, play
from probgen_gan.given_images import (
    Deviation,
    check_images,
    critic,
    d_and_g,
    original,
    rows_of_noise,
    standardized,
    under_noise,
)
from probgen_gan.given_images import ScoreOptions as GivenScoreOptions
from probgen_gan.losses import LOSSES
from probgen_gan.translators import PatchDiscriminator

__all__ = ["SRGAN", "Options", "SampleOptions", "ScoreOptions", "accepts", "build", "fit", "sample", "score"]

accepts = frozenset({"size"})
# group of entry points: each is a function without arguments that returns a frozen module, x (row, 3, h, w) in -1 .. 1 -> features
FEATURES = "probgen_gan.features"
TOLD = 4.0  # factor of the difference between x and the enlarged low image in the input of D


class Unchanged:
    """The digest of a network that is not part of the model. A fit that resumes with another network raises `InputError`."""

    def __init__(self, net: nn.Module | None):
        self.sha256 = "" if net is None else digest_of(state_of(net))

    def state_dict(self) -> dict[str, str]:
        """Return the digest."""
        return {"sha256": self.sha256}

    def load_state_dict(self, state: dict[str, str]) -> None:
        """Compare the digest of a checkpoint, and raise `InputError` if it is from another network."""
        if state["sha256"] != self.sha256:
            raise InputError(
                "features: the network differs from the network at the start of the fit. Use the same network, or start a new fit."
            )


class Options(BaseOptions):
    """The options of `srgan`. The defaults suit one thread and a fit of a few minutes."""

    given: tuple[str, ...] = Field(("low",), description="name of the image that x is conditioned on")
    pixels: int = Field(2500, ge=1, description="training steps of the stage `pixels`")
    steps: int = Field(1500, ge=1, description="training steps of the stage `game`")
    patch: int = Field(96, ge=1, description="side of the training patches of x, in pixels")
    turned: bool = Field(True, description="rotate and mirror patches at random, in eight ways, in training")
    batch_size: int = Field(16, ge=1, description="patches per step of the stage `pixels`")
    game_batch_size: int = Field(8, ge=1, description="patches per step of the stage `game`")
    learning_rate: float = Field(
        1e-3, gt=0, description="Adam's learning rate in the stage `pixels`, with a cosine schedule"
    )
    game_rate: float = Field(2e-4, gt=0, description="Adam's learning rate for G in the stage `game`")
    d_rate: float = Field(2.0, gt=0, description="learning rate of D, as a multiple of G's")
    hold: float = Field(
        0.5, ge=0, lt=1, description="share of the game before its learning rate decreases linearly"
    )
    features: str = Field(
        "discriminator",
        description="network of the perceptual distance: discriminator, pixels (none), or a registered name",
    )
    perceptual: float = Field(0.005, ge=0, description="weight of the perceptual distance of features")
    adversarial: float = Field(0.001, ge=0, description="weight of the adversarial loss")
    average: float = Field(
        0.995, ge=0, lt=1, description="decay of the exponential average of G's weights in the game"
    )
    width: int = Field(32, ge=1, description="channels of G at the size of the low image")
    blocks: int = Field(8, ge=0, le=1000, description="residual blocks of G")
    shuffled: int = Field(8, ge=1, description="channels of G at the size of x")
    d_channels: tuple[int, ...] = Field(
        (24, 32, 48, 64),
        min_length=2,
        description="channels of D's layers; all except the first halve the image",
    )

    @model_validator(mode="after")
    def _used(self) -> Options:
        if len(self.given) != 1:
            raise ValueError(f"given = {list(self.given)}: give the name of exactly one image.")
        if any(n < 1 for n in self.d_channels):
            raise ValueError(f"d_channels = {self.d_channels}: give at least 1 channel for each layer.")
        if self.features == "pixels" and self.perceptual != type(self).model_fields["perceptual"].default:
            raise ValueError(
                f"perceptual = {self.perceptual} has no effect with features = 'pixels'. Omit perceptual."
            )
        return self


class SampleOptions(BaseOptions):
    """The options of `sample` of `srgan`."""

    mix: float = Field(
        1.0,
        ge=0,
        le=1,
        description="interpolation of G's weights: 0 stage `pixels`, 1 stage `game`",
    )


class ScoreOptions(GivenScoreOptions):
    """The options of `score` of `srgan`."""

    net: Literal["game", "pixels"] = Field(
        "game",
        description="stage of the network at the center of the normal (estimator normal only)",
        json_schema_extra=only(estimator="normal"),
    )


class Enlarger(nn.Module):
    """A network from standardized low images to standardized x: (row, channel, h, w) -> (row, out, scale h, scale w)."""

    def __init__(self, n: int, out: int, scale: int, o: Options):
        super().__init__()
        self.scale, self.out = scale, out
        self.trunk = Residual(n, o.width, o.blocks)
        self.tail = conv(o.width, o.shuffled * scale**2)
        with torch.no_grad():  # all pixels of a cell start with equal weights (Aitken et al. 2017)
            self.tail.weight.copy_(self.tail.weight[:: scale**2].repeat_interleave(scale**2, 0))
        self.refine, self.last = conv(o.shuffled, o.shuffled), conv(o.shuffled, out, SMALL)
        self.reach = max(self.trunk.reach + 1, ENLARGING) + -(-2 // scale)

    def up(self, low: Tensor) -> Tensor:
        """Enlarge low images by bicubic interpolation."""
        up = pixel_shuffle(enlarged(low, self.scale), self.scale)
        return up if up.shape[1] == self.out else up.expand(-1, self.out, -1, -1)

    def forward(self, low: Tensor) -> Tensor:
        """Compute x, the bicubic enlargement plus the output of the layers."""
        h = leaky_relu(pixel_shuffle(self.tail(self.trunk(low / 2)), self.scale), 0.2)
        y: Tensor = self.up(low) + 2 * self.last(leaky_relu(self.refine(h), 0.2))
        return y


class SRGAN(nn.Module):
    """The networks of SRGAN: G of each stage, the average of G in the game, and D.

    Args:
        options: The options of the networks and of the game.
        event: The event of the data.

    Attributes:
        pixels: G of the stage `pixels`.
        log_s: Logarithms of the standard deviations of x around the images of both stages, in levels, (net,).

    Raises:
        InputError: When x or the low image is not an image of integer levels, or when their channels do not match.
    """

    def __init__(self, options: Options, event: Event):
        super().__init__()
        self.options, self.event = options, event
        (self.name,) = options.given
        low = check_images(event, self.name)
        self.scale = low.scale or 1
        check_channels(self.name, low, event)
        self.pixels = Enlarger(low.channels, event.channels, self.scale, options)
        self.G, self.average = copy.deepcopy(self.pixels), copy.deepcopy(self.pixels)
        first, *halving = options.d_channels
        self.D = PatchDiscriminator(2 * event.channels, halving, full=first, spectral=True, bias=False)
        self.register_buffer("log_s", torch.zeros(2))
        self.log_s: Tensor
        self.dims = {"log_s": ("net",)}

    @property
    def deterministic(self) -> bool:
        """Whether all samples of one low image are equal, which is always true."""
        return True

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the networks."""
        return next(self.parameters()).dtype

    def low_of(self, given: Mapping[str, Tensor]) -> Tensor:
        """Return the standardized low images: (row, channel, h, w)."""
        return standardized(given[self.name], self.event.given[self.name].levels, self.dtype)

    def pairs(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the standardized low images and x."""
        return self.low_of(batch), standardized(batch["x"], self.event.levels, self.dtype)

    def seen(self, y: Tensor, up: Tensor) -> Tensor:
        """Return the input of D for images y and the enlarged low images."""
        return torch.cat([TOLD * (y - up), up], 1)

    def made(self, low: Tensor, mix: float, tile: int = TILE) -> Tensor:
        """Compute x tile by tile, in levels and not rounded.

        Args:
            low: Standardized low images, (row, channel, h, w).
            mix: Interpolation of the weights, from 0 (stage `pixels`) to 1 (stage `game`).
            tile: Side of a tile in pixels of the low image.

        Returns:
            x, (row, *event).
        """
        weights = {
            name: torch.lerp(a, b, mix)
            for (name, a), (_, b) in zip(
                self.pixels.state_dict().items(), self.average.state_dict().items(), strict=True
            )
        }

        def phases(low: Tensor) -> Tensor:
            y: Tensor = functional_call(self.pixels, weights, (low,))
            return pixel_unshuffle(y, self.scale)

        x = low.new_empty(len(low), self.event.channels * self.scale**2, *low.shape[-2:])
        for at, part in by_tiles(phases, (low,), self.pixels.reach, tile):
            x[(..., *at)] = part
        return original(pixel_shuffle(x, self.scale), self.event)


class Stages:
    """The players and losses of both stages."""

    def __init__(self, module: SRGAN, data: Rows, run: Run):
        self.module, self.run, self.options = module, run, module.options
        self.seen: dict[int, tuple[Tensor, Tensor, Tensor]] = {}  # low, x and low enlarged, of each part
        self.patches = Patches(data, self.options.patch, turned=self.options.turned)
        self.net = _network(self.options.features, module.pixels.last.weight)
        self.loss = LOSSES["relativistic"]

    def of_pixels(self) -> dict[str, Player]:
        """Return the player of the stage `pixels`."""
        o, net = self.options, self.module.pixels
        adam = torch.optim.Adam(net.parameters(), lr=o.learning_rate, betas=(0.9, 0.99), fused=True)
        return {
            "g": Player(
                net, adam, self.pixel_loss, rate=lambda gone: rate("cosine", gone), role="the generator G"
            )
        }

    def pixel_loss(self, turn: Turn) -> Tensor:
        """Compute |x - G(low)| for new patches."""
        low, x = self._pairs(turn, self.options.batch_size, "pixels")
        loss: Tensor = (self.module.pixels(low) - x).abs().mean()
        return loss

    def _pairs(self, turn: Turn, size: int, stage: str) -> tuple[Tensor, Tensor]:
        return self.module.pairs(self.run.rows(self.patches.batch(turn.number, size, stage)))

    def of_game(self) -> dict[str, Player]:
        """Return the players of the stage `game`, D and then G."""
        game_rate = self.options.game_rate
        return d_and_g(self.module, self.d_loss, self.g_loss, learning_rate=game_rate, betas=(0.5, 0.99))

    def d_loss(self, turn: Turn) -> Tensor:
        """Compute D's loss for new patches, and for G's images from their low images."""
        module = self.module
        low, x = self._pairs(turn, self.options.game_batch_size, "game")
        with torch.no_grad():
            up, y = module.pixels.up(low), module.G(low)
        self.seen[self.run.part] = low, x, up
        real, fake = (module.D(module.seen(image, up)) for image in (x, y))
        return self.loss.discriminator(real, fake).mean()

    def g_loss(self, turn: Turn) -> dict[str, Tensor]:
        """Compute G's loss and its parts for the same patches."""
        o, module, (low, x, up) = self.options, self.module, self.seen[self.run.part]
        y = module.G(low)
        with torch.no_grad():
            real, wanted = module.D.said(module.seen(x, up))
        fake, found = module.D.said(module.seen(y, up))
        if self.net is not None:
            wanted, found = _seen(self.net, x), _seen(self.net, y)
        parts = {"l1": (y - x).abs().mean() / 2, "adversarial": self.loss.generator(real, fake).mean()}
        total = parts["l1"] + o.adversarial * parts["adversarial"]
        if o.features != "pixels":
            parts["perceptual"] = distance(found, wanted)
            total = total + o.perceptual * parts["perceptual"]
        return {"loss": total, **parts}


def distance(found: list[Tensor], wanted: list[Tensor]) -> Tensor:
    """Compute the mean over layers of |a - b| / |b|, with each absolute value averaged over the layer."""
    parts = [
        (a - b.detach()).abs().mean() / (b.detach().abs().mean() + 1e-6)
        for a, b in zip(found, wanted, strict=True)
    ]
    return torch.stack(parts).mean()


def _network(name: str, like: Tensor) -> nn.Module | None:
    """Load a registered network, frozen, with the device and dtype of `like`. D's features and `pixels` need no network: None."""
    if name in ("discriminator", "pixels"):
        return None
    found = {entry.name: entry for entry in entry_points(group=FEATURES)}
    if name not in found:
        known = ", ".join(["discriminator", "pixels", *sorted(found)])
        raise InputError(
            f"features = {name!r}: known are {known}. Register your own network as an entry point of {FEATURES!r}."
        )
    net: nn.Module = found[name].load()()
    return net.to(like.device, like.dtype).requires_grad_(False).eval()


def _seen(net: nn.Module, x: Tensor) -> list[Tensor]:
    """Compute the features of x, (row, channel, height, width)."""
    said = net(x if x.shape[1] == 3 else x.expand(-1, 3, -1, -1))
    return [said] if isinstance(said, Tensor) else list(said)


@hookimpl
def fit(module: SRGAN, data: Rows, run: Run) -> None:
    """Play both stages, and then compute the deviations of x around the images of both networks.

    Args:
        module: The networks to fit, in place.
        data: Pairs of x and low image, with validation rows or without.
        run: The run of the fit.

    Raises:
        InputError: When the network of `features` is unknown, or differs from the network of a resumed fit.
        DivergedError: When a loss is not finite.
    """
    o, stages = module.options, Stages(module, data, run)
    play(run, stages.of_pixels(), o.pixels, stage="pixels")
    for net in (module.G, module.average):
        net.load_state_dict(module.pixels.state_dict())
    play(
        run,
        stages.of_game(),
        o.steps,
        stage="game",
        keep={"features": Unchanged(stages.net)},
    )
    deviations = Deviation(), Deviation()
    with torch.no_grad():
        for chunk in rows_of_noise(data, run).chunks(1):
            for mix, deviation in enumerate(deviations):
                deviation.add(module.made(module.low_of(chunk), float(mix)) - chunk["x"])
    module.log_s.copy_(torch.tensor([deviation.log for deviation in deviations]))


@hookimpl
def sample(
    fitted: Fitted, n: int, given: dict[str, Tensor], options: SampleOptions, run: Run
) -> dict[str, Tensor]:
    """Sample x = G(low), rounded. All samples of one low image are equal.

    Args:
        fitted: The fitted model.
        n: Number of samples.
        given: The low images, by name, (row, ...).
        options: Options of the sample hook.
        run: The run of the call.

    Returns:
        x in levels, (row, *event).
    """
    module = srgan(fitted)
    return {"x": module.made(module.low_of(given), options.mix).round()}


@hookimpl
def score(fitted: Fitted, data: dict[str, Tensor], options: ScoreOptions, run: Run) -> xr.Dataset:
    """Score rows by D, or by a normal around the image of a network.

    Args:
        fitted: The fitted model.
        data: Pairs of x and low image, by name, (row, ...).
        options: Options of the score.
        run: The run of the call.

    Returns:
        The surrogate `critic` (row,), or `log_prob` (row,) in nats.
    """
    module = srgan(fitted)
    low, x = module.pairs(data)
    if options.estimator == "normal":
        mix = 1 if options.net == "game" else 0
        return under_noise(data["x"], module.made(low, float(mix)), module.log_s[mix].exp(), module.event)
    return critic(module.D(module.seen(x, module.pixels.up(low))), "relativistic")


def srgan(fitted: Fitted) -> SRGAN:
    """Return the module of a fitted `srgan`. Another family raises `InputError`."""
    if not isinstance(fitted.module, SRGAN):
        raise InputError(f"family {fitted.family!r} is not srgan. Use a fitted srgan.")
    return fitted.module


def build(options: Options, event: Event) -> SRGAN:
    """Build the module in its initial state.

    Args:
        options: The options of the networks and of the game.
        event: The event of the data.

    Returns:
        The module, which `fit` then trains in place.
    """
    return SRGAN(options, event)
