"""The pair: a Pyro model and its guide, as a family.

A subclass of `Pair` defines `model` and `guide`; `Pair` implements the three hooks. The fit uses SVI, samples
come from the model, and scores are exact for a pair without latents and bounds for a pair with latents. A
subclass can override each method with a better algorithm.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import pyro
import torch
import xarray as xr
from pydantic import BaseModel, Field
from pyro import poutine
from pyro.poutine.condition_messenger import ConditionMessenger
from torch import Tensor

from probgen.contract.conditions import context_of, context_size
from probgen.contract.event import Event
from probgen.contract.fitted import Fitted
from probgen.contract.hookspecs import hookimpl
from probgen.contract.options import Options, only
from probgen.contract.places import Step, decoded
from probgen.contract.rows import Rows
from probgen.contract.run import Run
from probgen.contract.scores import log_prob
from probgen.errors import InputError, NotOffered
from probgen.inference.annealed import ais
from probgen.inference.elbo import elbo
from probgen.inference.importance import all_log_weights, elbo_with_error, iwae_with_error
from probgen.inference.pareto import ENOUGH, pareto_k
from probgen.inference.posterior import posterior_draws
from probgen.inference.programs import Objective
from probgen.inference.svi import svi
from probgen.inference.training import SVIOptions, Training


class _Given(ConditionMessenger):
    """Condition on values in the dtype of the model: whole numbers may be the values of a real latent."""

    def __init__(self, values: Mapping[str, Tensor], dtype: torch.dtype):
        super().__init__(dict(values))
        self.values, self.dtype = values, dtype

    def _pyro_sample(self, msg: Any) -> None:
        super()._pyro_sample(msg)
        value = self.values.get(msg["name"])
        if value is not None and not value.is_floating_point() and not msg["fn"].support.is_discrete:
            msg["value"] = value.to(self.dtype)


class PairScoreOptions(Options):
    """Options of the scores of a pair with latents."""

    estimator: Literal["iwae", "elbo", "ais"] = Field(
        "iwae",
        description="estimator of log p(x): importance-weighted bound, ELBO, or annealed importance sampling",
    )
    k: int = Field(
        100,
        ge=1,
        description="posterior draws per row (iwae and elbo only)",
        json_schema_extra=only(estimator=("iwae", "elbo")),
    )
    steps: int = Field(
        200,
        ge=1,
        description="number of distributions between the guide and the posterior (ais only)",
        json_schema_extra=only(estimator="ais"),
    )
    chains: int = Field(
        16, ge=1, description="chains per row (ais only)", json_schema_extra=only(estimator="ais")
    )
    at_once: int | None = Field(
        None,
        ge=1,
        description="rows times draws in memory at the same time; None: the fastest number for the device",
    )


class PairSampleOptions(Options):
    """Options of sampling the latents for a given x."""

    particles: int = Field(
        16,
        ge=1,
        description="number of particles per sample when x is given; one of them becomes the sample",
        json_schema_extra=only(x=("part", "all")),
    )
    steps: int = Field(
        50,
        ge=1,
        description="annealing steps from the prior to p(z | x) when x is given in part",
        json_schema_extra=only(x="part"),
    )


class Pair(Objective):
    """A Pyro model and its guide in one class, which is a family. Parameters are `nn.Parameter`.

    Args:
        options: An instance of the class attribute `Options`.
        event: The description of one datum.

    Attributes:
        Options: The class of the options of a fit.
        SampleOptions: The class of the options of `sample`.
        ScoreOptions: The class of the options of `score`.
        latents: The names and dimensions of the latents that `sample` returns in addition to `x`: {"z":
            ("latent",)}.
        places: The names and dimensions of further places between the latents and x, for `decode`.
        dims: The dimensions of parameters and buffers in the files: {"mu": ("component", "feature")}.
        accepts: The inputs in addition to `x` that the pair can use: a subset of {"observed", "weight",
            "length", "label", "attribute", "size", "pair"}.
        dtype: The default dtype of the parameters: "float32" or "float64".
        exact: Whether `log_prob` is exact although the pair has latents, because it sums them out.
        by_loss: Whether the pair is fitted by the gradient of `loss`; then every parameter must have a
            gradient.
        options: The options of the fit.
        event: The description of one datum.
    """

    Options: ClassVar[type[BaseModel]] = SVIOptions
    SampleOptions: ClassVar[type[BaseModel]] = PairSampleOptions
    ScoreOptions: ClassVar[type[BaseModel]] = PairScoreOptions
    accepts: ClassVar[frozenset[str]] = frozenset()
    dtype: ClassVar[str] = "float32"
    exact: ClassVar[bool] = False
    by_loss: ClassVar[bool] = True
    latents: Mapping[str, tuple[str, ...]] = {}
    places: Mapping[str, tuple[str, ...]] = {}
    dims: Mapping[str, tuple[str, ...]] = {}

    def __init__(self, options: Any, event: Event):
        super().__init__()
        self.options = options
        self.event = event
        self._plate: Any = None

    @classmethod
    def build(cls, options: BaseModel, event: Event) -> Pair:
        """Return the module in its initial state.

        Args:
            options: The options of the fit.
            event: The description of one datum.

        Returns:
            The module.
        """
        return cls(options, event)

    @abstractmethod
    def model(self, x: Tensor | None = None, *, n: int, **given: Any) -> Any:
        """Define p(z) p(x | z) in Pyro, with one plate `row` of size n at dim -1.

        The sites have the names of the paper; the site `x` is observed if x is given.

        Args:
            x: Rows of x: (row, *event dims); None to sample x.
            n: The number of rows.
            **given: The conditions, `observed` and other inputs by name: (row, ...).

        Returns:
            Any value; only the sites are used.
        """

    def guide(self, x: Tensor | None = None, *, n: int, **given: Tensor) -> Any:
        """Define q(z | x) in Pyro, in the same plate as the model; a pair without latents has an empty guide.

        Args:
            x: Rows of x: (row, *event dims).
            n: The number of rows.
            **given: The conditions, `observed` and other inputs by name: (row, ...).

        Returns:
            Any value; only the sites are used.
        """

    def rows(self, n: int) -> Any:
        """Return the plate of n rows, `pyro.plate("row", n)`.

        The plate is reused between calls, because creating a plate costs ten small operations.

        Args:
            n: The number of rows.

        Returns:
            The plate.
        """
        if self._plate is None or self._plate.size != n:
            self._plate = pyro.plate("row", n, dim=-1)
        return self._plate

    # methods that a family may override

    def loss(self, x: Tensor, *, n: int, **given: Tensor) -> dict[str, Tensor]:
        """Return the negative ELBO and its parts.

        Args:
            x: Rows of x: (row, *event dims).
            n: The number of rows.
            **given: The conditions, `observed` and other inputs by name: (row, ...).

        Returns:
            `loss`, the mean of the rows; with latents also `reconstruction` and `kl`: (), in nats per row.
        """
        found = elbo(self, x, **given)
        if not found.kl:
            return {"loss": -found.bound.mean()}
        reconstruction, kl = found.reconstruction.mean(), found.divergence.mean()
        return {"loss": kl - reconstruction, "reconstruction": reconstruction, "kl": kl}

    @property
    def context_size(self) -> int:
        """The number of values per row in `context`."""
        return context_size(self.event)

    def context(self, given: Mapping[str, Tensor]) -> Tensor | None:
        """Return the conditions of the event as concatenated vectors.

        Args:
            given: The conditions by name: (row, ...).

        Returns:
            The vectors: (row, context); None for an event without conditions.
        """
        return context_of(self.event, given, next(self.parameters()).dtype)

    @property
    def measure(self) -> str:
        """The measure of the density of `x`: `counting`, `lebesgue`, or their product `mixed` (tables)."""
        return self.event.measure

    def training_plan(self) -> Training:
        """Return the plan by which `svi` trains the pair."""
        return Training.of(self.options)

    def learn(self, data: Rows, run: Run) -> dict[str, xr.Dataset] | None:
        """Train the pair in place.

        Args:
            data: The training rows.
            run: The call, with the training loop.

        Returns:
            Further results to store with the fitted model, by name; None for no results.
        """
        svi(self, data, run, self.training_plan())
        return None

    def log_prob(self, x: Tensor, **given: Tensor) -> Tensor:
        """Return the exact log p(x).

        Args:
            x: Rows of x: (row, *event dims).
            **given: The conditions, `observed` and other inputs by name: (row, ...).

        Returns:
            log p(x) in nats: (row,).

        Raises:
            NotOffered: When the pair has latents.
        """
        if self.latents:
            raise NotOffered(f"{type(self).__name__} has latents and no exact log_prob. Use `probgen.score`.")
        return elbo(self, x, **given).bound

    def assess(self, x: Tensor, options: Any, **given: Any) -> xr.Dataset:
        """Return the score of each row: the exact `log_prob`, or a bound by the estimator of the options.

        With estimator "iwae" and at least 25 draws per row, the result has `pareto_k (row)`. Importance
        weights with `pareto_k` above 0.7 are not reliable.

        Args:
            x: Rows of x: (row, *event dims).
            options: An instance of `ScoreOptions`.
            **given: The conditions, `observed` and other inputs by name: (row, ...).

        Returns:
            A Dataset with `log_prob (row)` in nats; for a bound also `log_prob_se (row)`.
        """
        if self.exact or not self.latents:
            return log_prob(self.log_prob(x, **given), kind="exact", estimator="exact", measure=self.measure)
        k = options.k
        if options.estimator == "ais":
            chains = ais(self, x, options.steps, chains=options.chains, at_once=options.at_once, **given)
            bound, se, name = chains.bound, chains.standard_error, f"ais-{options.steps}"
        else:
            log_w = all_log_weights(self, x, k, at_once=options.at_once, **given)
            elbo_is_wanted = options.estimator == "elbo"
            bound, se = elbo_with_error(log_w) if elbo_is_wanted else iwae_with_error(log_w)
            name = "elbo" if elbo_is_wanted else f"iwae-{k}"
        scores = log_prob(bound, kind="lower_bound", estimator=name, measure=self.measure, se=se)
        if options.estimator == "iwae" and k >= ENOUGH:
            attrs = {"long_name": "shape of the tail of the importance weights"}
            scores["pareto_k"] = ("row", pareto_k(log_w).cpu().numpy(), attrs)
        return scores

    def draw(self, n: int, given: dict[str, Tensor], options: Any) -> dict[str, Tensor]:
        """Sample `x` and the latents from the model, conditioned on the latents and conditions in `given`.

        Args:
            n: The number of samples.
            given: Latents and conditions by name: (n, ...).
            options: An instance of `SampleOptions`.

        Returns:
            `x` and the latents by name: (n, ...).
        """
        latents = {name: value for name, value in given.items() if name in self.latents}
        rest = {name: value for name, value in given.items() if name not in self.latents}
        nodes = self._traced(latents, n=n, **rest)
        drawn = {name: nodes[name]["value"] for name in ("x", *self.latents)}
        return {**drawn, "x": drawn["x"].reshape(n, *(length or -1 for length in self.event.shape))}

    def _traced(self, latents: Mapping[str, Tensor], **how: Any) -> Mapping[str, Any]:
        """Return the sites of the model, conditioned on latents."""
        program = _Given(latents, next(self.parameters()).dtype)(self.model)
        nodes: Mapping[str, Any] = poutine.trace(program).get_trace(**how).nodes
        return nodes

    def decode(self, start: Mapping[str, Tensor], until: str = "x") -> Tensor:
        """Return E[x | latents], or the value at another place, without sampling.

        Args:
            start: The values at some latents and places, and the conditions: (row, ...).
            until: The place to compute: "x", a latent or a name in `places`.

        Returns:
            The values at `until`: (row, *dims); for x (row, *event dims).

        Raises:
            NotOffered: When the mean is not known.
            InputError: When a name is not a place, or when a value that decoding needs is missing.
        """
        roots = [*self.latents, *self.event.given, *self.event.lengths]
        return decoded(self.way(), start, until, roots)

    def way(self) -> dict[str, Step]:
        """Return, for each place, the function that computes it from earlier places.

        For a pair with one latent, x is the mean of the model's distribution of x. A pair with several
        latents or with places overrides this method.

        Returns:
            The functions by place, for `probgen.contract.places.decoded`.

        Raises:
            NotOffered: When the pair has no latents or several. The function of x raises it when the mean is
                not known or not finite.
        """
        if len(self.latents) != 1:
            has = f"has {len(self.latents)} latents" if self.latents else "has no latents"
            raise NotOffered(f"{type(self).__name__} {has} and does not define how x is decoded.")
        (name,) = self.latents

        def x(at: Mapping[str, Tensor]) -> Tensor:
            z = at[name]
            given = {k: at[k] for k in (*self.event.given, *self.event.lengths) if k in at}
            nodes = self._traced({name: z}, n=len(z), **given)
            try:
                mean: Tensor = nodes["x"]["fn"].mean
            except NotImplementedError:
                raise NotOffered(f"{type(self).__name__}: the mean of x given {name} is not known") from None
            if not torch.isfinite(mean).all():
                raise NotOffered(f"{type(self).__name__}: the mean of x given {name} is not finite")
            return mean.reshape(len(z), *(length or -1 for length in self.event.shape))

        return {"x": x}

    def complete(self, x: Tensor, observed: Tensor, options: Any, **given: Any) -> dict[str, Tensor]:
        """Sample the latents given the observed values of x, and then the missing values of x.

        Args:
            x: Rows of x: (row, *event dims).
            observed: Whether each value of x is observed: (row, *event dims), bool.
            options: An instance of `SampleOptions`.
            **given: The conditions by name: (row, ...).

        Returns:
            The completed `x`, the latents, and the effective sample size `ess`, by name: (row, ...).

        Raises:
            NotOffered: When the pair has no latents, or when a value is missing and the pair does not accept
                `observed`.
            InputError: When a latent is given.
        """
        if both := [name for name in self.latents if name in given]:
            raise InputError(
                f"x and {both[0]} are given: {both[0]} is made from x. Give x or {both[0]}, not both."
            )
        if not self.latents or not (observed.all() or "observed" in self.accepts):
            raise NotOffered(f"{type(self).__name__} does not complete a partly observed x.")
        z, ess = posterior_draws(self, x, observed, options.particles, options.steps, **given)
        drawn = self.draw(len(x), {**z, **given}, options)
        return {**drawn, "x": torch.where(observed, x, drawn["x"].to(x.dtype)), "ess": ess}

    # the hooks

    @staticmethod
    @hookimpl
    def fit(module: Pair, data: Rows, run: Run) -> dict[str, xr.Dataset] | None:
        """Train the pair in place.

        Args:
            module: The pair in its initial state.
            data: The training rows.
            run: The call, with the training loop.

        Returns:
            Further results to store with the fitted model, by name; None for no results.
        """
        return module.learn(data, run)

    @staticmethod
    @hookimpl
    def sample(fitted: Fitted, n: int, given: dict[str, Tensor], options: Any) -> dict[str, Tensor]:
        """Sample from the model, or complete a given x.

        Args:
            fitted: The fitted pair.
            n: The number of samples.
            given: The values to condition on, by name: (n, ...).
            options: An instance of `SampleOptions`.

        Returns:
            `x` and the latents by name: (n, ...).
        """
        pair = fitted.module
        assert isinstance(pair, Pair)
        if "x" in given:
            rest = {name: value for name, value in given.items() if name not in ("x", "observed")}
            return pair.complete(given["x"], given["observed"], options, **rest)
        return pair.draw(n, given, options)

    @staticmethod
    @hookimpl
    def score(fitted: Fitted, data: dict[str, Tensor], options: Any) -> xr.Dataset:
        """Return the scores of one shard.

        Args:
            fitted: The fitted pair.
            data: The rows by name: (row, ...).
            options: An instance of `ScoreOptions`.

        Returns:
            A Dataset with `log_prob (row)` in nats; for a bound also `log_prob_se (row)`.
        """
        pair = fitted.module
        assert isinstance(pair, Pair)
        return pair.assess(data["x"], options, **{name: v for name, v in data.items() if name != "x"})
