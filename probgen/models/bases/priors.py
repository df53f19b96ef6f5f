"""Priors of a latent vector: modules that return p(z), a Pyro distribution with event shape (latent,)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from probgen.distributions import NormalVector


class StandardNormal(nn.Module):
    """A standard normal prior: z ~ Normal(0, 1), independent in each dimension.

    Args:
        latent: Number of dimensions of z.
    """

    mu: Tensor
    sigma: Tensor

    def __init__(self, latent: int):
        super().__init__()
        self.register_buffer("mu", torch.zeros(latent), persistent=False)
        self.register_buffer("sigma", torch.ones(latent), persistent=False)

    def forward(self, n: int) -> Any:
        """Return p(z) with batch shape (n,)."""
        return NormalVector(self.mu.expand(n, -1), self.sigma.expand(n, -1))


class MixtureOfGaussians(nn.Module):
    """A learned mixture prior: z ~ sum_k pi_k Normal(mu_k, sigma_k).

    At the start, the means are samples from a standard normal, and every sigma is 1.

    Args:
        latent: Number of dimensions of z.
        components: Number of Gaussians, K.
    """

    def __init__(self, latent: int, components: int):
        super().__init__()
        self.log_pi = nn.Parameter(torch.full((components,), -math.log(components)))
        self.mu = nn.Parameter(torch.randn(components, latent))
        self.log_sigma = nn.Parameter(torch.zeros(components, latent))

    def forward(self, n: int) -> Any:
        """Return p(z) with batch shape (n,)."""
        parts = NormalVector(self.mu, self.log_sigma.exp())
        return dist.MixtureSameFamily(dist.Categorical(logits=self.log_pi), parts).expand([n])


class VampPrior(nn.Module):
    """The VampPrior: z ~ 1/K sum_k q(z | u_k) with learned pseudo-inputs u_k (Tomczak & Welling 2018, eq. 9).

    The pseudo-inputs are 0 until the family sets them; `vae` starts them at rows of the data.

    Args:
        shape: Shape of one pseudo-input, in the form in which the encoder receives x.
        components: Number of pseudo-inputs, K.
        posterior: A function from pseudo-inputs (component, *shape) to q(z | u), with event shape (latent,).
    """

    def __init__(self, shape: tuple[int, ...], components: int, posterior: Callable[[Tensor], Any]):
        super().__init__()
        self.u = nn.Parameter(torch.zeros(components, *shape))
        self.posterior = posterior

    def forward(self, n: int) -> Any:
        """Return p(z) with batch shape (n,)."""
        weights = dist.Categorical(logits=torch.zeros(len(self.u), device=self.u.device, dtype=self.u.dtype))
        return dist.MixtureSameFamily(weights, self.posterior(self.u)).expand([n])
