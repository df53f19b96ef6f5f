"""The autoencoder (Rumelhart, Hinton & Williams 1986), optionally denoising.

Denoising autoencoders: Vincent, Larochelle, Bengio & Manzagol, ICML 2008.

    z = E(x),    x ~ p(x | z),    fitted by maximizing log p(x | z = E(x))

This is a reconstruction, not a likelihood: z may contain all of x. The model has no p(z) either. For
sampling, the fit ends with a Gaussian over the codes of the rows (Ghosh, Sajjadi, Vergari, Black &
Schoelkopf, ICLR 2020).

With `conditioning = "decoders"`, each class y of a label has its own decoder, and the encoder does not receive
the label: x ~ p_y(x | z = E(x)). The code of a row, decoded as another class, is a swap (Perov et al. 2020).
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
from probgen.models.bases.codes import CodeOptions, CodePair, DecodeOptions, Encoder, joint


class AutoencoderOptions(CodeOptions):
    """Options of `autoencoder`."""

    corruption: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of the dimensions of x that are hidden from the encoder while training",
    )


class MeanFirstOptions(MeanOptions):
    """Options of sampling; by default x has no noise, because the model is a distribution over codes."""

    mean: bool = Field(
        True,
        description="return the mean of p(x | z) instead of a sample",
        json_schema_extra=only(x="nothing"),
    )


class Autoencoder(CodePair):
    """An autoencoder: a deterministic code of x, and a reconstruction from it; no likelihood.

    Args:
        options: The options of the family.
        event: The event that x is.
    """

    Options = AutoencoderOptions
    SampleOptions = MeanFirstOptions
    ScoreOptions = NoOptions
    latents = {"z": ("latent",)}
    code_mean: Tensor
    code_factor: Tensor

    def __init__(self, options: AutoencoderOptions, event: Event):
        super().__init__(options, event)
        self.encoder = Encoder(options, event, self.site, options.latent, self.seen_size)
        self.decoder = self.decoder_of()
        self.register_buffer("code_mean", torch.zeros(options.latent))
        self.register_buffer("code_factor", torch.eye(options.latent))
        self.dims = {"code_mean": ("latent",), "code_factor": ("latent", "latent_")}

    def model(self, x: Tensor | None = None, *, n: int, **given: Tensor) -> Tensor:
        """Sample z from the Gaussian of the codes, and x ~ p(x | z)."""
        with self.rows(n):
            p = dist.MultivariateNormal(self.code_mean, scale_tril=self.code_factor)
            z = pyro.sample("z", p)
            return pyro.sample("x", self.likelihood(z, **given), obs=x)

    def guide(self, x: Tensor | None = None, *, n: int, **given: Tensor) -> Tensor:
        """Set z = E(x)."""
        assert x is not None
        with self.rows(n):
            return pyro.sample("z", dist.Delta(self.encode(x, **given), event_dim=1))

    def encode(self, x: Tensor, **given: Tensor) -> Tensor:
        """Return the codes of x, with random corruption while training.

        Args:
            x: The rows, (row, *event).
            **given: The conditions by name.

        Returns:
            Codes, (row, latent).
        """
        seen = (
            torch.rand(x.shape, device=x.device) >= self.options.corruption
            if self.training and self.options.corruption
            else None
        )
        return self.encoder(x, self.seen(given), seen)

    def encoded(self, x: Tensor, **given: Tensor) -> dict[str, Tensor]:
        """Return E(x), as `z`."""
        return {"z": self.encode(x, **given)}

    def likelihood(self, z: Tensor, **given: Tensor) -> Any:
        """Return p(x | z).

        Args:
            z: Codes, (row, latent).
            **given: The conditions by name.

        Returns:
            A distribution with batch shape (row,).
        """
        return joint(self.site, self.decoder(z, self.context(given)), len(self.shape))

    def reconstruction(self, x: Tensor, **given: Tensor) -> Tensor:
        """Return the reconstruction log p(x | z = E(x)).

        Args:
            x: The rows, (row, *event).
            **given: The conditions by name.

        Returns:
            Log-probabilities, (row,), in nats.
        """
        return self.likelihood(self.encode(x, **given), **given).log_prob(x)

    def loss(self, x: Tensor, *, n: int, **given: Tensor) -> dict[str, Tensor]:
        """Return the mean negative reconstruction, in nats per row."""
        return {"loss": -self.reconstruction(x, **given).mean()}

    def assess(self, x: Tensor, options: Any, **given: Tensor) -> xr.Dataset:
        """Return the `reconstruction` of each row, in nats; it is not comparable with a likelihood."""
        attrs = {"units": "nat", "measure": self.measure, "long_name": "log p(x | z = E(x))"}
        return xr.Dataset({"reconstruction": ("row", self.reconstruction(x, **given).cpu().numpy(), attrs)})

    def told(self, at: Mapping[str, Tensor]) -> tuple[Tensor, Tensor | None]:
        """Return z and the context of the conditions."""
        return at["z"], self.context(at)

    def complete(self, x: Tensor, observed: Tensor, options: Any, **given: Any) -> dict[str, Tensor]:
        """Return x unchanged and its code, for complete rows.

        Args:
            x: The rows, (row, *event).
            observed: The observed values, (row, *event).
            options: Options of sampling.
            **given: The conditions by name.

        Returns:
            `x` and `z`.

        Raises:
            NotOffered: When x has missing values.
        """
        drawn = super().complete(x, observed, DecodeOptions.model_validate({"particles": 1}), **given)
        return {"x": drawn["x"], "z": drawn["z"]}

    def learn(self, data: Rows, run: Run) -> dict[str, xr.Dataset] | None:
        """Maximize the reconstruction, then set the Gaussian to the moments of the codes."""
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
