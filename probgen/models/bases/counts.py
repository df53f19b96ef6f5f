"""Counts given a class z, with what EM needs of them.

x_i | z ~ NegativeBinomial(mean m_zi, size r_zi), or Poisson(m_zi), to which it goes for large r
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

LOG_SIZES = (
    math.log(1e-4),
    math.log(1e6),
)  # of r: beyond, a negative binomial is a Poisson distribution to 1e-6 of its mean


class Counts(Block):
    """Counts: negative binomials of mean m and size r, variance m + m^2 / r; of `poisson` r is not learned, and infinite.

    Each component has seen `smoothing` rows before, of the mean of all. In a fit rows are looked up among the values that there are, so that no
    function of them is worked out twice, and r is the maximum of the likelihood given m.
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
        self.values: list[Tensor] = []  # in a fit, those of each column in order
        self._kept: tuple[tuple[int, ...], list[Tensor]] | None = None

    def _p(self, x: Tensor, i: int) -> Tensor:
        """log p(x_i | z): (value,) -> (value, component)."""
        log_m = self.log_m[:, i]
        return (
            _log_poisson(x, log_m)
            if self.poisson
            else log_negative_binomial(x[:, None].to(log_m.dtype), log_m, self.log_r[:, i])
        )

    def log_prob(self, x: Tensor, there: Tensor | None) -> Tensor:
        """Of each column by itself."""
        found = self.log_m.new_zeros(len(x), len(self.log_m))
        for i in range(x.shape[1]):
            part = self._tables()[i][self._index(x, there, i)] if self.values else self._p(x[:, i], i)
            found += part if there is None else part * there[:, i, None]
        return found

    def _tables(self) -> list[Tensor]:
        """log p of all values, worked out once for the parameters as they are."""
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
        """How often each value was seen: (value, component), column by column."""
        return {
            str(i): r.new_zeros(len(self.values[i]), r.shape[1]).index_add_(
                0, self._index(x, there, i), r if there is None else r * there[:, i, None]
            )
            for i in range(x.shape[1])
        }

    def update(self, statistics: Statistics) -> None:
        """m: the mean. r: where the slope of the likelihood is 0, if that is better than what there was."""
        for i, values in enumerate(self.values):
            x = torch.cat([values, self.typical[i : i + 1]])
            seen = statistics[str(i)]
            w = torch.cat([seen, torch.full_like(seen[:1], self.smoothing)])
            m = (x @ w / w.sum(0)).clamp(min=1e-12)
            if not self.poisson:
                self.log_r[:, i] = _size(x, w, m.log(), self.log_r[:, i])
            self.log_m[:, i] = m.log()

    def prior(self) -> Tensor:
        """Of the rows that were seen before."""
        each = [self._p(self.typical[i : i + 1], i).sum() for i in range(len(self.typical))]
        return self.smoothing * torch.stack(each).sum()

    def draw(self, z: Tensor) -> Tensor:
        """A Poisson count of a rate that is m, or Gamma of mean m."""
        m = self.log_m.exp()[z]
        if self.poisson:
            return torch.poisson(m)
        r = self.log_r.exp()[z]
        return torch.poisson(dist.Gamma(r, r / m).sample())

    def mean(self, z: Tensor) -> Tensor:
        """m_z."""
        return self.log_m.exp()[z]

    @property
    def parameters_of_component(self) -> int:
        """m, and r."""
        return (1 if self.poisson else 2) * self.log_m.shape[1]


def _log_poisson(x: Tensor, log_m: Tensor) -> Tensor:
    """(value,), (component,) -> (value, component)."""
    x = x[:, None].to(log_m.dtype)
    return x * log_m - log_m.exp() - torch.lgamma(x + 1)


def _size(x: Tensor, w: Tensor, log_m: Tensor, start: Tensor) -> Tensor:
    """log r that is more likely than `start`, the most likely one to three digits: x (value,), weights (value, component), log_m and start (component,).

    Given the means the likelihood of r has one maximum: from `start` the slope leads to it, and where it never turns, as of counts that vary no more than
    those of a Poisson distribution, r is as large as it may be. Between two points about the maximum it is found by regula falsi (Illinois: Dowell &
    Jarratt 1971); of both ends the one on the side of `start` is taken, so that no step loses.
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
    """The values that there are of some columns, in order."""
    found = [like.new_zeros(0) for _ in columns]
    for batch in data.chunks():
        x, there = batch["x"].flatten(1), batch.get("observed")
        for i, column in enumerate(columns):
            part = x[:, column] if there is None else x[there.flatten(1)[:, column], column]
            found[i] = torch.cat([found[i], part.unique().to(like)]).unique()
    return found
