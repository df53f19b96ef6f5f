"""An encoder into the latents of a given generator, fitted in its domain (Zhu, Shen, Zhao & Zhou, ECCV 2020).

    c = E(x),   min_E  |x - g(c)|^2 + f |F(x) - F(g(c))|^2 - d log sigmoid D(g(c)) + w dist(c)^2          (after eq. 2)

on real rows; the generator g stays as it is. F are features of a network that tells attributes. D is the log odds of real rows against draws, by the
discriminator of a GAN, where there is one. In the paper D is trained together with E; here it stays as it is, and the last term is ours: codes
whose layers differ more than those of draws, or that lie farther from the mean than draws do, are where the generator was never trained, and edits lose
their force there. dist^2 is the sum of both: the mean square by which layers of a code differ from their mean, and that by which their mean, or a code
without layers, is farther from the mean of draws than draws are; all in deviations of draws.

The family is the generator with an encoder: free draws and x of given latents are the generator's, x given finds its latents.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import xarray as xr
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import softplus

from probgen.contract.conditions import context_of, context_size
from probgen.contract.definition import Decoder, Discriminating, Selecting, Telling, latents_of, places_of
from probgen.contract.event import Event
from probgen.contract.fitted import Fitted
from probgen.contract.hookspecs import hookimpl
from probgen.contract.options import (
    SET,
    FitRunPath,
    MeanOptions,
    RunPath,
    Sizes,
    layer_sizes,
    only,
    refuse_unused,
)
from probgen.contract.rows import Rows
from probgen.contract.run import Run
from probgen.contract.seeds import seed_torch
from probgen.distributions import Standardization
from probgen.errors import InputError, NotOffered, did_you_mean
from probgen.inference.programs import Objective
from probgen.inference.svi import svi
from probgen.inference.training import Schedule, SVIOptions, Training
from probgen.nn.networks import MLP

__all__ = ["Options", "SampleOptions", "build", "fit", "sample", "score", "x_dtype"]

x_dtype = "float64"
SampleOptions = MeanOptions
DRAWS = 4096  # whose codes say where the domain is
AT_ONCE = 256


class Options(SVIOptions):
    """Options of `inverter`."""

    generator: RunPath = Field(description="the run of a fitted model that decodes latents")
    features: FitRunPath | None = Field(
        None,
        description="a run of the family `attributes`, in whose features x and its reconstruction are compared",
    )
    latent: str | None = Field(None, description="of the generator; by default its last one of real numbers")
    given: tuple[str, ...] = Field((), description="what the generator is conditioned on: ['label']")
    epochs: int = Field(2, ge=1, description="passes over the data")
    batch_size: int = Field(32, ge=1, description="rows a step")
    learning_rate: float = Field(1e-3, gt=0, description="of Adam")
    schedule: Schedule = Field("cosine", description="of the learning rate; cosine and linear go down to 0")
    hidden: Sizes = Field(
        (32, 64, 96),
        description="of images: channels of each convolution, which halves them; of vectors: units of each layer",
    )
    feature_weight: float = Field(
        0.5,
        ge=0,
        description="f, of the mean square of features in their deviation",
        json_schema_extra=only(features=SET),
    )
    critic_weight: float = Field(
        0.003,
        ge=0,
        description="d, of the log odds that the discriminator of the generator gives, where it has one",
    )
    domain_weight: float = Field(
        0.2, ge=0, description="w, of how much farther codes are from the domain than those of draws"
    )
    autocast: bool = Field(False, description="products in bfloat16")


class Inverter(Objective):
    """E, and the generator that it is an encoder of.

    middle     of codes of draws: mean and deviation of each coordinate
    standard   of x
    """

    def __init__(self, options: Options, event: Event, generator: Fitted, features: Fitted | None = None):
        super().__init__()
        self.options, self.event = options, event
        module = generator.module
        if (
            not isinstance(module, Decoder)
            or not latents_of(module)
            or not generator.definition.offers("sample")
        ):
            raise InputError(f"generator: family {generator.family!r} does not decode latents")
        if isinstance(module, Selecting):
            raise InputError(
                "generator: this run holds several models; save one of them, as probgen_gan.member gives it"
            )
        theirs = generator.event
        if set(theirs.given) != set(options.given):
            raise InputError(
                f"generator: it is conditioned on {[*theirs.given]}: say given = {[*theirs.given]}"
            )
        ours = (event.dims, event.shape, event.support, event.levels)
        if (theirs.dims, theirs.shape, theirs.support, theirs.levels) != ours:
            raise InputError(f"generator: it makes {theirs}, and the rows are {event}")
        for name, part in theirs.given.items():
            if event.given[name] != part:
                raise InputError(
                    f"generator: its {name!r} is {part}, and that of the rows is {event.given[name]}"
                )
        if not isinstance(module, Discriminating):
            refuse_unused(options, f"family {generator.family!r} has no discriminator", "critic_weight")
        self.of = (generator,)  # no part of this module, whose state is the encoder's
        self.told = (features,)
        self.latent, shape = code_of(options.latent, generator)
        self.latents = {self.latent: latents_of(module)[self.latent]}
        self.places = places_of(module)
        self.shape, self.layered = shape, "layer" in self.latents[self.latent]
        self.standard = Standardization(event.fixed_shape, each=False)
        self.middle = Standardization(shape)
        context, size = context_size(event), int(torch.Size(shape).numel())
        hidden = layer_sizes(options.hidden)
        self.image = event.dims[-2:] == ("height", "width")
        self.net = (
            Halvings(event.image(len(hidden), "channels in hidden"), hidden, size, context)
            if self.image
            else MLP(event.size, hidden, size, "relu", context)
        )
        if features is not None and not isinstance(features.module, Telling):
            raise InputError(f"features: family {features.family!r} has none; a run of `attributes` has")
        self.feature_scale = torch.ones(())  # of a fit
        for fitted in (generator, features):
            if fitted is not None:
                fitted.module.requires_grad_(False)
        own = self.latents[self.latent]
        self.dims = {"middle.loc": own, "middle.scale": own}

    @property
    def generator(self) -> Any:
        """Its module, as it was fitted."""
        return self.of[0].module

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Inverter:
        """The networks that it is told go where it goes; their dtype stays."""
        super()._apply(fn, recurse)
        device = self.middle.loc.device
        for fitted in (*self.of, *self.told):
            if fitted is not None and device.type != "meta":
                fitted.module.to(device)
        return self

    def codes(self, x: Tensor, given: Mapping[str, Tensor]) -> Tensor:
        """E(x): (row, *dims)."""
        dtype = next(self.net.parameters()).dtype
        y = self.standard(x, dtype)
        if self.image:
            y = y.reshape(len(y), *self.event.image())
        u = self.net(y, context_of(self.event, given, dtype))
        return self.middle.inverse(u.reshape(len(u), *self.shape)).to(dtype)

    def encoded(self, x: Tensor, **given: Tensor) -> dict[str, Tensor]:
        """E(x)."""
        return {self.latent: self.codes(x, given)}

    def decode(self, start: Mapping[str, Tensor], until: str = "x") -> Tensor:
        """The generator's."""
        dtype = self.of[0].dtype
        start = {name: t.to(dtype) if t.is_floating_point() else t for name, t in start.items()}
        y: Tensor = self.generator.decode(start, until)
        return y

    def loss(self, x: Tensor, *, n: int, **given: Tensor) -> dict[str, Tensor]:
        """Of x and its reconstruction, in units of the deviation of x; and its parts."""
        o = self.options
        codes = self.codes(x, given)
        y = self.decode({**given, self.latent: codes})
        parts = {"pixels": ((y - x) / self.standard.scale).square().mean()}
        features = self.told[0]
        if features is not None and o.feature_weight:
            net: Any = features.module
            off = (net.features(y) - net.features(x)) / self.feature_scale
            parts["features"] = o.feature_weight * off.square().mean()
        if isinstance(self.generator, Discriminating) and o.critic_weight:
            parts["critic"] = o.critic_weight * softplus(-self.generator.realism(y, **given)).mean()
        if o.domain_weight:
            parts["domain"] = o.domain_weight * self.distance(codes).mean()
        return {"loss": torch.stack([*parts.values()]).sum(), **parts}

    def distance(self, codes: Tensor) -> Tensor:
        """Squared, in deviations of draws, from what codes of draws are like: (row,)."""
        u = (codes - self.middle.loc) / self.middle.scale
        mean = u.mean(1, keepdim=True) if self.layered else u
        farther = (mean.square().flatten(1).mean(1) - 1).relu()
        return farther + (u - mean).square().flatten(1).mean(1)


