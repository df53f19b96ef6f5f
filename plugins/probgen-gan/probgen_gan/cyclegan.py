"""Translation between two kinds of images, learned without pairs (CycleGAN: Zhu, Park, Isola & Efros, ICCV 2017).

    y = T_1(x),  x = T_0(y)            x of kind 0, y of kind 1; D_0 and D_1 distinguish real and translated images, patch by patch

    loss of T = L_GAN(T_1, D_1) + L_GAN(T_0, D_0)
              + cycle (|T_0(T_1(x)) - x| + |T_1(T_0(y)) - y|)              (eq. 2)
              + identity (|T_1(y) - y| + |T_0(x) - x|)                     (section 5.2; default 0: it keeps colors unchanged)

L_GAN is least squares: (D(T(x)) - 1)^2 for T, and the half of (D(y) - 1)^2 + D(T(x))^2 for D. D sees past translations in addition
to new ones (section 4). Rows are images of both kinds, and `label` is the kind. The image to translate is a latent without a prior,
`source`: `sample(given={"source": horses, "label": 1})`.

A small cycle error does not show that a translation is correct: T_1 can hide information about x in y (Chu et al. 2017). With
`latent`, the information about x that y lacks is z ~ Normal(0, 1). An encoder infers z from both images (Augmented CycleGAN:
Almahairi et al., ICML 2018):

    x = T_0(y, z),  z ~ E_0(x, y)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import xarray as xr
from matplotlib.figure import Figure
from pydantic import Field, model_validator
from torch import Tensor, nn

from probgen import Event, Fitted, Rows, Run, hookimpl
from probgen.contract.options import NoOptions
from probgen.contract.options import Options as BaseOptions
from probgen.contract.places import Step, decoded
from probgen.contract.rows import evenly
from probgen.errors import DivergedError, InputError
from probgen.inference.training import rate
from probgen_gan.game import Player, Turn, play
from probgen_gan.given_images import check_levels, original, standardized
from probgen_gan.pool import Pool
from probgen_gan.translators import Norm, PatchDiscriminator, Translator

__all__ = ["CycleGAN", "Options", "SampleOptions", "accepts", "build", "fit", "pictures", "sample", "score"]

accepts = frozenset({"size", "pair"})
needed = {"source": "an image of the other kind"}
SampleOptions = NoOptions
FLOOR = 0.01  # final learning rate, as a share of the initial one
DISTURBED = (
    8 / 255
)  # deviation of noise on an image before its translation back, as a share of the range of levels
SHOWN = 8  # images of each kind in a figure


class Options(BaseOptions):
    """The options of `cyclegan`. The defaults suit images of 16 to 64 pixels and one thread."""

    given: tuple[str, ...] = Field(("label",), description="condition with the kind of an image, 0 or 1")
    steps: int = Field(4000, ge=1, description="training steps of all networks")
    batch_size: int = Field(16, ge=1, description="images of each kind per training step")
    learning_rate: float = Field(1e-3, gt=0, description="Adam's learning rate, for all networks")
    beta1: float = Field(0.5, ge=0, lt=1, description="Adam's beta1, for all networks")
    hold: float = Field(
        0.5, ge=0, lt=1, description="share of the steps before the learning rate decreases linearly"
    )
    cycle: float = Field(10.0, ge=0, description="weight of the cycle error, translation and back")
    identity: float = Field(
        0.0, ge=0, description="weight of the change when an image is translated to its own kind"
    )
    pool: int = Field(50, ge=0, description="past translations that the discriminators see again")
    latent: int = Field(
        0,
        ge=0,
        description="dimensions of z, the variation beyond the source; 0: translators are deterministic",
    )
    kl: float = Field(
        0.01, ge=0, description="weight of the KL divergence of the encoders' z from its prior, in nats"
    )
    width: int = Field(20, ge=1, description="channels of the translators before the first halving")
    blocks: int = Field(1, ge=0, le=100, description="residual blocks of each translator")
    halvings: int = Field(0, ge=0, le=6, description="number of times that a translator halves the image")
    norm: Norm = Field(
        "none",
        description="normalization; with instance, each pixel depends on the whole image",
    )
    d_channels: tuple[int, ...] = Field(
        (24, 48),
        min_length=1,
        description="channels of the discriminators' layers; each layer halves the image",
    )
    mirrored: bool = Field(False, description="mirror images at random, left to right, in training")

    @model_validator(mode="after")
    def _used(self) -> Options:
        if len(self.given) != 1:
            raise ValueError(
                f"given = {list(self.given)}: give the name of exactly one condition, the kind of an image."
            )
        if not self.latent and self.kl != type(self).model_fields["kl"].default:
            raise ValueError(f"kl = {self.kl} has no effect without latent. Set latent, or omit kl.")
        if not self.cycle and self.latent:
            raise ValueError(
                f"latent = {self.latent}: z is learned from the cycle error, but cycle = 0. Set cycle, or omit latent."
            )
        if any(n < 1 for n in self.d_channels):
            raise ValueError(f"d_channels = {self.d_channels}: give at least 1 channel for each layer.")
        return self


class Encoder(nn.Module):
    """An encoder of z from an image and its source, (row, n, h, w) each, to mean and log standard deviation, (row, latent) each."""

    def __init__(self, channels: int, width: int, latent: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(2 * channels, width, 3, padding=1), nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 4, 2, 1), nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 2 * width, 4, 2, 1), nn.LeakyReLU(0.2),
        )  # fmt: skip
        self.out = nn.Linear(2 * width, 2 * latent)

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Compute mean and log standard deviation of z from features that are averaged over pixels."""
        mean, log_s = self.out(self.layers(torch.cat([x, y], 1)).mean((2, 3))).chunk(2, 1)
        return mean, log_s.clamp(-5, 2)


