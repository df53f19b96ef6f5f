"""The variational autoencoder (Kingma & Welling, ICLR 2014; Rezende, Mohamed & Wierstra, ICML 2014).

    z ~ p(z),    x ~ p(x | z),    q(z | x) = Normal(mu(x), sigma(x))

fitted by the evidence lower bound (eq. 3 of the former), whose parts are reconstruction and divergence,

    log p(x) >= E_q[log p(x | z)] - KL(q(z | x) || p(z)),

or by the importance-weighted bound of k draws (Burda, Grosse & Salakhutdinov 2016) or Renyi's (Li & Turner 2016). The
dimensions of x are independent given z, or p(x | z) is autoregressive with what the decoder gives as its context (Chen
et al. 2017). With `given`, p(x | z) and q(z | x) are conditioned on a label as well (Sohn, Lee & Yan 2015).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

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
        description="p(x | z): dimensions independent given z, or autoregressive (for discrete x)",
    )
    context: int = Field(
        64,
        ge=1,
        description="numbers that an autoregressive p(x | z) is told of z",
        json_schema_extra=only(decoder=("nade", "made")),
    )
    prior: Literal["normal", "mixture", "vamp"] = Field("normal", description="p(z)")
    prior_components: int = Field(
        10,
        ge=1,
        description="Gaussians of the mixture, pseudo-inputs of the VampPrior",
        json_schema_extra=only(prior=("mixture", "vamp")),
    )
    bound: Literal["elbo", "iwae", "renyi"] = Field("elbo", description="what the fit maximizes")
    k: int = Field(
        1,
        ge=1,
        description="draws a row of the bounds iwae and renyi",
        json_schema_extra=only(bound=("iwae", "renyi")),
    )
    followed: int | None = Field(
        None,
        ge=1,
        description="of the k draws, those that the gradient goes through, chosen by weight; all if not given",
        json_schema_extra=only(bound=("iwae", "renyi")),
    )
    alpha: float = Field(
        0.5,
        lt=1,
        description="order of the Renyi bound; iwae is the one of order 0",
        json_schema_extra=only(bound="renyi"),
    )
    beta: float = Field(1.0, ge=0, description="elbo: weight of the divergence")
    warm_up: float = Field(
        0.0,
        ge=0,
        description="epochs in which beta goes up from 0 (elbo), or k from 1, by the same factor each (others)",
    )
    free_bits: float = Field(
        0.0, ge=0, description="elbo: nats of each dimension of z, on average over a batch, that cost nothing"
    )

    @model_validator(mode="after")
    def _of_the_elbo(self) -> VAEOptions:
        if self.bound != "elbo" and (self.beta, self.free_bits) != (1, 0):
            raise ValueError(f"beta and free_bits are of bound = 'elbo', not of {self.bound!r}")
        if self.bound != "elbo" and self.graph and self.warm_up:
            raise ValueError("graph = true needs the same number of draws at every step: leave out warm_up")
        return self


class VAE(CodePair):
    """A variational autoencoder."""

    Options = VAEOptions
    accepts = frozenset({"observed"})
    supports = frozenset({"real", "binary", "count", "integer", "token", "mixed"})
    latents = {"z": ("latent",)}
    beta: Tensor

    def __init__(self, options: VAEOptions, event: Event):
        super().__init__(options, event)
        context = self.context_size
        self.encoder = Encoder(options, event, self.site, 2 * options.latent, context)
        self.conditioner = self._conditioner()
        if self.conditioner is None:
            self.decoder = Decoder(options, event, self.site.size, context)
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
                raise InputError("prior = 'vamp' is of a model without 'given'")
            features = (*self.shape, self.site.features)
            self.prior = VampPrior(features, options.prior_components, self._q_of_features)
        self.k = options.k
        self.register_buffer("beta", torch.tensor(float(options.beta)), persistent=False)

    # the model and its guide

    def model(
        self, x: Tensor | None = None, *, n: int, observed: Tensor | None = None, **given: Tensor
    ) -> Tensor:
        """z ~ p(z), x ~ p(x | z)."""
        with self.rows(n):
            z = pyro.sample("z", self.prior(n))
            return pyro.sample("x", self.likelihood(z, observed, **given), obs=x)

    def guide(
        self, x: Tensor | None = None, *, n: int, observed: Tensor | None = None, **given: Tensor
    ) -> Tensor:
        """z ~ q(z | x)."""
        assert x is not None
        with self.rows(n):
            return pyro.sample("z", self.posterior(x, observed, **given))

    def likelihood(self, z: Tensor, observed: Tensor | None = None, **given: Tensor) -> Any:
        """p(x | z), of the dimensions that are observed: batch shape (row,)."""
        y = self.decoder(z, self.context(given))
        if self.conditioner is not None:
            if observed is not None:
                raise NotOffered(f"x is known in part, which decoder = {self.options.decoder!r} cannot use")
            return Autoregressive(self.conditioner, self.site, self.shape, context=y.flatten(1))
        return joint(self.site, y, len(self.shape), observed)

    def posterior(self, x: Tensor, observed: Tensor | None = None, **given: Tensor) -> Any:
        """q(z | x): batch shape (row,), event shape (latent,)."""
        return self._q(self.encoder(x, self.context(given), observed))

    def encoded(self, x: Tensor, **given: Tensor) -> dict[str, Tensor]:
        """The mean of q(z | x)."""
        return {"z": self.posterior(x, **given).mean}

    def _q(self, y: Tensor) -> Any:
        mu, log_sigma = y.chunk(2, 1)
        return NormalVector(mu, log_sigma.exp())

    def _q_of_features(self, e: Tensor) -> Any:
        return self._q(self.encoder.from_features(e))

    def told(self, at: Mapping[str, Tensor]) -> tuple[Tensor, Tensor | None]:
        """z and the conditions, of a decoder whose dimensions are independent given z."""
        if self.conditioner is not None:
            raise NotOffered(
                f"decoder = {self.options.decoder!r}: the mean of x given z is not known; draw x"
            )
        return at["z"], self.context(at)

    # learning

    def begin(self, epoch: float) -> None:
        """The weight of the divergence, or the number of draws, in the warm-up."""
        options = self.options
        if not options.warm_up:
            return
        gone = min(1.0, epoch / options.warm_up)
        self.beta.fill_(options.beta * gone)
        self.k = round(options.k**gone)

    def loss(self, x: Tensor, *, n: int, **given: Any) -> dict[str, Tensor]:
        """The negative bound; while training, with beta and free bits (Higgins et al. 2017; Kingma et al. 2016, eq. 15)."""
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
        """Maximize the bound; then say which dimensions of z are in use."""
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
        """The variance of E[z | x] over the rows, and how many dimensions of z are active."""
        self.eval()
        mean = torch.cat([self.posterior(**chunk).mean for chunk in data.chunks(1024)])
        attrs = {"long_name": "Var_x E_q[z | x]"}
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
            raise InputError(f"decoder = {options.decoder!r} is for discrete x, not for x of {self.event}")
        hidden = options.sizes[0] if options.sizes else 100
        if options.decoder == "nade":
            return NADEConditioner(self.site, sites, hidden, options.context)
        return MADEConditioner(self.site, (hidden,), torch.arange(sites)[None], options.context)
