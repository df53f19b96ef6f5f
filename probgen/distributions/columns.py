"""Events whose sites differ in kind, such as the columns of a table."""

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
    """One site for each column, for an `Autoregressive` distribution over the columns of a table.

    All columns share one number of network outputs (`size`) and one number of input features (`features`): those of the
    largest site. Smaller sites leave the rest unused.

    Args:
        sites: The site of each column.
        gaps: Whether the network also receives a feature that marks missing values. Missing values are NaN.
    """

    sites: tuple[Site, ...]
    gaps: bool = False
    levels = dtype = None
    softmax = one_hot = False
    support = constraints.real

    @property
    def size(self) -> int:
        """Network outputs per column: the `size` of the largest site."""
        return max(site.size for site in self.sites)

    @property
    def features(self) -> int:
        """Input features per column: those of the largest site, plus one for missing values if `gaps`."""
        return max(site.features for site in self.sites) + self.gaps

    def p(self, numbers: Tensor) -> ColumnsDistribution:
        """Return the distribution of all columns.

        Args:
            numbers: Outputs of the network, (..., column, size).

        Returns:
            A distribution of batch shape (..., column) and event shape ().
        """
        return ColumnsDistribution(self, numbers)

    def mean(self, p: Any) -> Tensor:
        """Return the mean of each column, in the units of its values; for classes, the mean class number.

        Args:
            p: A distribution that the method `p` returned.

        Returns:
            Means, (..., column).
        """
        found: Tensor = p.mean
        return found

    def encode(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """Return the values as input features of the network; missing values (NaN) become 0.

        Args:
            x: Values, (..., column).
            dtype: The dtype of the features.

        Returns:
            Features, (..., column, features).
        """
        parts = [self.at(i).encode(x[..., i], dtype) for i in range(len(self.sites))]
        return torch.stack(parts, -2)

    def at(self, place: int) -> OneColumn:
        """Return the site of one column, with the common `size` and `features`.

        Args:
            place: Number of the column, from 0.

        Returns:
            The site.
        """
        return OneColumn(self.sites[place], self.size, self.features, self.gaps)

    def ordered(self, ordering: Tensor | None) -> ColumnSites:
        """Return the sites in the order of columns that `ordering` (column,) gives; None keeps the order."""
        if ordering is None:
            return self
        return ColumnSites(tuple(self.sites[i] for i in ordering.tolist()), self.gaps)

    def alike(self) -> Iterator[tuple[Site, list[int]]]:
        """Yield each distinct site with the numbers of its columns."""
        for site in dict.fromkeys(self.sites):
            yield site, [i for i, other in enumerate(self.sites) if other == site]


@dataclass(frozen=True)
class OneColumn:
    """The site of one column of `ColumnSites`, with the `size` and `features` that all columns share."""

    site: Site
    size: int
    features: int
    gaps: bool
    levels = dtype = None
    softmax = one_hot = False
    support = constraints.real

    def p(self, numbers: Tensor) -> Any:
        """Return the distribution of the column, of batch shape (...), for outputs of shape (..., size)."""
        return self.site.p(numbers[..., : self.site.size])

    def mean(self, p: Any) -> Tensor:
        """Return the mean of a distribution of this column, in its batch shape."""
        return self.site.mean(p)

    def encode(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """Return values, (...), as input features of the network, (..., features); NaN becomes 0."""
        known = ~torch.isnan(x)[..., None]
        e = self.site.encode(torch.where(known[..., 0], x, 0), dtype) * known
        e = nn.functional.pad(e, (0, self.features - self.gaps - self.site.features))
        return torch.cat([e, (~known).to(dtype)], -1) if self.gaps else e


def at(site: Site, place: int) -> Site:
    """Return the site of a column, or `site` itself if all columns share it."""
    return site.at(place) if isinstance(site, ColumnSites) else site


def ordered(site: Site, ordering: Tensor | None) -> Site:
    """Return the sites in another order of columns, or `site` itself if all columns share it."""
    return site.ordered(ordering) if isinstance(site, ColumnSites) else site


class ColumnsDistribution(TorchDistribution):
    """The distributions of all columns, of batch shape (..., column) and event shape ().

    Args:
        sites: The sites of the columns.
        numbers: Outputs of the network, (..., column, size).
        validate_args: Ignored; values are not validated.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    support = constraints.real

    def __init__(self, sites: ColumnSites, numbers: Tensor, validate_args: bool | None = None):
        self.sites, self.numbers = sites, numbers
        super().__init__(numbers.shape[:-1], validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> ColumnsDistribution:
        """Return the same distribution with a larger batch shape."""
        return ColumnsDistribution(self.sites, self.numbers.expand(*batch_shape, self.numbers.shape[-1]))

    def _each(self) -> Iterator[tuple[Site, list[int], Any]]:
        for site, places in self.sites.alike():
            yield site, places, site.p(self.numbers[..., places, : site.size])

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-probability of each column.

        Args:
            value: Values, (..., column), without NaN.

        Returns:
            Log-probabilities, (..., column), in nats.
        """
        shape = torch.broadcast_shapes(value.shape, self.batch_shape)
        value, found = value.expand(shape), self.numbers.new_zeros(shape)
        for _, places, p in self._each():
            found[..., places] = p.log_prob(value[..., places]).to(found.dtype)
        return found

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Sample each column.

        Args:
            sample_shape: Shape of the samples.

        Returns:
            Samples, (*sample, ..., column).
        """
        found = self.numbers.new_zeros(self._extended_shape(torch.Size(sample_shape)))
        for _, places, p in self._each():
            found[..., places] = p.sample(sample_shape).to(found.dtype)
        return found

    @property
    def mean(self) -> Tensor:
        """Mean of each column, (..., column)."""
        found = self.numbers.new_zeros(self.batch_shape)
        for site, places, p in self._each():
            found[..., places] = site.mean(p).to(found.dtype)
        return found
