"""A mixture of Gaussians (Pearson 1894), fitted by exact EM (Dempster, Laird & Rubin 1977) or by SVI.

    z ~ Categorical(pi)
    x | z ~ Normal(mu_z, Sigma_z)           Sigma full, diagonal, tied or spherical
    log p(x) = log sum_k pi_k Normal(x; mu_k, Sigma_k)
    p(z = k | x) = pi_k Normal(x; mu_k, Sigma_k) / p(x)

Both methods maximise the same thing, per row: the log-likelihood less lambda/2 mean_k tr(Sigma_k^-1), with lambda the
`regularization`. In EM the penalty adds lambda (n / K) / n_k to the variances of component k of n_k rows: lambda for
one of average size, more for one that shrinks, so that none becomes singular and no step loses.

Missing coordinates are integrated out everywhere. During a fit the parameters are those of centred and scaled data.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import numpy as np
import pyro
import pyro.distributions as dist
import torch
import xarray as xr
from pydantic import Field
from pyro.infer import TraceEnum_ELBO
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor, nn

from probgen.distributions import ObservedNormal
from probgen.errors import DivergedError, InputError
from probgen.event import Event
from probgen.inference import normal_moments as moments
from probgen.inference.em import em
from probgen.inference.svi import svi
from probgen.options import Options
from probgen.pair import Pair
from probgen.rows import Rows
from probgen.run import Run

START_ROWS = 20_000  # k-means sees this many rows at most


class MixtureOptions(Options):
    """Options of `mixture`."""

    components: int = Field(2, ge=1, description="K")
    covariance: Literal["full", "diagonal", "tied", "spherical"] = Field("full", description="form of Sigma")
    method: Literal["em", "svi"] = Field("em", description="exact EM, or gradients with z enumerated")
    restarts: int = Field(1, ge=1, description="fits from different starts; the best one stays")
    regularization: float = Field(1e-6, ge=0, description="lambda, in units of x squared")
    tolerance: float = Field(1e-7, ge=0, description="em: nats a row that a step must gain to go on")
    steps: int = Field(1000, ge=1, description="em: at most; svi: exactly")
    batch_size: int = Field(1024, ge=1, description="svi: rows a step")
    learning_rate: float = Field(0.05, gt=0, description="svi: of Adam")
    schedule: Literal["constant", "cosine"] = Field("cosine", description="svi: of the learning rate")


class MixtureScoreOptions(Options):
    """What to score beside log p(x)."""

    posterior: bool = Field(False, description="p(z | x) and its arg max as well")


class Mixture(Pair):
    """A mixture of K Gaussians; with SVI, `z` is summed out exactly by enumeration."""

    Options = MixtureOptions
    ScoreOptions = MixtureScoreOptions
    accepts = frozenset({"observed", "weight"})
    latents = {"z": ()}  # noqa: RUF012 (a constant of the class, as in its parent)
    dtype = "float64"
    measure = "lebesgue"  # also on whole numbers

    def __init__(self, options: MixtureOptions, event: Event):
        super().__init__(options, event)
        if None in event.shape:
            raise InputError("family 'mixture' needs rows of one length")
        K, D = options.components, event.size
        self.log_pi = nn.Parameter(torch.full((K,), -math.log(K)))
        self.mu = nn.Parameter(torch.zeros(K, D))
        shape, dims = {
            "full": ((K, D, D), ("component", "feature", "feature_")),
            "tied": ((D, D), ("feature", "feature_")),
            "diagonal": ((K, D), ("component", "feature")),
            "spherical": ((K,), ("component",)),
        }[options.covariance]
        self.L = nn.Parameter(torch.zeros(shape))  # Sigma = L L', lower; its diagonal as logarithms
        self.dims = {"log_pi": ("component",), "mu": ("component", "feature"), "L": dims}
        self.register_buffer("center", torch.zeros(D), persistent=False)
        self.register_buffer("scale", torch.ones(D), persistent=False)
        self.center: Tensor
        self.scale: Tensor

    # the model

    def model(
        self,
        x: Tensor | None = None,
        *,
        n: int,
        observed: Tensor | None = None,
        weight: Tensor | None = None,
        **given: Any,
    ) -> Tensor:
        """z ~ Categorical(pi), x ~ Normal(mu_z, Sigma_z)."""
        if x is not None:
            pyro.factor("regularization", -n * self.penalty())
        with pyro.plate("row", n):
            if x is not None and weight is not None:
                # w log p(x) is not the log of a sum over z: log p(x), which enumeration makes, and (w - 1) log p(x)
                pyro.factor("weight", (weight - 1) * self.log_prob(x, observed))
            z = pyro.sample("z", dist.Categorical(logits=self.log_pi), infer={"enumerate": "parallel"})
            there = None if observed is None else observed.flatten(1)
            return pyro.sample("x", self.likelihood(z, there), obs=None if x is None else x.flatten(1))

    def elbo(self) -> Any:
        """Exact: z is enumerated, and the guide is empty."""
        return TraceEnum_ELBO(max_plate_nesting=1)

    def likelihood(self, z: Tensor, observed: Tensor | None = None) -> Any:
        """p(x | z), of the coordinates that are observed."""
        mu, L = self.center + self.scale * self.mu[z], self.factor(z)
        if self.options.covariance in ("diagonal", "spherical"):
            normal = dist.Normal(mu, L)
            return (normal if observed is None else normal.mask(observed)).to_event(1)
        if observed is None:
            return dist.MultivariateNormal(mu, scale_tril=L)
        return ObservedNormal(mu, L, observed)

    def factor(self, z: Tensor) -> Tensor:
        """The factor of Sigma_z: lower triangular (*z, feature, feature), or standard deviations (*z, feature)."""
        match self.options.covariance:
            case "spherical":
                return self.L[z].exp()[..., None] * self.scale
            case "diagonal":
                return self.L[z].exp() * self.scale
            case "tied":
                return self.scale[:, None] * _lower(self.L).expand(*z.shape, -1, -1)
            case _:
                return self.scale[:, None] * _lower(self.L)[z]

    def log_joint(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """log p(x, z = k): (row, component)."""
        k = torch.arange(self.options.components, device=self.mu.device)
        there = None if observed is None else observed.flatten(1)[:, None]
        log_pi = self.log_pi.log_softmax(0)
        return log_pi + self.likelihood(k, there).log_prob(x.flatten(1)[:, None].to(self.mu.dtype))

    def log_prob(self, x: Tensor, observed: Tensor | None = None, **given: Tensor) -> Tensor:
        """log p(x): (row,), in nats."""
        if observed is None:
            return self.log_joint(x).logsumexp(1)
        parts = zip(x.split(self._at_once), observed.split(self._at_once), strict=True)
        return torch.cat([self.log_joint(part, o).logsumexp(1) for part, o in parts])

    @property
    def _at_once(self) -> int:
        """Rows whose own covariances, one a row and component, are in memory together."""
        return max(1, (1 << 22) // (self.options.components * self.event.size**2))

    def posterior(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """p(z = k | x): (row, component)."""
        return self.log_joint(x, observed).softmax(1)

    def assess(self, x: Tensor, options: MixtureScoreOptions, **given: Tensor) -> xr.Dataset:
        """Exact scores, and p(z | x) where it is asked for."""
        scores = super().assess(x, options, **given)
        if options.posterior:
            p = self.posterior(x, **given)
            scores["posterior"] = (("row", "component"), p.cpu().numpy(), {"long_name": "p(z | x)"})
            scores["z"] = ("row", p.argmax(1).cpu().numpy(), {"long_name": "arg max of p(z | x)"})
        return scores

    def complete(self, x: Tensor, observed: Tensor, options: Any, **given: Tensor) -> dict[str, Tensor]:
        """z ~ p(z | x_o), then the missing coordinates from p(x_m | x_o, z), in closed form."""
        flat, there = x.flatten(1), observed.flatten(1)
        z = given.get("z", dist.Categorical(probs=self.posterior(x, observed)).sample()).long()
        if self.options.covariance in ("diagonal", "spherical"):
            drawn = torch.where(there, flat, self.likelihood(z).sample())
        else:
            drawn = ObservedNormal(self.center + self.scale * self.mu[z], self.factor(z), there).complete(
                flat
            )
        return {"x": drawn.reshape(x.shape), "z": z}

    # learning

    def learn(self, data: Rows, run: Run) -> dict[str, xr.Dataset]:
        """Fit from each start, keep the best, and put the parameters into the units of the data."""
        options = self.options
        if options.components > data.n:
            raise InputError(f"components = {options.components}: more than the {data.n} rows of the data")
        self.standardise(data)
        best: tuple[float, dict[str, Tensor]] | None = None
        for i in range(options.restarts):
            stage = f"restart-{i}" if options.restarts > 1 else "fit"
            self.start(data, run, stage)
            if options.method == "em":
                em(self, data, run, options.steps, options.tolerance, stage)
            else:
                svi(self, data, run, options, options.steps, stage)
            objective = self.criteria(data)["objective"].item()
            if best is None or objective > best[0]:
                best = objective, {name: value.clone() for name, value in self.state_dict().items()}
        assert best is not None
        self.load_state_dict(best[1])
        criteria = self.criteria(data)
        self.to_data_units()
        return {"criteria": criteria, "components": self.describe()}

    def standardise(self, data: Rows) -> None:
        """Learn the centre and scale of the data, for the fit alone. Errors: `InputError` if no two rows differ."""
        mean, variance = moments.mean_and_variance(data)
        typical = float(variance.mean())
        if data.n > 1 and not typical > self.options.regularization and self.options.regularization > 0:
            raise InputError(
                f"regularization = {self.options.regularization}: not below the mean variance of the data, "
                f"{typical:.3g}, so it alone would decide the fit; lower it, or rescale the data"
            )
        typical = typical or 1.0
        if self.options.covariance == "spherical":
            variance = torch.full_like(variance, typical)
        self.center = mean.to(self.mu)
        self.scale = torch.where(variance > 1e-12 * typical, variance, typical).sqrt().to(self.mu)

    @torch.no_grad()
    def start(self, data: Rows, run: Run, stage: str) -> None:
        """Parameters from k-means clusters, begun by k-means++ (Arthur & Vassilvitskii 2007), of some of the rows."""
        batch = data.batch(0, START_ROWS, f"{stage}-start")
        x = batch["x"].flatten(1).to(self.mu)
        if "observed" in batch:
            x = torch.where(batch["observed"].flatten(1), x, self.center)
        with warnings.catch_warnings():  # fewer distinct rows than clusters: EM copes
            warnings.simplefilter("ignore", ConvergenceWarning)
            means = KMeans(self.options.components, n_init=1, random_state=run.key(stage, "k-means"))
            labels = means.fit_predict(((x - self.center) / self.scale).cpu().numpy())
        r = nn.functional.one_hot(torch.from_numpy(labels).long(), self.options.components).T.to(self.mu)
        self.mu.zero_()
        self.L.zero_()
        self.m_step({"n": r.sum(1), "moments": r @ self.features(x, None).T})

    def penalty(self) -> Tensor:
        """lambda/2 mean_k tr(Sigma_k^-1), per row."""
        ridge = self.options.regularization / self.scale.square()  # lambda in units of the scaled data
        if self.options.covariance == "spherical":
            return 0.5 * ((-2 * self.L).exp() * ridge.sum()).mean()
        if self.options.covariance == "diagonal":
            return 0.5 * ((-2 * self.L).exp() @ ridge).mean()
        eye = torch.eye(len(ridge), dtype=self.mu.dtype, device=self.mu.device)
        inverse = torch.linalg.solve_triangular(
            _lower(self.L), eye, upper=False
        )  # Sigma^-1 = inverse' inverse
        traces = (inverse.square().sum(-2) * ridge).sum(-1)
        return 0.5 * traces.mean()

    def e_step(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Responsibilities r, and the moments of the rows under them: (component, ...)."""
        x = batch["x"].flatten(1)
        observed = batch["observed"].flatten(1) if "observed" in batch else None
        weight = batch.get("weight", torch.ones(len(x), dtype=self.mu.dtype, device=x.device))
        log_scale = self.scale.log()
        sums_of: Callable[[Tensor, Tensor | None, Tensor], dict[str, Tensor]]
        if observed is None or self.options.covariance in ("diagonal", "spherical"):
            theta = self.theta(observed is not None)
            block = max(32, (1 << 20) // theta.shape[1])
            sums_of = partial(self._linear, theta, self.mu.new_empty(theta.shape[1], min(block, len(x))))
        else:
            block, sums_of = self._at_once, self._completed
        sums: dict[str, Tensor] = {}
        for rows in (slice(start, start + block) for start in range(0, len(x), block)):
            there = None if observed is None else observed[rows]
            part = sums_of(x[rows].to(self.mu), there, weight[rows])
            sums = {name: sums[name] + value for name, value in part.items()} if sums else part
        jacobian = (
            log_scale.sum() * weight.sum() if observed is None else weight @ (observed * log_scale).sum(1)
        )
        return {
            **sums,
            "rows": weight.sum(),
            "log_likelihood": sums["log_likelihood"] - jacobian,
            "penalty": weight.sum() * self.penalty(),
        }

    def _linear(
        self, theta: Tensor, phi: Tensor, x: Tensor, observed: Tensor | None, weight: Tensor
    ) -> dict[str, Tensor]:
        """The E-step of a block as two matrix products; `phi` is memory to work in."""
        phi = self.features(x, observed, out=phi[:, : len(x)])
        r, log_likelihood = _responsibilities(torch.addmm(self.log_pi[:, None], theta, phi), weight)
        return {"n": r.sum(1), "moments": r @ phi.T, "log_likelihood": log_likelihood}

    def _completed(self, x: Tensor, observed: Tensor | None, weight: Tensor) -> dict[str, Tensor]:
        """The E-step of a block with missing coordinates: moments of x given z and what is observed."""
        assert observed is not None
        y = (x - self.center) / self.scale
        L = _lower(self.L).expand(self.options.components, -1, -1)
        normal = ObservedNormal(self.mu, L, observed[:, None])
        r, log_likelihood = _responsibilities(
            (normal.log_prob(y[:, None]) + self.log_pi).T.contiguous(), weight
        )
        mean, covariance = normal.conditional(y[:, None])  # (row, component, ...)
        n, first = r.sum(1), torch.einsum("kn,nki->ki", r, mean)
        second = torch.einsum("kn,nki,nkj->kij", r, mean, mean) + torch.einsum("kn,nkij->kij", r, covariance)
        return {
            "n": n,
            "moments": torch.cat([n[:, None], first, moments.packed(second)], 1),
            "log_likelihood": log_likelihood,
        }

    def features(self, x: Tensor, observed: Tensor | None, out: Tensor | None = None) -> Tensor:
        """phi(y) of the scaled data y: (feature of phi, row), in which log p(y | z) is linear."""
        if self.options.covariance in ("full", "tied"):
            return moments.quadratic_features(x, self.center, self.scale, out)
        return moments.diagonal_features(x, self.center, self.scale, observed)

    def theta(self, missing: bool) -> Tensor:
        """log p(y | z) = theta_z phi(y), of the scaled data y: (component, feature of phi)."""
        K, D = self.mu.shape
        if self.options.covariance in ("full", "tied"):
            return moments.quadratic_weights(self.mu, _lower(self.L).expand(K, D, D))
        log_sigma = self.L[:, None] if self.options.covariance == "spherical" else self.L
        return moments.diagonal_weights(self.mu, log_sigma.expand(K, D), missing)

    def m_step(self, statistics: dict[str, Tensor]) -> None:
        """pi_k = n_k / n; mu_k, Sigma_k: the moments, with the ridge of the penalty. A component of no rows stays."""
        n, M = statistics["n"], statistics["moments"]
        K, D = self.mu.shape
        alive = n > 1e-12 * n.sum()
        ridge = self.options.regularization / self.scale.square() * n.sum() / K
        self.log_pi.copy_((n / n.sum()).clamp(min=1e-300 if n.dtype == torch.float64 else 1e-37).log())
        if self.options.covariance in ("full", "tied"):
            mu = M[:, 1 : 1 + D] / n[:, None]
            S = moments.unpacked(M[:, 1 + D :], D) - n[:, None, None] * mu[:, :, None] * mu[:, None, :]
            if self.options.covariance == "tied":
                sigma = (S[alive].sum(0) + torch.diag(K * ridge)) / n.sum()
                self.L.copy_(_log_diagonal(self._cholesky(sigma)))
            else:
                sigma = (S + torch.diag(ridge)) / n[:, None, None]
                self.L[alive] = _log_diagonal(self._cholesky(sigma[alive]))
        else:
            o, first, second = M[:, : -2 * D].expand(K, D), M[:, -2 * D : -D], M[:, -D:]
            seen = o > 1e-12 * n.sum()
            mu = torch.where(seen, first / o, self.mu)
            S = (second - 2 * mu * first + o * mu.square()).clamp(min=0) + ridge
            if self.options.covariance == "spherical":
                S, o, seen = S.sum(1), o.sum(1), alive
            variance = S / o
            if bool((seen & ~(variance > 0)).any()):
                raise self._singular()
            self.L.copy_(torch.where(seen, 0.5 * variance.log(), self.L))
        self.mu.copy_(torch.where(alive[:, None], mu, self.mu))

    def _cholesky(self, sigma: Tensor) -> Tensor:
        L, info = torch.linalg.cholesky_ex(sigma)
        if bool((info != 0).any()):
            raise self._singular()
        return L

    def _singular(self) -> DivergedError:
        return DivergedError(
            f"a covariance of the mixture is singular: raise regularization (it is "
            f"{self.options.regularization}), or take fewer components"
        )

    @torch.no_grad()
    def criteria(self, data: Rows) -> xr.Dataset:
        """The log-likelihood of all rows, and what it says with the number of parameters taken into account."""
        log_likelihood = rows = 0.0
        for batch in data.chunks():
            given = {"observed": batch["observed"]} if "observed" in batch else {}
            values = self.log_prob(batch["x"], **given)
            weight = batch.get("weight", torch.ones_like(values))
            log_likelihood += float(weight @ values)
            rows += float(weight.sum())
        K, D = self.mu.shape
        covariance = {
            "full": K * D * (D + 1) // 2,
            "tied": D * (D + 1) // 2,
            "diagonal": K * D,
            "spherical": K,
        }
        parameters = K - 1 + K * D + covariance[self.options.covariance]
        return xr.Dataset(
            {
                "log_likelihood": ((), log_likelihood, {"units": "nat", "long_name": "sum over rows"}),
                "objective": ((), log_likelihood - rows * float(self.penalty()), {"units": "nat"}),
                "parameters": ((), parameters),
                "bic": (
                    (),
                    parameters * math.log(rows) - 2 * log_likelihood,
                    {"long_name": "lower is better"},
                ),
                "aic": ((), 2 * parameters - 2 * log_likelihood, {"long_name": "lower is better"}),
            }
        )

    @torch.no_grad()
    def to_data_units(self) -> None:
        """Fold centre and scale into the parameters."""
        self.mu.copy_(self.center + self.scale * self.mu)
        if self.options.covariance == "spherical":
            self.L.add_(self.scale[0].log())
        elif self.options.covariance == "diagonal":
            self.L.add_(self.scale.log())
        else:
            self.L.copy_(_log_diagonal(self.scale[:, None] * _lower(self.L)))
        self.log_pi.copy_(self.log_pi.log_softmax(0))
        self.center.zero_()
        self.scale.fill_(1.0)

    @torch.no_grad()
    def describe(self) -> xr.Dataset:
        """pi, mu and Sigma as readers of a table want them."""
        pi, mu, sigma = self.gaussians()
        return xr.Dataset(
            {
                "pi": ("component", pi),
                "mu": (("component", "feature"), mu),
                "sigma": (("component", "feature", "feature_"), sigma),
            }
        )

    @torch.no_grad()
    def gaussians(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """pi (component), mu (component, feature), Sigma (component, feature, feature): for tables and pictures."""
        L = self.factor(torch.arange(self.options.components, device=self.mu.device))
        if self.options.covariance in ("diagonal", "spherical"):
            L = torch.diag_embed(L)
        parts = (self.log_pi.softmax(0), self.center + self.scale * self.mu, L @ L.mT)
        pi, mu, sigma = (part.cpu().numpy() for part in parts)
        return pi, mu, sigma


def _lower(L: Tensor) -> Tensor:
    """The triangular factor from its free form."""
    return L.tril(-1) + torch.diag_embed(L.diagonal(dim1=-2, dim2=-1).exp())


def _log_diagonal(L: Tensor) -> Tensor:
    """The inverse of `_lower`."""
    return L.tril(-1) + torch.diag_embed(L.diagonal(dim1=-2, dim2=-1).log())


def _responsibilities(log_joint: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """w p(z | x): (component, row), and sum w log p(x), from log p(x, z): (component, row), which is overwritten."""
    largest = log_joint.amax(0)
    r = (
        log_joint.sub_(largest).clamp_(min=-80).exp_()
    )  # numbers below 1e-38 would slow all that follows tenfold
    total = r.sum(0)
    log_likelihood = weight @ total.log().add_(largest)
    return r.mul_(weight / total), log_likelihood
