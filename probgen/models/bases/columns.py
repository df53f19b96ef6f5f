"""All columns of a table given a class z, as blocks of columns of one kind.

Columns are independent given z, except real columns with a full covariance.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn
from torch.distributions import constraints

from probgen.contract.columns import Column
from probgen.contract.rows import Rows
from probgen.errors import InputError
from probgen.models.bases.blocks import Block, Classes, Normals, Statistics
from probgen.models.bases.counts import Counts, values_of


class Columns(nn.Module):
    """All columns of a table under K components.

    Columns are independent given z, except real columns with a full covariance. In the methods, `there` holds
    the observed values (row, column) as booleans; None stands for complete rows.

    Args:
        columns: The columns of the table.
        K: Number of components.
        full: Whether the real columns share a full covariance per component.
        counts: The distribution of a count column.
        smoothing: Number of pseudo-rows of each component, for columns of counts and classes.
        regularization: Ridge of each variance of a real column, in units of the variance of the column.
        reg_covar: Ridge of each variance of a real column, in units of x squared.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        K: int,
        *,
        full: bool,
        counts: Literal["negative_binomial", "poisson"],
        smoothing: float,
        regularization: float,
        reg_covar: float,
    ):
        super().__init__()
        self.columns = tuple(columns)
        kinds = {"real": [], "count": [], "classes": []}  # type: dict[str, list[int]]
        for i, column in enumerate(columns):
            kinds[column.support if column.support in kinds else "classes"].append(i)
        blocks: dict[str, Block] = {}
        if kinds["real"]:
            blocks["real"] = Normals(kinds["real"], K, full, regularization, reg_covar)
        if kinds["count"]:
            blocks["count"] = Counts(kinds["count"], K, counts, smoothing)
        if kinds["classes"]:
            some = [columns[i] for i in kinds["classes"]]
            blocks["classes"] = Classes(kinds["classes"], K, some, smoothing)
        self.blocks = nn.ModuleDict(blocks)

    def each(self) -> list[tuple[str, Block]]:
        """Return the blocks with their kinds: "real", "count", "classes"."""
        return [(name, block) for name, block in self.blocks.items() if isinstance(block, Block)]

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        return next(self.parameters()).device

    @property
    def dims(self) -> dict[str, tuple[str, ...]]:
        """The dimensions of each array of the state."""
        return {
            f"blocks.{name}.{key}": dims for name, block in self.each() for key, dims in block.dims.items()
        }

    @torch.no_grad()
    def begin(self, data: Rows) -> None:
        """Learn the centers and units of real columns, and the means and distinct values of counts.

        Args:
            data: The rows of the fit.
        """
        seen = data.moments()
        for _, block in self.each():
            if isinstance(block, Normals):
                block.center.copy_(seen.mean[block.at])
                block.scale.copy_(seen.units[block.at].sqrt())
            if isinstance(block, Counts):
                block.typical.copy_(seen.mean[block.at])
                block.log_m.copy_(block.typical.clamp(min=1e-12).log().expand_as(block.log_m))
                block.values = values_of(data, block.at.tolist(), block.typical)

    def end(self) -> None:
        """Free the tables that only a fit needs."""
        for _, block in self.each():
            if isinstance(block, Counts):
                block.values, block._kept = [], None

    def log_prob(self, x: Tensor, there: Tensor | None) -> Tensor:
        """Return log p(x | z) of the observed values.

        Args:
            x: The rows, (row, column).
            there: The observed values, (row, column), or None.

        Returns:
            Log-probabilities, (row, component), in nats.
        """
        return torch.stack(
            [block.log_prob(x[:, block.at], _part(there, block.at)) for _, block in self.each()]
        ).sum(0)

    def statistics(self, x: Tensor, there: Tensor | None, r: Tensor) -> Statistics:
        """Return the sufficient statistics of the rows, under the names BLOCK.STATISTIC.

        Args:
            x: The rows, (row, column).
            there: The observed values, (row, column), or None.
            r: Weights of the rows under the components, (row, component).

        Returns:
            Sums over the rows.
        """
        return {
            f"{name}.{key}": value
            for name, block in self.each()
            for key, value in block.statistics(x[:, block.at], _part(there, block.at), r).items()
        }

    def update(self, statistics: Statistics) -> None:
        """Set the parameters of all blocks.

        Args:
            statistics: The sums that `statistics` returns, over all rows.
        """
        for name, block in self.each():
            block.update(
                {
                    key.partition(".")[2]: value
                    for key, value in statistics.items()
                    if key.partition(".")[0] == name
                }
            )

    def draw(self, z: Tensor) -> Tensor:
        """Sample x | z.

        Args:
            z: Classes, (row,).

        Returns:
            Samples, (row, column).
        """
        return self._put([(block.at, block.draw(z)) for _, block in self.each()])

    def complete(self, x: Tensor, there: Tensor, z: Tensor) -> Tensor:
        """Sample the missing values given z and the observed values.

        Args:
            x: The rows, (row, column).
            there: The observed values, (row, column).
            z: Classes, (row,).

        Returns:
            Complete rows, (row, column); observed values stay.
        """
        parts = [
            (block.at, block.complete(x[:, block.at], there[:, block.at], z)) for _, block in self.each()
        ]
        return self._put(parts)

    def mean(self, z: Tensor) -> Tensor | None:
        """Return E[x | z], or None for a table with columns of classes.

        Args:
            z: Classes, (row,).

        Returns:
            Means, (row, column), or None.
        """
        means = [(block.at, block.mean(z)) for _, block in self.each()]
        if any(mean is None for _, mean in means):
            return None
        return self._put([(at, mean) for at, mean in means if mean is not None])

    def prior(self) -> Tensor:
        """Return the prior term that is added to the log-likelihood of the data once: (), in nats."""
        return torch.stack([block.prior() for _, block in self.each()]).sum()

    def penalties(self) -> Tensor:
        """Return the penalty of a row under each component, in nats: (component,), or () for none."""
        total: Any = sum(block.penalties() for _, block in self.each())
        return total

    @property
    def parameters_of_component(self) -> int:
        """The number of free parameters of a component."""
        return sum(block.parameters_of_component for _, block in self.each())

    def _put(self, parts: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        first = parts[0][1]
        x = first.new_empty(len(first), len(self.columns), dtype=torch.float64)
        for at, part in parts:
            x[:, at] = part.to(x.dtype)
        return x


class GivenClass(TorchDistribution):
    """p(x | z) of all columns, for the observed values: batch shape of z, event shape (column,).

    Args:
        columns: The columns.
        z: Classes, of the batch shape.
        observed: The observed values, (row, *event), or None for complete rows.
    """

    arg_constraints: dict[str, Any] = {}
    support = constraints.real_vector

    def __init__(self, columns: Columns, z: Tensor, observed: Tensor | None):
        self.columns, self.z, self.observed = columns, z, observed
        super().__init__(z.shape, torch.Size([len(columns.columns)]), validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> GivenClass:
        """Return the same distribution with a larger batch shape."""
        return GivenClass(self.columns, self.z.expand(batch_shape), self.observed)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Return one sample for each z: (*sample_shape, *batch, column)."""
        shape = self._extended_shape(torch.Size(sample_shape))
        return self.columns.draw(self.z.expand(shape[:-1]).reshape(-1)).reshape(shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log p(x | z) of the observed values: batch shape, in nats."""
        there = None if self.observed is None else self.observed.flatten(1)
        every = self.columns.log_prob(value.to(torch.float64).reshape(-1, value.shape[-1]), there)
        z = self.z.expand(torch.broadcast_shapes(self.z.shape, value.shape[:-1]))
        return every.T[z.reshape(-1, len(every)) if z.dim() > 1 else z, torch.arange(len(every))].reshape(
            z.shape
        )


def _part(there: Tensor | None, at: Tensor) -> Tensor | None:
    return None if there is None else there[:, at]


def check_double(module: nn.Module) -> None:
    """Refuse parameters in another dtype than float64, in which sums over counts would lose digits.

    Args:
        module: The module to check.

    Raises:
        InputError: When the parameters are not float64.
    """
    dtype = next(module.parameters()).dtype
    if dtype != torch.float64:
        raise InputError(
            f"dtype = {str(dtype).removeprefix('torch.')!r}: a table with counts or classes is fitted in "
            "float64. Leave dtype out."
        )
