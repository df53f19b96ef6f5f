"""A Bayesian mixture of Gaussians, with a posterior over its parameters (Gelman et al. 2013, chapter 22).

    pi ~ Dirichlet(alpha),    z ~ Categorical(pi),    x ~ Normal(mu_z, Sigma_z)

with one of two priors, for data of mean 0 and variance 1:

    niw   Lambda_k ~ Wishart(D + 2, (psi I)^-1),  Sigma_k = Lambda_k^-1,  mu_k ~ Normal(0, Sigma_k / kappa)
    lkj   Sigma_k = diag(s_k) R_k R_k' diag(s_k),  R_k R_k' ~ LKJ(eta),
          s_k ~ LogNormal(log sqrt(psi), 1),  mu_k ~ Normal(0, 2)

where psi = K^(-2/D) is the share of the total variance that is left within each of K components (Fraley &
Raftery 2007). The Wishart matrix is sampled as real numbers by Bartlett's decomposition. z is summed out.
NUTS samples the posterior of the parameters (Hoffman & Gelman 2014). With svi, a Gaussian over their
unconstrained form approximates the posterior (Kucukelbir et al. 2017), and is sampled. The file of the fit
holds the groups of ArviZ.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import pyro
import pyro.distributions as dist
import torch
import xarray as xr
from pydantic import Field
from pyro.ops.stats import effective_sample_size, split_gelman_rubin
from sklearn.cluster import KMeans
from torch import Tensor, nn

from probgen.contract.event import Event
from probgen.contract.options import NoOptions, Options, only
from probgen.contract.rows import Rows
from probgen.contract.run import Run
from probgen.contract.scores import log_prob
from probgen.errors import InputError
from probgen.inference.importance import iwae_with_error
from probgen.inference.normal_moments import Normals, log_joint
from probgen.inference.nuts import STATISTICS, Chain, nuts_chain
from probgen.inference.sites import sites
from probgen.inference.svi import svi
from probgen.inference.training import Training
from probgen.inference.unconstrained import Unconstrained
from probgen.pair import Pair

Parameters: TypeAlias = tuple[Tensor, Tensor, Tensor]  # pi, mu and the lower factor of Sigma
PRIOR = 200  # draws of the prior, enough for a predictive check


class BayesianMixtureOptions(Options):
    """Options of `bayesian-mixture`."""

    components: int = Field(2, ge=1, le=1000, description="number of Gaussians")
    prior: Literal["niw", "lkj"] = Field(
        "niw",
        description="prior of means and covariances: normal-inverse-Wishart (niw), or LKJ correlations (lkj)",
    )
    alpha: float = Field(1.0, gt=0, description="concentration of the Dirichlet prior of the mixture weights")
    kappa: float = Field(
        0.1,
        gt=0,
        description="strength of the prior of a mean, as a number of rows (niw only)",
        json_schema_extra=only(prior="niw"),
    )
    eta: float = Field(
        1.0,
        gt=0,
        description="concentration of the LKJ prior: 1 is uniform, more favors small correlations (lkj only)",
        json_schema_extra=only(prior="lkj"),
    )
    method: Literal["nuts", "svi"] = Field(
        "nuts", description="inference of the posterior: NUTS samples it, SVI approximates it by a Gaussian"
    )
    draws: int = Field(500, ge=4, description="posterior draws per chain")
    chains: int = Field(
        4, ge=1, description="number of independent chains (NUTS only)", json_schema_extra=only(method="nuts")
    )
    warm_up: int = Field(
        300,
        ge=10,
        description="warm-up steps of each chain, which adapt step size and mass matrix (NUTS only)",
        json_schema_extra=only(method="nuts"),
    )
    depth: int = Field(
        8,
        ge=1,
        description="tree depth: a draw takes at most 2^depth leapfrog steps (NUTS only)",
        json_schema_extra=only(method="nuts"),
    )
    steps: int = Field(
        2000,
        ge=1,
        description="number of optimization steps (SVI only)",
        json_schema_extra=only(method="svi"),
    )
    batch_size: int = Field(
        1024, ge=1, description="rows per step (SVI only)", json_schema_extra=only(method="svi")
    )
    learning_rate: float = Field(
        0.02, gt=0, description="Adam's learning rate (SVI only)", json_schema_extra=only(method="svi")
    )
    schedule: Literal["constant", "cosine", "linear"] = Field(
        "cosine", description="schedule of the learning rate (SVI only)", json_schema_extra=only(method="svi")
    )


class BayesianMixture(Pair):
    """A Bayesian mixture of Gaussians: posterior draws of its parameters, by NUTS or SVI.

    Args:
        options: The options of the family.
        event: The event that x is.
    """

    Options = BayesianMixtureOptions
    SampleOptions = NoOptions
    ScoreOptions = NoOptions
    dtype = "float64"
    by_loss = False
    measure = "lebesgue"
    loc: Tensor
    scale: Tensor
    draws: Tensor
    pi: Tensor
    mu: Tensor
    L: Tensor

    def __init__(self, options: BayesianMixtureOptions, event: Event):
        super().__init__(options, event)
        self.N = 1
        K, D = options.components, math.prod(event.fixed_shape)
        self.psi = K ** (-2 / D)
        with torch.device("cpu"):  # the model runs once, also on the meta device, where only shapes exist
            self.register_buffer("loc", torch.zeros(D))
            self.register_buffer("scale", torch.ones(D))
            self.space = Unconstrained(self.model, {"x": torch.zeros(1, D), "n": 1})
        P, chains = self.space.size, options.chains if options.method == "nuts" else 1
        self.register_buffer("draws", torch.zeros(chains, options.draws, P))  # unconstrained parameters u
        # the same draws as pi, mu and the lower factor of Sigma, in units of the data
        self.register_buffer("pi", torch.full((chains, options.draws, K), 1 / K))
        self.register_buffer("mu", torch.zeros(chains, options.draws, K, D))
        self.register_buffer("L", torch.eye(D).expand(chains, options.draws, K, D, D).clone())
        each = ("chain", "draw", "component")
        self.dims = {
            "loc": ("feature",),
            "scale": ("feature",),
            "draws": ("chain", "draw", "parameter"),
            "pi": each,
            "mu": (*each, "feature"),
            "L": (*each, "feature", "feature_"),
        }
        if options.method == "svi":
            self.q_mean = nn.Parameter(torch.zeros(P))
            self.q_factor = nn.Parameter(torch.zeros(P, P))  # lower triangular, its diagonal as logarithms
            self.dims |= {"q_mean": ("parameter",), "q_factor": ("parameter", "parameter_")}

    # the model of standardized x

    def model(self, x: Tensor | None = None, *, n: int, **given: Any) -> Tensor:
        """Sample pi, mu and Sigma from the prior, and x ~ sum_k pi_k Normal(mu_k, Sigma_k)."""
        options, K = self.options, self.options.components
        pi = pyro.sample("pi", dist.Dirichlet(self.loc.new_full((K,), options.alpha)))
        L = self._niw() if options.prior == "niw" else self._lkj()
        if options.prior == "niw":
            p_mu = dist.MultivariateNormal(
                torch.zeros_like(L[..., 0]), scale_tril=L / math.sqrt(options.kappa)
            )
        else:
            p_mu = dist.Normal(torch.zeros_like(L[..., 0]), 2.0).to_event(1)
        mu = pyro.sample("mu", p_mu.to_event(1))
        with pyro.plate("row", n):
            return pyro.sample("x", _mixture(pi, mu, L), obs=x)

    def _niw(self) -> Tensor:
        """Sample the lower factor of Sigma = psi (A A')^-1, A lower: A_ii^2 ~ Chi2, A_ij ~ Normal(0, 1)."""
        K, D = self.options.components, len(self.loc)
        df = (D + 2 - torch.arange(D, dtype=self.loc.dtype, device=self.loc.device)).expand(K, D)
        A = torch.diag_embed(pyro.sample("a", dist.Chi2(df).to_event(2)).sqrt())
        if D > 1:
            below = self.loc.new_zeros(K, D * (D - 1) // 2)
            i, j = torch.tril_indices(D, D, -1, device=self.loc.device)
            A = A.index_put(
                (torch.arange(K, device=self.loc.device)[:, None], i, j),
                pyro.sample("b", dist.Normal(below, 1.0).to_event(2)),
            )
        return math.sqrt(self.psi) * torch.linalg.cholesky(torch.cholesky_inverse(A))

    def _lkj(self) -> Tensor:
        """Sample the lower factor of Sigma as scales times a factor of correlations."""
        K, D = self.options.components, len(self.loc)
        middle = self.loc.new_full((K, D), 0.5 * math.log(self.psi))
        s = pyro.sample("s", dist.LogNormal(middle, 1.0).to_event(2))
        if D == 1:
            return s[..., None]
        R = pyro.sample(
            "R", dist.LKJCholesky(D, self.loc.new_tensor(self.options.eta)).expand([K]).to_event(1)
        )
        return s[..., None] * R

    def parameters_of(self, u: Tensor) -> Parameters:
        """Return the parameters of a draw in the units of the data.

        Args:
            u: Unconstrained parameters, (parameter,).

        Returns:
            pi (component,), mu (component, feature), L (component, feature, feature_).
        """
        values, _ = self.space.constrain(u)
        return self._in_units(values)

    def _in_units(self, values: dict[str, Tensor]) -> Parameters:
        with pyro.poutine.condition(data=values):
            L = self._niw() if self.options.prior == "niw" else self._lkj()
        return values["pi"], self.loc + self.scale * values["mu"], self.scale[:, None] * L

    # learning

    def loss(self, x: Tensor, *, n: int, **given: Tensor) -> dict[str, Tensor]:
        """Return the negative ELBO of the Gaussian over u, in nats per row.

        The entropy is exact, and the rest is estimated with one sample of u.

        Args:
            x: The rows, (row, *event).
            n: Number of rows.
            **given: Nothing.

        Returns:
            `loss`.
        """
        q = dist.MultivariateNormal(self.q_mean, scale_tril=self._q_factor())
        prior, likelihood = self.space.log_joint(q.rsample(), self._inputs(x))
        return {"loss": -(prior + q.entropy()) / self.N - likelihood / n}

    def _q_factor(self) -> Tensor:
        return self.q_factor.tril(-1) + torch.diag_embed(self.q_factor.diagonal().exp())

    def _inputs(self, x: Tensor) -> dict[str, Any]:
        return {"x": (x.flatten(1).to(self.loc.dtype) - self.loc) / self.scale, "n": len(x)}

    def learn(self, data: Rows, run: Run) -> dict[str, xr.Dataset]:
        """Sample the posterior, and return the groups of ArviZ; all rows are in memory."""
        options = self.options
        x = torch.cat([chunk["x"].flatten(1) for chunk in data.chunks()]).to(self.loc.dtype)
        if options.components > (distinct := len(torch.unique(x, dim=0))):
            raise InputError(
                f"components = {options.components}: the data have only {distinct} distinct rows. Use fewer "
                "components."
            )
        seen = data.moments()
        self.loc.copy_(seen.mean)
        self.scale.copy_(seen.scale)
        self.N = len(x)
        start, chains = self.start(x, run), list[Chain]()
        if options.method == "svi":
            with torch.no_grad():
                self.q_mean.copy_(start)
                self.q_factor.copy_(torch.eye(self.space.size) * math.log(0.05))
            svi(
                self,
                data,
                run,
                Training(options.batch_size, options.learning_rate, options.steps, schedule=options.schedule),
            )
            q = dist.MultivariateNormal(self.q_mean, scale_tril=self._q_factor())
            self.draws.copy_(q.sample(torch.Size((1, options.draws))))
        else:
            chains = [self._nuts(start, self._inputs(x), run, i) for i in range(options.chains)]
            self.draws.copy_(torch.stack([chain.draws for chain in chains]))
        with torch.no_grad():
            for chain, draw in np.ndindex(*self.draws.shape[:2]):
                found = self.parameters_of(self.draws[chain, draw])
                for kept, value in zip((self.pi, self.mu, self.L), found, strict=True):
                    kept[chain, draw] = value
        return self.groups(data, run, chains)

    def start(self, x: Tensor, run: Run) -> Tensor:
        """Return u at the k-means clusters of x.

        All chains start near it, so that their components have the same order.

        Args:
            x: The rows, (row, feature).
            run: The run of the fit.

        Returns:
            Unconstrained parameters, (parameter,).
        """
        K, D = self.options.components, x.shape[1]
        x = ((x - self.loc) / self.scale).cpu()
        labels = torch.from_numpy(
            KMeans(K, n_init=10, random_state=run.key("k-means")).fit_predict(x.numpy())
        )
        r = nn.functional.one_hot(labels.long(), K).to(x)
        size = r.sum(0)
        mu = (r.T @ x) / size[:, None]
        Sigma = torch.stack([(x[labels == k] - mu[k]).T @ (x[labels == k] - mu[k]) for k in range(K)])
        Sigma = (Sigma + self.psi * torch.eye(D, dtype=x.dtype)) / (size[:, None, None] + 1)
        values = {"pi": (size + 1) / (size + 1).sum(), "mu": mu}
        if self.options.prior == "niw":
            A = torch.linalg.cholesky(self.psi * torch.linalg.inv(Sigma))
            i, j = torch.tril_indices(D, D, -1)
            values |= {"a": A.diagonal(dim1=1, dim2=2).square(), "b": A[:, i, j]}
        else:
            s = Sigma.diagonal(dim1=1, dim2=2).sqrt()
            values |= {"s": s, "R": torch.linalg.cholesky(Sigma / (s[:, :, None] * s[:, None, :]))}
        return self.space.unconstrain({name: value.to(self.loc) for name, value in values.items()})

    def _nuts(self, start: Tensor, inputs: dict[str, Any], run: Run, number: int) -> Chain:
        def log_density(u: Tensor) -> Tensor:
            prior, likelihood = self.space.log_joint(u, inputs)
            return prior + likelihood

        return nuts_chain(
            run,
            log_density,
            start,
            draws=self.options.draws,
            warm_up=self.options.warm_up,
            depth=self.options.depth,
            number=number,
        )

    @torch.no_grad()
    def groups(self, data: Rows, run: Run, chains: Sequence[Chain]) -> dict[str, xr.Dataset]:
        """Return the results as groups with the names of ArviZ, and diagnostics of the chains.

        Args:
            data: The rows of the fit.
            run: The run of the fit, for notes.
            chains: The chains of NUTS; none with svi.

        Returns:
            `posterior`, `sample_stats` (NUTS only), `log_likelihood`, `posterior_predictive`, `prior` and
            `prior_predictive` (of one chain), `observed_data` and `diagnostics`.
        """
        x = torch.cat([chunk["x"].flatten(1) for chunk in data.chunks()]).to(self.loc.dtype)
        density = self.log_prob_of_each(x).unflatten(0, self.draws.shape[:2]).cpu()
        draws = self.pi.cpu(), self.mu.cpu(), self.L.cpu()
        pi, mu, L = draws
        whole = torch.cat([pi, mu.flatten(2), (L @ L.mT).flatten(2)], 2)
        whole = whole[..., whole.flatten(0, 1).std(0) > 0]  # a weight of 1 does not vary
        trust = {"ess_min": float(effective_sample_size(whole, 0, 1).min())}
        if len(pi) > 1:
            trust["r_hat_max"] = float(split_gelman_rubin(whole, 0, 1).max())
        found = {
            "posterior": self._as_dataset(draws),
            "log_likelihood": self._named({"x": (("chain", "draw", "row"), density)}),
            "posterior_predictive": self._predicted(draws, len(x)),
            "observed_data": self._named({"x": (("row", "feature"), x.cpu())}),
        }
        prior = self._prior(min(PRIOR, self.options.draws))
        found |= {"prior": self._as_dataset(prior), "prior_predictive": self._predicted(prior, len(x))}
        if chains:
            values = torch.stack([chain.statistics for chain in chains]).unbind(-1)
            statistics = self._named(
                {
                    name: (("chain", "draw"), value.to(dtype))
                    for (name, (dtype, _)), value in zip(STATISTICS.items(), values, strict=True)
                }
            )
            for name, (_, meaning) in STATISTICS.items():
                statistics[name].attrs["long_name"] = meaning
            found["sample_stats"] = statistics
            diverged = int(statistics["diverging"].sum())
            trust["divergences"] = diverged
            if diverged:
                run.notes.append(
                    f"{diverged} of {statistics['diverging'].size} draws diverged, so the draws may miss a part of the posterior. More warm_up steps may help."
                )
        return found | {"diagnostics": xr.Dataset({name: ((), value) for name, value in trust.items()})}

    def _prior(self, draws: int) -> Parameters:
        """Return pi, mu and L of the prior, (1, draw, ...), in the units of the data."""
        found = []
        for _ in range(draws):
            drawn = sites(self.model, inputs={"n": 1})
            found.append(self._in_units({name: drawn[name].value for name in self.space.shapes}))
        pi, mu, L = (torch.stack(parts).cpu()[None] for parts in zip(*found, strict=True))
        return pi, mu, L

    def _as_dataset(self, drawn: Parameters) -> xr.Dataset:
        pi, mu, L = drawn
        each = ("chain", "draw", "component")
        return self._named(
            {
                "pi": (each, pi),
                "mu": ((*each, "feature"), mu),
                "Sigma": ((*each, "feature", "feature_"), L @ L.mT),
            }
        )

    def _predicted(self, drawn: Parameters, n: int) -> xr.Dataset:
        """Return n rows for each draw of the parameters."""
        x = torch.stack(
            [
                torch.stack(
                    [_mixture(*each).sample(torch.Size((n,))).float() for each in zip(*chain, strict=True)]
                )
                for chain in zip(*drawn, strict=True)
            ]
        )
        return self._named({"x": (("chain", "draw", "row", "feature"), x)})

    def _named(self, variables: Mapping[str, tuple[tuple[str, ...], Tensor]]) -> xr.Dataset:
        """Return arrays with their coordinates. Features have the names of columns, if there are any."""
        found = xr.Dataset({name: (dims, value.numpy()) for name, (dims, value) in variables.items()})
        names = [column.name for column in self.event.columns]
        known = {"feature": names, "feature_": names} if names else {}
        found = found.assign_coords({str(d): known.get(str(d), np.arange(n)) for d, n in found.sizes.items()})
        return found.assign_attrs(inference_library="pyro", inference_method=self.options.method)

    # sampling and scoring, by the posterior predictive distribution

    def draw(self, n: int, given: dict[str, Tensor], options: Any) -> dict[str, Tensor]:
        """Sample x and z; each row uses the parameters of a random posterior draw."""
        pi, mu, L = (part.flatten(0, 1) for part in (self.pi, self.mu, self.L))
        i = torch.randint(len(pi), (n,), device=pi.device)
        z = dist.Categorical(probs=pi[i]).sample()
        e = torch.randn(n, mu.shape[-1], dtype=mu.dtype, device=mu.device)
        x = mu[i, z] + (L[i, z] @ e[:, :, None])[..., 0]
        return {"x": x.reshape(n, *self.event.fixed_shape), "z": z}

    def log_prob_of_each(self, x: Tensor) -> Tensor:
        """Return log p(x | pi, mu, Sigma) of each posterior draw.

        Args:
            x: The rows, (row, feature).

        Returns:
            Log-probabilities, (chain x draw, row), in nats.
        """
        pi, mu, L = (part.flatten(0, 1) for part in (self.pi, self.mu, self.L))
        normals = Normals(mu.flatten(0, 1), L.flatten(0, 1))
        parts = log_joint(normals, (pi / len(pi)).log().flatten(), x)
        each = [part.unflatten(0, pi.shape).logsumexp(1) for part in parts]
        return torch.cat(each, 1) + math.log(len(pi))

    def assess(self, x: Tensor, options: Any, **given: Any) -> xr.Dataset:
        """Return the predictive density: the log of the mean of p(x | pi, mu, Sigma) over posterior draws.

        The standard error covers the finite number of draws. With svi, it does not cover the error of the
        Gaussian approximation, which can reach nats in the tails; the estimator is then named
        `approximate-posterior-...`.

        Args:
            x: The rows, (row, *event).
            options: Options of scoring; there are none.
            **given: Nothing.

        Returns:
            Scores with the dimension row, in nats.
        """
        each = self.log_prob_of_each(x.flatten(1).to(self.loc.dtype))
        u = self.draws.flatten(0, 1)
        value, error = iwae_with_error(each)
        w = (each - value).exp().reshape(*self.draws.shape[:2], -1)
        # draws of a chain are correlated
        size = effective_sample_size(w, 0, 1).nan_to_num(len(u)).clamp(1, len(u))
        nuts = self.options.method == "nuts"
        scores = log_prob(
            value,
            kind="estimate",
            estimator=f"{'' if nuts else 'approximate-'}posterior-{len(u)}",
            measure=self.measure,
            se=error * (len(u) / size).sqrt(),
        )
        if not nuts:
            said = "Monte Carlo standard error of the draws, without the error of the approximate posterior"
            scores["log_prob_se"].attrs["long_name"] = said
        return scores


def _mixture(pi: Tensor, mu: Tensor, L: Tensor) -> Any:
    return dist.MixtureSameFamily(dist.Categorical(probs=pi), dist.MultivariateNormal(mu, scale_tril=L))
