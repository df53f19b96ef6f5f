"""All columns of a table given a class z: blocks of columns of one kind, independent given z but for real ones with a full covariance."""

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
    """All columns of a table under K components, independent given z but for real ones with a full covariance."""

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
        """The blocks, by kind."""
        return [(name, block) for name, block in self.blocks.items() if isinstance(block, Block)]

    @property
    def device(self) -> torch.device:
        """Where parameters are."""
        return next(self.parameters()).device

    @property
    def dims(self) -> dict[str, tuple[str, ...]]:
        """Of the state."""
        return {
            f"blocks.{name}.{key}": dims for name, block in self.each() for key, dims in block.dims.items()
        }

    @torch.no_grad()
    def begin(self, data: Rows) -> None:
        """Centers and units of real columns, means and values of counts."""
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
        """What a fit alone needs is let go of."""
        for _, block in self.each():
            if isinstance(block, Counts):
                block.values, block._kept = [], None

    def log_prob(self, x: Tensor, there: Tensor | None) -> Tensor:
        """log p(x | z): (row, column) -> (row, component)."""
        return torch.stack(
            [block.log_prob(x[:, block.at], _part(there, block.at)) for _, block in self.each()]
        ).sum(0)

    def statistics(self, x: Tensor, there: Tensor | None, r: Tensor) -> Statistics:
        """Sums over rows, by block."""
        return {
            f"{name}.{key}": value
            for name, block in self.each()
            for key, value in block.statistics(x[:, block.at], _part(there, block.at), r).items()
        }

    def update(self, statistics: Statistics) -> None:
        """New parameters of all blocks."""
        for name, block in self.each():
            block.update(
                {
                    key.partition(".")[2]: value
                    for key, value in statistics.items()
                    if key.partition(".")[0] == name
                }
            )

    def draw(self, z: Tensor) -> Tensor:
        """x | z: (row, column)."""
        return self._put([(block.at, block.draw(z)) for _, block in self.each()])

    def complete(self, x: Tensor, there: Tensor, z: Tensor) -> Tensor:
        """x given z and what is known of it."""
        parts = [
            (block.at, block.complete(x[:, block.at], there[:, block.at], z)) for _, block in self.each()
        ]
        return self._put(parts)

    def mean(self, z: Tensor) -> Tensor | None:
        """E[x | z]; None where there are classes."""
        means = [(block.at, block.mean(z)) for _, block in self.each()]
        if any(mean is None for _, mean in means):
            return None
        return self._put([(at, mean) for at, mean in means if mean is not None])

    def prior(self) -> Tensor:
        """What is added to the log-likelihood, once."""
        return torch.stack([block.prior() for _, block in self.each()]).sum()

    def penalties(self) -> Tensor:
        """What a row pays under each component."""
        total: Any = sum(block.penalties() for _, block in self.each())
        return total

    @property
    def parameters_of_component(self) -> int:
        """How many numbers a component has."""
        return sum(block.parameters_of_component for _, block in self.each())

    def _put(self, parts: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        first = parts[0][1]
        x = first.new_empty(len(first), len(self.columns), dtype=torch.float64)
        for at, part in parts:
            x[:, at] = part.to(x.dtype)
        return x


class GivenClass(TorchDistribution):
    """p(x | z) of all columns, of what is observed: batch shape of z, event shape (column,)."""

    arg_constraints: dict[str, Any] = {}
    support = constraints.real_vector

    def __init__(self, columns: Columns, z: Tensor, observed: Tensor | None):
        self.columns, self.z, self.observed = columns, z, observed
        super().__init__(z.shape, torch.Size([len(columns.columns)]), validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> GivenClass:
        """The same with a larger batch shape."""
        return GivenClass(self.columns, self.z.expand(batch_shape), self.observed)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """A draw for each z."""
        shape = self._extended_shape(torch.Size(sample_shape))
        return self.columns.draw(self.z.expand(shape[:-1]).reshape(-1)).reshape(shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """log p(x | z) of what is known: batch shape."""
        there = None if self.observed is None else self.observed.flatten(1)
        every = self.columns.log_prob(value.to(torch.float64).reshape(-1, value.shape[-1]), there)
        z = self.z.expand(torch.broadcast_shapes(self.z.shape, value.shape[:-1]))
        return every.T[z.reshape(-1, len(every)) if z.dim() > 1 else z, torch.arange(len(every))].reshape(
            z.shape
        )


def _part(there: Tensor | None, at: Tensor) -> Tensor | None:
    return None if there is None else there[:, at]


def check_double(module: nn.Module) -> None:
    """Errors: `InputError` for parameters that are no float64: sums over counts would lose their digits."""
    dtype = next(module.parameters()).dtype
    if dtype != torch.float64:
        raise InputError(
            f"dtype = {str(dtype).removeprefix('torch.')!r}: a table with counts or classes is fitted in float64; leave dtype out"
        )
