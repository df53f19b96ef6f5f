"""Tables in networks: a site a column by its kind, columns in units that networks like, and where a fit begins.

real      x_i in deviations about its mean: a normal, or a mixture of some
count     x_i as it is: a negative binomial, or a mixture of some, told as log(1 + x_i)
binary    a Bernoulli site;  token, integer: a categorical one
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from probgen.contract.columns import Column
from probgen.contract.event import Event, columns_of
from probgen.contract.rows import Moments
from probgen.distributions import Bernoulli, Categorical, ColumnSites, Counts, Normal, NormalMixture
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
