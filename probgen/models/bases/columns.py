"""What the columns of a table are given a class z: a distribution each by its kind, with what EM needs of it.

    real             x_i | z ~ Normal(mu_zi, sigma_zi), or all of them together ~ Normal(mu_z, Sigma_z)
    count            x_i | z ~ NegativeBinomial(mean m_zi, size r_zi), or Poisson(m_zi), to which it goes for large r
    binary, token,
    integer          x_i | z ~ Categorical(theta_zi)

Each block is of the columns of one kind. x: (row, column of the block), there: which values are known, or None for all, r: (row, component) weights
of rows under components. Statistics add up over rows; `update` is the maximum of what they say, or a step that cannot lose.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn
from torch.distributions import constraints

from probgen.contract.columns import Column
from probgen.contract.rows import Rows
from probgen.distributions import ObservedNormal
from probgen.errors import DivergedError

LOG_SIZES = (
    math.log(1e-4),
    math.log(1e6),
)  # of r: beyond, a negative binomial is a Poisson distribution to 1e-6 of its mean

Statistics = dict[str, Tensor]


class Block(nn.Module):
    """Columns of one kind under K components."""

    at: Tensor
    dims: dict[str, tuple[str, ...]]

    def __init__(self, at: Sequence[int]):
        super().__init__()
        self.register_buffer("at", torch.tensor(list(at)), persistent=False)

    @abstractmethod
    def log_prob(self, x: Tensor, there: Tensor | None) -> Tensor:
        """log p(x | z) of what is known: (row, component)."""

    @abstractmethod
    def statistics(self, x: Tensor, there: Tensor | None, r: Tensor) -> Statistics:
        """Sums over rows."""

    @abstractmethod
    def update(self, statistics: Statistics) -> None:
        """New parameters."""

    @abstractmethod
    def draw(self, z: Tensor) -> Tensor:
        """x | z: (row, column)."""

    def complete(self, x: Tensor, there: Tensor, z: Tensor) -> Tensor:
        """x given z and what is known of it."""
        return torch.where(there, x, self.draw(z).to(x.dtype))

    def mean(self, z: Tensor) -> Tensor | None:
        """E[x | z]; None of classes, which have no mean."""
        return None

    def prior(self) -> Tensor:
        """What is added to the log-likelihood, once: (), in nats."""
        return torch.zeros((), dtype=torch.float64, device=self.at.device)

    def penalties(self) -> Tensor:
        """What a row pays under each component: (component,), in nats; 0 where nothing is penalised."""
        return torch.zeros((), dtype=torch.float64, device=self.at.device)

    @property
    @abstractmethod
    def parameters_of_component(self) -> int:
        """How many numbers a component has."""


class Normals(Block):
    """Real columns, in units of their deviations (`center`, `scale`); Sigma has `regularization` of each variance added to it."""

    def __init__(self, at: Sequence[int], K: int, full: bool, regularization: float, reg_covar: float):
        super().__init__(at)
        D = len(at)
        self.full, self.regularization, self.reg_covar = full and D > 1, regularization, reg_covar
        self.mu = nn.Parameter(torch.zeros(K, D))
        self.L = nn.Parameter(torch.zeros(K, D, D) if self.full else torch.zeros(K, D))
        self.register_buffer("center", torch.zeros(D))
        self.register_buffer("scale", torch.ones(D))
        self.center: Tensor
        self.scale: Tensor
        last = ("component", "real", "real_") if self.full else ("component", "real")
        self.dims = {"mu": ("component", "real"), "L": last, "center": ("real",), "scale": ("real",)}

    @property
    def factor(self) -> Tensor:
        """Lower triangular factors of Sigma, or deviations, in units of `scale`."""
        if not self.full:
            return self.L.exp()
        return self.L.tril(-1) + torch.diag_embed(self.L.diagonal(dim1=-2, dim2=-1).exp())

    @property
    def ridge(self) -> Tensor:
        """What is added to each variance: (column,)."""
        return self.regularization + self.reg_covar / self.scale.square()

    def log_prob(self, x: Tensor, there: Tensor | None) -> Tensor:
        """Normal(x; mu_z, Sigma_z), what is not known integrated out."""
        y = (x - self.center) / self.scale
        log_scale = self.scale.log()
        jacobian = log_scale.sum() if there is None else (there * log_scale).sum(1, keepdim=True)
        if not self.full:
            e = (y[:, None] - self.mu) / self.factor
            each = -0.5 * e.square() - self.L - 0.5 * math.log(2 * math.pi)
            found = each.sum(-1) if there is None else (each * there[:, None]).sum(-1)
        elif there is None:
            found = self._of_whole(y)
        else:
            whole = there.all(1)
            found = y.new_empty(len(y), len(self.mu))
            found[whole] = self._of_whole(y[whole])
            if not whole.all():
                found[~whole] = self._in_part(there[~whole]).log_prob(y[~whole][:, None])
        return found - jacobian

    def _of_whole(self, y: Tensor) -> Tensor:
        d = y[None] - self.mu[:, None]  # (component, row, column)
        e = torch.linalg.solve_triangular(self.factor, d.mT, upper=False)
        log_det = self.L.diagonal(dim1=-2, dim2=-1).sum(-1)
        return (-0.5 * e.square().sum(1) - log_det[:, None] - 0.5 * y.shape[1] * math.log(2 * math.pi)).T

    def _in_part(self, there: Tensor) -> ObservedNormal:
        return ObservedNormal(self.mu, self.factor, there[:, None], validate_args=False)

    def statistics(self, x: Tensor, there: Tensor | None, r: Tensor) -> Statistics:
        """Moments about mu, those of what is not known given the rest."""
        y = (x - self.center) / self.scale
        if not self.full:
            d = y[:, None] - self.mu
            w = r[:, :, None] if there is None else r[:, :, None] * there[:, None]
            w = w.expand_as(d)
            return {"n": w.sum(0), "first": (w * d).sum(0), "second": (w * d.square()).sum(0)}
        whole = torch.ones(len(y), dtype=torch.bool, device=y.device) if there is None else there.all(1)
        d = y[whole][None] - self.mu[:, None]
        w = r[whole].T[:, :, None] * d
        sums = {"n": r.sum(0), "first": w.sum(1), "second": w.mT @ d}
        if there is None or bool(whole.all()):
            return sums
        size = max(1, (1 << 22) // (len(self.mu) * y.shape[1] ** 2))
        parts = (tensor[~whole].split(size) for tensor in (y, there, r))
        for y_part, o, r_part in zip(*parts, strict=True):
            mean, covariance = self._in_part(o).conditional(y_part[:, None])
            d = mean - self.mu
            sums["first"] = sums["first"] + torch.einsum("nk,nki->ki", r_part, d)
            sums["second"] = sums["second"] + torch.einsum("nk,nki,nkj->kij", r_part, d, d)
            sums["second"] = sums["second"] + torch.einsum("nk,nkij->kij", r_part, covariance)
        return sums

    def update(self, statistics: Statistics) -> None:
        """Means, and covariances with the ridge; of a component without rows they stay."""
        n, first, second = (statistics[name] for name in ("n", "first", "second"))
        alive = n > 1e-12 * n.sum(0)
        if not self.full:
            d = torch.where(alive, first / n, 0)
            variance = (second / n - d.square()).clamp(min=0) + self.ridge
            self._check((variance > 0) | ~alive)
            self.L.copy_(torch.where(alive, 0.5 * variance.log(), self.L))
        else:
            d = torch.where(alive[:, None], first / n[:, None], 0)
            sigma = second[alive] / n[alive, None, None] - d[alive][:, :, None] * d[alive][:, None]
            L, info = torch.linalg.cholesky_ex(sigma + torch.diag(self.ridge))
            self._check(info == 0)
            self.L[alive] = L.tril(-1) + torch.diag_embed(L.diagonal(dim1=-2, dim2=-1).log())
        self.mu.add_(d)

    def _check(self, fine: Tensor) -> None:
        if not bool(fine.all()):
            raise DivergedError(
                f"a covariance of the mixture is singular: raise regularization (it is {self.regularization}), or take fewer components"
            )

    def penalties(self) -> Tensor:
        """tr(Sigma_z^-1 Lambda) / 2, of the ridge Lambda: what makes adding it to each Sigma the maximum."""
        if not self.full:
            return 0.5 * (self.factor.pow(-2) * self.ridge).sum(-1)
        eye = torch.eye(self.mu.shape[1], dtype=self.mu.dtype, device=self.mu.device)
        inverse = torch.linalg.solve_triangular(self.factor, eye, upper=False)
        return 0.5 * (inverse.square().sum(-2) * self.ridge).sum(-1)

    def draw(self, z: Tensor) -> Tensor:
        """mu_z and its deviation, in the units of the data."""
        e = torch.randn(len(z), self.mu.shape[1], dtype=self.mu.dtype, device=self.mu.device)
        off = (self.factor[z] @ e[..., None])[..., 0] if self.full else self.factor[z] * e
        return self.center + self.scale * (self.mu[z] + off)

    def complete(self, x: Tensor, there: Tensor, z: Tensor) -> Tensor:
        """Of a full Sigma given what is known."""
        if not self.full:
            return super().complete(x, there, z)
        y = (x - self.center) / self.scale
        drawn = ObservedNormal(self.mu[z], self.factor[z], there, validate_args=False).complete(y)
        return torch.where(there, x, self.center + self.scale * drawn)

    def mean(self, z: Tensor) -> Tensor:
        """mu_z."""
        return self.center + self.scale * self.mu[z]

    @property
    def parameters_of_component(self) -> int:
        """Means, and variances or covariances."""
        D = self.mu.shape[1]
        return D + (D * (D + 1) // 2 if self.full else D)


class Classes(Block):
    """Columns of so many values each, from `least` on: log_theta has the values of all columns side by side.

    Each component has seen `smoothing` rows before, whose values are spread evenly.
    """

    def __init__(self, at: Sequence[int], K: int, columns: Sequence[Column], smoothing: float):
        super().__init__(at)
        self.levels = [2 if column.support == "binary" else column.levels or 1 for column in columns]
        self.smoothing = smoothing
        starts = [sum(self.levels[:i]) for i in range(len(self.levels))]
        least = torch.tensor([column.least for column in columns])
        self.register_buffer("starts", torch.tensor(starts), persistent=False)
        self.register_buffer("least", least, persistent=False)
        self.starts: Tensor
        self.least: Tensor
        even = torch.cat([torch.full((n,), -math.log(n)) for n in self.levels])
        self.log_theta = nn.Parameter(even.repeat(K, 1))
        self.dims = {"log_theta": ("component", "value")}

    def _index(self, x: Tensor, there: Tensor | None) -> Tensor:
        value = x if there is None else torch.where(there, x, self.least.to(x.dtype))
        return (value.long() - self.least) + self.starts

    def log_prob(self, x: Tensor, there: Tensor | None) -> Tensor:
        """sum_i log theta_zi[x_i]."""
        index, table = self._index(x, there), self.log_theta.T.contiguous()
        found = table.new_zeros(len(x), table.shape[1])
        for i in range(index.shape[1]):
            part = table[index[:, i]]
            found += part if there is None else part * there[:, i, None]
        return found

    def statistics(self, x: Tensor, there: Tensor | None, r: Tensor) -> Statistics:
        """Weighted counts of values: (value, component)."""
        index = self._index(x, there)
        counts = r.new_zeros(self.log_theta.shape[1], r.shape[1])
        for i in range(index.shape[1]):
            counts.index_add_(0, index[:, i], r if there is None else r * there[:, i, None])
        return {"counts": counts}

    def update(self, statistics: Statistics) -> None:
        """Relative frequencies, with what was seen before."""
        counts = statistics["counts"].T.split(self.levels, 1)
        theta = [count + self.smoothing / count.shape[1] for count in counts]
        self.log_theta.copy_(torch.cat([(t / t.sum(1, keepdim=True)).log() for t in theta], 1))

    def prior(self) -> Tensor:
        """smoothing times the mean of log theta over the values of each column."""
        parts = self.log_theta.split(self.levels, 1)
        return self.smoothing * torch.stack([part.mean(1).sum() for part in parts]).sum()

    def draw(self, z: Tensor) -> Tensor:
        """A value of each column."""
        parts = self.log_theta[z].split(self.levels, 1)
        drawn = torch.stack([dist.Categorical(logits=part).sample() for part in parts], 1)
        return (drawn + self.least).to(self.log_theta.dtype)

    @property
    def parameters_of_component(self) -> int:
        """One less than values, a column."""
        return sum(self.levels) - len(self.levels)


class Counts(Block):
    """Counts: negative binomials of mean m and size r, variance m + m^2 / r; of `poisson` r is not learnt, and infinite.

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
        return _log_poisson(x, log_m) if self.poisson else _log_p(x, log_m, self.log_r[:, i])

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


