"""A mixture of Gaussians (Pearson 1894), fitted by exact EM (Dempster, Laird & Rubin 1977) or by SVI.

    z ~ Categorical(pi)
    x | z ~ Normal(mu_z, Sigma_z)           Sigma full, diagonal, tied or spherical
    log p(x) = log sum_k pi_k Normal(x; mu_k, Sigma_k)
    p(z = k | x) = pi_k Normal(x; mu_k, Sigma_k) / p(x)

Both methods maximize the same objective. Its term for a row is log p(x) less a penalty:

    log sum_k pi_k Normal(x; mu_k, Sigma_k) exp(-tr(Sigma_k^-1 Lambda) / 2)

Lambda is diagonal: `regularization` times the variance of each column of the data, plus `reg_covar`. In EM,
the penalty enters the responsibilities and adds Lambda to each covariance. Therefore no covariance is
singular, no step decreases the objective, and a constant or linearly dependent column does not affect the
assignment to components.

In a table with columns of other kinds, x | z is a product over columns: see `models.bases.latent_class`.
Missing values are integrated out everywhere. During a fit, the parameters refer to centered and scaled data.
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

# without max_plate_nesting, the first call would run the model once more
ENUMERATED = TraceEnum_ELBO(max_plate_nesting=1)


class MixtureOptions(Options):
    """Options of `mixture`."""

    components: int = Field(2, ge=1, description="number of components")
    covariance: Literal["full", "diagonal", "tied", "spherical"] = Field(
        "full", description="form of the covariance matrices"
    )
    method: Literal["em", "svi"] = Field(
        "em", description="em: exact EM; svi: gradient steps with z summed out"
    )
    restarts: int = Field(1, ge=1, description="number of fits from different starts; the best one is kept")
    regularization: float = Field(
        1e-6, ge=0, lt=1, description="ridge added to each variance, as a share of the column's variance"
    )
    reg_covar: float = Field(
        0.0,
        ge=0,
        description="ridge added to each variance, in units of x squared, for columns with one unit",
    )
    counts: Literal["negative_binomial", "poisson"] = Field(
        "negative_binomial", description="distribution of a column of counts in each component"
    )
    smoothing: float = Field(
        1.0, gt=0, description="pseudo-rows of each component, for columns of counts and classes"
    )
    tolerance: float = Field(
        1e-7,
        ge=0,
        description="EM stops when a step gains less than this, in nats per row",
        json_schema_extra=only(method="em"),
    )
    steps: int = Field(
        1000, ge=1, description="steps of the fit: the maximum for EM, the exact number for SVI"
    )
    batch_size: int = Field(
        1024, ge=1, description="rows per step (SVI only)", json_schema_extra=only(method="svi")
    )
    learning_rate: float = Field(
        0.05, gt=0, description="Adam's learning rate (SVI only)", json_schema_extra=only(method="svi")
    )
    schedule: Literal["constant", "cosine"] = Field(
        "cosine", description="schedule of the learning rate (SVI only)", json_schema_extra=only(method="svi")
    )


class MixtureScoreOptions(PosteriorOptions):
    """Options of scoring: log p(x), and optionally p(z | x)."""


class Mixture(Pair):
    """A mixture of Gaussians, fitted by exact EM or SVI; in a table, each column has its distribution.

    SVI sums out the class z by enumeration.

    Args:
        options: The options of the family.
        event: The event that x is.
    """

    Options = MixtureOptions
    SampleOptions = NoOptions
    ScoreOptions = MixtureScoreOptions
    accepts = frozenset({"observed", "weight"})
    supports = frozenset({"real", "binary", "count", "integer", "token", "mixed"})
    latents = {"z": ()}
    exact = True
    by_loss = False
    dtype = "float64"
    measure = "lebesgue"  # also for whole numbers

    @classmethod
    def build(cls, options: Any, event: Event) -> Pair:
        """Return a `LatentClass` for counts and tables that are not all real, otherwise a `Mixture`."""
        if event.support in ("count", "mixed") or any(column.support != "real" for column in event.columns):
            return LatentClass(options, event)
        return cls(options, event)

    def __init__(self, options: MixtureOptions, event: Event):
        super().__init__(options, event)
        refuse_unused(options, "all data are real", "counts", "smoothing")
        K, D = options.components, math.prod(event.fixed_shape)
        self.log_pi = nn.Parameter(torch.full((K,), -math.log(K)))
        self.mu = nn.Parameter(torch.zeros(K, D))
        shape, dims = {
            "full": ((K, D, D), ("component", "feature", "feature_")),
            "tied": ((D, D), ("feature", "feature_")),
            "diagonal": ((K, D), ("component", "feature")),
            "spherical": ((K,), ("component",)),
        }[options.covariance]
        self.L = nn.Parameter(
            torch.zeros(shape)
        )  # Sigma = L L', L lower triangular, its diagonal as logarithms
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
            "units": "variances of the data, the unit of `regularization`",
        }
        # mean row weight in the fit, which is not a part of the model
        self.register_buffer("mean_weight", torch.ones(()), persistent=False)
        self.mean_weight: Tensor
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
        """Sample z ~ Categorical(pi) and x ~ Normal(mu_z, Sigma_z)."""
        with pyro.plate("row", n):
            if x is not None and weight is not None:
                # w log f(x) is not the log of a sum over z: enumeration gives log f(x), this gives the rest
                pyro.factor("weight", (weight - 1) * self.objective(x, observed))
            z = pyro.sample("z", dist.Categorical(logits=self.log_pi), infer={"enumerate": "parallel"})
            if x is not None:
                pyro.factor("regularization", -self.penalties()[z])
            there = None if observed is None else observed.flatten(1)
            return pyro.sample("x", self.likelihood(z, there), obs=None if x is None else x.flatten(1))

    def loss(self, x: Tensor, *, n: int, weight: Tensor | None = None, **given: Tensor) -> dict[str, Tensor]:
        """Return the negative objective, exact: z is enumerated, and the guide is empty.

        While training, the unit is nats per row of mean weight, where the mean is over all rows of the fit.
        On validation rows, the loss is their weighted mean.

        Args:
            x: The rows, (row, *event).
            n: Number of rows.
            weight: Row weights, (row,), or None.
            **given: `observed`, if values are missing.

        Returns:
            `loss`.
        """
        if not self.training:
            w = torch.ones(n, dtype=x.dtype, device=x.device) if weight is None else weight
            return {"loss": -(w @ self.objective(x, **given)) / w.sum()}
        total = ENUMERATED.differentiable_loss(self.model, self.guide, x, n=n, weight=weight, **given)
        return {"loss": total / (n * self.mean_weight)}

    def likelihood(self, z: Tensor, observed: Tensor | None = None) -> Any:
        """Return p(x | z) of the observed values.

        Args:
            z: Classes.
            observed: The observed values, (*z, feature), or None for complete rows.

        Returns:
            A distribution with the batch shape of z and event shape (feature,).
        """
        mu, L = self.center + self.scale * self.mu[z], self.factor(z)
        if not self._matrices:
            normal = dist.Normal(mu, L)
            return (normal if observed is None else normal.mask(observed)).to_event(1)
        if observed is None:
            return dist.MultivariateNormal(mu, scale_tril=L)
        return ObservedNormal(mu, L, observed)

    def factor(self, z: Tensor) -> Tensor:
        """Return the Cholesky factor of Sigma_z.

        Args:
            z: Classes.

        Returns:
            Lower triangular factors (*z, feature, feature), or for diagonal forms standard deviations (*z,
            feature).
        """
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
        """Return log p(x, z = k) of the observed values.

        Args:
            x: The rows, (row, *event).
            observed: The observed values, (row, *event), or None for complete rows.

        Returns:
            Log-probabilities, (row, component), in nats.
        """
        return torch.cat([part.clone() for part in self._log_joint(x, observed)], 1).T

    def log_prob(self, x: Tensor, observed: Tensor | None = None, **given: Tensor) -> Tensor:
        """Return log p(x) of the observed values: (row,), in nats."""
        return torch.cat([part.logsumexp(0) for part in self._log_joint(x, observed)])

    def objective(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """Return the objective of the fit for each row, log p(x) less the penalty: (row,), in nats."""
        t = self.penalties()[:, None]
        return torch.cat([(part - t).logsumexp(0) for part in self._log_joint(x, observed)])

    def _log_joint(self, x: Tensor, observed: Tensor | None) -> Iterator[Tensor]:
        """Yield log p(x, z = k) (component, row) block by block; every block uses the same memory."""
        x, log_pi = x.flatten(1).to(self.mu.dtype), self.log_pi.log_softmax(0)[:, None]
        if observed is not None and not (observed := observed.flatten(1)).all():
            yield self._log_joint_in_part(x, observed, log_pi)
            return
        y, log_scale = (x - self.center) / self.scale, self.scale.log().sum()
        for part in moments.log_joint(self.normals(), log_pi[:, 0], y):
            yield part - log_scale

    def _log_joint_in_part(self, x: Tensor, observed: Tensor, log_pi: Tensor) -> Tensor:
        """Return log p(x, z = k) with missing values; complete rows do not depend on other rows."""
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
        """The number of rows whose covariances, one per row and component, are in memory together."""
        return max(1, (1 << 22) // (self.options.components * self.event.size**2))

    def posterior(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """Return the posterior of the classes given the observed values.

        Args:
            x: The rows, (row, *event).
            observed: The observed values, (row, *event), or None for complete rows.

        Returns:
            p(z = k | x), (row, component).
        """
        return self.log_joint(x, observed).softmax(1)

    def assess(self, x: Tensor, options: MixtureScoreOptions, **given: Tensor) -> xr.Dataset:
        """Return exact scores, and with `posterior` also p(z | x)."""
        scores = super().assess(x, options, **given)
        return with_posterior(scores, self.posterior(x, **given)) if options.posterior else scores

    def draw(self, n: int, given: dict[str, Tensor], options: Any) -> dict[str, Tensor]:
        """Sample z, unless it is given, and x given z."""
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
        """Return the means of the components.

        Args:
            start: `z`, (row,).
            until: The place to decode to; "x" only.

        Returns:
            Means, (row, *event).

        Raises:
            InputError: When z is not a number of a component.
        """
        if "z" in start:
            checked_z(start, self.options.components)
        return super().decode(start, until)

    def complete(self, x: Tensor, observed: Tensor, options: Any, **given: Tensor) -> dict[str, Tensor]:
        """Sample z ~ p(z | x_o), then the missing values x_m ~ p(x_m | x_o, z), in closed form."""
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
        """Fit from each start, keep the best fit, and convert the parameters to the units of the data."""
        options = self.options
        if options.components > data.n:
            raise InputError(
                f"components = {options.components}: the data have only {data.n} rows. Use fewer components."
            )
        self.standardize(data)
        self.mean_weight.fill_(data.mean_weight)
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
                f"{len(singular)} of {options.restarts} restarts failed and were left out: {singular[0]}"
            )
        criteria, state = best
        self.load_state_dict(state)
        self.to_data_units()
        components = self.describe()
        run.notes += say_unused(components["pi"].values, data.n)
        return {"criteria": criteria, "components": components}

    def fit_from_a_start(self, data: Rows, run: Run, stage: str) -> xr.Dataset:
        """Fit from one start.

        Args:
            data: The rows of the fit.
            run: The run of the fit.
            stage: Name of the stage.

        Returns:
            The criteria of the fit: see `criteria`.

        Raises:
            DivergedError: When a covariance becomes singular.
        """
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
        """Learn the center and scale of the data, which only the fit uses.

        Args:
            data: The rows of the fit.

        Raises:
            InputError: When all rows are equal, or `reg_covar` exceeds the variance of the data.
        """
        seen, options = data.moments(), self.options
        typical = float(seen.variance.mean())
        if data.n > 1 and not seen.varies.any():
            raise InputError(
                "x: all rows are equal, so there is no covariance to learn. Give rows that differ."
            )
        if data.n > 1 and options.reg_covar and not typical > options.reg_covar:
            raise InputError(
                f"reg_covar = {options.reg_covar}: it must be below the mean variance of the data, "
                f"{typical:.3g}, "
                "or it dominates the fit. Lower reg_covar, or rescale the data."
            )
        units = (
            torch.full_like(seen.units, typical or 1.0) if options.covariance == "spherical" else seen.units
        )
        self.units.copy_(units)
        self.center, self.scale = seen.mean.to(self.mu), units.sqrt().to(self.mu)

    @torch.no_grad()
    def start(self, data: Rows, run: Run, stage: str) -> None:
        """Set the parameters from k-means clusters of some rows.

        The initialization is greedy k-means++ (Arthur & Vassilvitskii 2007).

        Args:
            data: The rows of the fit.
            run: The run of the fit.
            stage: Name of the stage.
        """
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
        """The diagonal of Lambda, in units of the scaled data: (feature,)."""
        options = self.options
        return (options.regularization * self.units + options.reg_covar) / self.scale.square()

    def penalties(self) -> Tensor:
        """Return the penalty tr(Sigma_k^-1 Lambda) / 2 of each component: (component,), in nats."""
        ridge = self._ridge
        if not self._matrices:
            return 0.5 * self.normals().factor.pow(-2) @ ridge
        eye = torch.eye(len(ridge), dtype=self.mu.dtype, device=self.mu.device)
        # Sigma^-1 = inverse' inverse
        inverse = torch.linalg.solve_triangular(_lower(self.L), eye, upper=False)
        return (0.5 * (inverse.square().sum(-2) * ridge).sum(-1)).expand(self.options.components)

    def e_step(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the moments of the rows about mu_k, weighted by the responsibilities: (component, ...).

        They are computed as matrix products of features, except in three cases: missing values, many
        features, or a component so narrow that its moments about 0 would suffer from cancellation.

        Args:
            batch: Rows by name: `x`, and optionally `observed` and `weight`.

        Returns:
            Sums over the rows.
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
        normals = self.normals()
        if normals.by_features:
            return self._by_products(normals, x, weight)
        if self._matrices:
            parts = zip(x.split(4096), weight.split(4096), strict=True)
            return _sum(self._by_solving(normals, *part) for part in parts)
        there = torch.ones_like(x, dtype=torch.bool)
        pieces = (tensor.split(self._at_once) for tensor in (x, there, weight))
        return _sum(self._one_by_one(*piece) for piece in zip(*pieces, strict=True))

    def _by_products(self, normals: Normals, x: Tensor, weight: Tensor) -> dict[str, Tensor]:
        """Compute two matrix products per block: log p(y | z) = Theta phi(y), and r phi(y)'."""
        y, at = (x.to(self.mu) - self.center) / self.scale, 0
        M = log_likelihood = penalty = torch.zeros((), dtype=y.dtype, device=y.device)
        t = self.penalties()
        for phi, log_p in normals.log_prob_by_features(y):
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

    def _by_solving(self, normals: Normals, x: Tensor, weight: Tensor) -> dict[str, Tensor]:
        """Compute L_k^-1 (y - mu_k) for each component: slower than products, but without cancellation."""
        y = (x - self.center) / self.scale
        t = self.penalties()
        log_joint = (self.log_pi - t)[:, None] + normals.log_prob(y)
        r, log_likelihood, penalty = _responsibilities(log_joint, t, weight)
        sums = _moments(r, y - self.mu[:, None])
        return {**sums, "log_likelihood": log_likelihood, "penalty": penalty}

    def _one_by_one(self, x: Tensor, observed: Tensor, weight: Tensor) -> dict[str, Tensor]:
        """Compute the moments row by row; missing values have their moments given z and observed values."""
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
        """Return p(y | z) of the centered and scaled data y."""
        K, D = self.mu.shape
        match self.options.covariance:
            case "spherical":
                return Normals(self.mu, self.L.exp()[:, None].expand(K, D))
            case "diagonal":
                return Normals(self.mu, self.L.exp())
            case _:
                return Normals(self.mu, _lower(self.L).expand(K, D, D))

    def m_step(self, statistics: dict[str, Tensor]) -> None:
        """Set pi_k = n_k / n, and mu_k and Sigma_k to the moments, Sigma_k plus Lambda.

        A component without rows keeps its mean and covariance.

        Args:
            statistics: The sums that `e_step` returns, over all rows.

        Raises:
            DivergedError: When a covariance is singular.
        """
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
            f"regularization = {self.options.regularization}: a covariance of the mixture is singular. "
            "Raise regularization, or use fewer components."
        )

    @torch.no_grad()
    def criteria(self, data: Rows, run: Run) -> xr.Dataset:
        """Return the log-likelihood of all rows, the objective, the number of parameters, BIC and AIC.

        Args:
            data: The rows of the fit.
            run: The run of the fit.

        Returns:
            Numbers by name.
        """
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
                "log_likelihood": (
                    (),
                    log_likelihood,
                    {"units": "nat", "long_name": "sum of log p(x) over rows"},
                ),
                "objective": (
                    (),
                    objective,
                    {"units": "nat", "long_name": "log-likelihood less the penalty, which the fit maximizes"},
                ),
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
        """Convert the parameters to the units of the data; center and scale become 0 and 1."""
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
        """Return pi, mu and Sigma as named arrays, in the units of the data."""
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
        """Return the parameters in the units of the data.

        Returns:
            pi (component,), mu (component, feature), Sigma (component, feature, feature).
        """
        L = self.factor(torch.arange(self.options.components, device=self.mu.device))
        if not self._matrices:
            L = torch.diag_embed(L)
        parts = (self.log_pi.softmax(0), self.center + self.scale * self.mu, L @ L.mT)
        pi, mu, sigma = (part.cpu().numpy() for part in parts)
        return pi, mu, sigma


