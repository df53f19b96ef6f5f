"""The base of `vqvae` and `vqvae2`: options, the two stages of a fit, p(z) and p(x | z) as a Pyro model, and the score.

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
from probgen.inference.training import AutocastOptions, Training
from probgen.models.bases.choose import AUTO, site_for
from probgen_vqvae.codebook import SEEN
from probgen_vqvae.hierarchy import Hierarchy, Level
from probgen_vqvae.networks import vectors
from probgen_vqvae.pictures import pictures
from probgen_vqvae.prior import Prior

START = 2000  # rows, at most, whose vectors initialize the codes


class StageOptions(AutocastOptions):
    """The options of either stage.

    With `autocast`, distances to codes keep their dtype too. `graph` raises `ValueError`, because the look-up of codes
    is not a fixed operation.
    """

    @model_validator(mode="after")
    def _no_graph(self) -> StageOptions:
        if self.graph:
            raise ValueError(
                "graph = true: codes are looked up by their values, which a graph cannot record. Omit graph."
            )
        return self


class PriorOptions(StageOptions):
    """The options of the second stage, a PixelCNN for each level."""

    channels: int = Field(32, ge=1, description="channels of each layer")
    layers: int = Field(5, ge=1, le=100, description="number of gated layers")
    head: int = Field(64, ge=1, description="channels of the layer before the output layer")
    kernel: tuple[int, int] = Field(
        (7, 3), description="kernel size of the first layer, and of all other layers"
    )
    dilation: tuple[int, ...] = Field(
        (1, 2, 4),
        min_length=1,
        description="dilations of the layers after the first, used in turn",
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="share of each layer's channels dropped in training")


class VQOptions(StageOptions):
    """The options of the first stage, with the options of the second stage in `prior`."""

    codes: int = Field(512, ge=2, description="K, number of codes of each level")
    latent: int = Field(64, ge=1, description="D, dimensions of a code")
    halvings: int = Field(
        2, ge=1, description="number of times that the encoder of the finest codes halves x"
    )
    hidden: Sizes = Field(64, description="channels of encoder and decoder")
    blocks: int = Field(2, ge=0, description="residual blocks of encoder and of decoder")
    decay: float | None = Field(
        0.9,
        gt=0,
        lt=1,
        description="gamma of the codes' moving averages (paper: 0.99, slower); None: codes by gradient",
    )
    commitment: float = Field(0.25, ge=0, description="beta, weight of |E(x) - sg[e]|^2")
    distance: Literal["euclidean", "cosine"] = Field(
        "euclidean", description="distance between encoder vectors and codes"
    )
    restart: float = Field(
        0.1, ge=0, lt=1, description="reinitialize codes used less than this share of even use; 0: never"
    )
    likelihood: Literal["auto", "bernoulli", "categorical", "logistic", "normal"] = Field(
        "auto", description="distribution of one dimension of x given z; auto: chosen by the data"
    )
    components: int = Field(
        5, ge=1, description="logistic components per dimension (likelihood logistic only)"
    )
    sigma: float = Field(
        0.1,
        gt=0,
        description="standard deviation of x given z, relative to the data's (likelihood normal only)",
    )
    given: tuple[str, ...] = Field((), description="conditions of x: ['label']")
    prior: PriorOptions | None = Field(
        default_factory=lambda: PriorOptions.model_validate({}),
        description="options of the second stage: epochs, channels, ...; None: no prior over the codes",
    )

    @model_validator(mode="after")
    def _one_size(self) -> VQOptions:
        _ = self.channels
        return self

    @property
    def channels(self) -> int:
        """The number of channels of encoder and decoder."""
        return one_size(self.hidden)


class ScoreOptions(Options):
    """The options of `score`. There are none, because the bound is computed without sampling."""


class StatedNormal(nn.Module):
    """The distribution x ~ Normal(mu, sigma) of one dimension, with stated sigma.

    The networks receive x, and predict mu, in units of mean 0 and standard deviation 1.

    Args:
        sigma: Standard deviation of x given z, relative to the standard deviation of the data.
    """

    size = features = 1
    levels = dtype = None
    softmax = one_hot = False
    support = constraints.real

    def __init__(self, sigma: float):
        super().__init__()
        self.sigma = sigma
        self.standard = Standardization()

    def p(self, numbers: Tensor) -> Any:
        """Return the distribution for the outputs of a network: (..., 1) -> batch shape (...)."""
        return dist.Normal(self.standard.inverse(numbers.squeeze(-1)), self.standard.scale * self.sigma)

    def mean(self, p: Any) -> Tensor:
        """Return the mean of the distribution."""
        return p.mean

    def encode(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """Standardize x as input of a network: (...) -> (..., 1)."""
        y: Tensor = self.standard(x, dtype)
        return y[..., None]

    def standardize(self, data: Rows) -> None:
        """Set the units to mean and standard deviation of all numbers, in float64. Constant data keep a scale of 1."""
        seen = data.moments().pooled()
        self.standard.learn(seen.mean, seen.scale)


class VQPair(Pair):
    """A VQ-VAE with one or more levels of codes.

    Args:
        options: The options of both stages.
        event: The event of the data.

    Attributes:
        codes: The first stage: encoders, codebooks and decoder.
        prior: The second stage: PixelCNNs over the codes, or None.
        names: Names of the levels' codes, from the coarsest level: `z`, or `z_1`, `z_2`, ...
    """

    Options: ClassVar[type[BaseModel]] = VQOptions
    x_dtype = "float64"
    SampleOptions = MeanOptions
    ScoreOptions = ScoreOptions
    pictures = staticmethod(pictures)
    by_loss = False  # each of the two stages has its own loss

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
        """Fit the codes, and then the prior over the codes.

        Args:
            data: The rows, with validation rows or without.
            run: The run of the fit.

        Raises:
            InputError: When options of either stage do not suit the data or the run, before the first stage starts.
        """
        o = self.options
        trainings = [Training.of(stage) for stage in (o, o.prior) if stage is not None]
        for training in trainings:
            training.check(data, run)  # both stages now: the second stage starts after hours
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
        """Sample z ~ p(z) and x ~ p(x | e(z)).

        Args:
            x: Observed x (row, *event), or None to sample it.
            n: Number of rows.
            **given: Conditions by name, (row, ...).

        Returns:
            x, (row, *event).

        Raises:
            NotOffered: When the model was fitted without a prior.
        """
        c = self.context(given)
        with self.rows(n):
            zs: list[Tensor] = []
            for level, name in enumerate(self.names):
                p = self._fitted_prior().p(level, zs, c)
                zs.append(pyro.sample(name, p if c is not None or level else p.expand((n,))))
            return pyro.sample("x", self._given(zs, c).to_event(len(self.event.shape)), obs=x)

    def assess(self, x: Tensor, options: Any, **given: Any) -> xr.Dataset:
        """Compute a lower bound of log p(x) without Monte Carlo error.

        Args:
            x: Rows, (row, *event).
            options: There are no options.
            **given: Conditions by name, (row, ...).

        Returns:
            `log_prob`, the bound, and its part `reconstruction`, log p(x | z) at z = E(x), in nats, (row,) each.

        Raises:
            NotOffered: When the model was fitted without a prior.
        """
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
        """Sample x and z, or x for given codes of all levels or of the coarsest levels.

        Args:
            n: Number of samples.
            given: Conditions and codes by name, (row, ...).
            options: Whether x is the mean of p(x | z).

        Returns:
            x (row, *event), and the codes of each level, (row, height, width).

        Raises:
            NotOffered: When codes of a level are given without the codes of all coarser levels. The distribution of
                the coarser codes is then unknown. Also when codes are missing, and the model was fitted without a prior.
            InputError: When given codes have another shape or range.
        """
        known = [name for name in self.names if name in given]
        if known != self.names[: len(known)]:
            raise NotOffered(
                f"given {known[-1]}: codes are sampled from coarse to fine. Give the codes of all coarser levels too, "
                f"from {self.names[0]} on, or omit {known[-1]}."
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
        """Encode x.

        Args:
            x: Rows, (row, *event).
            **given: Conditions by name, (row, ...).

        Returns:
            The codes of each level by name, (row, height, width).
        """
        return dict(zip(self.names, self.codes.encode(x, self.context(given))[1], strict=True))

    def way(self) -> dict[str, Step]:
        """Return the steps z -> e(z) -> E[x | z], with the codes of all levels. Gradients exist from e(z) on.

        Returns:
            For each place, a function that computes its value from earlier places.
        """

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
        """Encode x that is given completely.

        Args:
            x: Rows, (row, *event).
            observed: Whether each value of x is known, (row, *event).
            options: Options of the sample hook.
            **given: Conditions by name, (row, ...).

        Returns:
            x, and the codes of each level by name, (row, height, width).

        Raises:
            NotOffered: When x is known in part.
            InputError: When codes are given in addition to x.
        """
        if not observed.all():
            raise NotOffered(
                "x is known in part: only complete images can be encoded. Give all of x, or codes."
            )
        if given.keys() & set(self.names):
            raise InputError("x and codes are given: the codes follow from x. Give x or codes, not both.")
        zs = self.codes.encode(x, self.context(given))[1]
        return {"x": x, **dict(zip(self.names, zs, strict=True))}

    @property
    def at_once(self) -> int:
        """The number of rows that are scored together."""
        return min(part.at_once for part in (self.codes, self.prior) if part is not None)

    @property
    def site(self) -> Any:
        """The distribution of one dimension of x given z."""
        return self.codes.site

    def _fitted_prior(self) -> Prior:
        if self.prior is None:
            raise NotOffered(
                "prior = None: the prior over the codes was not fitted. Give codes, or fit again with a prior."
            )
        return self.prior

    def _given(self, zs: list[Tensor], c: Tensor | None) -> Any:
        """Return p(x | e(z)), a distribution of batch shape (row, *event)."""
        return self._of([level.e(z) for level, z in zip(self.codes.levels, zs, strict=True)], c)

    def _of(self, es: list[Tensor], c: Tensor | None) -> Any:
        """Return p(x | e) for the vectors of all levels."""
        numbers = self.codes.decode(es, c)
        return self.site.p(numbers.reshape(len(numbers), *self.shape, numbers.shape[-1]))

    def _begin(self, data: Rows, run: Run) -> None:
        """Initialize the codes at k-means centers of the encoder's initial vectors, from the coarsest level on."""
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
        refuse_unused(options, "it is used with likelihood = 'normal' only", "sigma")
    if not isinstance(site, LogisticMixture):
        refuse_unused(options, "it is used with likelihood = 'logistic' only", "components")
    return site


def _check_codes(name: str, z: Tensor, sides: tuple[int, int], K: int) -> None:
    if z.shape[1:] != sides:
        raise InputError(f"{name}: codes of {sides[0]} x {sides[1]} are needed, not {tuple(z.shape[1:])}.")
    if not ((z >= 0) & (z < K) & (z == z.round())).all():
        raise InputError(f"{name}: whole numbers from 0 to {K - 1} are needed.")
