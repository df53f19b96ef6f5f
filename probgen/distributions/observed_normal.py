"""The multivariate normal of which some coordinates are not observed.

With Sigma_oo the covariance of the observed coordinates o of x and m the others,

    log p(x_o) = -1/2 (x_o - mu_o)' Sigma_oo^-1 (x_o - mu_o) - 1/2 log |2 pi Sigma_oo|
    x_m | x_o ~ Normal(mu_m + Sigma_mo Sigma_oo^-1 (x_o - mu_o),  Sigma_mm - Sigma_mo Sigma_oo^-1 Sigma_om)

(Bishop 2006, eq. 2.81-2.98). Each row may lack other coordinates: in place of Sigma_oo stands the full-sized matrix
whose rows and columns of missing coordinates are those of the identity, which leaves the determinant and the
quadratic form of the observed ones as they are.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any, ClassVar

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints


class ObservedNormal(TorchDistribution):
    """A normal whose `log_prob` is the marginal one of the observed coordinates.

    loc         (*batch, feature)
    scale_tril  (*batch, feature, feature), lower triangular
    observed    (*batch, feature), bool; values of x elsewhere are ignored

    The three batch shapes are broadcast. Draws are of all coordinates.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {
        "loc": constraints.real_vector,
        "scale_tril": constraints.lower_cholesky,
    }
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, loc: Tensor, scale_tril: Tensor, observed: Tensor, validate_args: bool | None = None):
        batch = torch.broadcast_shapes(loc.shape[:-1], scale_tril.shape[:-2], observed.shape[:-1])
        self.loc, self.scale_tril, self.observed = loc, scale_tril, observed
        super().__init__(batch, loc.shape[-1:], validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> ObservedNormal:
        """The same distribution with a larger batch shape."""
        shape = torch.Size(batch_shape)
        loc = self.loc.expand(shape + self.event_shape)
        return ObservedNormal(loc, self.scale_tril, self.observed, validate_args=False)

    @cached_property
    def _observed_tril(self) -> Tensor:
        """Cholesky factor of Sigma_oo, padded with the identity: (*batch, feature, feature)."""
        o = self.observed.to(self.loc.dtype)
        sigma = self.scale_tril @ self.scale_tril.mT
        padded = sigma * o[..., :, None] * o[..., None, :] + torch.diag_embed(1 - o)
        return torch.linalg.cholesky(padded)

    def log_prob(self, value: Tensor) -> Tensor:
        """log p(x_o): (*batch,), in nats."""
        o = self.observed.to(self.loc.dtype)
        difference = (torch.where(self.observed, value, 0) - self.loc * o)[..., None]
        tril = self._observed_tril
        shape = torch.broadcast_shapes(tril.shape[:-2], difference.shape[:-2])
        tril, difference = tril.expand(*shape, *tril.shape[-2:]), difference.expand(*shape, -1, 1)
        mahalanobis = torch.linalg.solve_triangular(tril, difference, upper=False).square().sum((-2, -1))
        log_det = 2 * tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return -0.5 * (mahalanobis + log_det + o.sum(-1) * math.log(2 * math.pi))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Draws of all coordinates: (*sample_shape, *batch, feature)."""
        shape = self._extended_shape(torch.Size(sample_shape))
        noise = torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device)
        return self.loc + (self.scale_tril @ noise[..., None])[..., 0]

    def conditional(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """Mean (*batch, feature) and covariance (*batch, feature, feature) of x given x_o; x_o itself is certain."""
        o = self.observed.to(self.loc.dtype)
        sigma = self.scale_tril @ self.scale_tril.mT
        mean = self._filled(value, self.loc, sigma, o)
        toward = sigma * o[..., :, None] * (1 - o)[..., None, :]  # Sigma_om, padded with zeros
        explained = toward.mT @ torch.cholesky_solve(toward, self._observed_tril)
        free = sigma * (1 - o)[..., :, None] * (1 - o)[..., None, :]
        return mean, free - explained

    def complete(self, value: Tensor) -> Tensor:
        """A draw of x given x_o, by Matheron's rule: a joint draw, moved by what its x_o is off."""
        o = self.observed.to(self.loc.dtype)
        return self._filled(value, self.rsample(), self.scale_tril @ self.scale_tril.mT, o)

    def _filled(self, value: Tensor, start: Tensor, sigma: Tensor, o: Tensor) -> Tensor:
        """x_o where observed, elsewhere start_m + Sigma_mo Sigma_oo^-1 (x_o - start_o)."""
        off = (torch.where(self.observed, value, 0) - start * o)[..., None]
        tril = self._observed_tril
        shape = torch.broadcast_shapes(tril.shape[:-2], off.shape[:-2])
        weights = torch.cholesky_solve(off.expand(*shape, -1, 1), tril.expand(*shape, *tril.shape[-2:]))
        moved = start + (sigma @ (weights * o[..., None]))[..., 0]
        return torch.where(self.observed, value, moved)