class CycleGAN(nn.Module):
    """The networks of a CycleGAN: two translators T, two discriminators D and, with z, two encoders E.

    The k-th translator creates images of kind k. The k-th discriminator and the k-th encoder receive images of kind k.

    Args:
        options: The options of the networks and of the game.
        event: The event of the data.

    Attributes:
        latents: Names and dimensions of the latents.

    Raises:
        InputError: When x is not an image of integer levels, or when the condition does not have two kinds.
    """

    def __init__(self, options: Options, event: Event):
        super().__init__()
        self.options, self.event = options, event
        (self.name,) = options.given
        kinds = event.given[self.name]
        check_levels("x", event)
        if kinds.dims or kinds.levels != 2:
            raise InputError(f"{self.name} = {kinds}: it must state which of two kinds an image is, 0 or 1.")
        o, n = options, event.channels
        self.T = nn.ModuleList(
            Translator(n, n, o.width, o.blocks, o.halvings, o.norm, o.latent) for _ in range(2)
        )
        self.D = nn.ModuleList(PatchDiscriminator(n, o.d_channels, o.norm) for _ in range(2))
        self.E = nn.ModuleList(Encoder(n, o.width, o.latent) for _ in range(2 if o.latent else 0))
        dims = tuple(f"source_{dim}" for dim in event.dims)
        self.latents: Mapping[str, tuple[str, ...]] = {"source": dims} | (
            {"z": ("latent",)} if o.latent else {}
        )

    @property
    def deterministic(self) -> bool:
        """Whether all samples of one source are equal, which is true without z."""
        return not self.options.latent

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the networks."""
        return next(self.parameters()).dtype

    def standardized(self, x: Tensor) -> Tensor:
        """Scale levels to -1 .. 1: (row, *event) -> (row, channel, height, width)."""
        return standardized(x, self.event.levels, self.dtype)

    def translated(self, x: Tensor, kind: Tensor, z: Tensor | None) -> Tensor:
        """Translate standardized images x to the kinds `kind` (row,)."""
        y = torch.empty_like(x)
        for k, translator in enumerate(self.T):
            rows = (kind == k).nonzero()[:, 0]
            if len(rows):
                y[rows] = translator(x[rows], None if z is None else z[rows])
        return y

    def told(self, x: Tensor, y: Tensor, kind: Tensor) -> Tensor | None:
        """Return the encoder's mean of the z that translates y to x, an image of kind `kind`; or None without z."""
        if not self.options.latent:
            return None
        means = torch.stack([encoder(x, y)[0] for encoder in self.E])
        return means[kind, torch.arange(len(x), device=x.device)]

    def decode(self, start: Mapping[str, Tensor], until: str = "x") -> Tensor:
        """Compute x from a source, a kind and z, not rounded.

        Args:
            start: `source`, the kind of x, and z if the model has z, by name, (row, ...).
            until: Name of the place to compute.

        Returns:
            x in levels, (row, *event).

        Raises:
            InputError: When a place is unknown, or when z or the source has another shape.
        """
        return decoded(self.way(), start, until, [*self.latents, self.name])

    def way(self) -> dict[str, Step]:
        """Return the step x = T_k(source, z)."""

        def x(at: Mapping[str, Tensor]) -> Tensor:
            source = self.standardized(at["source"])
            z = at["z"].to(self.dtype) if self.options.latent else None
            if z is not None and z.shape[1:] != (self.options.latent,):
                raise InputError(
                    f"z: {self.options.latent} numbers per sample are needed, not {z.shape[1:].numel()}."
                )
            if source.shape[1] != self.event.channels:
                raise InputError(
                    f"source: {source.shape[1]} channels; the fit has images of {self.event.channels}. Convert the source."
                )
            return original(self.translated(source, at[self.name].long(), z), self.event)

        return {"x": x}


