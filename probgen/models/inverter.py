"""An encoder for a given generator, fitted in the domain of its latents (Zhu, Shen, Zhao & Zhou, ECCV 2020).

    c = E(x)
    min_E  |x - g(c)|^2 + f |F(x) - F(g(c))|^2 - d log sigmoid D(g(c)) + w dist(c)^2         (after eq. 2)

E is fitted to real rows, and the generator g is fixed. F are the features of a network of the family
`attributes`. D is the log odds that the discriminator of a GAN assigns to real rows against samples, if the
generator has a discriminator.

There are two differences from the paper. The paper trains D together with E; here, D is fixed. The last term
is new. The generator was trained only on codes in its domain, and edits lose their effect outside the domain.
A code is outside if its layers differ more than the layers of samples, or if it is farther from the mean than
samples are. dist^2 is the sum of two squares, in deviations of samples: the mean square difference of the
layers of a code from their mean, and the excess of the mean square distance of this mean (or of a code
without layers) from the mean of samples.

The family is the generator with an encoder. It samples x with the generator, freely or from given latents,
and encodes a given x.
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
from probgen.inference.training import AutocastOptions, Schedule, Training
from probgen.nn.networks import MLP

__all__ = ["Options", "SampleOptions", "build", "fit", "sample", "score", "x_dtype"]

x_dtype = "float64"
SampleOptions = MeanOptions
DRAWS = 4096  # samples whose codes define the domain
AT_ONCE = 256


class Options(AutocastOptions):
    """Options of `inverter`."""

    generator: RunPath = Field(description="run of a fitted model that decodes latents")
    features: FitRunPath | None = Field(
        None,
        description="run of the family `attributes` whose features compare x with its reconstruction",
    )
    latent: str | None = Field(None, description="latent of the generator to encode; None: the last real one")
    given: tuple[str, ...] = Field(
        (), description="names of the conditions of the generator, such as ['label']"
    )
    epochs: int = Field(2, ge=1, description="passes over the data")
    batch_size: int = Field(32, ge=1, description="rows per step")
    learning_rate: float = Field(1e-3, gt=0, description="Adam's learning rate")
    schedule: Schedule = Field(
        "cosine", description="schedule of the learning rate; cosine and linear end at 0"
    )
    hidden: Sizes = Field(
        (32, 64, 96),
        description="channels of each convolution, which halves an image; for vectors, units of each layer",
    )
    feature_weight: float = Field(
        0.5,
        ge=0,
        description="weight f of the mean squared difference of the features, in their deviations",
        json_schema_extra=only(features=SET),
    )
    critic_weight: float = Field(
        0.003,
        ge=0,
        description="weight d of the discriminator's log odds; only for a generator with a discriminator",
    )
    domain_weight: float = Field(
        0.2, ge=0, description="weight w of the distance of codes from the domain of the generator"
    )


class Inverter(Objective):
    """The encoder E and its generator.

    Args:
        options: The options of the family.
        event: The event that x is.
        generator: The fitted generator.
        features: A fitted `attributes`, or None.

    Attributes:
        middle: Mean and deviation of each coordinate of the codes of samples.
        standard: Standardization of x.
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
            raise InputError(
                f"generator: family {generator.family!r} does not decode latents. Give a run of a family "
                "that does."
            )
        if isinstance(module, Selecting):
            raise InputError(
                "generator: this run holds several models. Save one of them with probgen_gan.member, and "
                "give that."
            )
        theirs = generator.event
        if set(theirs.given) != set(options.given):
            raise InputError(
                f"given = {[*options.given]}: the generator is conditional on {[*theirs.given]}. "
                f"Use given = {[*theirs.given]}."
            )
        ours = (event.dims, event.shape, event.support, event.levels)
        if (theirs.dims, theirs.shape, theirs.support, theirs.levels) != ours:
            raise InputError(f"generator: its x is {theirs}, but the rows are {event}. Give rows like its x.")
        for name, part in theirs.given.items():
            if event.given[name] != part:
                raise InputError(
                    f"generator: its condition {name!r} is {part}, but the rows have {event.given[name]}. "
                    f"Give rows with {name!r} like the generator's."
                )
        if not isinstance(module, Discriminating):
            refuse_unused(options, f"family {generator.family!r} has no discriminator", "critic_weight")
        self.of = (generator,)  # in a tuple, so that the state of the module is the encoder's only
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
            raise InputError(
                f"features: family {features.family!r} has no features. Give a run of the family "
                "`attributes`."
            )
        self.register_buffer("feature_scale", torch.ones(()), persistent=False)  # for the loss of a fit
        self.feature_scale: Tensor
        for fitted in (generator, features):
            if fitted is not None:
                fitted.module.requires_grad_(False)
        own = self.latents[self.latent]
        self.dims = {"middle.loc": own, "middle.scale": own}

    @property
    def generator(self) -> Any:
        """The fitted module of the generator."""
        return self.of[0].module

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Inverter:
        """Move the generator and the feature network to the device of this module; their dtype stays."""
        super()._apply(fn, recurse)
        device = self.middle.loc.device
        for fitted in (*self.of, *self.told):
            if fitted is not None and device.type != "meta":
                fitted.module.to(device)
        return self

    def codes(self, x: Tensor, given: Mapping[str, Tensor]) -> Tensor:
        """Return the codes of x.

        Args:
            x: The rows, (row, *event).
            given: The conditions by name.

        Returns:
            Codes E(x), (row, *dims of the latent).
        """
        dtype = next(self.net.parameters()).dtype
        y = self.standard(x, dtype)
        if self.image:
            y = y.reshape(len(y), *self.event.image())
        u = self.net(y, context_of(self.event, given, dtype))
        return self.middle.inverse(u.reshape(len(u), *self.shape)).to(dtype)

    def encoded(self, x: Tensor, **given: Tensor) -> dict[str, Tensor]:
        """Return E(x) under the name of the latent.

        Args:
            x: The rows, (row, *event).
            **given: The conditions by name.

        Returns:
            Codes by name.
        """
        return {self.latent: self.codes(x, given)}

    def decode(self, start: Mapping[str, Tensor], until: str = "x") -> Tensor:
        """Decode with the generator.

        Args:
            start: Latents or places, and conditions, by name.
            until: The place to decode to.

        Returns:
            x or the place, (row, ...).
        """
        dtype = self.of[0].dtype
        start = {name: t.to(dtype) if t.is_floating_point() else t for name, t in start.items()}
        y: Tensor = self.generator.decode(start, until)
        return y

    def loss(self, x: Tensor, *, n: int, **given: Tensor) -> dict[str, Tensor]:
        """Return the loss of the reconstruction of x, with its parts.

        Args:
            x: The rows, (row, *event).
            n: Number of rows.
            **given: The conditions by name.

        Returns:
            `loss`, the sum of the parts: `pixels` in units of the variance of x, `features`, `critic` and
            `domain`.
        """
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
        """Return the squared distance of codes from the domain of the generator.

        Args:
            codes: Codes, (row, *dims of the latent).

        Returns:
            Squared distances in deviations of samples, (row,).
        """
        u = (codes - self.middle.loc) / self.middle.scale
        mean = u.mean(1, keepdim=True) if self.layered else u
        farther = (mean.square().flatten(1).mean(1) - 1).relu()
        return farther + (u - mean).square().flatten(1).mean(1)


