"""Moments of weighted rows, and log-densities of normals from them: two matrix products a chunk.

The log-density of a normal is linear in the features phi(y) = (1, y, y_i y_j), or (1, y, y^2) where coordinates are
independent. So those of K components at n rows are one product, Theta phi, and the moments of the rows under
responsibilities r are another, r phi'. Chunks are held column by row, phi: (feature of phi, row), so that each feature
is contiguous.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def quadratic_features(x: Tensor, center: Tensor, scale: Tensor, out: Tensor | None = None) -> Tensor:
    """(1, y_i, y_i y_j for i <= j) of y = (x - center) / scale, x: (n, D); into `out`, if given."""
    n, D = x.shape
    phi = x.new_empty(1 + D + D * (D + 1) // 2, n) if out is None else out
    phi[0] = 1
    y = phi[1 : 1 + D]
    torch.sub(x.T, center[:, None], out=y)
    y /= scale[:, None]
    at = 1 + D
    for i in range(D):
        torch.mul(y[i], y[i:], out=phi[at : at + D - i])
        at += D - i
    return phi


def diagonal_features(x: Tensor, center: Tensor, scale: Tensor) -> Tensor:
    """(1, y_i, y_i^2) of y = (x - center) / scale, x: (n, D)."""
    y = ((x - center) / scale).T
    return torch.cat([y.new_ones(1, y.shape[1]), y, y.square()])


def quadratic_weights(mu: Tensor, L: Tensor) -> Tensor:
    """Theta of Normal(mu, L L'): (K, feature of phi), for mu: (K, D), L: (K, D, D) lower."""
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
    """Theta of Normal(mu, sigma): (K, feature of phi), for mu, log_sigma: (K, D)."""
    p = (-2 * log_sigma).exp()
    constant = (-0.5 * mu.square() * p - log_sigma - 0.5 * math.log(2 * math.pi)).sum(1, keepdim=True)
    return torch.cat([constant, mu * p, -0.5 * p], 1)


def about(mu: Tensor, M: Tensor, matrices: bool) -> tuple[Tensor, Tensor]:
    """First (K, D) and second moments about mu: (K, D), from those about 0, M: (K, feature of phi).

    The second are matrices (K, D, D), of `quadratic_features`, or squares (K, D), of `diagonal_features`.
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
    matrices = pairs.new_empty(*pairs.shape[:-1], D, D)
    matrices[..., i, j] = pairs
    matrices[..., j, i] = pairs
    return matrices