class Cycle:
    """The players of the game: translators with encoders, then discriminators, which see the translations of the same step."""

    fakes: list[Tensor]
    reals: list[Tensor]

    def __init__(self, module: CycleGAN, data: Rows):
        self.module, self.options = module, module.options
        label = data.dataset[module.name].values
        self.rows = [data.some(np.flatnonzero(label == kind)) for kind in (0, 1)]
        for kind, rows in enumerate(self.rows):
            if not rows.n:
                raise InputError(f"{module.name}: no image is of kind {kind}. Give images of both kinds.")
        self.size = min(self.options.batch_size, *(rows.n for rows in self.rows))
        self.pools = [Pool(self.options.pool) for _ in range(2)]

    def players(self) -> dict[str, Player]:
        """Return the players: one with translators and encoders, one with the discriminators."""
        o, module = self.options, self.module

        def adam(net: nn.Module) -> torch.optim.Adam:
            return torch.optim.Adam(net.parameters(), lr=o.learning_rate, betas=(o.beta1, 0.999), fused=True)

        def factor(gone: float) -> float:
            return rate("linear", gone, o.hold, FLOOR)

        made = nn.ModuleDict({"T": module.T, "E": module.E})
        return {
            "g": Player(made, adam(made), self.g_loss, rate=factor, role="the translators T"),
            "d": Player(module.D, adam(module.D), self.d_loss, rate=factor, role="the discriminators D"),
        }

    def g_loss(self, turn: Turn) -> dict[str, Tensor]:
        """Compute the translators' loss and its parts for new rows of both kinds."""
        o, module, size = self.options, self.module, self.size
        self.reals = [
            self._seen(rows.batch(turn.number, size, f"kind-{k}")["x"]) for k, rows in enumerate(self.rows)
        ]
        self.parts: dict[str, Tensor] = {}
        self.fakes = []
        for kind in (0, 1):
            source = self.reals[1 - kind]
            z = torch.randn(size, o.latent, device=source.device, dtype=source.dtype) if o.latent else None
            fake = module.T[kind](source, z)
            self.fakes.append(fake)
            self._add("adversarial", (module.D[kind](fake) - 1).square().mean())
            if o.cycle:
                self._cycle(kind, source, fake, z)
            if o.identity:
                real = self.reals[kind]
                self._add("identity", (module.T[kind](real, z) - real).abs().mean())
        p = self.parts
        total = p["adversarial"] + o.identity * p.get("identity", 0)
        total = total + o.cycle * (p.get("cycle", 0) + p.get("z_error", 0)) + o.kl * p.get("z_divergence", 0)
        assert isinstance(total, Tensor)
        return {"loss": total, **p}

    def _cycle(self, kind: int, source: Tensor, fake: Tensor, z: Tensor | None) -> None:
        """Add the cycle error; with z also the error of the encoded z, and the divergence of the encoded z from the prior."""
        module = self.module
        back = None
        if z is not None:
            mean, log_s = module.E[1 - kind](source, fake)
            back = mean + log_s.exp() * torch.randn_like(mean)
            self._add("z_divergence", (0.5 * (mean.square() + (2 * log_s).exp() - 1) - log_s).sum(1).mean())
            self._add("z_error", (module.E[kind](fake, source)[0] - z).abs().mean() / 2)
        self._add("cycle", (module.T[1 - kind](fake, back) - source).abs().mean())

    def d_loss(self, turn: Turn) -> Tensor:
        """Compute the discriminators' loss for the same rows, and for translations from the pools."""
        total = self.reals[0].new_zeros(())
        for discriminator, real, fake, pool in zip(
            self.module.D, self.reals, self.fakes, self.pools, strict=True
        ):
            old = pool.exchange(fake.detach())
            total = total + 0.5 * (
                (discriminator(real) - 1).square().mean() + discriminator(old).square().mean()
            )
        return total

    def _add(self, name: str, value: Tensor) -> None:
        self.parts[name] = self.parts[name] + value if name in self.parts else value

    def _seen(self, x: Tensor) -> Tensor:
        y = self.module.standardized(x)
        if not self.options.mirrored:
            return y
        mirrored = torch.rand(len(y), device=y.device) < 0.5
        return torch.where(mirrored[:, None, None, None], y.flip(3), y)


