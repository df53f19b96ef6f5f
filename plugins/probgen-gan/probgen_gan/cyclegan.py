"""Translation between two kinds of images without pairs (CycleGAN: Zhu, Park, Isola & Efros, ICCV 2017).

    y = T_1(x),  x = T_0(y)            x of kind 0, y of kind 1; D_0 and D_1 tell real images of a kind from drawn ones, patch by patch

    loss of T = L_GAN(T_1, D_1) + L_GAN(T_0, D_0)
              + cycle (|T_0(T_1(x)) - x| + |T_1(T_0(y)) - y|)              (eq. 2)
              + identity (|T_1(y) - y| + |T_0(x) - x|)                     (section 5.2; 0 by default: it holds colors where they are)

with least squares as L_GAN, (D(T(x)) - 1)^2 and halves of (D(y) - 1)^2 + D(T(x))^2, and past draws beside new ones before D (section 4). Rows are images of both kinds, `label` says which. The image that is
translated is a latent without a prior, `source`: `sample(given={"source": horses, "label": 1})`.

That an image comes back says nothing of the translation being right: T_1 can hide in y what y does not say (Chu et al. 2017). With `latent` what
y does not say of x is z ~ Normal(0, 1), which an encoder tells from both images (Augmented CycleGAN: Almahairi et al., ICML 2018):

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
FLOOR = 0.01  # of the learning rate
DISTURBED = 8 / 255  # deviation of noise on an image before it is translated back, of the range of levels
SHOWN = 8  # images of a figure


class Options(BaseOptions):
    """What can be chosen of networks and game. The defaults suit images of 16 to 64 pixels and one thread."""

    given: tuple[str, ...] = Field(("label",), description="what says of which of two kinds an image is")
    steps: int = Field(4000, ge=1, description="of all players")
    batch_size: int = Field(16, ge=1, description="images of each kind a step")
    learning_rate: float = Field(1e-3, gt=0, description="of Adam")
    beta1: float = Field(0.5, ge=0, lt=1, description="of Adam")
    hold: float = Field(
        0.5, ge=0, lt=1, description="share of the steps before the learning rate falls linearly"
    )
    cycle: float = Field(10.0, ge=0, description="weight of the way there and back")
    identity: float = Field(
        0.0, ge=0, description="weight of images of a kind staying as they are when they are brought to it"
    )
    pool: int = Field(50, ge=0, description="past draws that the discriminators see again")
    latent: int = Field(
        0,
        ge=0,
        description="numbers of z, for what an image does not say of the other; 0: a translator is a function",
    )
    kl: float = Field(
        0.01, ge=0, description="weight of the divergence of the encoders' z from its prior, in nats"
    )
    width: int = Field(20, ge=1, description="channels of the translators, before the first halving")
    blocks: int = Field(1, ge=0, le=100, description="residual blocks of the translators")
    halvings: int = Field(0, ge=0, le=6, description="of the images, before the blocks")
    norm: Norm = Field(
        "none",
        description="of the translators: instance, which makes a pixel depend on the whole image, or none",
    )
    d_channels: tuple[int, ...] = Field(
        (24, 48), min_length=1, description="of the discriminators, each halves the image"
    )
    mirrored: bool = Field(False, description="images are mirrored at random, left to right")

    @model_validator(mode="after")
    def _used(self) -> Options:
        if len(self.given) != 1:
            raise ValueError(
                f"given = {list(self.given)}: the name of one condition is needed, which says the kind"
            )
        if not self.latent and self.kl != type(self).model_fields["kl"].default:
            raise ValueError(f"kl = {self.kl} has no effect without latent: give that, or leave it out")
        if not self.cycle and self.latent:
            raise ValueError("latent is of the cycle, which has no weight: give cycle, or leave it out")
        if any(n < 1 for n in self.d_channels):
            raise ValueError(f"d_channels = {self.d_channels}: at least 1 channel each")
        return self


class Encoder(nn.Module):
    """z from an image and what it was made of: (row, n, h, w) twice -> mean and log of the deviation, (row, latent) each."""

    def __init__(self, channels: int, width: int, latent: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(2 * channels, width, 3, padding=1), nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 4, 2, 1), nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 2 * width, 4, 2, 1), nn.LeakyReLU(0.2),
        )  # fmt: skip
        self.out = nn.Linear(2 * width, 2 * latent)

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """By the mean of all places."""
        mean, log_s = self.out(self.layers(torch.cat([x, y], 1)).mean((2, 3))).chunk(2, 1)
        return mean, log_s.clamp(-5, 2)


class CycleGAN(nn.Module):
    """Two translators, two discriminators, and of latent z two encoders; the k-th makes, sees and encodes images of kind k."""

    def __init__(self, options: Options, event: Event):
        super().__init__()
        self.options, self.event = options, event
        (self.name,) = options.given
        kinds = event.given[self.name]
        check_levels("x", event)
        if kinds.dims or kinds.levels != 2:
            raise InputError(f"{self.name} must say of which of two kinds an image is, 0 or 1, not {kinds}")
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
        """Without z all draws of one image are equal."""
        return not self.options.latent

    @property
    def dtype(self) -> torch.dtype:
        """Of the networks."""
        return next(self.parameters()).dtype

    def standardized(self, x: Tensor) -> Tensor:
        """Levels as numbers from -1 to 1: (row, *event) -> (row, channel, height, width)."""
        return standardized(x, self.event.levels, self.dtype)

    def translated(self, x: Tensor, kind: Tensor, z: Tensor | None) -> Tensor:
        """Standardized images brought to kinds: (row,)."""
        y = torch.empty_like(x)
        for k, translator in enumerate(self.T):
            rows = (kind == k).nonzero()[:, 0]
            if len(rows):
                y[rows] = translator(x[rows], None if z is None else z[rows])
        return y

    def told(self, x: Tensor, y: Tensor, kind: Tensor) -> Tensor | None:
        """z that makes x, of its kind, of y: the mean; None without latent z."""
        if not self.options.latent:
            return None
        means = torch.stack([encoder(x, y)[0] for encoder in self.E])
        return means[kind, torch.arange(len(x), device=x.device)]

    def decode(self, start: Mapping[str, Tensor], until: str = "x") -> Tensor:
        """x of a source, of its kind and z: (row, *event), not rounded."""
        return decoded(self.way(), start, until, [*self.latents, self.name])

    def way(self) -> dict[str, Step]:
        """x = T_k(source, z)."""

        def x(at: Mapping[str, Tensor]) -> Tensor:
            source = self.standardized(at["source"])
            z = at["z"].to(self.dtype) if self.options.latent else None
            if z is not None and z.shape[1:] != (self.options.latent,):
                raise InputError(
                    f"z: {self.options.latent} numbers a draw are needed, not {z.shape[1:].numel()}"
                )
            if source.shape[1] != self.event.channels:
                raise InputError(
                    f"source has {source.shape[1]} channels, the fit is of {self.event.channels}"
                )
            return original(self.translated(source, at[self.name].long(), z), self.event)

        return {"x": x}


class Cycle:
    """The players: translators (and encoders), then discriminators, who see what the former have drawn in the same step."""

    fakes: list[Tensor]
    reals: list[Tensor]

    def __init__(self, module: CycleGAN, data: Rows):
        self.module, self.options = module, module.options
        label = data.dataset[module.name].values
        self.rows = [data.some(np.flatnonzero(label == kind)) for kind in (0, 1)]
        for kind, rows in enumerate(self.rows):
            if not rows.n:
                raise InputError(
                    f"{module.name}: no image is of kind {kind}; images of both kinds are needed"
                )
        self.size = min(self.options.batch_size, *(rows.n for rows in self.rows))
        self.pools = [Pool(self.options.pool) for _ in range(2)]

    def players(self) -> dict[str, Player]:
        """Translators and encoders in one, discriminators in the other."""
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
        """Of new rows of both kinds: the loss and its parts."""
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
        """There and back; with z also what was drawn is to be told again, and what is told is to be as the prior."""
        module = self.module
        back = None
        if z is not None:
            mean, log_s = module.E[1 - kind](source, fake)
            back = mean + log_s.exp() * torch.randn_like(mean)
            self._add("z_divergence", (0.5 * (mean.square() + (2 * log_s).exp() - 1) - log_s).sum(1).mean())
            self._add("z_error", (module.E[kind](fake, source)[0] - z).abs().mean() / 2)
        self._add("cycle", (module.T[1 - kind](fake, back) - source).abs().mean())

    def d_loss(self, turn: Turn) -> Tensor:
        """Of the same rows, and of draws through the pools."""
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
    """The game of section 3.4."""
    if "size" in data.dataset:
        raise InputError("x has images of several sizes: scale them to one for the fit, --size")
    if run.parts > 1:
        raise InputError(
            f"parts = {run.parts}: cyclegan has pools of past draws, which are of whole batches; fit it on one process"
        )
    cycle = Cycle(module, data)
    keep = {f"pool-{kind}": pool for kind, pool in enumerate(cycle.pools)}
    play(run, cycle.players(), module.options.steps, keep=keep)


@hookimpl
def sample(fitted: Fitted, n: int, given: dict[str, Tensor], options: Any, run: Run) -> dict[str, Tensor]:
    """x = T_k(source, z), rounded; without z all draws of a source are equal."""
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
        raise DivergedError("the translator gives what is not finite")
    return {"x": x.round(), **latents}


def _check_levels(source: Tensor, levels: int) -> None:
    """Errors: `InputError` for what are no whole numbers from 0 to levels - 1."""
    whole = (source >= 0) & (source <= levels - 1) & (source == source.round())  # NaN is none of these
    if whole.all():
        return
    value = float(source[~whole][0])
    hint = ""
    if bool((source >= 0).all()) and float(source.max()) <= 1:
        hint = f"; these seem to be from 0 to 1, and would come out black: multiply by {levels - 1} and round"
    raise InputError(f"source: {value:g}; allowed is a whole number from 0 to {levels - 1}{hint}")


@hookimpl
def score(fitted: Fitted, data: dict[str, Tensor], options: Any, run: Run) -> xr.Dataset:
    """No likelihood. In dB of the range of levels: `cycle` (x and back), `cycle_disturbed` (with noise of 8/255 on the way), and `critic`, of D.

    Where the data have `pair`, x as an image of the other kind: `translation` (what x is brought to against its pair), and `hidden`, the cycle from
    what was drawn less the cycle from the pair: what T hides there of x; 0 is honest.
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
        "cycle": (back(y), "an image brought to the other kind and back, against itself", "dB"),
        "cycle_disturbed": (
            back((y + noise).clamp(-1, 1)),
            "the same, with noise of 8/255 of the range on the way",
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
            "an image brought to the other kind, against its pair",
            "dB",
        )
        found["hidden"] = (
            found["cycle"][0] - back(pair),
            "the cycle from what was drawn less that from the pair",
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
    """Peak signal-to-noise ratio of standardized images, at most 120: (row,)."""
    error = (x - truth).square().flatten(1).mean(1).clamp(min=4e-12)
    return 10 * torch.log10(4 / error)


def cyclegan(fitted: Fitted) -> CycleGAN:
    """The module. Errors: `InputError` where it is none."""
    if not isinstance(fitted.module, CycleGAN):
        raise InputError(f"family {fitted.family!r} is no CycleGAN")
    return fitted.module


def pictures(fitted: Fitted, data: xr.Dataset, *, seed: int, device: str | None) -> dict[str, Figure]:
    """`translations`: of both kinds a few images, what they are brought to, and what comes back."""
    from probgen import figures  # Matplotlib: for pictures alone
    from probgen import sample as draw

    module, lines = cyclegan(fitted), []
    if "size" in data:
        raise InputError("no picture suits images of several sizes")
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
    return {"translations": figures.columns(list(whole), names, shown)}


def of_rows(options: Options, rows: xr.Dataset) -> dict[str, np.ndarray]:
    """Each row, brought to the other kind."""
    if "size" in rows:
        raise InputError("images of several sizes are translated one by one")
    (name,) = options.given
    return {"source": rows["x"].values, name: 1 - rows[name].values}


def build(options: Options, event: Event) -> CycleGAN:
    """The module in its initial state."""
    return CycleGAN(options, event)
