"""Super-resolution by a game (SRGAN: Ledig et al., CVPR 2017), with what came after it (ESRGAN: Wang et al. 2018).

    stage `pixels`   min_G E |x - G(low)|
    stage `game`     min_G E |x - G(low)| + perceptual l_F + adversarial L_G,     min_D L_D              (eq. 3)

D sees x beside the enlarged low. L is relativistic, of pairs. l_F is a distance of features: the paper's are VGG's, whose weights come with nothing
here; by default they are D's own (Larsen et al. 2016), and a distribution of your own can bring a network (entry points `probgen_gan.features`). The
network is that of `srresnet`, whose pixel shuffle is followed by two convolutions at the size of x, which leave no checkerboard (Odena et al. 2016). The
net of the first stage is kept: `mix` goes from it to that of the game, by weights (ESRGAN, section 3.4).
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
FEATURES = "probgen_gan.features"  # entry points: a function without arguments that returns a frozen module, x (row, 3, h, w) in -1 .. 1 -> features
TOLD = 4.0  # D is told x as so many times its difference from the enlarged low


class Unchanged:
    """A part of what a fit keeps: a network that is not the fit's own, by its digest. A resume with another one is refused."""

    def __init__(self, net: nn.Module | None):
        self.sha256 = "" if net is None else digest_of(state_of(net))

    def state_dict(self) -> dict[str, str]:
        """The digest."""
        return {"sha256": self.sha256}

    def load_state_dict(self, state: dict[str, str]) -> None:
        """Errors: `InputError` for another network."""
        if state["sha256"] != self.sha256:
            raise InputError(
                "features: the network is another one than when the fit began; use the same, or begin anew"
            )


class Options(BaseOptions):
    """What can be chosen of networks and game. The defaults suit one thread and some minutes."""

    given: tuple[str, ...] = Field(("low",), description="the image that x is conditioned on")
    pixels: int = Field(2500, ge=1, description="steps of the stage `pixels`")
    steps: int = Field(1500, ge=1, description="steps of the stage `game`")
    patch: int = Field(96, ge=1, description="pixels of x a side, that are fitted to together")
    turned: bool = Field(True, description="patches are turned and mirrored at random, in eight ways")
    batch_size: int = Field(16, ge=1, description="patches a step of the stage `pixels`")
    game_batch_size: int = Field(8, ge=1, description="patches a step of the game")
    learning_rate: float = Field(
        1e-3, gt=0, description="of Adam, of the stage `pixels`, which falls as a cosine"
    )
    game_rate: float = Field(2e-4, gt=0, description="of Adam, of G in the game")
    d_rate: float = Field(2.0, gt=0, description="learning rate of D, in those of G")
    hold: float = Field(
        0.5, ge=0, lt=1, description="share of the game before its learning rate falls linearly"
    )
    features: str = Field(
        "discriminator",
        description="of the perceptual distance: discriminator, pixels (none), or a registered network",
    )
    perceptual: float = Field(0.005, ge=0, description="weight of the distance of features")
    adversarial: float = Field(0.001, ge=0, description="weight of the game")
    average: float = Field(0.995, ge=0, lt=1, description="decay of the exponential average of G in the game")
    width: int = Field(32, ge=1, description="features of G")
    blocks: int = Field(8, ge=0, le=1000, description="residual blocks of G")
    shuffled: int = Field(8, ge=1, description="features of G at the size of x")
    d_channels: tuple[int, ...] = Field(
        (24, 32, 48, 64), min_length=2, description="of D; all but the first halve the image"
    )

    @model_validator(mode="after")
    def _used(self) -> Options:
        if len(self.given) != 1:
            raise ValueError(f"given = {list(self.given)}: the name of one image is needed")
        if any(n < 1 for n in self.d_channels):
            raise ValueError(f"d_channels = {self.d_channels}: at least 1 channel each")
        if self.features == "pixels" and self.perceptual != type(self).model_fields["perceptual"].default:
            raise ValueError(
                f"perceptual = {self.perceptual} has no effect with features = 'pixels': leave it out"
            )
        return self


class SampleOptions(BaseOptions):
    """Which network makes x."""

    mix: float = Field(
        1.0,
        ge=0,
        le=1,
        description="weights of G: 0 those of the stage `pixels`, 1 those of the game, between them their mixture",
    )


class ScoreOptions(GivenScoreOptions):
    """What is said of a row, and of which network."""

    net: Literal["game", "pixels"] = Field(
        "game",
        description="normal: the network around whose image x is",
        json_schema_extra=only(estimator="normal"),
    )


