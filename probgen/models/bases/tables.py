"""Tables in networks: one site per column by its kind, standardized columns, and initial values for a fit.

real              Normal or a mixture of normals; x_i is standardized
count             NegativeBinomial or a mixture of them; networks receive log(1 + x_i)
binary            Bernoulli
token, integer    Categorical
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

MOST_LEVELS = 1 << 12  # largest softmax


def is_table(event: Event) -> bool:
    """Return whether x needs one site per column: columns of several kinds, counts, or columns with gaps.

    Args:
        event: The event that x is.

    Returns:
        True when `table_sites` is needed.
    """
    return event.support in ("count", "mixed") or any(column.gaps for column in event.columns)


def table_sites(event: Event, components: int = 1) -> ColumnSites:
    """Return the site of each column of a table.

    Args:
        event: The event that x is, with columns.
        components: Components of each real column and each count column.

    Returns:
        The sites of all columns.

    Raises:
        InputError: When a column of classes has too many values.
    """
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
            f"column {column}: it has more than {MOST_LEVELS} values. "
            "Declare the column as a count or as real with --kind."
        )
    return Categorical(column.levels or 1)


def units(event: Event, seen: Moments) -> tuple[Tensor, Tensor]:
    """Return the location and scale of each column.

    A real column has its mean and standard deviation, an integer column its lowest value and 1, any other
    column 0 and 1.

    Args:
        event: The event that x is, with columns.
        seen: Moments of the data.

    Returns:
        Locations and scales, each (column,).
    """
    loc, scale = torch.zeros_like(seen.mean), torch.ones_like(seen.mean)
    for i, column in enumerate(columns_of(event)):
        if column.support == "real":
            loc[i], scale[i] = seen.mean[i], seen.scale[i]
        if column.support == "integer":
            loc[i] = column.least
    return loc, scale


def beginnings(event: Event, sites: ColumnSites, seen: Moments) -> Tensor:
    """Return the initial parameters of each site, so that counts start at their mean.

    Args:
        event: The event that x is, with columns.
        sites: The sites of the columns.
        seen: Moments of the data.

    Returns:
        The initial parameters, (column, size).
    """
    numbers = torch.zeros(len(sites.sites), sites.size)
    for i, site in enumerate(sites.sites):
        if isinstance(site, Counts):
            log_mean = math.log(max(float(seen.mean[i]), 1e-3))
            spread = torch.linspace(-1, 1, site.components) if site.components > 1 else torch.zeros(1)
            numbers[i, site.components : 2 * site.components] = log_mean + spread
        if isinstance(site, NormalMixture):  # equal components would stay equal in the fit
            numbers[i, site.components : 2 * site.components] = torch.linspace(-1, 1, site.components)
    return numbers


class TableSite(nn.Module):
    """The sites of a table in the units of the data, for networks that read or return all of x at once.

    Args:
        event: The event that x is, with columns.
        components: Components of each real column and each count column.
    """

    levels = dtype = None
    softmax = one_hot = False
    support = constraints.real

    def __init__(self, event: Event, components: int = 1):
        super().__init__()
        self.sites = replace(table_sites(event, components), gaps=False)
        self.size, self.features = self.sites.size, self.sites.features
        self.standard = Standardization(event.fixed_shape)

    def learn(self, event: Event, seen: Moments) -> None:
        """Learn the location and scale of each column.

        Args:
            event: The event that x is, with columns.
            seen: Moments of the data.
        """
        self.standard.learn(*units(event, seen))

    def p(self, numbers: Tensor) -> TableDistribution:
        """Return the distribution of the columns.

        Args:
            numbers: Parameters of the sites, (..., column, size).

        Returns:
            A distribution with batch shape (..., column).
        """
        return TableDistribution(self, self.sites.p(numbers))

    def mean(self, p: Any) -> Tensor:
        """Return the mean of each column of `p`."""
        found: Tensor = p.mean
        return found

    def encode(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """Return x as network inputs.

        Args:
            x: Values in the units of the data, (..., column).
            dtype: The dtype of the result.

        Returns:
            Features of each column, (..., column, features).
        """
        return self.sites.encode(self.standard(x, dtype), dtype)


class TableDistribution(TorchDistribution):
    """The distribution of the columns of a table in the units of the data: batch shape (..., column).

    Args:
        site: The sites of the table.
        p: The distribution of the standardized columns.
        validate_args: Accepted for the interface of Pyro; values are never validated.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    support = constraints.real

    def __init__(self, site: TableSite, p: Any, validate_args: bool | None = None):
        self.site, self.p = site, p
        super().__init__(p.batch_shape, validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> TableDistribution:
        """Return the same distribution with a larger batch shape."""
        return TableDistribution(self.site, self.p.expand(batch_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-probability of each column: (..., column), in nats."""
        standard = self.site.standard
        found: Tensor = self.p.log_prob(standard(value, self.p.numbers.dtype))
        return found - standard.scale.log().to(found)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Return samples: (*sample_shape, ..., column)."""
        return self.site.standard.inverse(self.p.sample(sample_shape))

    @property
    def mean(self) -> Tensor:
        """The mean of each column; for classes, the mean of the class numbers."""
        return self.site.standard.inverse(self.p.mean)
