"""The multivariate normal distribution with missing coordinates.

With o the observed coordinates of x, m the missing ones, and Sigma_oo the covariance of the observed ones,

    log p(x_o) = -1/2 (x_o - mu_o)' Sigma_oo^-1 (x_o - mu_o) - 1/2 log |2 pi Sigma_oo|
    x_m | x_o ~ Normal(mu_m + Sigma_mo Sigma_oo^-1 (x_o - mu_o),  Sigma_mm - Sigma_mo Sigma_oo^-1 Sigma_om)

(Bishop 2006, eq. 2.81-2.98). The missing coordinates may differ from row to row. A full-sized matrix therefore replaces
Sigma_oo: its rows and columns of missing coordinates are those of the identity. The determinant and the quadratic form of
the observed coordinates are unchanged.
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
    """A multivariate normal distribution with a mask of observed coordinates.

    `log_prob` is the marginal log-density of the observed coordinates. Samples have all coordinates. The three batch
    shapes are broadcast.

    Args:
        loc: Mean, (*batch, feature).
        scale_tril: Cholesky factor of the covariance, lower triangular, (*batch, feature, feature).
        observed: Mask of the observed coordinates, (*batch, feature), bool. Other values of x are ignored.
        validate_args: Whether to validate `loc` and `scale_tril`; None follows torch's default.
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
        """Return the same distribution with a larger batch shape."""
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
        """Return log p(x_o), the marginal log-density of the observed coordinates.

        Args:
            value: Values, (*sample, *batch, feature); missing coordinates may be NaN.

        Returns:
            Log-densities, (*sample, *batch), in nats.
        """
        o = self.observed.to(self.loc.dtype)
        difference = (torch.where(self.observed, value, 0) - self.loc * o)[..., None]
        tril = self._observed_tril
        shape = torch.broadcast_shapes(tril.shape[:-2], difference.shape[:-2])
        tril, difference = tril.expand(*shape, *tril.shape[-2:]), difference.expand(*shape, -1, 1)
        mahalanobis = torch.linalg.solve_triangular(tril, difference, upper=False).square().sum((-2, -1))
        log_det = 2 * tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return -0.5 * (mahalanobis + log_det + o.sum(-1) * math.log(2 * math.pi))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Sample all coordinates, with gradients to `loc` and `scale_tril`.

        Args:
            sample_shape: Shape of the samples.

        Returns:
            Samples, (*sample_shape, *batch, feature).
        """
        shape = self._extended_shape(torch.Size(sample_shape))
        noise = torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device)
        return self.loc + (self.scale_tril @ noise[..., None])[..., 0]

    def conditional(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean and the covariance of x given x_o.

        Args:
            value: Values, (*batch, feature); missing coordinates may be NaN.

        Returns:
            The mean, (*batch, feature), and the covariance, (*batch, feature, feature). Observed coordinates have their
            value as the mean and the variance 0.
        """
        o = self.observed.to(self.loc.dtype)
        sigma = self.scale_tril @ self.scale_tril.mT
        mean = self._filled(value, self.loc, sigma, o)
        toward = sigma * o[..., :, None] * (1 - o)[..., None, :]  # Sigma_om, padded with zeros
        explained = toward.mT @ torch.cholesky_solve(toward, self._observed_tril)
        free = sigma * (1 - o)[..., :, None] * (1 - o)[..., None, :]
        return mean, free - explained

    def complete(self, value: Tensor) -> Tensor:
        """Sample the missing coordinates given x_o, by Matheron's rule.

        A joint sample is corrected by the difference between its observed coordinates and x_o.

        Args:
            value: Values, (*batch, feature); missing coordinates may be NaN.

        Returns:
            Completed values, (*batch, feature); observed coordinates are unchanged.
        """
        o = self.observed.to(self.loc.dtype)
        return self._filled(value, self.rsample(), self.scale_tril @ self.scale_tril.mT, o)

    def _filled(self, value: Tensor, start: Tensor, sigma: Tensor, o: Tensor) -> Tensor:
        """Return x_o if observed, otherwise start_m + Sigma_mo Sigma_oo^-1 (x_o - start_o)."""
        off = (torch.where(self.observed, value, 0) - start * o)[..., None]
        tril = self._observed_tril
        shape = torch.broadcast_shapes(tril.shape[:-2], off.shape[:-2])
        weights = torch.cholesky_solve(off.expand(*shape, -1, 1), tril.expand(*shape, *tril.shape[-2:]))
        moved = start + (sigma @ (weights * o[..., None]))[..., 0]
        return torch.where(self.observed, value, moved)