class Halvings(nn.Module):
    """Convolutions of stride 2, with batch normalization, without which encoders of this kind hardly learn.

    (row, channel, height, width), (row, context) -> (row, outputs)
    """

    def __init__(self, image: tuple[int, int, int], channels: tuple[int, ...], outputs: int, context: int):
        super().__init__()
        depth, height, width = image
        layers: list[nn.Module] = []
        for n, out in zip((depth, *channels), channels, strict=False):
            layers += [nn.Conv2d(n, out, 4, stride=2, padding=1), nn.BatchNorm2d(out), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers)
        scale = 2 ** len(channels)
        self.last = nn.Linear(channels[-1] * (height // scale) * (width // scale) + context, outputs)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The last layer is linear."""
        y = self.layers(x).flatten(1)
        return self.last(y if context is None else torch.cat([y, context], 1))


def build(options: Options, event: Event, generator: Fitted, features: Fitted | None = None) -> Inverter:
    """The module in its initial state."""
    return Inverter(options, event, generator, features)


@hookimpl
def fit(module: Inverter, data: Rows, options: Options, run: Run) -> None:
    """Learn where codes of draws lie and the scale of x, then the encoder."""
    seen = data.moments()
    module.standard.learn(seen.mean, seen.shared_scale)
    first = next(data.chunks(AT_ONCE))
    seed_torch(run.key("draws"))
    codes = []
    for _ in range(DRAWS // AT_ONCE):
        which = torch.randint(len(first["x"]), (AT_ONCE,), device=run.device)
        given = {name: first[name][which] for name in module.event.given}
        codes.append(draws(module.of[0], AT_ONCE, given, run)[module.latent].double())
    every = torch.cat(codes)
    deviation = every.std(0, correction=0)
    module.middle.learn(every.mean(0), torch.where(deviation > 0, deviation, 1.0))
    if module.told[0] is not None:
        net: Any = module.told[0].module
        with torch.no_grad():
            # one deviation for all: a feature that rows hardly have must not weigh a thousand times as much
            module.feature_scale = net.features(first["x"]).var(0).mean().sqrt().clamp(min=1e-6)
    svi(module, data, run, Training.of(options, autocast=options.autocast))


@hookimpl
def score(fitted: Fitted, data: dict[str, Tensor], run: Run) -> xr.Dataset:
    """`reconstruction_error (row)`: the root of the mean square of x less what is made of its code. No likelihood."""
    module = inverter(fitted)
    given = {name: data[name] for name in module.event.given}
    made = module.decode({**given, module.latent: module.codes(data["x"], given)})
    error = (made - data["x"]).flatten(1).double().square().mean(1).sqrt()
    attrs = {"long_name": "root mean square of x less what the generator makes of its code"}
    return xr.Dataset({"reconstruction_error": ("row", error.cpu().numpy(), attrs)})


@hookimpl
def sample(
    fitted: Fitted, n: int, given: dict[str, Tensor], options: MeanOptions, run: Run
) -> dict[str, Tensor]:
    """Draws of the generator, and x of given latents; of x that is given its codes, and x as it is."""
    module = inverter(fitted)
    if "x" in given:
        if not given["observed"].all():
            raise NotOffered(
                "an encoder sees whole rows, and x is known in part: `probgen analyze restoration`"
            )
        conditions = {name: given[name] for name in module.event.given}
        return {"x": given["x"], module.latent: module.codes(given["x"], conditions)}
    drawn = draws(module.of[0], n, given, run, options.mean)
    return {"x": drawn["x"], module.latent: drawn[module.latent]}


def draws(
    generator: Fitted, n: int, given: dict[str, Tensor], run: Run, mean: bool = True
) -> dict[str, Tensor]:
    """Of the generator: x and its latents."""
    run = Run(
        run.seed, device=run.device, dtype=generator.dtype
    )  # that of the generator, whatever the encoder's
    given = {name: t.to(run.dtype) if t.is_floating_point() else t for name, t in given.items()}
    kind = generator.definition.options("sample")
    options = kind(mean=mean) if issubclass(kind, MeanOptions) else kind()
    drawn: dict[str, Tensor] = generator.definition.call(
        "sample", fitted=generator, n=n, given=given, options=options, run=run
    )
    return drawn


def code_of(wanted: str | None, generator: Fitted) -> tuple[str, tuple[int, ...]]:
    """Which latent, and the shape of a code. Errors: `InputError`."""
    event = generator.event
    nothing = {name: torch.zeros(1, *part.fixed_shape, device="cpu") for name, part in event.given.items()}
    given = {k: v.long() if event.given[k].levels else v for k, v in nothing.items()}
    with torch.device("cpu"):  # where it was loaded to, also if this module is made of shapes alone
        drawn = draws(generator, 1, given, Run(0))
    real = [name for name in latents_of(generator.module) if drawn[name].is_floating_point()]
    if not real:
        raise InputError("generator: its latents hold whole numbers, and an encoder gives real ones")
    if wanted is not None and wanted not in real:
        raise InputError(f"latent = {wanted!r}: {did_you_mean(wanted, real)}")
    name = real[-1] if wanted is None else wanted
    return name, tuple(drawn[name].shape[1:])


def inverter(fitted: Fitted) -> Inverter:
    """The module of a fitted inverter."""
    assert isinstance(fitted.module, Inverter)
    return fitted.module
