"""Probabilistic principal component analysis, as a Pyro model and its guide (Tipping & Bishop 1999).

    z ~ Normal(0, 1),    x ~ Normal(W z + mu, sigma)
    q(z | x) = Normal(V (x - mu), s)

The fit maximizes the evidence lower bound. The posterior of this model has the form of q, so that the bound becomes tight.
"""

from __future__ import annotations

from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pydantic import Field
from torch import Tensor, nn

from probgen import Event, Pair
from probgen.inference.training import SVIOptions


class FactorOptions(SVIOptions):
    """The options of the family, in addition to the options of its training."""

    latent: int = Field(2, ge=1, description="dimensions of z")


class FactorAnalysis(Pair):
    """The model and its guide. `Pair` fits, samples and scores.

    Attributes:
        latents: Names and dimensions of the latents that `sample` returns.
    """

    Options = FactorOptions
    supports = frozenset({"real"})
    latents = {"z": ("latent",)}

    def __init__(self, options: FactorOptions, event: Event):
        super().__init__(options, event)
        self.W = nn.Parameter(0.1 * torch.randn(event.size, options.latent))
        self.V = nn.Parameter(0.1 * torch.randn(event.size, options.latent))
        self.mu = nn.Parameter(torch.zeros(event.size))
        self.log_sigma = nn.Parameter(torch.zeros(()))
        self.log_s = nn.Parameter(torch.zeros(options.latent))

    def model(self, x: Tensor | None = None, *, n: int, **given: Any) -> Tensor:
        """Sample z and x, (row, ...), in one plate of n rows. x is observed if it is given."""
        with self.rows(n):
            z = pyro.sample("z", dist.Normal(self.W.new_zeros(n, self.W.shape[1]), 1.0).to_event(1))
            mean = (z @ self.W.T + self.mu).reshape(n, *self.event.fixed_shape)
            return pyro.sample("x", dist.Normal(mean, self.log_sigma.exp()).to_event(mean.ndim - 1), obs=x)

    def guide(self, x: Tensor, *, n: int, **given: Any) -> Tensor:
        """Sample z given x, (row, latent), in the plate of the model."""
        with self.rows(n):
            mean = (x.flatten(1) - self.mu) @ self.V
            return pyro.sample("z", dist.Normal(mean, self.log_s.exp()).to_event(1))
