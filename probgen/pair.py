"""A pair: a Pyro model and its guide, as a family.

Write `model` and `guide`, and the three hooks are there: fitting by SVI, drawing from the model, scoring exactly where
nothing is latent and by importance weighting elsewhere. Replace a method where the family knows better.
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
from probgen.errors import NotOffered
from probgen.inference.annealed import ais
from probgen.inference.elbo import elbo
from probgen.inference.importance import all_log_weights, elbo_with_error, iwae_with_error
from probgen.inference.pareto import ENOUGH, pareto_k
from probgen.inference.posterior import posterior_draws
from probgen.inference.programs import Objective
from probgen.inference.svi import svi
from probgen.inference.training import SVIOptions, Training


class PairScoreOptions(Options):
    """How a pair with latent variables is scored."""

    estimator: Literal["iwae", "elbo", "ais"] = Field(
        "iwae", description="of log p(x): importance-weighted bound, ELBO, annealed importance sampling"
    )
    k: int = Field(
        100,
        ge=1,
        description="draws a row, of iwae and elbo",
        json_schema_extra=only(estimator=("iwae", "elbo")),
    )
    steps: int = Field(
        200,
        ge=1,
        description="ais: distributions between the guide and the posterior",
        json_schema_extra=only(estimator="ais"),
    )
    chains: int = Field(16, ge=1, description="ais: chains a row", json_schema_extra=only(estimator="ais"))
    at_once: int | None = Field(
        None,
        ge=1,
        description="rows times draws that are in memory together; None: what the device works on best",
    )


class PairSampleOptions(Options):
    """How the latents of a given x are drawn."""

    particles: int = Field(
        16,
        ge=1,
        description="of which each draw that is conditioned on x is one",
        json_schema_extra=only(x=("part", "all")),
    )
    steps: int = Field(
        50,
        ge=1,
        description="from the prior to p(z | x) where x is known in part",
        json_schema_extra=only(x="part"),
    )


class Pair(Objective):
    """A model and its guide in one class, which is its own family. Parameters are `nn.Parameter`.

    latents  names and dimensions of what `sample` returns beside `x`, e.g. {"z": ("latent",)}
    places   names and dimensions of further places on the way from latents to x, which `decode` goes to and from
    dims     dimensions of parameters and buffers in the files, e.g. {"mu": ("component", "feature")}
    accepts  what it can use beside `x`: a subset of {"observed", "weight", "length", "label", "attribute", "size", "pair"}
    dtype    of the parameters, where `fit` is not told: "float32" or "float64"
    exact    whether `log_prob` is exact although there are latents: they are summed out
    by_loss  whether it is fitted by the gradient of `loss`; then every parameter must have one
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
        """The module in its initial state."""
        return cls(options, event)

    @abstractmethod
    def model(self, x: Tensor | None = None, *, n: int, **given: Any) -> Any:
        """p(z) p(x | z): one plate `row` of n at dim -1, sites named as in the paper, `x` observed if given."""

    def guide(self, x: Tensor | None = None, *, n: int, **given: Tensor) -> Any:
        """q(z | x), in the same plate; empty where nothing is sampled."""

    def rows(self, n: int) -> Any:
        """The plate of n rows, `pyro.plate("row", n)`, kept from call to call: to make one costs ten small operations."""
        if self._plate is None or self._plate.size != n:
            self._plate = pyro.plate("row", n, dim=-1)
        return self._plate

    # what a family may know better

    def loss(self, x: Tensor, *, n: int, **given: Tensor) -> dict[str, Tensor]:
        """The negative ELBO, and its parts."""
        found = elbo(self, x, **given)
        if not found.kl:
            return {"loss": -found.bound.mean()}
        reconstruction, kl = found.reconstruction.mean(), found.divergence.mean()
        return {"loss": kl - reconstruction, "reconstruction": reconstruction, "kl": kl}

    @property
    def context_size(self) -> int:
        """How many numbers `context` has."""
        return context_size(self.event)

    def context(self, given: Mapping[str, Tensor]) -> Tensor | None:
        """The conditions of the event as vectors, side by side: (row, context)."""
        return context_of(self.event, given, next(self.parameters()).dtype)

    @property
    def measure(self) -> str:
        """What the density of `x` is a density of: `counting`, `lebesgue`, or their product over the columns of a table, `mixed`."""
        return self.event.measure

    def training_plan(self) -> Training:
        """How `svi` trains it."""
        return Training.of(self.options)

    def learn(self, data: Rows, run: Run) -> dict[str, xr.Dataset] | None:
        """Train in place; return further groups to keep."""
        svi(self, data, run, self.training_plan())
        return None

    def log_prob(self, x: Tensor, **given: Tensor) -> Tensor:
        """log p(x), exact: (row,), in nats. Errors: `NotOffered` where z would have to be integrated out."""
        if self.latents:
            raise NotOffered(f"{type(self).__name__} has no exact log_prob: score it by a bound")
        return elbo(self, x, **given).bound

    def assess(self, x: Tensor, options: Any, **given: Any) -> xr.Dataset:
        """The score of each row: `log_prob` where it is exact, else a bound by the estimator of the options.

        With 25 draws or more, `pareto_k` tells whether their weights can be trusted: not where it is above 0.7.
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
        """n draws of `x` and the latents from the model, conditioned on the latents and conditions in `given`."""
        latents = {name: value for name, value in given.items() if name in self.latents}
        rest = {name: value for name, value in given.items() if name not in self.latents}
        trace = poutine.trace(poutine.condition(self.model, data=latents)).get_trace(n=n, **rest)
        nodes: Mapping[str, Any] = trace.nodes
        drawn = {name: nodes[name]["value"] for name in ("x", *self.latents)}
        return {**drawn, "x": drawn["x"].reshape(n, *(length or -1 for length in self.event.shape))}

    def decode(self, start: Mapping[str, Tensor], until: str = "x") -> Tensor:
        """E[x | latents], (row, *event), or what is at another place. Errors: `NotOffered`, `InputError`."""
        roots = [*self.latents, *self.event.given, *self.event.lengths]
        return decoded(self.way(), start, until, roots)

    def way(self) -> dict[str, Step]:
        """How each place is made of those before it; of one latent x is the mean of the model's, if that is known.

        Errors: `NotOffered` for a pair without latents, or with several.
        """
        if len(self.latents) != 1:
            has = f"has {len(self.latents)} latents" if self.latents else "has no latents"
            raise NotOffered(f"{type(self).__name__} {has}, and does not say how x is decoded")
        (name,) = self.latents

        def x(at: Mapping[str, Tensor]) -> Tensor:
            z = at[name]
            given = {k: at[k] for k in (*self.event.given, *self.event.lengths) if k in at}
            trace = poutine.trace(poutine.condition(self.model, data={name: z})).get_trace(n=len(z), **given)
            nodes: Mapping[str, Any] = trace.nodes
            try:
                mean: Tensor = nodes["x"]["fn"].mean
            except NotImplementedError:
                raise NotOffered(f"{type(self).__name__}: the mean of x given {name} is not known") from None
            if not torch.isfinite(mean).all():
                raise NotOffered(f"{type(self).__name__}: the mean of x given {name} is not finite")
            return mean.reshape(len(z), *(length or -1 for length in self.event.shape))

        return {"x": x}

    def complete(self, x: Tensor, observed: Tensor, options: Any, **given: Any) -> dict[str, Tensor]:
        """Draws of the latents given what is observed of x, and of the rest of x given these.

        Errors: `NotOffered` for a pair without latents, and for a row known in part where the pair does not accept
        `observed`.
        """
        if not self.latents or not (observed.all() or "observed" in self.accepts):
            raise NotOffered(f"{type(self).__name__} does not complete a partly observed x")
        z, ess = posterior_draws(self, x, observed, options.particles, options.steps, **given)
        drawn = self.draw(len(x), {**z, **given}, options)
        return {**drawn, "x": torch.where(observed, x, drawn["x"].to(x.dtype)), "ess": ess}

    # the hooks

    @staticmethod
    @hookimpl
    def fit(module: Pair, data: Rows, run: Run) -> dict[str, xr.Dataset] | None:
        """Train the pair in place."""
        return module.learn(data, run)

    @staticmethod
    @hookimpl
    def sample(fitted: Fitted, n: int, given: dict[str, Tensor], options: Any) -> dict[str, Tensor]:
        """Complete what is partly given, or draw from the model."""
        pair = fitted.module
        assert isinstance(pair, Pair)
        if "x" in given:
            rest = {name: value for name, value in given.items() if name not in ("x", "observed")}
            return pair.complete(given["x"], given["observed"], options, **rest)
        return pair.draw(n, given, options)

    @staticmethod
    @hookimpl
    def score(fitted: Fitted, data: dict[str, Tensor], options: Any) -> xr.Dataset:
        """Assess one shard."""
        pair = fitted.module
        assert isinstance(pair, Pair)
        return pair.assess(data["x"], options, **{name: v for name, v in data.items() if name != "x"})