@hookimpl
def fit(module: CycleGAN, data: Rows, run: Run) -> None:
    """Fit both translators by the game of section 3.4.

    Args:
        module: The networks to fit, in place.
        data: Images of both kinds.
        run: The run of the fit.

    Raises:
        InputError: When images have several sizes, when a kind has no image, or when batches have several parts.
        DivergedError: When a loss is not finite.
    """
    if "size" in data.dataset:
        raise InputError("x has images of several sizes: the fit needs one size. Scale them with --size.")
    if run.parts > 1:
        raise InputError(
            f"parts = {run.parts}: cyclegan has pools of past translations, which need whole batches. Fit it on one process."
        )
    cycle = Cycle(module, data)
    keep = {f"pool-{kind}": pool for kind, pool in enumerate(cycle.pools)}
    play(run, cycle.players(), module.options.steps, keep=keep)


@hookimpl
def sample(fitted: Fitted, n: int, given: dict[str, Tensor], options: Any, run: Run) -> dict[str, Tensor]:
    """Sample x = T_k(source, z), rounded. Without z, all samples of one source are equal.

    Args:
        fitted: The fitted model.
        n: Number of samples.
        given: `source`, the kind of x, and optionally z, by name, (row, ...).
        options: There are no options.
        run: The run of the call.

    Returns:
        x in levels (row, *event), `source`, and z (row, latent) if the model has z.

    Raises:
        InputError: When the source is not of integer levels, or when z or the source has another shape.
        DivergedError: When the translator returns values that are not finite.
    """
    module = cyclegan(fitted)
    _check_levels(given["source"], module.event.levels or 2)
    latents = {"source": given["source"]}
    if module.options.latent:
        z = given.get("z")
        latents["z"] = (
            torch.randn(n, module.options.latent, device=run.device, dtype=run.dtype) if z is None else z
        )
    x = module.decode({**latents, module.name: given[module.name]})
    if not torch.isfinite(x).all():
        raise DivergedError(
            "x: the translator returns values that are not finite. Fit again with a lower learning_rate."
        )
    return {"x": x.round(), **latents}


def _check_levels(source: Tensor, levels: int) -> None:
    """Check that a source has whole numbers from 0 to levels - 1, and raise `InputError` otherwise."""
    whole = (source >= 0) & (source <= levels - 1) & (source == source.round())  # False for NaN
    if whole.all():
        return
    value = float(source[~whole][0])
    hint = ""
    if bool((source >= 0).all()) and float(source.max()) <= 1:
        hint = f" The values seem to be from 0 to 1 and would come out black: multiply by {levels - 1} and round."
    raise InputError(f"source = {value:g}: allowed is a whole number from 0 to {levels - 1}.{hint}")


