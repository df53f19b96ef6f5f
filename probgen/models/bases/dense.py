"""What the autoregressive families share: p(x) = prod_i p(x_i | x_<i, context) as a pair without latents.

A family is a conditioner; sites follow from the event:

    binary            x_i ~ Bernoulli(sigmoid(y_i))
    integer, token    x_i ~ Categorical(softmax(y_i))
    real              x_i ~ sum_k w_ik Normal(mu_ik, sigma_ik), of standardized data
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import pyro
import pyro.distributions as dist
import torch
import xarray as xr
from pydantic import BaseModel, Field
from torch import Tensor

from probgen.contract.event import Event
from probgen.contract.options import ConditionalsOptions, Options, only
from probgen.contract.rows import Rows
from probgen.contract.run import Run
from probgen.distributions import (
    Autoregressive,
    Bernoulli,
    Categorical,
    ColumnSites,
    Ensemble,
    Normal,
    NormalMixture,
    Standardization,
)
from probgen.distributions.autoregressive import checked_ordering
from probgen.distributions.sites import Site
from probgen.errors import InputError, NotOffered
from probgen.inference.particles import complete
from probgen.inference.training import SVIOptions
from probgen.models.bases.choose import site_for
from probgen.models.bases.tables import is_table, table_sites, units
from probgen.pair import Pair


class DenseOptions(SVIOptions):
    """Options of the families with a weight between any two sites."""

    ordering: Literal["natural", "random"] | tuple[int, ...] = Field(
        "natural", description="of the sites: as they lie, drawn at random, or places in the flattened event"
    )
    components: int = Field(1, ge=1, description="normals of each real site; of a table also of counts")
    l1: float = Field(0.0, ge=0, description="L1 penalty of the weights between sites, nats a row")
    given: tuple[str, ...] = Field((), description="what x is conditioned on: ['label']")


class CompletionOptions(Options):
    """How a partly known x is completed."""

    particles: int = Field(
        100,
        ge=1,
        description="of each draw whose known sites are no prefix of the ordering",
        json_schema_extra=only(x=("part", "all")),
    )


class AutoregressivePair(Pair):
    """A conditioner behind the hooks."""

    conditioner: Any
    ordering: Tensor | None
    x_dtype: ClassVar[str] = "float64"
    SampleOptions = CompletionOptions
    ScoreOptions = ConditionalsOptions

    def __init__(self, options: Any, event: Event):
        super().__init__(options, event)
        self.shape = event.fixed_shape
        self.site = self.make_site()
        self.register_buffer("ordering", None)
        if self.standardized:
            self.standard = Standardization(self.shape)

    @property
    def standardized(self) -> bool:
        """Whether sites are of x in other units than those of the data."""
        return not self.event.discrete or self.event.support == "mixed"

    @abstractmethod
    def make_site(self) -> Site:
        """What one site is, by the event and the options. Errors: `InputError`."""

    def parts(self, context: Tensor | None) -> list[Autoregressive]:
        """The autoregressive distributions that p(x) is made of in equal parts; one, if a family has no more."""
        dim = 1 if context is None else context.dim() - 1  # of a vector, or of a map
        return [
            Autoregressive(
                self.conditioner,
                self.site,
                self.shape,
                context=context,
                context_dim=dim,
                ordering=self.ordering,
            )
        ]

    def p(self, **given: Tensor) -> Any:
        """p(x | given): batch shape (row,) where something is given."""
        parts = self.parts(self.context(given))
        p = parts[0] if len(parts) == 1 else Ensemble(parts)
        if not self.standardized:
            return p
        return dist.TransformedDistribution(p, [self.standard.transform(self.dtype_of_numbers)])

    @property
    def dtype_of_numbers(self) -> torch.dtype:
        """Of the conditioner."""
        return next(self.parameters()).dtype

    def model(self, x: Tensor | None = None, *, n: int, **given: Any) -> Tensor:
        """x ~ p(x | given)."""
        with self.rows(n):
            return pyro.sample("x", self.p(**given), obs=x)

    def learn(self, data: Rows, run: Run) -> None:
        """Maximum likelihood; real data are standardized by the moments of the rows to fit to."""
        if self.standardized:
            seen = data.moments()
            table = isinstance(self.site, ColumnSites)
            self.standard.learn(*units(self.event, seen) if table else (seen.mean, seen.scale))
        super().learn(data, run)

    def complete(self, x: Tensor, observed: Tensor, options: Any, **given: Tensor) -> dict[str, Tensor]:
        """A draw of each row given what is known of it, and how many of the particles it was chosen from."""
        parts = self.parts(self.context(given))
        if not self.standardized:
            drawn, ess = complete(parts, x, observed, options.particles)
            return {"x": drawn, "ess": ess}
        y = self.standard(x, self.dtype_of_numbers)
        drawn, ess = complete(parts, y, observed, options.particles)
        return {"x": torch.where(observed, x, self.standard.inverse(drawn)), "ess": ess}

    def assess(self, x: Tensor, options: Any, **given: Tensor) -> xr.Dataset:
        """The exact log p(x), and the conditionals if they are asked for."""
        scores = super().assess(x, options, **given)
        if not options.conditionals:
            return scores
        told = {
            "log_prob": {"units": "nat", "long_name": "log p(x_i | x_<i)"},
            "mean": {"long_name": "mean of p(x_i | x_<i)"},
            "entropy": {"units": "nat", "long_name": "entropy of p(x_i | x_<i)"},
        }
        dims, found = ("row", *self.event.dims), self.conditionals(x, **given)
        return scores.assign(
            {f"site_{name}": (dims, value.cpu().numpy(), told[name]) for name, value in found.items()}
        )

    def conditionals(self, x: Tensor, **given: Tensor) -> dict[str, Tensor]:
        """Of p(x_i | x_<i): `log_prob`, whose sum is log p(x), `mean`, and of discrete x `entropy`; all (row, *event).

        Of several parts with one ordering it is the average of theirs, weighted by how well each foresaw x_<i.
        Errors: `NotOffered` where the parts have different orderings.
        """
        parts = self.parts(self.context(given))
        first = parts[0]
        if any(not torch.equal(part.order, first.order) for part in parts):
            raise NotOffered("conditionals: p(x) averages several orderings, and x_<i is another set in each")
        x = self.standard(x, self.dtype_of_numbers) if self.standardized else x
        each = [part.conditionals(x) for part in parts]
        log_prob = torch.stack([p.log_prob(x).flatten(1)[:, first.order] for p in each])
        before = (log_prob.cumsum(2) - log_prob)[..., first.order.argsort()]
        log_w = before.log_softmax(0).unflatten(2, self.shape)

        def log_p(value: Tensor) -> Tensor:
            return (log_w + torch.stack([p.log_prob(value) for p in each])).logsumexp(0)

        mean = (log_w.exp() * torch.stack([self.site.mean(p) for p in each])).sum(0)
        if isinstance(self.site, ColumnSites) and not self.standardized:
            return {"log_prob": log_p(x), "mean": mean}
        if self.standardized:
            return {"log_prob": log_p(x) - self.standard.scale.log(), "mean": self.standard.inverse(mean)}
        entropy = torch.zeros_like(mean)
        for level in range(self.site.levels or 0):  # one at a time: all would be as many times the memory
            log_level = log_p(torch.full_like(x, level))
            entropy -= torch.special.xlogy(log_level.exp(), log_level.exp())
        return {"log_prob": log_p(x), "mean": mean, "entropy": entropy}


class DensePair(AutoregressivePair):
    """A conditioner with a weight between any two sites, which may be in any ordering."""

    Options: ClassVar[type[BaseModel]] = DenseOptions

    def make_site(self) -> Site:
        """By the event; `components` are of real sites."""
        K = self.options.components
        if is_table(self.event):
            return table_sites(self.event, K)
        if K > 1 and self.event.support != "real":
            raise InputError(
                f"components = {K}: a mixture at each site is for real data, not {self.event.support}"
            )
        return site_for(self.event, dense_sites(K))

    def draw_ordering(self) -> Tensor:
        """The ordering that the options ask for; a random one is another at each call: (site,)."""
        wanted, sites = self.options.ordering, self.event.size
        if isinstance(wanted, tuple):
            return checked_ordering(wanted, sites)
        return torch.randperm(sites) if wanted == "random" else torch.arange(sites)

    @abstractmethod
    def weights(self) -> list[Tensor]:
        """What L1 penalizes."""

    def penalty(self) -> Tensor | float:
        """l1 times the sum of absolute weights."""
        l1 = self.options.l1
        return l1 * torch.stack([w.abs().sum() for w in self.weights()]).sum() if l1 else 0.0


def dense_sites(components: int) -> dict[str, Callable[[int], Site]]:
    """The sites of a network that sees all of x: normals of real x, or mixtures of some."""
    return {
        "bernoulli": lambda levels: Bernoulli(),
        "categorical": Categorical,
        "normal": lambda levels: Normal() if components == 1 else NormalMixture(components),
    }
