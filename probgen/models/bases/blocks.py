"""Columns of one kind given a class z, with the statistics and updates of EM: real columns and classes.

    real             x_i | z ~ Normal(mu_zi, sigma_zi), or jointly x | z ~ Normal(mu_z, Sigma_z)
    binary, token,
    integer          x_i | z ~ Categorical(theta_zi)

Arguments of the methods:

    x        (row, column of the block)
    there    (row, column of the block), whether a value is observed; None for complete rows
    r        (row, component), weights of the rows under the components

Statistics add up over rows. `update` maximizes the expected log-likelihood, or takes a step that cannot
decrease it.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from probgen.contract.columns import Column
from probgen.distributions import ObservedNormal
from probgen.errors import DivergedError

Statistics = dict[str, Tensor]


class Block(nn.Module):
    """Columns of one kind under K components.

    Args:
        at: Indices of the columns in the table.
    """

    at: Tensor
    dims: dict[str, tuple[str, ...]]

    def __init__(self, at: Sequence[int]):
        super().__init__()
        self.register_buffer("at", torch.tensor(list(at)), persistent=False)

    @abstractmethod
    def log_prob(self, x: Tensor, there: Tensor | None) -> Tensor:
        """Return log p(x | z) of the observed values: (row, component), in nats."""

    @abstractmethod
    def statistics(self, x: Tensor, there: Tensor | None, r: Tensor) -> Statistics:
        """Return the sufficient statistics, as sums over the rows."""

    @abstractmethod
    def update(self, statistics: Statistics) -> None:
        """Set the parameters from the statistics of all rows."""

    @abstractmethod
    def draw(self, z: Tensor) -> Tensor:
        """Sample x | z: (row, column)."""

    def complete(self, x: Tensor, there: Tensor, z: Tensor) -> Tensor:
        """Sample the missing values given z and the observed values: (row, column)."""
        return torch.where(there, x, self.draw(z).to(x.dtype))

    def mean(self, z: Tensor) -> Tensor | None:
        """Return E[x | z]: (row, column), or None for classes, which have no mean."""
        return None

    def prior(self) -> Tensor:
        """Return the prior term that is added to the log-likelihood of the data once: (), in nats."""
        return torch.zeros((), dtype=torch.float64, device=self.at.device)

    def penalties(self) -> Tensor:
        """Return the penalty of a row under each component, in nats: (component,), or () for none."""
        return torch.zeros((), dtype=torch.float64, device=self.at.device)

    @property
    @abstractmethod
    def parameters_of_component(self) -> int:
        """The number of free parameters of a component."""


class Normals(Block):
    """Real columns, standardized by `center` and `scale`; a ridge is added to every variance.

    Args:
        at: Indices of the columns in the table.
        K: Number of components.
        full: Whether the columns share a full covariance per component; otherwise they are independent given
            z.
        regularization: Ridge in units of the variance of each column.
        reg_covar: Ridge in units of x squared.
    """

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
        """The lower triangular factors of Sigma, or standard deviations, in units of `scale`."""
        if not self.full:
            return self.L.exp()
        return self.L.tril(-1) + torch.diag_embed(self.L.diagonal(dim1=-2, dim2=-1).exp())

    @property
    def ridge(self) -> Tensor:
        """The ridge that is added to each variance, in units of `scale` squared: (column,)."""
        return self.regularization + self.reg_covar / self.scale.square()

    def log_prob(self, x: Tensor, there: Tensor | None) -> Tensor:
        """Return log Normal(x; mu_z, Sigma_z) without the missing values: (row, component), in nats."""
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
        """Return the moments about mu; missing values have their moments given the observed values."""
        y = (x - self.center) / self.scale
        if not self.full:
            d = y[:, None] - self.mu
            w = r[:, :, None] if there is None else r[:, :, None] * there[:, None]
            w = w.expand_as(d)
            moments = {"n": w.sum(0), "first": (w * d).sum(0), "second": (w * d.square()).sum(0)}
            return {**moments, "rows": r.sum(0)}
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
        """Set the means, and the covariances with the ridge; a component without rows stays unchanged."""
        n, first, second = (statistics[name] for name in ("n", "first", "second"))
        alive = n > 1e-12 * n.sum(0)
        if not self.full:
            d = torch.where(alive, first / n, 0)
            # all rows count for the ridge, also rows that lack the column
            paid = statistics["rows"][:, None] * self.ridge
            variance = (second / n - d.square()).clamp(min=0) + torch.where(alive, paid / n, 0)
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
                f"regularization = {self.regularization}: a covariance of the mixture is singular. "
                "Raise regularization, or use fewer components."
            )

    def penalties(self) -> Tensor:
        """Return tr(Sigma_z^-1 Lambda) / 2 with the ridge Lambda: (component,), in nats.

        With this penalty, the maximum of the objective is each Sigma plus Lambda.
        """
        if not self.full:
            return 0.5 * (self.factor.pow(-2) * self.ridge).sum(-1)
        eye = torch.eye(self.mu.shape[1], dtype=self.mu.dtype, device=self.mu.device)
        inverse = torch.linalg.solve_triangular(self.factor, eye, upper=False)
        return 0.5 * (inverse.square().sum(-2) * self.ridge).sum(-1)

    def draw(self, z: Tensor) -> Tensor:
        """Sample x ~ Normal(mu_z, Sigma_z), in the units of the data: (row, column)."""
        e = torch.randn(len(z), self.mu.shape[1], dtype=self.mu.dtype, device=self.mu.device)
        off = (self.factor[z] @ e[..., None])[..., 0] if self.full else self.factor[z] * e
        return self.center + self.scale * (self.mu[z] + off)

    def complete(self, x: Tensor, there: Tensor, z: Tensor) -> Tensor:
        """Sample the missing values given z and the observed values: (row, column)."""
        if not self.full:
            return super().complete(x, there, z)
        y = (x - self.center) / self.scale
        drawn = ObservedNormal(self.mu[z], self.factor[z], there, validate_args=False).complete(y)
        return torch.where(there, x, self.center + self.scale * drawn)

    def mean(self, z: Tensor) -> Tensor:
        """Return mu_z, in the units of the data: (row, column)."""
        return self.center + self.scale * self.mu[z]

    @property
    def parameters_of_component(self) -> int:
        """The number of free parameters of a component: means, and variances or covariances."""
        D = self.mu.shape[1]
        return D + (D * (D + 1) // 2 if self.full else D)


class Classes(Block):
    """Columns of classes: column i takes the values least_i, ..., least_i + levels_i - 1.

    `log_theta` holds the log-probabilities of all columns, concatenated. Each component has `smoothing`
    pseudo-rows, spread evenly over the values of a column.

    Args:
        at: Indices of the columns in the table.
        K: Number of components.
        columns: The columns.
        smoothing: Number of pseudo-rows of each component.
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
        """Return sum_i log theta_zi[x_i] over the observed values: (row, component), in nats."""
        index, table = self._index(x, there), self.log_theta.T.contiguous()
        found = table.new_zeros(len(x), table.shape[1])
        for i in range(index.shape[1]):
            part = table[index[:, i]]
            found += part if there is None else part * there[:, i, None]
        return found

    def statistics(self, x: Tensor, there: Tensor | None, r: Tensor) -> Statistics:
        """Return the weighted counts of values: (value, component)."""
        index = self._index(x, there)
        counts = r.new_zeros(self.log_theta.shape[1], r.shape[1])
        for i in range(index.shape[1]):
            counts.index_add_(0, index[:, i], r if there is None else r * there[:, i, None])
        return {"counts": counts}

    def update(self, statistics: Statistics) -> None:
        """Set theta to the relative frequencies, with the pseudo-rows."""
        counts = statistics["counts"].T.split(self.levels, 1)
        theta = [count + self.smoothing / count.shape[1] for count in counts]
        self.log_theta.copy_(torch.cat([(t / t.sum(1, keepdim=True)).log() for t in theta], 1))

    def prior(self) -> Tensor:
        """Return `smoothing` times the sum over columns of the mean of log theta: (), in nats."""
        parts = self.log_theta.split(self.levels, 1)
        return self.smoothing * torch.stack([part.mean(1).sum() for part in parts]).sum()

    def draw(self, z: Tensor) -> Tensor:
        """Sample a value of each column given z: (row, column)."""
        parts = self.log_theta[z].split(self.levels, 1)
        drawn = torch.stack([dist.Categorical(logits=part).sample() for part in parts], 1)
        return (drawn + self.least).to(self.log_theta.dtype)

    @property
    def parameters_of_component(self) -> int:
        """The number of free parameters of a component: for each column, the number of values less 1."""
        return sum(self.levels) - len(self.levels)
