"""The autoencoder (Rumelhart, Hinton & Williams 1986; denoising: Vincent, Larochelle, Bengio & Manzagol, ICML 2008).

    z = E(x),    x ~ p(x | z),    fitted by log p(x | z = E(x)),

which is a reconstruction and not a likelihood: nothing keeps z from holding all of x. There is no p(z) either. For drawing,
one is made after the fit, the Gaussian of the codes of the rows (Ghosh, Sajjadi, Vergari, Black & Schoelkopf, ICLR 2020).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyro
import pyro.distributions as dist
import torch
import xarray as xr
from pydantic import Field
from torch import Tensor

from probgen.contract.event import Event
from probgen.contract.options import MeanOptions, NoOptions, only
from probgen.contract.rows import Rows
from probgen.contract.run import Run
from probgen.models.bases.codes import CodeOptions, CodePair, DecodeOptions, Decoder, Encoder, joint


class AutoencoderOptions(CodeOptions):
    """Options of `autoencoder`."""

    corruption: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of the dimensions of x that is hidden from the encoder while training",
    )


class MeanFirstOptions(MeanOptions):
    """How codes are decoded; the model is of codes, so its draws have no noise unless that is asked for."""

    mean: bool = Field(
        True, description="x is the mean of p(x | z), not a draw from it", json_schema_extra=only(x="nothing")
    )


class Autoencoder(CodePair):
    """A deterministic code, and its reconstruction."""

    Options = AutoencoderOptions
    SampleOptions = MeanFirstOptions
    ScoreOptions = NoOptions
    latents = {"z": ("latent",)}
    code_mean: Tensor
    code_factor: Tensor

    def __init__(self, options: AutoencoderOptions, event: Event):
        super().__init__(options, event)
        self.encoder = Encoder(options, event, self.site, options.latent, self.context_size)
        self.decoder = Decoder(options, event, self.site.size, self.context_size)
        self.register_buffer("code_mean", torch.zeros(options.latent))
        self.register_buffer("code_factor", torch.eye(options.latent))
        self.dims = {"code_mean": ("latent",), "code_factor": ("latent", "latent_")}

    def model(self, x: Tensor | None = None, *, n: int, **given: Tensor) -> Tensor:
        """z ~ the Gaussian of the codes, x ~ p(x | z)."""
        with self.rows(n):
            p = dist.MultivariateNormal(self.code_mean, scale_tril=self.code_factor)
            z = pyro.sample("z", p)
            return pyro.sample("x", self.likelihood(z, **given), obs=x)

    def guide(self, x: Tensor | None = None, *, n: int, **given: Tensor) -> Tensor:
        """z = E(x)."""
        assert x is not None
        with self.rows(n):
            return pyro.sample("z", dist.Delta(self.encode(x, **given), event_dim=1))

    def encode(self, x: Tensor, **given: Tensor) -> Tensor:
        """E(x): (row, latent)."""
        seen = (
            torch.rand(x.shape, device=x.device) >= self.options.corruption
            if self.training and self.options.corruption
            else None
        )
        return self.encoder(x, self.context(given), seen)

    def encoded(self, x: Tensor, **given: Tensor) -> dict[str, Tensor]:
        """E(x)."""
        return {"z": self.encode(x, **given)}

    def likelihood(self, z: Tensor, **given: Tensor) -> Any:
        """p(x | z): batch shape (row,)."""
        return joint(self.site, self.decoder(z, self.context(given)), len(self.shape))

    def reconstruction(self, x: Tensor, **given: Tensor) -> Tensor:
        """log p(x | z = E(x)): (row,), in nats."""
        return self.likelihood(self.encode(x, **given), **given).log_prob(x)

    def loss(self, x: Tensor, *, n: int, **given: Tensor) -> dict[str, Tensor]:
        """The negative reconstruction."""
        return {"loss": -self.reconstruction(x, **given).mean()}

    def assess(self, x: Tensor, options: Any, **given: Tensor) -> xr.Dataset:
        """`reconstruction`: no likelihood, and comparable with none."""
        attrs = {"units": "nat", "measure": self.measure, "long_name": "log p(x | z = E(x))"}
        return xr.Dataset({"reconstruction": ("row", self.reconstruction(x, **given).cpu().numpy(), attrs)})

    def told(self, at: Mapping[str, Tensor]) -> tuple[Tensor, Tensor | None]:
        """z and the conditions."""
        return at["z"], self.context(at)

    def complete(self, x: Tensor, observed: Tensor, options: Any, **given: Any) -> dict[str, Tensor]:
        """The code of x, with x as it is. Errors: `NotOffered` where x is known in part."""
        drawn = super().complete(x, observed, DecodeOptions.model_validate({"particles": 1}), **given)
        return {"x": drawn["x"], "z": drawn["z"]}

    def learn(self, data: Rows, run: Run) -> dict[str, xr.Dataset] | None:
        """Maximize the reconstruction, then take the Gaussian of the codes."""
        self.standardize(data)
        super().learn(data, run)
        self.eval()
        with torch.no_grad():
            z = torch.cat([self.encode(**chunk) for chunk in data.chunks(1024)]).double()
            covariance = torch.atleast_2d(z.T.cov(correction=0))
            ridge = 1e-6 * covariance.trace() / len(covariance) + 1e-12
            self.code_mean.copy_(z.mean(0))
            self.code_factor.copy_(
                torch.linalg.cholesky(covariance + ridge * torch.eye(len(covariance), device=z.device))
            )
        return None
