"""The variational autoencoder (Kingma & Welling, ICLR 2014; Rezende, Mohamed & Wierstra, ICML 2014).

    z ~ p(z),    x ~ p(x | z),    q(z | x) = Normal(mu(x), sigma(x))

The fit maximizes the evidence lower bound (eq. 3 of the former), the reconstruction less the divergence:

    log p(x) >= E_q[log p(x | z)] - KL(q(z | x) || p(z))

Alternatively, it maximizes the importance-weighted bound of k samples (Burda, Grosse & Salakhutdinov 2016) or
the Renyi bound (Li & Turner 2016). The dimensions of x are independent given z, or p(x | z) is autoregressive
and the output of the decoder is its context (Chen et al. 2017). With `given`, p(x | z) and q(z | x) are also
conditional on a label (Sohn, Lee & Yan 2015). With `conditioning = "decoders"`, each class has its own
decoder, and q(z | x) does not receive the label. The divergence then removes the class from z, because the
decoders need no such code: a row that is decoded as another class keeps the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import pyro
import torch
import xarray as xr
from pydantic import Field, model_validator
from torch import Tensor, nn

from probgen.contract.event import Event
from probgen.contract.options import only
from probgen.contract.rows import Rows
from probgen.contract.run import Run
from probgen.distributions import Autoregressive, NormalVector
from probgen.errors import InputError, NotOffered
from probgen.inference.active import active_units, say_inactive
from probgen.inference.elbo import elbo
from probgen.inference.importance import all_log_weights, renyi, renyi_bound
from probgen.models.bases.codes import CodeOptions, CodePair, Decoder, Encoder, joint
from probgen.models.bases.priors import MixtureOfGaussians, StandardNormal, VampPrior
from probgen.models.made import MADEConditioner
from probgen.models.nade import NADEConditioner


class VAEOptions(CodeOptions):
    """Options of `vae`."""

    decoder: Literal["factorized", "nade", "made"] = Field(
        "factorized",
        description="form of p(x | z): dimensions independent given z, or autoregressive (discrete x only)",
    )
    context: int = Field(
        64,
        ge=1,
        description="number of context numbers that an autoregressive p(x | z) receives from the decoder",
        json_schema_extra=only(decoder=("nade", "made")),
    )
    prior: Literal["normal", "mixture", "vamp"] = Field("normal", description="prior distribution p(z)")
    prior_components: int = Field(
        10,
        ge=1,
        description="components of the prior: Gaussians of the mixture, or pseudo-inputs of the VampPrior",
        json_schema_extra=only(prior=("mixture", "vamp")),
    )
    bound: Literal["elbo", "iwae", "renyi"] = Field("elbo", description="bound that the fit maximizes")
    k: int = Field(
        1,
        ge=1,
        description="samples of z per row (iwae and renyi only)",
        json_schema_extra=only(bound=("iwae", "renyi")),
    )
    followed: int | None = Field(
        None,
        ge=1,
        description="number of the k samples that gradients are computed for, chosen by weight; None: all",
        json_schema_extra=only(bound=("iwae", "renyi")),
    )
    alpha: float = Field(
        0.5,
        lt=1,
        description="order of the Renyi bound; order 0 is iwae",
        json_schema_extra=only(bound="renyi"),
    )
    beta: float = Field(1.0, ge=0, description="weight of the divergence (elbo only)")
    warm_up: float = Field(
        0.0,
        ge=0,
        description="warm-up epochs, in which beta grows from 0 (elbo), or k grows from 1 (iwae, renyi)",
    )
    free_bits: float = Field(
        0.0,
        ge=0,
        description="divergence per dimension of z without cost, in nats, as a batch average (elbo only)",
    )

    @model_validator(mode="after")
    def _suited(self) -> VAEOptions:
        if self.bound != "elbo" and (self.beta, self.free_bits) != (1, 0):
            raise ValueError(
                f"bound = {self.bound!r}: beta and free_bits have no effect. Leave them out, or use bound = "
                "'elbo'."
            )
        if self.conditioning == "decoders" and self.decoder != "factorized":
            raise ValueError(
                f"conditioning = 'decoders': there is one decoder = {self.decoder!r} for all classes. Use decoder = "
                "'factorized', or conditioning = 'input'."
            )
        if self.followed is not None and self.followed > self.k:
            raise ValueError(
                f"followed = {self.followed}: there are k = {self.k} samples to choose from. Raise k, or use fewer."
            )
        if self.bound != "elbo" and self.graph and self.warm_up:
            raise ValueError(
                f"warm_up = {self.warm_up}: graph = true needs the same number of samples at every step. "
                "Leave warm_up out."
            )
        return self


class VAE(CodePair):
    """A variational autoencoder (VAE), with several decoders, priors and bounds.

    Args:
        options: The options of the family.
        event: The event that x is.
    """

    Options: ClassVar[type[VAEOptions]] = VAEOptions
    accepts = frozenset({"observed"})
    supports = frozenset({"real", "binary", "count", "integer", "token", "mixed"})
    latents = {"z": ("latent",)}
    beta: Tensor

    def __init__(self, options: VAEOptions, event: Event):
        super().__init__(options, event)
        context = self.context_size
        self.encoder = Encoder(options, event, self.site, self.encoder_size, self.seen_size)
        self.conditioner = self._conditioner()
        if self.conditioner is None:
            self.decoder = self.decoder_of()
        else:
            told = Event(("context",), (options.context,), "real")
            self.decoder = Decoder(options.model_copy(update={"network": "mlp"}), told, 1, context)
        self.prior: nn.Module
        if options.prior == "normal":
            self.prior = StandardNormal(options.latent)
        elif options.prior == "mixture":
            self.prior = MixtureOfGaussians(options.latent, options.prior_components)
        else:
            if context:
                raise InputError("prior = 'vamp': this prior does not support conditions. Leave 'given' out.")
            features = (*self.shape, self.site.features)
            self.prior = VampPrior(features, options.prior_components, self._q_of_features)
        self.k = options.k
        self.register_buffer("beta", torch.tensor(float(options.beta)), persistent=False)

    @property
    def encoder_size(self) -> int:
        """The number of outputs of the encoder for each row: mu and log sigma."""
        return 2 * self.latent

    # the model and its guide

    def model(
        self, x: Tensor | None = None, *, n: int, observed: Tensor | None = None, **given: Tensor
    ) -> Tensor:
        """Sample z ~ p(z) and x ~ p(x | z)."""
        with self.rows(n):
            z = pyro.sample("z", self.prior(n))
            return pyro.sample("x", self.likelihood(z, observed, **given), obs=x)

    def guide(
        self, x: Tensor | None = None, *, n: int, observed: Tensor | None = None, **given: Tensor
    ) -> Tensor:
        """Sample z ~ q(z | x)."""
        assert x is not None
        with self.rows(n):
            return pyro.sample("z", self.posterior(x, observed, **given))

    def likelihood(self, z: Tensor, observed: Tensor | None = None, **given: Tensor) -> Any:
        """Return p(x | z) of the observed values.

        Args:
            z: Latents, (row, latent).
            observed: The observed values, (row, *event), or None for complete rows.
            **given: The conditions by name.

        Returns:
            A distribution with batch shape (row,).

        Raises:
            NotOffered: When values are missing and the decoder is autoregressive.
        """
        y = self.decoder(z, self.context(given))
        if self.conditioner is not None:
            if observed is not None:
                raise NotOffered(
                    f"decoder = {self.options.decoder!r}: this decoder does not support missing values. Give "
                    "complete rows."
                )
            return Autoregressive(self.conditioner, self.site, self.shape, context=y.flatten(1))
        return joint(self.site, y, len(self.shape), observed)

    def posterior(self, x: Tensor, observed: Tensor | None = None, **given: Tensor) -> Any:
        """Return q(z | x).

        Args:
            x: The rows, (row, *event).
            observed: The observed values, (row, *event), or None for complete rows.
            **given: The conditions by name.

        Returns:
            A distribution with batch shape (row,) and event shape (latent,).
        """
        return self._q(self.encoder(x, self.seen(given), observed))

    def encoded(self, x: Tensor, **given: Tensor) -> dict[str, Tensor]:
        """Return the mean of q(z | x), as `z`."""
        return {"z": self.posterior(x, **given).mean}

    def _q(self, y: Tensor) -> Any:
        mu, log_sigma = y.chunk(2, 1)
        return NormalVector(mu, log_sigma.exp())

    def _q_of_features(self, e: Tensor) -> Any:
        return self._q(self.encoder.from_features(e))

    def told(self, at: Mapping[str, Tensor]) -> tuple[Tensor, Tensor | None]:
        """Return z and the context of the conditions.

        Args:
            at: Latents and conditions by name, each (row, ...).

        Returns:
            z (row, latent), and the context (row, context) or None.

        Raises:
            NotOffered: When the decoder is autoregressive.
        """
        if self.conditioner is not None:
            raise NotOffered(
                f"decoder = {self.options.decoder!r}: the mean of x given z is unknown. Sample x instead."
            )
        return at["z"], self.context(at)

    # learning

    def begin(self, epoch: float) -> None:
        """Set the weight of the divergence, or the number of samples, during the warm-up."""
        options = self.options
        if not options.warm_up:
            return
        gone = min(1.0, epoch / options.warm_up)
        self.beta.fill_(options.beta * gone)
        self.k = round(options.k**gone)

    def loss(self, x: Tensor, *, n: int, **given: Any) -> dict[str, Tensor]:
        """Return the negative bound, in nats per row.

        While training, it includes beta (Higgins et al. 2017) and free bits (Kingma et al. 2016, eq. 15).

        Args:
            x: The rows, (row, *event).
            n: Number of rows.
            **given: The conditions by name, and `observed` if values are missing.

        Returns:
            `loss`, and for the ELBO also its parts.
        """
        options = self.options
        if options.bound != "elbo":
            alpha = options.alpha if options.bound == "renyi" else 0.0
            if self.training:
                bound = renyi_bound(self, x, self.k, alpha, followed=options.followed, **given)
            else:
                bound = renyi(all_log_weights(self, x, self.k, **given), alpha)
            return {"loss": -bound.mean()}
        if not self.training or (options.beta, options.warm_up, options.free_bits) == (1, 0, 0):
            return super().loss(x, n=n, **given)
        found = elbo(self, x, **given)
        reconstruction, kl = found.reconstruction.mean(), found.kl["z"].mean(0)
        free = options.free_bits * (1 if kl.ndim else options.latent)
        paid = kl.clamp(min=free).sum() if free else kl.sum()
        return {"loss": self.beta * paid - reconstruction, "reconstruction": reconstruction, "kl": kl.sum()}

    def learn(self, data: Rows, run: Run) -> dict[str, xr.Dataset]:
        """Maximize the bound, and return which dimensions of z are in use."""
        self.standardize(data)
        if isinstance(self.prior, VampPrior):
            some = data.batch(0, len(self.prior.u), "pseudo-inputs")["x"]
            start = self.site.encode(some, self.prior.u.dtype)
            with torch.no_grad():
                self.prior.u.copy_(start[torch.arange(len(self.prior.u)) % len(start)])
        super().learn(data, run)
        latent = self.describe(data)
        run.notes += say_inactive(int(latent["active_units"]))
        return {"latent": latent}

    @torch.no_grad()
    def describe(self, data: Rows) -> xr.Dataset:
        """Return the variance of the codes over the rows, and the number of active dimensions of z.

        Args:
            data: The rows of the fit.

        Returns:
            `variance` (latent) and `active_units`.
        """
        self.eval()
        mean = torch.cat([self.encoded(**chunk)["z"] for chunk in data.chunks(1024)])
        attrs = {"long_name": "variance over the rows of the code of x"}
        return xr.Dataset(
            {
                "variance": ("latent", mean.var(0, unbiased=False).cpu().numpy(), attrs),
                "active_units": ((), int(active_units(mean).sum())),
            }
        )

    def _conditioner(self) -> nn.Module | None:
        options, sites = self.options, self.event.size
        if options.decoder == "factorized":
            return None
        if self.site.levels is None:
            raise InputError(
                f"decoder = {options.decoder!r}: this decoder needs discrete x, but x is {self.event}. "
                "Use decoder = 'factorized'."
            )
        hidden = options.sizes[0] if options.sizes else 100
        if options.decoder == "nade":
            return NADEConditioner(self.site, sites, hidden, options.context)
        return MADEConditioner(self.site, (hidden,), torch.arange(sites)[None], options.context)
