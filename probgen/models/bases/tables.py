"""Tables in networks: a site a column by its kind, columns in units that networks like, and where a fit begins.

real      x_i in deviations about its mean: a normal, or a mixture of some
count     x_i as it is: a negative binomial, or a mixture of some, told as log(1 + x_i)
binary    a Bernoulli site;  token, integer: a categorical one
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, ClassVar

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn
from torch.distributions import constraints

from probgen.contract.columns import Column
from probgen.contract.event import Event, columns_of
from probgen.contract.rows import Moments
from probgen.distributions import (
    Bernoulli,
    Categorical,
    ColumnSites,
    Counts,
    Normal,
    NormalMixture,
    Standardization,
)
from probgen.distributions.sites import Site
from probgen.errors import InputError

MOST_LEVELS = 1 << 12  # of a softmax


def is_table(event: Event) -> bool:
    """Whether a site a column is needed: columns of several kinds or of counts, or with gaps that a network is told of."""
    return event.support in ("count", "mixed") or any(column.gaps for column in event.columns)


def table_sites(event: Event, components: int = 1) -> ColumnSites:
    """The site of each column. components: of real columns and of counts. Errors: `InputError` for too many classes."""
    columns = columns_of(event)
    return ColumnSites(
        tuple(_site(column, components) for column in columns), any(column.gaps for column in columns)
    )


def _site(column: Column, components: int) -> Site:
    if column.support == "real":
        return Normal() if components == 1 else NormalMixture(components)
    if column.support == "count":
        return Counts(components)
    if column.support == "binary":
        return Bernoulli()
    if (column.levels or 0) > MOST_LEVELS:
        raise InputError(
            f"column {column}: more than {MOST_LEVELS} values; say that it is a count or real (--kind)"
        )
    return Categorical(column.levels or 1)


def units(event: Event, seen: Moments) -> tuple[Tensor, Tensor]:
    """Location and scale of each column: mean and deviation of real ones, the lowest value of integers, 0 and 1 of others."""
    loc, scale = torch.zeros_like(seen.mean), torch.ones_like(seen.mean)
    for i, column in enumerate(columns_of(event)):
        if column.support == "real":
            loc[i], scale[i] = seen.mean[i], seen.scale[i]
        if column.support == "integer":
            loc[i] = column.least
    return loc, scale


def beginnings(event: Event, sites: ColumnSites, seen: Moments) -> Tensor:
    """Numbers of each site with which a fit begins, so that counts begin at their mean: (column, size)."""
    numbers = torch.zeros(len(sites.sites), sites.size)
    for i, site in enumerate(sites.sites):
        if isinstance(site, Counts):
            log_mean = math.log(max(float(seen.mean[i]), 1e-3))
            spread = torch.linspace(-1, 1, site.components) if site.components > 1 else torch.zeros(1)
            numbers[i, site.components : 2 * site.components] = log_mean + spread
        if isinstance(site, NormalMixture):  # components that begin alike would stay alike
            numbers[i, site.components : 2 * site.components] = torch.linspace(-1, 1, site.components)
    return numbers


class TableSite(nn.Module):
    """The sites of a table in the units of the data, for networks that see and make all of x at once."""

    levels = dtype = None
    softmax = one_hot = False
    support = constraints.real

    def __init__(self, event: Event, components: int = 1):
        super().__init__()
        self.sites = replace(table_sites(event, components), gaps=False)
        self.size, self.features = self.sites.size, self.sites.features
        self.standard = Standardization(event.fixed_shape)

    def learn(self, event: Event, seen: Moments) -> None:
        """Locations and scales."""
        self.standard.learn(*units(event, seen))

    def p(self, numbers: Tensor) -> TableDistribution:
        """(..., column, size) -> batch shape (..., column)."""
        return TableDistribution(self, self.sites.p(numbers))

    def mean(self, p: Any) -> Tensor:
        """Of each column."""
        found: Tensor = p.mean
        return found

    def encode(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """(..., column) -> (..., column, features)."""
        return self.sites.encode(self.standard(x, dtype), dtype)


class TableDistribution(TorchDistribution):
    """Columns in the units of the data: batch shape (..., column)."""

    arg_constraints: ClassVar[dict[str, Any]] = {}
    support = constraints.real

    def __init__(self, site: TableSite, p: Any, validate_args: bool | None = None):
        self.site, self.p = site, p
        super().__init__(p.batch_shape, validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> TableDistribution:
        """The same distribution with a larger batch shape."""
        return TableDistribution(self.site, self.p.expand(batch_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        """Of each column: (..., column), in nats."""
        standard = self.site.standard
        found: Tensor = self.p.log_prob(standard(value, self.p.numbers.dtype))
        return found - standard.scale.log().to(found)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """(*sample, ..., column)."""
        return self.site.standard.inverse(self.p.sample(sample_shape))

    @property
    def mean(self) -> Tensor:
        """Of each column; of classes of their numbers."""
        return self.site.standard.inverse(self.p.mean)
