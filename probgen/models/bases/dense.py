"""The base of the autoregressive families: p(x) = prod_i p(x_i | x_<i, context) as a pair without latents.

A family is a conditioner, a network that returns y_i, the parameters of each site. The sites follow from the
event:

    binary            x_i ~ Bernoulli(sigmoid(y_i))
    integer, token    x_i ~ Categorical(softmax(y_i))
    real              x_i ~ sum_k w_ik Normal(mu_ik, sigma_ik), with standardized data
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
    """Options of the autoregressive families with a weight between any two sites."""

    ordering: Literal["natural", "random"] | tuple[int, ...] = Field(
        "natural", description="order in which the sites are sampled: natural, random, or a list of positions"
    )
    components: int = Field(
        1, ge=1, description="mixture components of each real site; in a table also of each count"
    )
    l1: float = Field(0.0, ge=0, description="L1 penalty of the weights between sites, in nats per row")
    given: tuple[str, ...] = Field((), description="names of the conditions of x, such as ['label']")


class CompletionOptions(Options):
    """Options of completion: sampling the missing values of x given the observed values."""

    particles: int = Field(
        100,
        ge=1,
        description="particles per sample, used when an observed site comes after a missing one",
        json_schema_extra=only(x=("part", "all")),
    )


class AutoregressivePair(Pair):
    """The base of the autoregressive pairs: a conditioner, with exact scores.

    A subclass sets `conditioner` and replaces `make_site`.

    Args:
        options: The options of the family.
        event: The event that x is.
    """

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
        """Whether the sites model standardized x."""
        return not self.event.discrete or self.event.support == "mixed"

    @abstractmethod
    def make_site(self) -> Site:
        """Return the site of each dimension of x, by the event and the options.

        Returns:
            The site.

        Raises:
            InputError: When the options do not suit the event.
        """

    def parts(self, context: Tensor | None) -> list[Autoregressive]:
        """Return the autoregressive distributions that p(x) averages with equal weights; by default one.

        Args:
            context: The context, (row, *context), or None.

        Returns:
            The distributions.
        """
        dim = 1 if context is None else context.dim() - 1  # 1 for a vector, 3 for a map
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
        """Return the distribution of x given the conditions.

        Args:
            **given: The conditions by name, each (row, ...).

        Returns:
            A distribution with batch shape (row,) if there are conditions, else ().
        """
        parts = self.parts(self.context(given))
        p = parts[0] if len(parts) == 1 else Ensemble(parts)
        if not self.standardized:
            return p
        return dist.TransformedDistribution(p, [self.standard.transform(self.dtype_of_numbers)])

    @property
    def dtype_of_numbers(self) -> torch.dtype:
        """The dtype of the conditioner."""
        return next(self.parameters()).dtype

    def model(self, x: Tensor | None = None, *, n: int, **given: Any) -> Tensor:
        """Sample x ~ p(x | given)."""
        with self.rows(n):
            return pyro.sample("x", self.p(**given), obs=x)

    def learn(self, data: Rows, run: Run) -> None:
        """Fit by maximum likelihood; real x is standardized by the moments of the rows of the fit."""
        if self.standardized:
            seen = data.moments()
            table = isinstance(self.site, ColumnSites)
            self.standard.learn(*units(self.event, seen) if table else (seen.mean, seen.scale))
        super().learn(data, run)

    def complete(self, x: Tensor, observed: Tensor, options: Any, **given: Tensor) -> dict[str, Tensor]:
        """Sample the missing values of each row given its observed values.

        Args:
            x: The rows, (row, *event).
            observed: The observed values, (row, *event).
            options: Options with `particles`.
            **given: The conditions by name.

        Returns:
            The complete rows `x`, and `ess` (row,), the effective number of particles that each was chosen
            from.
        """
        parts = self.parts(self.context(given))
        if not self.standardized:
            drawn, ess = complete(parts, x, observed, options.particles)
            return {"x": drawn, "ess": ess}
        y = self.standard(x, self.dtype_of_numbers)
        drawn, ess = complete(parts, y, observed, options.particles)
        return {"x": torch.where(observed, x, self.standard.inverse(drawn)), "ess": ess}

    def assess(self, x: Tensor, options: Any, **given: Tensor) -> xr.Dataset:
        """Return the exact log p(x), and with `conditionals` the values at each site."""
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
        """Return the log-probability, the mean and the entropy of each p(x_i | x_<i).

        If p(x) averages several parts with one ordering, p(x_i | x_<i) averages theirs, weighted by the
        probability of x_<i under each part.

        Args:
            x: The rows, (row, *event).
            **given: The conditions by name.

        Returns:
            `log_prob`, which adds up to log p(x), in nats; `mean`; for discrete x other than tables also
            `entropy`, in nats. Each is (row, *event).

        Raises:
            NotOffered: When the parts of p(x) have different orderings.
        """
        parts = self.parts(self.context(given))
        first = parts[0]
        if any(not torch.equal(part.order, first.order) for part in parts):
            raise NotOffered(
                "conditionals = True: p(x) averages several orderings, and x_<i differs between them. Leave "
                "it out."
            )
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
        for level in range(self.site.levels or 0):  # one level at a time, to save memory
            log_level = log_p(torch.full_like(x, level))
            entropy -= torch.special.xlogy(log_level.exp(), log_level.exp())
        return {"log_prob": log_p(x), "mean": mean, "entropy": entropy}


class DensePair(AutoregressivePair):
    """The base of the pairs with a weight between any two sites, in any ordering.

    Args:
        options: The options of the family.
        event: The event that x is.
    """

    Options: ClassVar[type[BaseModel]] = DenseOptions

    def make_site(self) -> Site:
        """Return the site of each dimension of x, with `components` for real x."""
        K = self.options.components
        if is_table(self.event):
            return table_sites(self.event, K)
        if K > 1 and self.event.support != "real":
            raise InputError(
                f"components = {K}: a mixture at each site needs real x, but x is {self.event.support}. "
                "Leave components out."
            )
        return site_for(self.event, dense_sites(K))

    def draw_ordering(self) -> Tensor:
        """Return the ordering of the options; a random ordering is a new one at each call.

        Returns:
            Position of the first site, the second, ... in the flattened event: (site,).
        """
        wanted, sites = self.options.ordering, self.event.size
        if isinstance(wanted, tuple):
            return checked_ordering(wanted, sites)
        return torch.randperm(sites) if wanted == "random" else torch.arange(sites)

    def learn(self, data: Rows, run: Run) -> None:
        """Fit by maximum likelihood, with advice where the network is large enough to memorize the rows."""
        parameters, values = sum(p.numel() for p in self.parameters()), data.n * self.event.size
        if data.valid is None and parameters > values:
            run.notes.append(
                f"{parameters:,} parameters for {values:,} values of x, and no validation rows: more epochs can memorize the "
                "rows. Give validation rows (valid), so that the best epoch is kept, or fewer hidden units."
            )
        super().learn(data, run)

    @abstractmethod
    def weights(self) -> list[Tensor]:
        """Return the weights that the option `l1` penalizes."""

    def penalty(self) -> Tensor | float:
        """Return `l1` times the sum of the absolute weights, in nats per row."""
        l1 = self.options.l1
        return l1 * torch.stack([w.abs().sum() for w in self.weights()]).sum() if l1 else 0.0


def dense_sites(components: int) -> dict[str, Callable[[int], Site]]:
    """Return the sites of a network on all of x, for `site_for`.

    Args:
        components: Normals of each real site.

    Returns:
        A function from the number of levels to a site, for each likelihood.
    """
    return {
        "bernoulli": lambda levels: Bernoulli(),
        "categorical": Categorical,
        "normal": lambda levels: Normal() if components == 1 else NormalMixture(components),
    }
