"""What `vqvae` and `vqvae2` share: options, the two stages of a fit, p(z) and p(x | z) as a Pyro model, and its score.

z ~ p(z),    x ~ p(x | e(z))
log p(x) >= log p(x | e(z)) + log p(z)    at z = k(E(x)): one term of the sum over all z
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import pyro
import pyro.distributions as dist
import torch
import xarray as xr
from pydantic import BaseModel, Field, model_validator
from torch import Tensor, nn
from torch.distributions import constraints

from probgen import Event, Options, Pair, Rows, Run, log_prob
from probgen.contract.options import MeanOptions, Sizes, one_size, refuse_unused
from probgen.contract.places import Step
from probgen.distributions import Bernoulli, Categorical, LogisticMixture, Ordinal, Standardization
from probgen.errors import InputError, NotOffered
from probgen.inference.svi import svi
from probgen.inference.training import SVIOptions, Training
from probgen.models.bases.choose import AUTO, site_for
from probgen_vqvae.codebook import SEEN
from probgen_vqvae.hierarchy import Hierarchy, Level
from probgen_vqvae.networks import vectors
from probgen_vqvae.pictures import pictures
from probgen_vqvae.prior import Prior

START = 2000  # rows, at most, whose vectors codes begin at


class StageOptions(SVIOptions):
    """Of either stage.

    Errors: `ValueError` for `graph`: which code is looked up is no fixed operation.
    """

    autocast: bool = Field(
        False,
        description="convolutions in bfloat16 while training (torch.autocast): half the time on a processor that has it; "
        "distances to codes, weights and scores keep their dtype",
    )

    @model_validator(mode="after")
    def _no_graph(self) -> StageOptions:
        if self.graph:
            raise ValueError("graph = true: codes are looked up by their values; leave it out")
        return self


class PriorOptions(StageOptions):
    """Of the second stage, a PixelCNN a level."""

    channels: int = Field(32, ge=1, description="features of each layer")
    layers: int = Field(5, ge=1, le=100, description="gated layers")
    head: int = Field(64, ge=1, description="features of the layer before the last")
    kernel: tuple[int, int] = Field(
        (7, 3), description="side of the first layer's kernel, and of the others'"
    )
    dilation: tuple[int, ...] = Field(
        (1, 2, 4),
        min_length=1,
        description="how far apart the codes are that a layer after the first sees, in turn",
    )
    dropout: float = Field(
        0.0, ge=0, lt=1, description="share of each layer's features that are left out at random in a fit"
    )


class VQOptions(StageOptions):
    """Of the first stage, and of the second in `prior`."""

    codes: int = Field(512, ge=2, description="K, of each level")
    latent: int = Field(64, ge=1, description="D, numbers of a code")
    halvings: int = Field(2, ge=1, description="how often the finest codes have halved the image")
    hidden: Sizes = Field(64, description="channels of encoder and decoder")
    blocks: int = Field(2, ge=0, description="residual blocks of each")
    decay: float | None = Field(
        0.9,
        gt=0,
        lt=1,
        description="gamma of the codes' moving averages (the paper's is 0.99, which follows the encoder more slowly); "
        "None: codes follow a gradient",
    )
    commitment: float = Field(0.25, ge=0, description="beta, weight of |E(x) - sg[e]|^2")
    distance: Literal["euclidean", "cosine"] = Field("euclidean", description="between vectors and codes")
    restart: float = Field(
        0.1, ge=0, lt=1, description="share of an even use below which a code begins anew; 0: never"
    )
    likelihood: Literal["auto", "bernoulli", "categorical", "logistic", "normal"] = Field(
        "auto", description="of one dimension of x; auto: bernoulli, logistic or normal by the data"
    )
    components: int = Field(5, ge=1, description="logistics of each integer dimension")
    sigma: float = Field(
        0.1, gt=0, description="normal: standard deviation of x given z, in units of the data's"
    )
    given: tuple[str, ...] = Field((), description="what x is conditioned on: ['label']")
    prior: PriorOptions | None = Field(
        default_factory=lambda: PriorOptions.model_validate({}),
        description="of the second stage: epochs, channels, ...; None: codes without a prior",
    )

    @model_validator(mode="after")
    def _one_size(self) -> VQOptions:
        _ = self.channels
        return self

    @property
    def channels(self) -> int:
        """Of encoder and decoder."""
        return one_size(self.hidden)


class ScoreOptions(Options):
    """Nothing to choose: the bound has no draws in it."""


class StatedNormal(nn.Module):
    """A site: x ~ Normal(mu, sigma), sigma stated; told and foretold with mean 0 and standard deviation 1."""

    size = features = 1
    levels = dtype = None
    softmax = one_hot = False
    support = constraints.real

    def __init__(self, sigma: float):
        super().__init__()
        self.sigma = sigma
        self.standard = Standardization()

    def p(self, numbers: Tensor) -> Any:
        """(..., 1) -> batch shape (...)."""
        return dist.Normal(self.standard.inverse(numbers.squeeze(-1)), self.standard.scale * self.sigma)

    def mean(self, p: Any) -> Tensor:
        """Its own."""
        return p.mean

    def encode(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """Standardized."""
        y: Tensor = self.standard(x, dtype)
        return y[..., None]

    def standardize(self, data: Rows) -> None:
        """By mean and standard deviation of all numbers, in float64; what never varies keeps a scale of 1."""
        seen = data.moments().pooled()
        self.standard.learn(seen.mean, seen.scale)


class VQPair(Pair):
    """One level of codes or more behind the hooks."""

    Options: ClassVar[type[BaseModel]] = VQOptions
    x_dtype = "float64"
    SampleOptions = MeanOptions
    ScoreOptions = ScoreOptions
    pictures = staticmethod(pictures)
    by_loss = False  # but by those of its two stages

    def __init__(self, options: Any, event: Event):
        super().__init__(options, event)
        self.shape = event.fixed_shape
        self.image = event.image(options.halvings + options.levels - 1, "halvings or levels")
        self.codes = Hierarchy(options, self.image, _site(options, event), event)
        self.prior = Prior(options, self.codes) if options.prior is not None else None
        self.names = ["z"] if options.levels == 1 else [f"z_{i + 1}" for i in range(options.levels)]
        self.latents = {name: (f"{name}_height", f"{name}_width") for name in self.names}
        self.places = {f"{name}_vectors": ("vector", *dims) for name, dims in self.latents.items()}

    def learn(self, data: Rows, run: Run) -> None:
        """The codes, then the prior over them."""
        o = self.options
        trainings = [
            Training.of(stage, autocast=stage.autocast) for stage in (o, o.prior) if stage is not None
        ]
        for training in trainings:
            training.check(data, run)  # that of the second stage now, not after hours
        if isinstance(self.site, StatedNormal):
            self.site.standardize(data)
        self._begin(data, run)
        svi(self.codes, data, run, trainings[0], "codes")
        if self.prior is None:
            return
        self.codes.eval().requires_grad_(False)
        svi(self.prior, self.prior.rows(data, run), run, trainings[1], "prior")
        self.codes.requires_grad_(True)

    def model(self, x: Tensor | None = None, *, n: int, **given: Any) -> Tensor:
        """z ~ p(z), x ~ p(x | e(z))."""
        c = self.context(given)
        with self.rows(n):
            zs: list[Tensor] = []
            for level, name in enumerate(self.names):
                p = self._fitted_prior().p(level, zs, c)
                zs.append(pyro.sample(name, p if c is not None or level else p.expand((n,))))
            return pyro.sample("x", self._given(zs, c).to_event(len(self.event.shape)), obs=x)

    def assess(self, x: Tensor, options: Any, **given: Any) -> xr.Dataset:
        """A lower bound without Monte Carlo error, and its two parts."""
        c, prior = self.context(given), self._fitted_prior()
        parts = []
        for i in range(0, len(x), self.at_once):
            some, c_some = x[i : i + self.at_once], None if c is None else c[i : i + self.at_once]
            zs = self.codes.encode(some, c_some)[1]
            of_x = self._given(zs, c_some).log_prob(some).flatten(1).sum(1)
            parts.append(torch.stack([of_x, prior.log_prob(zs, c_some)]))
        of_x, of_z = torch.cat(parts, 1)
        measure = "lebesgue" if self.site.levels is None else "counting"
        found = log_prob(of_x + of_z, kind="lower_bound", estimator="codes", measure=measure)
        attrs = {"units": "nat", "long_name": "log p(x | z) at z = E(x)"}
        return found.assign(reconstruction=("row", of_x.cpu().numpy(), attrs))

    def draw(self, n: int, given: dict[str, Tensor], options: Any) -> dict[str, Tensor]:
        """x and z, or x given the coarsest of z, or all; the mean of p(x | z) if it is asked for.

        Errors: `NotOffered` for codes of a level without those above, whose distribution given them is not known.
        """
        known = [name for name in self.names if name in given]
        if known != self.names[: len(known)]:
            raise NotOffered(
                f"codes are drawn from coarse to fine: give {self.names[0]}, too, or not {known[-1]}"
            )
        for name, sides in zip(known, self.codes.sides, strict=False):
            _check_codes(name, given[name], sides, self.options.codes)
            given = given | {name: given[name].long()}
        if len(known) < len(self.names):
            given = given | super().draw(n, given, options)
        zs = {name: given[name] for name in self.names}
        x = (
            self.decode({**zs, **{name: given[name] for name in self.event.given}})
            if options.mean
            else self._given([*zs.values()], self.context(given)).sample()
        )
        return {"x": x, **zs}

    def encoded(self, x: Tensor, **given: Tensor) -> dict[str, Tensor]:
        """The codes of x."""
        return dict(zip(self.names, self.codes.encode(x, self.context(given))[1], strict=True))

    def way(self) -> dict[str, Step]:
        """z -> e(z), where gradients go to -> E[x | z] of the codes of all levels."""

        def vectors(name: str, level: Level, sides: tuple[int, int]) -> Step:
            def e(at: Mapping[str, Tensor]) -> Tensor:
                _check_codes(name, at[name], sides, self.options.codes)
                return level.e(at[name].long())

            return e

        steps = {
            place: vectors(name, level, sides)
            for place, name, level, sides in zip(
                self.places, self.names, self.codes.levels, self.codes.sides, strict=True
            )
        }
        return {
            **steps,
            "x": lambda at: self.site.mean(self._of([at[name] for name in steps], self.context(at))),
        }

    def complete(self, x: Tensor, observed: Tensor, options: Any, **given: Any) -> dict[str, Tensor]:
        """The codes of x. Errors: `NotOffered` where x is known in part; `InputError` where codes are given, too."""
        if not observed.all():
            raise NotOffered("the codes of an image that is known in part are not known")
        if given.keys() & set(self.names):
            raise InputError("x has codes of its own: give x or codes, not both")
        zs = self.codes.encode(x, self.context(given))[1]
        return {"x": x, **dict(zip(self.names, zs, strict=True))}

    @property
    def at_once(self) -> int:
        """Rows that are scored together."""
        return min(part.at_once for part in (self.codes, self.prior) if part is not None)

    @property
    def site(self) -> Any:
        """What one dimension of x is, given z."""
        return self.codes.site

    def _fitted_prior(self) -> Prior:
        if self.prior is None:
            raise NotOffered(
                "the prior over the codes was not fitted (prior = None): give codes, or fit with a prior"
            )
        return self.prior

    def _given(self, zs: list[Tensor], c: Tensor | None) -> Any:
        """p(x | e(z)), a distribution of batch shape (row, *event)."""
        return self._of([level.e(z) for level, z in zip(self.codes.levels, zs, strict=True)], c)

    def _of(self, es: list[Tensor], c: Tensor | None) -> Any:
        """p(x | e), of vectors of all levels."""
        numbers = self.codes.decode(es, c)
        return self.site.p(numbers.reshape(len(numbers), *self.shape, numbers.shape[-1]))

    def _begin(self, data: Rows, run: Run) -> None:
        """Codes at the centers of k-means of what the encoder says at the start, from the top."""
        for i, level in enumerate(self.codes.levels):
            cells = math.prod(self.codes.sides[i])
            rows = min(data.n, START, 4 * SEEN * self.options.codes // cells + 1)
            batch, parts = data.batch(0, rows, "start"), []
            for some in torch.arange(rows, device=run.device).split(self.codes.at_once):
                part = {name: value[some] for name, value in batch.items()}
                with torch.no_grad():
                    parts.append(vectors(self.codes.encode(part["x"], self.context(part))[0][i]))
            level.book.start(torch.cat(parts), run.key("k-means", i))


def _site(options: VQOptions, event: Event) -> Any:
    made: dict[str, Callable[[int], Any]] = {
        "bernoulli": lambda levels: Bernoulli(),
        "categorical": Categorical if event.support == "token" else Ordinal,
        "normal": lambda levels: StatedNormal(options.sigma),
    }
    if event.support == "integer":
        made["logistic"] = lambda levels: LogisticMixture(levels, options.components)
    site = site_for(event, made, options.likelihood, auto=AUTO | {"integer": "logistic"})
    if not isinstance(site, StatedNormal):
        refuse_unused(options, "it is of likelihood = 'normal'", "sigma")
    if not isinstance(site, LogisticMixture):
        refuse_unused(options, "it is of likelihood = 'logistic'", "components")
    return site


def _check_codes(name: str, z: Tensor, sides: tuple[int, int], K: int) -> None:
    if z.shape[1:] != sides:
        raise InputError(f"{name}: codes of {sides[0]} x {sides[1]} are needed, not {tuple(z.shape[1:])}")
    if not ((z >= 0) & (z < K) & (z == z.round())).all():
        raise InputError(f"{name}: whole numbers from 0 to {K - 1} are needed")
