"""Moments of weighted rows and log-densities of normals, with two matrix products per chunk.

The log-density of a normal is linear in the features phi(y) = (1, y, y_i y_j), or (1, y, y^2) for independent coordinates.
The log-densities of K components at n rows are therefore one product, Theta phi. The moments of the rows under
responsibilities r are another product, r phi'. Chunks have the shape (feature of phi, row), so that each feature is
contiguous in memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

# if a relative deviation is below eps to this power, a slower method without cancellation is used
NARROW = 0.2
WIDE = 512  # above this number of dimensions, the products of all pairs need too much memory per row
AT_ONCE = 1 << 18  # features in memory at a time: 2 MB, which fit in the cache of a core


@dataclass(frozen=True)
class Normals:
    """K normal distributions over D coordinates.

    Args:
        mu: Means, (K, D).
        factor: Lower Cholesky factors of the covariances, (K, D, D), or standard deviations, (K, D).
    """

    mu: Tensor
    factor: Tensor

    @property
    def matrices(self) -> bool:
        """Whether the covariances are full matrices."""
        return self.factor.dim() == 3

    @property
    def sigma(self) -> Tensor:
        """The diagonal of the factor, (K, D)."""
        return self.factor.diagonal(dim1=-2, dim2=-1) if self.matrices else self.factor

    def moments(self, log_pi: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean and the standard deviation of each coordinate of the mixture.

        Args:
            log_pi: Log-weights of the components, (K,).

        Returns:
            The mean and the standard deviation, both (D,).
        """
        pi = log_pi.exp()
        mean = pi @ self.mu
        variance = self.factor.square().sum(-1) if self.matrices else self.factor.square()
        return mean, (pi @ (variance + (self.mu - mean).square())).sqrt()

    def moved(self, center: Tensor, scale: Tensor) -> Normals:
        """Return the distributions of (x - center) / scale, with center and scale of shape (D,)."""
        return Normals((self.mu - center) / scale, self.factor / (scale[:, None] if self.matrices else scale))

    @property
    def by_features(self) -> bool:
        """Whether `log_prob_by_features` is usable: it needs few enough features and products that do not cancel."""
        wide = self.matrices and self.mu.shape[1] > WIDE
        return not wide and bool(self.sigma.min() > torch.finfo(self.mu.dtype).eps ** NARROW)

    def log_prob(self, y: Tensor) -> Tensor:
        """Return the log-density of y under each component, from y - mu.

        The method is slower than `log_prob_by_features`, but has no cancellation.

        Args:
            y: Rows, (n, D).

        Returns:
            Log-densities, (component, row), in nats.
        """
        size = max(1, 64 * AT_ONCE // self.mu.numel())
        return torch.cat([self._log_prob(part - self.mu[:, None]) for part in y.split(size)], 1)

    def _log_prob(self, d: Tensor) -> Tensor:
        if self.matrices:
            whitened = torch.linalg.solve_triangular(self.factor, d.mT, upper=False).mT
        else:
            whitened = d / self.factor[:, None]
        constant = self.sigma.log().sum(-1) + 0.5 * d.shape[2] * math.log(2 * math.pi)
        return -constant[:, None] - 0.5 * whitened.square().sum(2)

    def log_prob_by_features(self, y: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the features and the log-densities of blocks of rows, with one matrix product per block.

        All blocks use the same memory: copy a block to keep it.

        Args:
            y: Rows, (n, D).

        Yields:
            phi(y), (feature of phi, row), and log p(y | z), (component, row), in nats.
        """
        theta, n = self.theta(), len(y)
        size = min(max(32, AT_ONCE // max(theta.shape)), n)
        phi, log_p = theta.new_empty(theta.shape[1], size), theta.new_empty(len(theta), size)
        for part in y.split(size):
            if len(part) < size:
                phi, log_p = phi.new_empty(len(phi), len(part)), log_p.new_empty(len(log_p), len(part))
            yield self.features(part, phi), torch.mm(theta, phi, out=log_p)

    def theta(self) -> Tensor:
        """Return theta, (component, feature of phi), with log p(y | z) = theta_z phi(y)."""
        if self.matrices:
            return quadratic_weights(self.mu, self.factor)
        return diagonal_weights(self.mu, self.factor.log())

    def features(self, y: Tensor, out: Tensor | None = None) -> Tensor:
        """Return phi(y), (feature of phi, row), in `out` if it is given."""
        return (quadratic_features if self.matrices else diagonal_features)(y, out)


def log_joint(normals: Normals, log_pi: Tensor, y: Tensor) -> Iterator[Tensor]:
    """Yield log pi_k + log p(y | k) for blocks of rows.

    Rows are standardized with the moments of the mixture, so that no digits cancel. All blocks may use the same memory: copy
    a block to keep it.

    Args:
        normals: The components.
        log_pi: Log-weights of the components, (component,).
        y: Rows, (n, D).

    Yields:
        Blocks, (component, row), in nats.
    """
    center, scale = (part.detach() for part in normals.moments(log_pi))
    y, normals = (y - center) / scale, normals.moved(center, scale)
    constant = (log_pi - scale.log().sum())[:, None]
    if normals.by_features and not (
        torch.is_grad_enabled() and (y.requires_grad or normals.mu.requires_grad)
    ):
        for _, log_p in normals.log_prob_by_features(y):
            yield log_p.add_(constant)
    else:
        yield constant + normals.log_prob(y)


def quadratic_features(y: Tensor, out: Tensor | None = None) -> Tensor:
    """Return (1, y_i, y_i y_j for i <= j) of y, (n, D), as (feature of phi, row), in `out` if it is given."""
    n, D = y.shape
    phi = y.new_empty(1 + D + D * (D + 1) // 2, n) if out is None else out
    phi[0] = 1
    phi[1 : 1 + D] = y.T
    y, at = phi[1 : 1 + D], 1 + D
    for i in range(D):
        torch.mul(y[i], y[i:], out=phi[at : at + D - i])
        at += D - i
    return phi


def diagonal_features(y: Tensor, out: Tensor | None = None) -> Tensor:
    """Return (1, y_i, y_i^2) of y, (n, D), as (feature of phi, row), in `out` if it is given."""
    n, D = y.shape
    phi = y.new_empty(1 + 2 * D, n) if out is None else out
    phi[0] = 1
    phi[1 : 1 + D] = y.T
    torch.square(phi[1 : 1 + D], out=phi[1 + D :])
    return phi


def quadratic_weights(mu: Tensor, L: Tensor) -> Tensor:
    """Return theta of Normal(mu, L L'), (K, feature of phi), for mu, (K, D), and lower triangular L, (K, D, D)."""
    D = mu.shape[1]
    eye = torch.eye(D, dtype=mu.dtype, device=mu.device)
    inverse = torch.linalg.solve_triangular(L, eye.expand_as(L), upper=False)
    P = inverse.mT @ inverse
    Pmu = (P @ mu[..., None])[..., 0]
    log_det = L.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    constant = -0.5 * (Pmu * mu).sum(1) - log_det - 0.5 * D * math.log(2 * math.pi)
    i, j = torch.triu_indices(D, D, device=mu.device)
    pairs = torch.where(i == j, -0.5, -1.0).to(mu) * P[:, i, j]
    return torch.cat([constant[:, None], Pmu, pairs], 1)


def diagonal_weights(mu: Tensor, log_sigma: Tensor) -> Tensor:
    """Return theta of Normal(mu, sigma), (K, feature of phi), for mu and log_sigma, (K, D) each."""
    p = (-2 * log_sigma).exp()
    constant = (-0.5 * mu.square() * p - log_sigma - 0.5 * math.log(2 * math.pi)).sum(1, keepdim=True)
    return torch.cat([constant, mu * p, -0.5 * p], 1)


def about(mu: Tensor, M: Tensor, matrices: bool) -> tuple[Tensor, Tensor]:
    """Return the first and the second moments about mu, from the moments about 0.

    Args:
        mu: Centers, (K, D).
        M: Moments about 0, (K, feature of phi).
        matrices: Whether M has the moments of `quadratic_features`; otherwise those of `diagonal_features`.

    Returns:
        The first moments, (K, D), and the second moments: matrices, (K, D, D), or squares, (K, D).
    """
    D = mu.shape[1]
    n, first, second = M[:, :1], M[:, 1 : 1 + D], M[:, 1 + D :]
    moved = first - n * mu
    if matrices:
        cross = first[:, :, None] * mu[:, None]
        return moved, _unpacked(second, D) - cross - cross.mT + n[:, :, None] * mu[:, :, None] * mu[:, None]
    return moved, second - 2 * mu * first + n * mu.square()


def _unpacked(pairs: Tensor, D: int) -> Tensor:
    i, j = torch.triu_indices(D, D, device=pairs.device)
    position = torch.empty(D, D, dtype=torch.long, device=pairs.device)
    position[i, j] = position[j, i] = torch.arange(len(i), device=pairs.device)
    return pairs[..., position]