@hookimpl
def score(fitted: Fitted, data: dict[str, Tensor], options: Any, run: Run) -> xr.Dataset:
    """Score rows without a likelihood, by the errors of translations in dB of the range of levels.

    `cycle` compares x with its translation to the other kind and back. `cycle_disturbed` adds noise of 8/255 before the
    way back. `critic` is the output of D.

    If the data have `pair`, x as an image of the other kind, `translation` compares the translation of x with its pair.
    `hidden` is the cycle from the translation minus the cycle from the pair. It measures the information about x that T
    hides in the translation; 0 means that nothing is hidden.

    Args:
        fitted: The fitted model.
        data: x, its kind, and optionally `pair`, by name, (row, ...).
        options: There are no options.
        run: The run of the call.

    Returns:
        The surrogates by name, (row,).
    """
    module = cyclegan(fitted)
    x, kind = module.standardized(data["x"]), data[module.name].long()
    z = (
        torch.randn(len(x), module.options.latent, device=x.device, dtype=x.dtype)
        if module.options.latent
        else None
    )
    y = module.translated(x, 1 - kind, z)
    y = module.standardized(original(y, module.event).round())
    noise = 2 * DISTURBED * torch.randn_like(y)

    def back(y: Tensor) -> Tensor:
        return decibels(module.translated(y, kind, module.told(x, y, kind)), x)

    said = torch.stack([discriminator(x).flatten(1).mean(1) for discriminator in module.D])
    found = {
        "cycle": (back(y), "an image translated to the other kind and back, compared with itself", "dB"),
        "cycle_disturbed": (
            back((y + noise).clamp(-1, 1)),
            "an image translated to the other kind and back with noise of 8/255 of the range, compared with itself",
            "dB",
        ),
        "critic": (
            said[kind, torch.arange(len(x), device=x.device)],
            "mean output of the discriminator over patches",
            "",
        ),
    }
    if "pair" in data:
        pair = module.standardized(data["pair"])
        found["translation"] = (
            decibels(y, pair),
            "an image translated to the other kind, compared with its pair",
            "dB",
        )
        found["hidden"] = (
            found["cycle"][0] - back(pair),
            "the cycle from the translation minus the cycle from the pair",
            "dB",
        )
    return xr.Dataset(
        {
            name: (
                "row",
                values.cpu().numpy(),
                {"kind": "surrogate", "estimator": "cyclegan", "long_name": words, "unit": unit},
            )
            for name, (values, words, unit) in found.items()
        }
    )


def decibels(x: Tensor, truth: Tensor) -> Tensor:
    """Compute the peak signal-to-noise ratio of standardized images in dB, at most 120: (row,)."""
    error = (x - truth).square().flatten(1).mean(1).clamp(min=4e-12)
    return 10 * torch.log10(4 / error)


def cyclegan(fitted: Fitted) -> CycleGAN:
    """Return the module of a fitted `cyclegan`. Another family raises `InputError`."""
    if not isinstance(fitted.module, CycleGAN):
        raise InputError(f"family {fitted.family!r} is not cyclegan. Use a fitted cyclegan.")
    return fitted.module


def pictures(fitted: Fitted, data: xr.Dataset, *, seed: int, device: str | None) -> dict[str, Figure]:
    """Plot images of both kinds, their translations, and the translations back.

    Args:
        fitted: The fitted model.
        data: Images of both kinds.
        seed: Seed of the samples.
        device: Device of the samples, or None for the default.

    Returns:
        The figure `translations`, by name.

    Raises:
        InputError: When images have several sizes.
    """
    from probgen import figures  # Matplotlib is only needed here
    from probgen import sample as draw

    module, lines = cyclegan(fitted), []
    if "size" in data:
        raise InputError("x has images of several sizes: the figure needs one size. Scale them with --size.")
    for kind in (0, 1):
        rows = evenly(data.isel(row=np.flatnonzero(data[module.name].values == kind)), SHOWN)
        x = rows["x"].values
        there = draw(
            fitted, given={"source": x, module.name: np.full(len(x), 1 - kind)}, seed=seed, device=device
        )["x"].values[0]
        back = draw(
            fitted, given={"source": there, module.name: np.full(len(x), kind)}, seed=seed, device=device
        )["x"].values[0]
        lines.append(np.stack([x, there, back]))
    names = ["x", "translated", "and back"]
    whole = np.concatenate(lines, 1)
    shown = Event(module.event.dims, whole.shape[2:], "integer", module.event.levels)
    title = figures.of_model(fitted, "Images of both kinds, translated and back")
    return {"translations": figures.columns(list(whole), names, shown, title)}


def of_rows(options: Options, rows: xr.Dataset) -> dict[str, np.ndarray]:
    """Return sources and kinds that translate each row to the other kind. Images of several sizes raise `InputError`."""
    if "size" in rows:
        raise InputError(
            "x has images of several sizes: translations need one size. Translate the images one by one."
        )
    (name,) = options.given
    return {"source": rows["x"].values, name: 1 - rows[name].values}


def build(options: Options, event: Event) -> CycleGAN:
    """Build the module in its initial state.

    Args:
        options: The options of the networks and of the game.
        event: The event of the data.

    Returns:
        The module, which `fit` then trains in place.
    """
    return CycleGAN(options, event)