def _log_p(x: Tensor, log_m: Tensor, log_r: Tensor) -> Tensor:
    """log of the negative binomial: (value,), (component,) -> (value, component)."""
    x, r = x[:, None].to(log_m.dtype), log_r.exp()
    choose = torch.lgamma(x + r) - torch.lgamma(r) - torch.lgamma(x + 1)
    return choose - r * torch.log1p((log_m - log_r).exp()) + x * (log_m - torch.logaddexp(log_m, log_r))


def _size(x: Tensor, w: Tensor, log_m: Tensor, start: Tensor) -> Tensor:
    """log r that is more likely than `start`, the most likely one to three digits: x (value,), weights (value, component), log_m and start (component,).

    Given the means the likelihood of r has one maximum: from `start` the slope leads to it, and where it never turns, as of counts that vary no more than
    those of a Poisson distribution, r is as large as it may be. Between two points about the maximum it is found by regula falsi (Illinois: Dowell &
    Jarratt 1971); of both ends the one on the side of `start` is taken, so that no step loses.
    """
    n, m = w.sum(0), log_m.exp()

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
        far = torch.where(same, (near + way * step).clamp(*LOG_SIZES), far)
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
                block.values = _values(data, block.at.tolist(), block.typical)

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


def _values(data: Rows, columns: Sequence[int], like: Tensor) -> list[Tensor]:
    """The values that there are of some columns, in order."""
    found = [like.new_zeros(0) for _ in columns]
    for batch in data.chunks():
        x, there = batch["x"].flatten(1), batch.get("observed")
        for i, column in enumerate(columns):
            part = x[:, column] if there is None else x[there.flatten(1)[:, column], column]
            found[i] = torch.cat([found[i], part.unique().to(like)]).unique()
    return found