class Halvings(nn.Module):
    """Convolutions of stride 2 with batch normalization, without which this encoder hardly learns.

    Args:
        image: Shape of an image, (channel, height, width).
        channels: Channels of each convolution.
        outputs: Number of outputs.
        context: Number of context numbers per row.
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
        """Return the outputs of the network.

        Args:
            x: Images, (row, channel, height, width).
            context: The context, (row, context), or None.

        Returns:
            Outputs, (row, outputs).
        """
        y = self.layers(x).flatten(1)
        return self.last(y if context is None else torch.cat([y, context], 1))


def build(options: Options, event: Event, generator: Fitted, features: Fitted | None = None) -> Inverter:
    """Return the module in its initial state.

    Args:
        options: The options of the family.
        event: The event that x is.
        generator: The fitted generator.
        features: A fitted `attributes`, or None.

    Returns:
        The module.

    Raises:
        InputError: When the generator does not decode latents, or does not suit the rows.
    """
    return Inverter(options, event, generator, features)


@hookimpl
def fit(module: Inverter, data: Rows, options: Options, run: Run) -> None:
    """Learn the scales of x and of the codes of samples, then fit the encoder.

    Args:
        module: The module.
        data: The rows of the fit.
        options: The options of the family.
        run: The run of the fit.
    """
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
            # one deviation for all features: a feature that hardly varies must not dominate
            module.feature_scale = net.features(first["x"]).var(0).mean().sqrt().clamp(min=1e-6)
    svi(module, data, run, Training.of(options))


@hookimpl
def score(fitted: Fitted, data: dict[str, Tensor], run: Run) -> xr.Dataset:
    """Return the root mean square error of the reconstruction; this is not a likelihood.

    Args:
        fitted: The fitted family.
        data: Rows by name, with `x` and the conditions.
        run: The run of the score.

    Returns:
        `reconstruction_error (row)`, in units of x.
    """
    module = inverter(fitted)
    given = {name: data[name] for name in module.event.given}
    made = module.decode({**given, module.latent: module.codes(data["x"], given)})
    error = (made - data["x"]).flatten(1).double().square().mean(1).sqrt()
    attrs = {"long_name": "root mean square error of the reconstruction of x"}
    return xr.Dataset({"reconstruction_error": ("row", error.cpu().numpy(), attrs)})


@hookimpl
def sample(
    fitted: Fitted, n: int, given: dict[str, Tensor], options: MeanOptions, run: Run
) -> dict[str, Tensor]:
    """Sample with the generator, or encode a given x.

    Args:
        fitted: The fitted family.
        n: Number of samples.
        given: Conditions and latents by name, or `x` and `observed`.
        options: Options of sampling.
        run: The run of the samples.

    Returns:
        `x` and the latent. A given x is returned unchanged, with its code.

    Raises:
        NotOffered: When x has missing values.
    """
    module = inverter(fitted)
    if "x" in given:
        if not given["observed"].all():
            raise NotOffered(
                "given 'x': it has missing values, but the encoder needs complete rows. Use `probgen analyze "
                "restoration`."
            )
        conditions = {name: given[name] for name in module.event.given}
        return {"x": given["x"], module.latent: module.codes(given["x"], conditions)}
    drawn = draws(module.of[0], n, given, run, options.mean)
    return {"x": drawn["x"], module.latent: drawn[module.latent]}


def draws(
    generator: Fitted, n: int, given: dict[str, Tensor], run: Run, mean: bool = True
) -> dict[str, Tensor]:
    """Return samples of the generator.

    Args:
        generator: The fitted generator.
        n: Number of samples.
        given: Conditions and latents by name.
        run: The run, with seed and device.
        mean: Whether x is a mean instead of a sample, if the generator offers means.

    Returns:
        x and the latents, by name.
    """
    # the dtype is the generator's, whatever the encoder's is
    run = Run(run.seed, device=run.device, dtype=generator.dtype)
    given = {name: t.to(run.dtype) if t.is_floating_point() else t for name, t in given.items()}
    kind = generator.definition.options("sample")
    options = kind(mean=mean) if issubclass(kind, MeanOptions) else kind()
    drawn: dict[str, Tensor] = generator.definition.call(
        "sample", fitted=generator, n=n, given=given, options=options, run=run
    )
    return drawn


def code_of(wanted: str | None, generator: Fitted) -> tuple[str, tuple[int, ...]]:
    """Return the latent that an encoder finds, and its shape.

    Args:
        wanted: Name of the latent, or None for the last real one.
        generator: The fitted generator.

    Returns:
        Name of the latent, and shape of a code.

    Raises:
        InputError: When the generator has no such latent of real numbers.
    """
    event = generator.event
    nothing = {name: torch.zeros(1, *part.fixed_shape, device="cpu") for name, part in event.given.items()}
    given = {k: v.long() if event.given[k].levels else v for k, v in nothing.items()}
    with torch.device("cpu"):  # the device of the generator, also if this module is on the meta device
        drawn = draws(generator, 1, given, Run(0))
    real = [name for name in latents_of(generator.module) if drawn[name].is_floating_point()]
    if not real:
        raise InputError(
            "generator: its latents are whole numbers, but an encoder returns real numbers. "
            "Give a generator with a real latent."
        )
    if wanted is not None and wanted not in real:
        raise InputError(f"latent = {wanted!r}: {did_you_mean(wanted, real)}")
    name = real[-1] if wanted is None else wanted
    return name, tuple(drawn[name].shape[1:])


def inverter(fitted: Fitted) -> Inverter:
    """Return the module of a fitted inverter.

    Args:
        fitted: The fitted family.

    Returns:
        The module.
    """
    assert isinstance(fitted.module, Inverter)
    return fitted.module