class Enlarger(nn.Module):
    """low standardized to x standardized: (row, channel, h, w) -> (row, out, scale h, scale w)."""

    def __init__(self, n: int, out: int, scale: int, o: Options):
        super().__init__()
        self.scale, self.out = scale, out
        self.trunk = Residual(n, o.width, o.blocks)
        self.tail = conv(o.width, o.shuffled * scale**2)
        with torch.no_grad():  # all pixels of a cell begin alike (Aitken et al. 2017)
            self.tail.weight.copy_(self.tail.weight[:: scale**2].repeat_interleave(scale**2, 0))
        self.refine, self.last = conv(o.shuffled, o.shuffled), conv(o.shuffled, out, SMALL)
        self.reach = max(self.trunk.reach + 1, ENLARGING) + -(-2 // scale)

    def up(self, low: Tensor) -> Tensor:
        """Bicubic."""
        up = pixel_shuffle(enlarged(low, self.scale), self.scale)
        return up if up.shape[1] == self.out else up.expand(-1, self.out, -1, -1)

    def forward(self, low: Tensor) -> Tensor:
        """Added to the bicubic enlargement."""
        h = leaky_relu(pixel_shuffle(self.tail(self.trunk(low / 2)), self.scale), 0.2)
        y: Tensor = self.up(low) + 2 * self.last(leaky_relu(self.refine(h), 0.2))
        return y


class SRGAN(nn.Module):
    """The net of pixels, that of the game with its average, and D. log_s: logarithms of deviations of x around the images of both, in levels."""

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
        """All draws of one image are equal."""
        return True

    @property
    def dtype(self) -> torch.dtype:
        """Of the networks."""
        return next(self.parameters()).dtype

    def low_of(self, given: Mapping[str, Tensor]) -> Tensor:
        """Standardized: (row, channel, h, w)."""
        return standardized(given[self.name], self.event.given[self.name].levels, self.dtype)

    def pairs(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """low and x, standardized."""
        return self.low_of(batch), standardized(batch["x"], self.event.levels, self.dtype)

    def seen(self, y: Tensor, up: Tensor) -> Tensor:
        """What D sees."""
        return torch.cat([TOLD * (y - up), up], 1)

    def made(self, low: Tensor, mix: float, tile: int = TILE) -> Tensor:
        """x by tiles, in levels and not rounded: (row, *event)."""
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
    """The players of both stages."""

    def __init__(self, module: SRGAN, data: Rows, run: Run):
        self.module, self.run, self.options = module, run, module.options
        self.seen: dict[int, tuple[Tensor, Tensor, Tensor]] = {}  # low, x and low enlarged, of each part
        self.patches = Patches(data, self.options.patch, turned=self.options.turned)
        self.net = _network(self.options.features, module.pixels.last.weight)
        self.loss = LOSSES["relativistic"]

    def of_pixels(self) -> dict[str, Player]:
        """One player."""
        o, net = self.options, self.module.pixels
        adam = torch.optim.Adam(net.parameters(), lr=o.learning_rate, betas=(0.9, 0.99), fused=True)
        return {
            "g": Player(
                net, adam, self.pixel_loss, rate=lambda gone: rate("cosine", gone), role="the generator G"
            )
        }

    def pixel_loss(self, turn: Turn) -> Tensor:
        """|x - G(low)|."""
        low, x = self._pairs(turn, self.options.batch_size, "pixels")
        loss: Tensor = (self.module.pixels(low) - x).abs().mean()
        return loss

    def _pairs(self, turn: Turn, size: int, stage: str) -> tuple[Tensor, Tensor]:
        return self.module.pairs(self.run.rows(self.patches.batch(turn.number, size, stage)))

    def of_game(self) -> dict[str, Player]:
        """D, then G."""
        game_rate = self.options.game_rate
        return d_and_g(self.module, self.d_loss, self.g_loss, learning_rate=game_rate, betas=(0.5, 0.99))

    def d_loss(self, turn: Turn) -> Tensor:
        """Of new patches, and of what G makes of their low."""
        module = self.module
        low, x = self._pairs(turn, self.options.game_batch_size, "game")
        with torch.no_grad():
            up, y = module.pixels.up(low), module.G(low)
        self.seen[self.run.part] = low, x, up
        real, fake = (module.D(module.seen(image, up)) for image in (x, y))
        return self.loss.discriminator(real, fake).mean()

    def g_loss(self, turn: Turn) -> dict[str, Tensor]:
        """Of the same patches: the loss and its parts."""
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
    """The mean over layers of |a - b| in those of b."""
    parts = [
        (a - b.detach()).abs().mean() / (b.detach().abs().mean() + 1e-6)
        for a, b in zip(found, wanted, strict=True)
    ]
    return torch.stack(parts).mean()


def _network(name: str, like: Tensor) -> nn.Module | None:
    """The network that is registered by name, frozen, where and as precise as `like` is; None for D's features, or none. Errors: `InputError`."""
    if name in ("discriminator", "pixels"):
        return None
    found = {entry.name: entry for entry in entry_points(group=FEATURES)}
    if name not in found:
        known = ", ".join(["discriminator", "pixels", *sorted(found)])
        raise InputError(
            f"features = {name!r}: known are {known}; register a network of your own as an entry point of {FEATURES!r}"
        )
    net: nn.Module = found[name].load()()
    return net.to(like.device, like.dtype).requires_grad_(False).eval()


def _seen(net: nn.Module, x: Tensor) -> list[Tensor]:
    """Features of x: (row, channel, height, width)."""
    said = net(x if x.shape[1] == 3 else x.expand(-1, 3, -1, -1))
    return [said] if isinstance(said, Tensor) else list(said)


@hookimpl
def fit(module: SRGAN, data: Rows, run: Run) -> None:
    """Both stages; then the deviations of x around what both networks make."""
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
    """x = G(low), rounded: all draws of one image are equal."""
    module = srgan(fitted)
    return {"x": module.made(module.low_of(given), options.mix).round()}


@hookimpl
def score(fitted: Fitted, data: dict[str, Tensor], options: ScoreOptions, run: Run) -> xr.Dataset:
    """`critic`; or `log_prob` under a normal around what a network makes."""
    module = srgan(fitted)
    low, x = module.pairs(data)
    if options.estimator == "normal":
        mix = 1 if options.net == "game" else 0
        return under_noise(data["x"], module.made(low, float(mix)), module.log_s[mix].exp(), module.event)
    return critic(module.D(module.seen(x, module.pixels.up(low))), "relativistic")


def srgan(fitted: Fitted) -> SRGAN:
    """The module. Errors: `InputError` where it is none."""
    if not isinstance(fitted.module, SRGAN):
        raise InputError(f"family {fitted.family!r} is no SRGAN")
    return fitted.module


def build(options: Options, event: Event) -> SRGAN:
    """The module in its initial state."""
    return SRGAN(options, event)