def _lower(L: Tensor) -> Tensor:
    """Return the triangular factor from its unconstrained form."""
    at = torch.arange(L.shape[-1], device=L.device)
    # `tril` of many small matrices takes many times as long as `where`
    return torch.where(at[:, None] > at, L, 0) + torch.diag_embed(L.diagonal(dim1=-2, dim2=-1).exp())


def _log_diagonal(L: Tensor) -> Tensor:
    """Return the unconstrained form of a triangular factor, as the inverse of `_lower`."""
    return L.tril(-1) + torch.diag_embed(L.diagonal(dim1=-2, dim2=-1).log())


def _sum(parts: Iterable[dict[str, Tensor]]) -> dict[str, Tensor]:
    sums: dict[str, Tensor] = {}
    for part in parts:
        sums = {name: sums[name] + value for name, value in part.items()} if sums else part
    return sums


def _moments(r: Tensor, d: Tensor) -> dict[str, Tensor]:
    """Return the moments of d (component, row, feature) under responsibilities r (component, row)."""
    n, w = r.sum(1), r[:, :, None] * d
    return {"n": n, "seen": n[:, None], "first": w.sum(1), "second": w.mT @ d}


def _responsibilities(log_joint: Tensor, t: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return weighted responsibilities, the weighted log-likelihood, and the weighted penalty.

    The responsibilities q(z) are the softmax of `log_joint`.

    Args:
        log_joint: log p(x, z) - t_z, (component, row); overwritten.
        t: Penalties, (component,).
        weight: Row weights w, (row,).

    Returns:
        w q(z) (component, row), sum w log p(x), and the difference between this sum and the objective.
    """
    largest = log_joint.amax(0)
    # denormal numbers (below 1e-38) would make the following operations ten times slower
    r = log_joint.sub_(largest).clamp_(min=-80).exp_()
    total = r.sum(0)
    objective = weight @ total.log().add_(largest)
    most = t.max()
    without = ((t - most).exp() @ r).clamp_(min=torch.finfo(r.dtype).tiny)
    log_likelihood = weight @ without.log_().add_(largest).add_(most)
    return r.mul_(weight / total), log_likelihood, log_likelihood - objective
