"""Count columns given a class z, with the statistics and updates of EM.

x_i | z ~ NegativeBinomial(mean m_zi, size r_zi), or Poisson(m_zi), its limit for large r
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from probgen.contract.rows import Rows
from probgen.distributions.gamma import log_negative_binomial
from probgen.models.bases.blocks import Block, Statistics

# bounds of log r: beyond the upper one, a negative binomial is a Poisson distribution to 1e-6 of its mean
LOG_SIZES = (math.log(1e-4), math.log(1e6))


class Counts(Block):
    """Count columns: negative binomials with mean m, size r and variance m + m^2 / r, or Poisson with mean m.

    Each component has `smoothing` pseudo-rows, which hold the mean of all rows. A fit tabulates functions of
    the distinct values, so that each is computed once. In a fit, r maximizes the likelihood given m.

    Args:
        at: Indices of the columns in the table.
        K: Number of components.
        kind: The distribution of a count; "poisson" has no r.
        smoothing: Number of pseudo-rows of each component.
    """

    def __init__(
        self,
        at: Sequence[int],
        K: int,
        kind: Literal["negative_binomial", "poisson"],
        smoothing: float,
    ):
        super().__init__(at)
        self.poisson, self.smoothing = kind == "poisson", smoothing
        self.log_m = nn.Parameter(torch.zeros(K, len(at)))
        self.dims = {"log_m": ("component", "count"), "typical": ("count",)}
        if not self.poisson:
            self.log_r = nn.Parameter(torch.zeros(K, len(at)))
            self.dims["log_r"] = ("component", "count")
        self.register_buffer("typical", torch.ones(len(at)))
        self.typical: Tensor
        self.values: list[Tensor] = []  # in a fit, the sorted distinct values of each column
        self._kept: tuple[tuple[int, ...], list[Tensor]] | None = None

    def _p(self, x: Tensor, i: int) -> Tensor:
        """Return log p(x_i | z) of values x (value,): (value, component), in nats."""
        log_m = self.log_m[:, i]
        return (
            _log_poisson(x, log_m)
            if self.poisson
            else log_negative_binomial(x[:, None].to(log_m.dtype), log_m, self.log_r[:, i])
        )

    def log_prob(self, x: Tensor, there: Tensor | None) -> Tensor:
        """Return the sum over columns of log p(x_i | z): (row, component), in nats."""
        found = self.log_m.new_zeros(len(x), len(self.log_m))
        for i in range(x.shape[1]):
            part = self._tables()[i][self._index(x, there, i)] if self.values else self._p(x[:, i], i)
            found += part if there is None else part * there[:, i, None]
        return found

    def _tables(self) -> list[Tensor]:
        """Return log p of all distinct values, computed once per version of the parameters."""
        now = tuple(parameter._version for parameter in self.parameters())
        if self._kept is None or self._kept[0] != now:
            self._kept = now, [self._p(values, i) for i, values in enumerate(self.values)]
        return self._kept[1]

    def _index(self, x: Tensor, there: Tensor | None, i: int) -> Tensor:
        values, column = self.values[i], x[:, i].contiguous()
        if there is not None:
            column = torch.where(there[:, i], column, values[0])
        return torch.searchsorted(values, column)

    def statistics(self, x: Tensor, there: Tensor | None, r: Tensor) -> Statistics:
        """Return the weighted count of each distinct value: one array (value, component) per column."""
        return {
            str(i): r.new_zeros(len(self.values[i]), r.shape[1]).index_add_(
                0, self._index(x, there, i), r if there is None else r * there[:, i, None]
            )
            for i in range(x.shape[1])
        }

    def update(self, statistics: Statistics) -> None:
        """Set m to the weighted mean, and r to a value that is at least as likely as the present one."""
        for i, values in enumerate(self.values):
            x = torch.cat([values, self.typical[i : i + 1]])
            seen = statistics[str(i)]
            w = torch.cat([seen, torch.full_like(seen[:1], self.smoothing)])
            m = (x @ w / w.sum(0)).clamp(min=1e-12)
            if not self.poisson:
                self.log_r[:, i] = _size(x, w, m.log(), self.log_r[:, i])
            self.log_m[:, i] = m.log()

    def prior(self) -> Tensor:
        """Return the log-likelihood of the pseudo-rows: (), in nats."""
        each = [self._p(self.typical[i : i + 1], i).sum() for i in range(len(self.typical))]
        return self.smoothing * torch.stack(each).sum()

    def draw(self, z: Tensor) -> Tensor:
        """Sample x | z: Poisson with rate m, or with a Gamma-distributed rate of mean m."""
        m = self.log_m.exp()[z]
        if self.poisson:
            return torch.poisson(m)
        r = self.log_r.exp()[z]
        return torch.poisson(dist.Gamma(r, r / m).sample())

    def mean(self, z: Tensor) -> Tensor:
        """Return m_z: (row, column)."""
        return self.log_m.exp()[z]

    @property
    def parameters_of_component(self) -> int:
        """The number of free parameters of a component: m and r of each column."""
        return (1 if self.poisson else 2) * self.log_m.shape[1]


def _log_poisson(x: Tensor, log_m: Tensor) -> Tensor:
    """Return the log-probability of each value under each component: (value, component)."""
    x = x[:, None].to(log_m.dtype)
    return x * log_m - log_m.exp() - torch.lgamma(x + 1)


def _size(x: Tensor, w: Tensor, log_m: Tensor, start: Tensor) -> Tensor:
    """Return the most likely log r, to three digits.

    Given the means, the likelihood of r has one maximum, and its slope at `start` points to the maximum. If
    the slope never changes its sign, r is the largest that `LOG_SIZES` allows: the counts vary no more than
    Poisson counts. Otherwise, regula falsi (Illinois: Dowell & Jarratt 1971) finds the maximum between two
    points around it. Of the final interval, the function returns the end on the side of `start`, so that no
    step decreases the likelihood.

    Args:
        x: Values, (value,).
        w: Weights of the values, (value, component).
        log_m: Logarithms of the means, (component,).
        start: The present log r, (component,).

    Returns:
        New log r, at least as likely as `start`: (component,).
    """
    n, m = w.sum(0), log_m.exp()
    least, most = torch.full_like(log_m, LOG_SIZES[0]), LOG_SIZES[1] + log_m.clamp(min=0)

    def slope(s: Tensor) -> Tensor:
        r = s.exp()
        grown = (w * (torch.digamma(x[:, None] + r) - torch.digamma(r))).sum(0)
        return grown - n * torch.log1p(m / r)

    near, f_near = start, slope(start)
    way = f_near.sign()
    step, far, f_far = 0.02, near, f_near
    for _ in range(10):
        same = f_far * way > 0
        near, f_near = torch.where(same, far, near), torch.where(same, f_far, f_near)
        far = torch.where(same, torch.minimum(torch.maximum(near + way * step, least), most), far)
        f_far = torch.where(same, slope(far), f_far)
        step *= 4
    at_end = f_far * way > 0
    weight_near, weight_far = f_near, f_far
    for _ in range(8):
        total = weight_far - weight_near
        s = torch.where(total == 0, near, (near * weight_far - far * weight_near) / total)
        f = slope(s)
        toward = f * way > 0
        weight_near = torch.where(toward, f, weight_near * torch.where(toward, 1.0, 0.5))
        weight_far = torch.where(toward, weight_far * 0.5, f)
        near, far = torch.where(toward, s, near), torch.where(toward, far, s)
    return torch.where(at_end, far, near)


def values_of(data: Rows, columns: Sequence[int], like: Tensor) -> list[Tensor]:
    """Return the sorted distinct values of some columns.

    Args:
        data: The rows.
        columns: Indices of the columns.
        like: A tensor with the dtype and device of the result.

    Returns:
        The distinct observed values of each column, (value,).
    """
    found = [like.new_zeros(0) for _ in columns]
    for batch in data.chunks():
        x, there = batch["x"].flatten(1), batch.get("observed")
        for i, column in enumerate(columns):
            part = x[:, column] if there is None else x[there.flatten(1)[:, column], column]
            found[i] = torch.cat([found[i], part.unique().to(like)]).unique()
    return found
