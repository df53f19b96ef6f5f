"""A VAE whose prior and posterior are flows (Rezende & Mohamed, ICML 2015; Kingma et al., NeurIPS 2016; Chen et al., ICLR 2017).

    prior        f(z) ~ p_0,                                     log p(z) = log p_0(f(z)) + log |det df/dz|
    posterior    z = g(e; h(x)),  e ~ Normal(mu(x), sigma(x))    log q(z | x) = log Normal(e; mu, sigma) - log |det dg/de|

p_0 is the prior of `vae`. The encoder returns mu, log sigma and h. The transforms of f and g are those of `flow`.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator
from torch import Tensor, nn

from probgen import Event
from probgen.distributions import NormalVector
from probgen.models.vae import VAE, VAEOptions
from probgen_flow.pushed import Pushed
from probgen_flow.vectors import TRANSFORM, BijectionOptions, Transform, VectorBijection


class FlowVAEOptions(VAEOptions, BijectionOptions):
    """The options of `flow-vae`."""

    prior_depth: int = Field(2, ge=0, le=100, description="transforms of the flow of the prior; 0: none")
    posterior_depth: int = Field(2, ge=0, le=100, description="transforms of the flow of q(z | x); 0: none")
    transform: Transform = Field("affine", description=TRANSFORM)
    flow_hidden: int = Field(
        64, ge=1, description="units of each of the two hidden layers of a transform's network"
    )
    flow_context: int = Field(
        32, ge=1, description="numbers of h, which the flow of q(z | x) receives from the encoder"
    )

    @model_validator(mode="after")
    def _flows(self) -> FlowVAEOptions:
        if not self.prior_depth and not self.posterior_depth:
            raise ValueError("prior_depth = 0, posterior_depth = 0: there is no flow. Use the family vae.")
        if not self.posterior_depth and "flow_context" in self.model_fields_set:
            raise ValueError(
                f"flow_context = {self.flow_context}: without a flow of q(z | x), no flow receives it. Leave it out."
            )
        if self.prior == "vamp":
            raise ValueError(
                "prior = 'vamp': this prior is an average of posteriors without a flow. Use another prior."
            )
        if self.structure == "coupling" and self.latent < 2:
            raise ValueError(
                "structure = 'coupling': a coupling needs two dimensions of z. Set latent = 2 or more."
            )
        return self


class FlowPrior(nn.Module):
    """A prior p(z) such that f(z) has the distribution p_0.

    Args:
        base: p_0, a module that returns a distribution for a number of rows.
        f: The bijection z -> e.
    """

    def __init__(self, base: nn.Module, f: VectorBijection):
        super().__init__()
        self.base, self.f = base, f

    def forward(self, n: int) -> Any:
        """Return p(z) with batch shape (n,)."""
        return Pushed(self.base(n), self.f, None, inverse=True)


class FlowVAE(VAE):
    """A variational autoencoder whose prior and posterior are flows.

    Args:
        options: The options of the family.
        event: The event that x is.
    """

    Options = FlowVAEOptions
    options: FlowVAEOptions

    def __init__(self, options: FlowVAEOptions, event: Event):
        super().__init__(options, event)
        o = options
        if o.prior_depth:
            self.prior = FlowPrior(self.prior, self._bijection(0, o.prior_depth))
        self.g = None
        if o.posterior_depth:
            self.g = self._bijection(o.flow_context, o.posterior_depth)

    @property
    def encoder_size(self) -> int:
        """The number of mu, log sigma and h per row."""
        return super().encoder_size + (self.options.flow_context if self.options.posterior_depth else 0)

    def _bijection(self, context: int, depth: int) -> VectorBijection:
        o = self.options
        return VectorBijection(o.latent, context, o.structure, depth, (o.flow_hidden,) * 2, o.spline_bins)

    def _q(self, y: Tensor) -> Any:
        if self.g is None:
            return super()._q(y)
        latent = self.options.latent
        mu, log_sigma, h = y.split([latent, latent, self.options.flow_context], 1)
        return Pushed(NormalVector(mu, log_sigma.exp()), self.g, h)

    def encoded(self, x: Tensor, **given: Tensor) -> dict[str, Tensor]:
        """Return g(mu(x); h(x)), the z of the center of the noise, as `z`."""
        q = self.posterior(x, **given)
        return {"z": q.mean if self.g is None else q.push(q.base.mean)[0]}
