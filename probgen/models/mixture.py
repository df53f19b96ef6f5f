"""A mixture of Gaussians (Pearson 1894), fitted by exact EM (Dempster, Laird & Rubin 1977) or by SVI.

    z ~ Categorical(pi)
    x | z ~ Normal(mu_z, Sigma_z)           Sigma full, diagonal, tied or spherical
    log p(x) = log sum_k pi_k Normal(x; mu_k, Sigma_k)
    p(z = k | x) = pi_k Normal(x; mu_k, Sigma_k) / p(x)

Both methods maximize the same thing, of each row

    log sum_k pi_k Normal(x; mu_k, Sigma_k) exp(-tr(Sigma_k^-1 Lambda) / 2)

which is log p(x) less a penalty. Lambda is diagonal: `regularization` times the variance of each column of the data, plus
`reg_covar`. In EM the penalty takes part in the responsibilities and adds Lambda to each covariance, so that none becomes
singular, no step loses, and a column that does not vary, or is made of others, tells nothing of the components.

Of a table with columns of other kinds x | z is a product over columns: `models.bases.latent_class`. Missing coordinates are integrated out everywhere. During a fit the parameters are those of centered and scaled data.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

import numpy as np
import pyro
import pyro.distributions as dist
import torch
import xarray as xr
from pydantic import Field
from pyro.infer import TraceEnum_ELBO
from torch import Tensor, nn

from probgen.contract.event import Event
from probgen.contract.options import NoOptions, Options, PosteriorOptions, only, refuse_unused
from probgen.contract.rows import Rows
from probgen.contract.run import Run
from probgen.distributions import ObservedNormal
from probgen.distributions.normal import standard_normal
from probgen.errors import DivergedError, InputError
from probgen.inference import normal_moments as moments
from probgen.inference.active import say_unused
from probgen.inference.em import block_size, em
from probgen.inference.normal_moments import Normals
from probgen.inference.starts import START_ROWS, clusters, distinct
from probgen.inference.svi import svi
from probgen.inference.training import Training
from probgen.models.bases.latent_class import LatentClass, checked_z, with_posterior
from probgen.pair import Pair

ENUMERATED = TraceEnum_ELBO(
    max_plate_nesting=1
)  # left to itself, its first call would run the model once more


class MixtureOptions(Options):
    """Options of `mixture`."""

    components: int = Field(2, ge=1, description="K")
    covariance: Literal["full", "diagonal", "tied", "spherical"] = Field("full", description="form of Sigma")
    method: Literal["em", "svi"] = Field("em", description="exact EM, or gradients with z enumerated")
    restarts: int = Field(1, ge=1, description="fits from different starts; the best one stays")
    regularization: float = Field(
        1e-6, ge=0, lt=1, description="of covariances, in units of each column's variance"
    )
    reg_covar: float = Field(
        0.0, ge=0, description="added to it, in units of x squared, for columns of one unit"
    )
    counts: Literal["negative_binomial", "poisson"] = Field(
        "negative_binomial", description="what a column of counts is in each component"
    )
    smoothing: float = Field(
        1.0, gt=0, description="of columns of counts and classes: rows that each component has seen before"
    )
    tolerance: float = Field(
        1e-7,
        ge=0,
        description="em: nats a row that a step must gain to go on",
        json_schema_extra=only(method="em"),
    )
    steps: int = Field(1000, ge=1, description="em: at most; svi: exactly")
    batch_size: int = Field(1024, ge=1, description="svi: rows a step", json_schema_extra=only(method="svi"))
    learning_rate: float = Field(0.05, gt=0, description="svi: of Adam", json_schema_extra=only(method="svi"))
    schedule: Literal["constant", "cosine"] = Field(
        "cosine", description="svi: of the learning rate", json_schema_extra=only(method="svi")
    )


class MixtureScoreOptions(PosteriorOptions):
    """What to score beside log p(x): p(z | x)."""


class Mixture(Pair):
    """A mixture of K Gaussians; with SVI, `z` is summed out exactly by enumeration."""

    Options = MixtureOptions
    SampleOptions = NoOptions
    ScoreOptions = MixtureScoreOptions
    accepts = frozenset({"observed", "weight"})
    supports = frozenset({"real", "binary", "count", "integer", "token", "mixed"})
    latents = {"z": ()}
    exact = True
    by_loss = False
    dtype = "float64"
    measure = "lebesgue"  # also on whole numbers

    @classmethod
    def build(cls, options: Any, event: Event) -> Pair:
        """Of Gaussians; of a table with other columns than real ones components have a distribution a column."""
        if event.support in ("count", "mixed") or any(column.support != "real" for column in event.columns):
            return LatentClass(options, event)
        return cls(options, event)

    def __init__(self, options: MixtureOptions, event: Event):
        super().__init__(options, event)
        refuse_unused(options, "all columns are real", "counts", "smoothing")
        K, D = options.components, math.prod(event.fixed_shape)
        self.log_pi = nn.Parameter(torch.full((K,), -math.log(K)))
        self.mu = nn.Parameter(torch.zeros(K, D))
        shape, dims = {
            "full": ((K, D, D), ("component", "feature", "feature_")),
            "tied": ((D, D), ("feature", "feature_")),
            "diagonal": ((K, D), ("component", "feature")),
            "spherical": ((K,), ("component",)),
        }[options.covariance]
        self.L = nn.Parameter(torch.zeros(shape))  # Sigma = L L', lower; its diagonal as logarithms
        self.dims = {
            "log_pi": ("component",),
            "mu": ("component", "feature"),
            "L": dims,
            "units": ("feature",),
        }
        self.register_buffer("units", torch.ones(D))
        self.units: Tensor
        self.long_names = {
            "log_pi": "logarithms of the weights",
            "L": "Cholesky factor of Sigma, lower; its diagonal holds logarithms"
            if self._matrices
            else "logarithms of standard deviations",
            "units": "variances of the data, which `regularization` is a share of",
        }
        self.mean_weight = 1.0  # of the rows of the fit
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
        with pyro.plate("row", n):
            if x is not None and weight is not None:
                # w log f(x) is not the log of a sum over z: log f(x), which enumeration makes, and (w - 1) log f(x)
                pyro.factor("weight", (weight - 1) * self.objective(x, observed))
            z = pyro.sample("z", dist.Categorical(logits=self.log_pi), infer={"enumerate": "parallel"})
            if x is not None:
                pyro.factor("regularization", -self.penalties()[z])
            there = None if observed is None else observed.flatten(1)
            return pyro.sample("x", self.likelihood(z, there), obs=None if x is None else x.flatten(1))

    def loss(self, x: Tensor, *, n: int, weight: Tensor | None = None, **given: Tensor) -> dict[str, Tensor]:
        """-log p(x) with the penalty, exact: z is enumerated, and the guide is empty.

        While training in nats of a row of mean weight, whatever weights a batch has; of validation rows their mean by weights.
        """
        if not self.training:
            w = torch.ones(n, dtype=x.dtype, device=x.device) if weight is None else weight
            return {"loss": -(w @ self.objective(x, **given)) / w.sum()}
        total = ENUMERATED.differentiable_loss(self.model, self.guide, x, n=n, weight=weight, **given)
        return {"loss": total / (n * self.mean_weight)}

    def likelihood(self, z: Tensor, observed: Tensor | None = None) -> Any:
        """p(x | z), of the coordinates that are observed."""
        mu, L = self.center + self.scale * self.mu[z], self.factor(z)
        if not self._matrices:
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
        return torch.cat([part.clone() for part in self._log_joint(x, observed)], 1).T

    def log_prob(self, x: Tensor, observed: Tensor | None = None, **given: Tensor) -> Tensor:
        """log p(x): (row,), in nats."""
        return torch.cat([part.logsumexp(0) for part in self._log_joint(x, observed)])

    def objective(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """What a fit maximizes, of each row: (row,), in nats."""
        t = self.penalties()[:, None]
        return torch.cat([(part - t).logsumexp(0) for part in self._log_joint(x, observed)])

    def _log_joint(self, x: Tensor, observed: Tensor | None) -> Iterator[Tensor]:
        """log p(x, z = k): (component, row), in blocks, which lie in the same memory one after the other."""
        x, log_pi = x.flatten(1).to(self.mu.dtype), self.log_pi.log_softmax(0)[:, None]
        if observed is not None and not (observed := observed.flatten(1)).all():
            yield self._log_joint_in_part(x, observed, log_pi)
            return
        y, log_scale = (x - self.center) / self.scale, self.scale.log().sum()
        for part in moments.log_joint(self.normals(), log_pi[:, 0], y):
            yield part - log_scale

    def _log_joint_in_part(self, x: Tensor, observed: Tensor, log_pi: Tensor) -> Tensor:
        """The same where some coordinates are missing. Whole rows have the numbers that they have by themselves."""
        whole, k = observed.all(1), torch.arange(len(self.mu), device=self.mu.device)
        parts = zip(x[~whole].split(self._at_once), observed[~whole].split(self._at_once), strict=True)
        some = [log_pi + self.likelihood(k, o[:, None]).log_prob(part[:, None]).T for part, o in parts]
        all_of_them = [part.clone() for part in self._log_joint(x[whole], None)] if whole.any() else []
        order = torch.cat([(~whole).nonzero()[:, 0], whole.nonzero()[:, 0]]).argsort()
        return torch.cat([*some, *all_of_them], 1)[:, order]

    @property
    def _matrices(self) -> bool:
        return self.options.covariance in ("full", "tied")

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
        return with_posterior(scores, self.posterior(x, **given)) if options.posterior else scores

    def draw(self, n: int, given: dict[str, Tensor], options: Any) -> dict[str, Tensor]:
        """x and z, or x given z: one matrix product a component."""
        K = self.options.components
        z = checked_z(given, K) if "z" in given else dist.Categorical(logits=self.log_pi).sample((n,))
        k, (mu, factor) = z, (self.mu, self.normals().factor)
        e = standard_normal(n, self.event.size, like=mu)
        if self._matrices:
            parts = zip(e.split(k.bincount(minlength=len(mu)).tolist()), mu, factor, strict=True)
            by_component = torch.cat([torch.addmm(m, part, L.T) for part, m, L in parts])
            y = torch.empty_like(e).index_copy_(0, k.argsort(), by_component)
        else:
            y = mu[k] + e * factor[k]
        x = y.mul_(self.scale).add_(self.center)
        return {"x": x.reshape(n, *self.event.fixed_shape), "z": z}

    def decode(self, start: Mapping[str, Tensor], until: str = "x") -> Tensor:
        """The means of components. Errors: `InputError` for what is none."""
        if "z" in start:
            checked_z(start, self.options.components)
        return super().decode(start, until)

    def complete(self, x: Tensor, observed: Tensor, options: Any, **given: Tensor) -> dict[str, Tensor]:
        """z ~ p(z | x_o), then the missing coordinates from p(x_m | x_o, z), in closed form."""
        flat, there = x.flatten(1), observed.flatten(1)
        drawn_z = dist.Categorical(probs=self.posterior(x, observed)).sample()
        z = checked_z(given, self.options.components) if "z" in given else drawn_z
        if not self._matrices:
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
        self.standardize(data)
        self.mean_weight = data.mean_weight
        best: tuple[xr.Dataset, dict[str, Tensor]] | None = None
        singular: list[DivergedError] = []
        for i in range(options.restarts):
            stage = f"restart-{i}" if options.restarts > 1 else "fit"
            try:
                criteria = self.fit_from_a_start(data, run, stage)
            except DivergedError as error:
                singular.append(error)
                continue
            if best is None or criteria["objective"] > best[0]["objective"]:
                best = criteria, {name: value.clone() for name, value in self.state_dict().items()}
        if best is None:
            raise singular[0]
        if singular:
            run.notes.append(
                f"{len(singular)} of {options.restarts} restarts ended early and were left out: {singular[0]}"
            )
        criteria, state = best
        self.load_state_dict(state)
        self.to_data_units()
        components = self.describe()
        run.notes += say_unused(components["pi"].values, data.n)
        return {"criteria": criteria, "components": components}

    def fit_from_a_start(self, data: Rows, run: Run, stage: str) -> xr.Dataset:
        """One fit, and its criteria. Errors: `DivergedError`."""
        options = self.options
        self.start(data, run, stage)
        if options.method == "em":
            em(self, data, run, options.steps, options.tolerance, stage)
        else:
            training = Training(
                options.batch_size, options.learning_rate, options.steps, schedule=options.schedule
            )
            svi(self, data, run, training, stage)
        return self.criteria(data, run)

    def standardize(self, data: Rows) -> None:
        """Learn the center and scale of the data, for the fit alone. Errors: `InputError` if no two rows differ."""
        seen, options = data.moments(), self.options
        typical = float(seen.variance.mean())
        if data.n > 1 and not seen.varies.any():
            raise InputError("x: no two rows differ, so there is no covariance to learn")
        if data.n > 1 and options.reg_covar and not typical > options.reg_covar:
            raise InputError(
                f"reg_covar = {options.reg_covar}: not below the mean variance of the data, {typical:.3g}, so it alone "
                "would decide the fit; lower it, or rescale the data"
            )
        units = (
            torch.full_like(seen.units, typical or 1.0) if options.covariance == "spherical" else seen.units
        )
        self.units.copy_(units)
        self.center, self.scale = seen.mean.to(self.mu), units.sqrt().to(self.mu)

    @torch.no_grad()
    def start(self, data: Rows, run: Run, stage: str) -> None:
        """Parameters from k-means clusters of some of the rows, begun by greedy k-means++ (Arthur & Vassilvitskii 2007)."""
        batch = data.batch(0, START_ROWS, f"{stage}-start")
        x, K = batch["x"].flatten(1).to(self.mu), self.options.components
        if "observed" in batch:
            x = torch.where(batch["observed"].flatten(1), x, self.center)
        weight = batch["weight"] if "weight" in batch else torch.ones_like(x[:, 0])
        first, w = distinct(x, weight)
        y = (x[first] - self.center) / self.scale
        labels = clusters(y, w, K, run, stage)
        r = nn.functional.one_hot(labels, K).T.to(self.mu) * w
        self.mu.zero_()
        self.L.zero_()
        if self._matrices:
            blocks = zip(r.split(4096, 1), y.split(4096), strict=True)
            self.m_step(_sum(_moments(part, z.expand(K, -1, -1)) for part, z in blocks))
            return
        first, second = moments.about(self.mu, M := r @ self.normals().features(y).T, False)
        self.m_step({"n": M[:, 0], "seen": M[:, :1], "first": first, "second": second})

    @property
    def _ridge(self) -> Tensor:
        """Lambda, in units of the scaled data: (feature,)."""
        options = self.options
        return (options.regularization * self.units + options.reg_covar) / self.scale.square()

    def penalties(self) -> Tensor:
        """tr(Sigma_k^-1 Lambda) / 2: (component,)."""
        ridge = self._ridge
        if not self._matrices:
            return 0.5 * self.normals().factor.pow(-2) @ ridge
        eye = torch.eye(len(ridge), dtype=self.mu.dtype, device=self.mu.device)
        inverse = torch.linalg.solve_triangular(
            _lower(self.L), eye, upper=False
        )  # Sigma^-1 = inverse' inverse
        return (0.5 * (inverse.square().sum(-2) * ridge).sum(-1)).expand(self.options.components)

    def e_step(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Responsibilities r, and the moments of the rows under them about mu_k: (component, ...).

        As products of features, unless coordinates are missing, or x is wide, or a component is so narrow beside the data
        that its moments about 0 would cancel.
        """
        x, observed, log_scale = batch["x"].flatten(1), batch.get("observed"), self.scale.log()
        weight = batch.get("weight", torch.ones(len(x), dtype=self.mu.dtype, device=x.device))
        if observed is None or (observed := observed.flatten(1)).all():
            sums, jacobian = self._of_whole_rows(x, weight), weight.sum() * log_scale.sum()
        else:
            whole = observed.all(1)
            pieces = (tensor[~whole].split(self._at_once) for tensor in (x, observed, weight))
            sums = _sum(self._one_by_one(*piece) for piece in zip(*pieces, strict=True))
            if whole.any():
                sums = _sum([sums, self._of_whole_rows(x[whole], weight[whole])])
            jacobian = weight @ (observed * log_scale).sum(1)
        return {
            **sums,
            "rows": weight.sum(),
            "log_likelihood": sums["log_likelihood"] - jacobian,
        }

    def _of_whole_rows(self, x: Tensor, weight: Tensor) -> dict[str, Tensor]:
        if self.normals().by_features:
            return self._by_products(x, weight)
        if self._matrices:
            return _sum(
                self._by_solving(*part) for part in zip(x.split(4096), weight.split(4096), strict=True)
            )
        there = torch.ones_like(x, dtype=torch.bool)
        pieces = (tensor.split(self._at_once) for tensor in (x, there, weight))
        return _sum(self._one_by_one(*piece) for piece in zip(*pieces, strict=True))

    def _by_products(self, x: Tensor, weight: Tensor) -> dict[str, Tensor]:
        """Two matrix products a block: log p(y | z) = Theta phi(y), and r phi(y)'."""
        y, at = (x.to(self.mu) - self.center) / self.scale, 0
        M = log_likelihood = penalty = torch.zeros((), dtype=y.dtype, device=y.device)
        t = self.penalties()
        for phi, log_p in self.normals().log_prob_by_features(y):
            part = weight[at : at + phi.shape[1]]
            r, gained, paid = _responsibilities(log_p.add_((self.log_pi - t)[:, None]), t, part)
            M, at = M + r @ phi.T, at + len(part)
            log_likelihood, penalty = log_likelihood + gained, penalty + paid
        first, second = moments.about(self.mu, M, self._matrices)
        return {
            "n": M[:, 0],
            "seen": M[:, :1],
            "first": first,
            "second": second,
            "log_likelihood": log_likelihood,
            "penalty": penalty,
        }

    def _by_solving(self, x: Tensor, weight: Tensor) -> dict[str, Tensor]:
        """Differences to each mu_k, and L_k^-1 of them: slower than products of features, and without cancellation."""
        y = (x - self.center) / self.scale
        t = self.penalties()
        log_joint = (self.log_pi - t)[:, None] + self.normals().log_prob(y)
        r, log_likelihood, penalty = _responsibilities(log_joint, t, weight)
        sums = _moments(r, y - self.mu[:, None])
        return {**sums, "log_likelihood": log_likelihood, "penalty": penalty}

    def _one_by_one(self, x: Tensor, observed: Tensor, weight: Tensor) -> dict[str, Tensor]:
        """Each row and component by itself; moments of what is missing are those of x given z and what is observed."""
        y, o = ((x - self.center) / self.scale)[:, None], observed[:, None]  # (row, 1, feature)
        if not self._matrices:
            normal = dist.Normal(self.mu, self.normals().factor)
            r, log_likelihood, penalty = self._weighted(normal.mask(o).to_event(1).log_prob(y), weight)
            d, w = y - self.mu, torch.einsum("kn,nd->nkd", r, observed.to(r))
            first, second, seen = (w * d).sum(0), (w * d.square()).sum(0), w.sum(0)
        else:
            full = ObservedNormal(self.mu, self.normals().factor, o)
            r, log_likelihood, penalty = self._weighted(full.log_prob(y), weight)
            mean, covariance = full.conditional(y)
            d = mean - self.mu
            first, seen = torch.einsum("kn,nki->ki", r, d), r.sum(1, keepdim=True)
            second = torch.einsum("kn,nki,nkj->kij", r, d, d) + torch.einsum("kn,nkij->kij", r, covariance)
        return {
            "n": r.sum(1),
            "seen": seen,
            "first": first,
            "second": second,
            "log_likelihood": log_likelihood,
            "penalty": penalty,
        }

    def _weighted(self, log_likelihood: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        t = self.penalties()
        return _responsibilities((log_likelihood + self.log_pi - t).T.contiguous(), t, weight)

    def normals(self) -> Normals:
        """p(y | z) of the centered and scaled data y."""
        K, D = self.mu.shape
        match self.options.covariance:
            case "spherical":
                return Normals(self.mu, self.L.exp()[:, None].expand(K, D))
            case "diagonal":
                return Normals(self.mu, self.L.exp())
            case _:
                return Normals(self.mu, _lower(self.L).expand(K, D, D))

    def m_step(self, statistics: dict[str, Tensor]) -> None:
        """pi_k = n_k / n; mu_k and Sigma_k: the moments, Sigma_k with Lambda. A component of no rows stays."""
        n, seen, first, second = (statistics[name] for name in ("n", "seen", "first", "second"))
        alive = n > 1e-12 * n.sum()
        ridge = self._ridge
        there = (seen > 1e-12 * n.sum()).expand_as(self.mu)
        d = torch.where(there, first / seen, 0)
        if self._matrices:
            S = second - n[:, None, None] * d[:, :, None] * d[:, None]
            if self.options.covariance == "tied":
                sigma = S.sum(0) / n.sum() + torch.diag(ridge)
                self.L.copy_(_log_diagonal(self._cholesky(sigma)))
            else:
                sigma = S[alive] / n[alive, None, None] + torch.diag(ridge)
                self.L[alive] = _log_diagonal(self._cholesky(sigma))
        else:
            S = second - seen * d.square() + n[:, None] * ridge
            if self.options.covariance == "spherical":
                S, seen, there = S.sum(1), seen.expand_as(d).sum(1), alive
            variance = S / seen
            if bool((there & ~(variance > 0)).any()):
                raise self._singular()
            self.L.copy_(torch.where(there, 0.5 * variance.log(), self.L))
        self.mu.add_(d)
        self.log_pi.copy_((n / n.sum()).clamp(min=torch.finfo(n.dtype).tiny).log())

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
    def criteria(self, data: Rows, run: Run) -> xr.Dataset:
        """The log-likelihood of all rows, and what it says with the number of parameters taken into account."""
        blocks, t = data.blocks(block_size(data)), self.penalties()[:, None]

        def sums(i: int) -> dict[str, Tensor]:
            batch = blocks[i]
            parts = self._log_joint(batch["x"], batch.get("observed"))
            both = torch.cat([torch.stack([p.logsumexp(0), (p - t).logsumexp(0)]) for p in parts], 1)
            weight = batch.get("weight", torch.ones_like(both[0]))
            return {"log_likelihood": both[0] @ weight, "objective": both[1] @ weight, "rows": weight.sum()}

        total = run.sum(blocks.n, sums)
        log_likelihood, objective, rows = (
            float(total[name]) for name in ("log_likelihood", "objective", "rows")
        )
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
                "objective": ((), objective, {"units": "nat", "long_name": "what is maximized"}),
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
        """Fold center and scale into the parameters."""
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
        if not self._matrices:
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


def _sum(parts: Iterable[dict[str, Tensor]]) -> dict[str, Tensor]:
    sums: dict[str, Tensor] = {}
    for part in parts:
        sums = {name: sums[name] + value for name, value in part.items()} if sums else part
    return sums


def _moments(r: Tensor, d: Tensor) -> dict[str, Tensor]:
    """Of rows under responsibilities, r: (component, row), d: (component, row, feature) from where moments are taken."""
    n, w = r.sum(1), r[:, :, None] * d
    return {"n": n, "seen": n[:, None], "first": w.sum(1), "second": w.mT @ d}


def _responsibilities(log_joint: Tensor, t: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """w q(z): (component, row), sum w log p(x), and by how much less the objective is.

    log_joint: log p(x, z) - t_z, (component, row), which is overwritten; t: penalties, (component,). q is its softmax.
    """
    largest = log_joint.amax(0)
    # numbers below 1e-38 would slow all that follows tenfold
    r = log_joint.sub_(largest).clamp_(min=-80).exp_()
    total = r.sum(0)
    objective = weight @ total.log().add_(largest)
    most = t.max()
    without = ((t - most).exp() @ r).clamp_(min=torch.finfo(r.dtype).tiny)
    log_likelihood = weight @ without.log_().add_(largest).add_(most)
    return r.mul_(weight / total), log_likelihood, log_likelihood - objective
