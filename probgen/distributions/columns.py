"""Sites of several kinds side by side, as the columns of a table are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn
from torch.distributions import constraints

from probgen.distributions.sites import Site


@dataclass(frozen=True)
class ColumnSites:
    """A site for each place. Of the numbers that a network gives for a place, and of the features in which it is told its value, there are as many as
    the largest site needs; what a smaller one does not need is not used.

    gaps  whether the network is also told which values are missing; missing ones are NaN
    """

    sites: tuple[Site, ...]
    gaps: bool = False
    levels = dtype = None
    softmax = one_hot = False
    support = constraints.real

    @property
    def size(self) -> int:
        """Of the largest."""
        return max(site.size for site in self.sites)

    @property
    def features(self) -> int:
        """Of the largest, and one for what is missing."""
        return max(site.features for site in self.sites) + self.gaps

    def p(self, numbers: Tensor) -> ColumnsDistribution:
        """(..., place, size) -> batch shape (..., place)."""
        return ColumnsDistribution(self, numbers)

    def mean(self, p: Any) -> Tensor:
        """Of each place; of classes of their numbers."""
        found: Tensor = p.mean
        return found

    def encode(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """(..., place) -> (..., place, features); what is missing is told as 0."""
        parts = [self.at(i).encode(x[..., i], dtype) for i in range(len(self.sites))]
        return torch.stack(parts, -2)

    def at(self, place: int) -> OneColumn:
        """The site of one place, with as many numbers and features."""
        return OneColumn(self.sites[place], self.size, self.features, self.gaps)

    def ordered(self, ordering: Tensor | None) -> ColumnSites:
        """The same with its places in an ordering."""
        if ordering is None:
            return self
        return ColumnSites(tuple(self.sites[i] for i in ordering.tolist()), self.gaps)

    def alike(self) -> Iterator[tuple[Site, list[int]]]:
        """Each site that there is, and its places."""
        for site in dict.fromkeys(self.sites):
            yield site, [i for i, other in enumerate(self.sites) if other == site]


@dataclass(frozen=True)
class OneColumn:
    """One of several sites: `size` and `features` are those of all."""

    site: Site
    size: int
    features: int
    gaps: bool
    levels = dtype = None
    softmax = one_hot = False
    support = constraints.real

    def p(self, numbers: Tensor) -> Any:
        """(..., size) -> batch shape (...)."""
        return self.site.p(numbers[..., : self.site.size])

    def mean(self, p: Any) -> Tensor:
        """Its own."""
        return self.site.mean(p)

    def encode(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """(...) -> (..., features)."""
        known = ~torch.isnan(x)[..., None]
        e = self.site.encode(torch.where(known[..., 0], x, 0), dtype) * known
        e = nn.functional.pad(e, (0, self.features - self.gaps - self.site.features))
        return torch.cat([e, (~known).to(dtype)], -1) if self.gaps else e


def at(site: Site, place: int) -> Site:
    """The site of a place, where they differ."""
    return site.at(place) if isinstance(site, ColumnSites) else site


def ordered(site: Site, ordering: Tensor | None) -> Site:
    """Sites in an ordering, where they differ."""
    return site.ordered(ordering) if isinstance(site, ColumnSites) else site


class ColumnsDistribution(TorchDistribution):
    """What each place is: batch shape (..., place).

    numbers  (..., place, size)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    support = constraints.real

    def __init__(self, sites: ColumnSites, numbers: Tensor, validate_args: bool | None = None):
        self.sites, self.numbers = sites, numbers
        super().__init__(numbers.shape[:-1], validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> ColumnsDistribution:
        """The same distribution with a larger batch shape."""
        return ColumnsDistribution(self.sites, self.numbers.expand(*batch_shape, self.numbers.shape[-1]))

    def _each(self) -> Iterator[tuple[Site, list[int], Any]]:
        for site, places in self.sites.alike():
            yield site, places, site.p(self.numbers[..., places, : site.size])

    def log_prob(self, value: Tensor) -> Tensor:
        """Of each place: (..., place), in nats."""
        shape = torch.broadcast_shapes(value.shape, self.batch_shape)
        value, found = value.expand(shape), self.numbers.new_zeros(shape)
        for _, places, p in self._each():
            found[..., places] = p.log_prob(value[..., places]).to(found.dtype)
        return found

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """(*sample, ..., place)."""
        found = self.numbers.new_zeros(self._extended_shape(torch.Size(sample_shape)))
        for _, places, p in self._each():
            found[..., places] = p.sample(sample_shape).to(found.dtype)
        return found

    @property
    def mean(self) -> Tensor:
        """Of each place."""
        found = self.numbers.new_zeros(self.batch_shape)
        for site, places, p in self._each():
            found[..., places] = site.mean(p).to(found.dtype)
        return found
