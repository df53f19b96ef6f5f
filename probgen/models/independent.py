"""Independent dimensions, p(x) = prod_i p(x_i): the baseline of every other model.

    x_i ~ Bernoulli(theta_i)       binary
    x_i ~ Categorical(theta_i)     integer, token
    x_i ~ Normal(mu_i, sigma_i)    real
    x_i ~ NegativeBinomial(m_i, r_i), or Poisson(m_i)    count

The fit is maximum likelihood, with `smoothing` pseudo-counts for each value of a discrete x_i (Laplace's rule
for 1). In a table, each column has the distribution of its kind.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import pyro
import pyro.distributions as dist
import torch
from pydantic import Field
from torch import Tensor, nn

from probgen.contract.event import Event, columns_of
from probgen.contract.options import NoOptions, Options, refuse_unused
from probgen.contract.rows import Moments, Rows
from probgen.contract.run import Run
from probgen.errors import InputError
from probgen.inference.em import em
from probgen.models.bases.columns import Columns, GivenClass, check_double
from probgen.pair import Pair

MOST_LEVELS = 1 << 16
STEPS, TOLERANCE = 1000, 1e-9  # for tables: most steps, and the least gain of a step in nats per row


class IndependentOptions(Options):
    """Options of `independent`."""

    likelihood: Literal["auto", "bernoulli", "categorical", "normal"] = Field(
        "auto", description="distribution of one dimension of x; auto: by its support"
    )
    smoothing: float = Field(1.0, gt=0, description="pseudo-counts of each value of a discrete dimension")
    regularization: float = Field(
        1e-6, ge=0, description="ridge added to each variance, as a share of the variance"
    )
    reg_covar: float = Field(0.0, ge=0, description="ridge added to each variance, in units of x squared")
    counts: Literal["negative_binomial", "poisson"] = Field(
        "negative_binomial", description="distribution of a column of counts"
    )


class IndependentColumns(Pair):
    """Independent columns of a table, each with a distribution by its kind.

    The pseudo-counts are spread over the values of a column.

    Args:
        options: The options of `independent`.
        event: The event that x is, with columns.
    """

    SampleOptions = ScoreOptions = NoOptions
    accepts = frozenset({"observed", "weight"})
    dtype = "float64"
    by_loss = False

    def __init__(self, options: IndependentOptions, event: Event):
        super().__init__(options, event)
        if options.likelihood != "auto":
            raise InputError(
                f"likelihood = {options.likelihood!r}: each column of a table has its own likelihood, by its "
                "kind. "
                "Leave likelihood out, and set kinds with --kind."
            )
        kinds = {column.support for column in columns_of(event)}
        if "real" not in kinds:
            refuse_unused(options, "the table has no real column", "regularization", "reg_covar")
        if "count" not in kinds:
            refuse_unused(options, "the table has no column of counts", "counts")
        self.columns = Columns(
            columns_of(event),
            1,
            full=False,
            counts=options.counts,
            smoothing=options.smoothing,
            regularization=options.regularization,
            reg_covar=options.reg_covar,
        )
        self.dims = {f"columns.{name}": dims for name, dims in self.columns.dims.items()}

    def model(
        self, x: Tensor | None = None, *, n: int, observed: Tensor | None = None, **given: Any
    ) -> Tensor:
        """Sample x ~ prod_i p(x_i)."""
        with pyro.plate("row", n):
            z = torch.zeros(n, dtype=torch.long, device=self.columns.device)
            return pyro.sample("x", GivenClass(self.columns, z, observed), obs=x)

    def log_prob(self, x: Tensor, observed: Tensor | None = None, **given: Tensor) -> Tensor:
        """Return log p(x) of the observed values: (row,), in nats."""
        there = None if observed is None or bool(observed.all()) else observed.flatten(1)
        return self.columns.log_prob(x.flatten(1).double(), there)[:, 0]

    def complete(self, x: Tensor, observed: Tensor, options: Any, **given: Tensor) -> dict[str, Tensor]:
        """Sample the missing values, independently of the observed values."""
        drawn = self.draw(len(x), {}, options)["x"]
        return {"x": torch.where(observed, x, drawn.to(x.dtype))}

    def learn(self, data: Rows, run: Run) -> None:
        """Fit in closed form, and negative binomials by steps of increasing likelihood."""
        check_double(self)
        self.columns.begin(data)
        em(self, data, run, STEPS, TOLERANCE, prior=self.columns.prior)
        self.columns.end()

    def e_step(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the sufficient statistics of a batch, as sums over rows."""
        x = batch["x"].flatten(1).double()
        there = batch["observed"].flatten(1) if "observed" in batch else None
        weight = batch["weight"].to(x) if "weight" in batch else torch.ones_like(x[:, 0])
        log_likelihood = weight @ self.columns.log_prob(x, there)[:, 0]
        return {
            **self.columns.statistics(x, there, weight[:, None]),
            "rows": weight.sum(),
            "log_likelihood": log_likelihood,
            "penalty": weight.sum() * self.columns.penalties().sum(),
        }

    def m_step(self, statistics: dict[str, Tensor]) -> None:
        """Set the parameters of each column from the statistics of all rows."""
        self.columns.update({name: value for name, value in statistics.items() if "." in name})


class Independent(Pair):
    """Independent dimensions: one distribution per dimension, or per column of a table.

    Args:
        options: The options of the family.
        event: The event that x is.
    """

    Options = IndependentOptions
    SampleOptions = ScoreOptions = NoOptions
    accepts = frozenset({"observed", "weight"})
    supports = frozenset({"real", "binary", "count", "integer", "token", "mixed"})
    dtype = "float64"
    by_loss = False

    @classmethod
    def build(cls, options: Any, event: Event) -> Pair:
        """Return `IndependentColumns` for counts and tables of several kinds, otherwise `Independent`."""
        if event.support in ("count", "mixed"):
            return IndependentColumns(options, event)
        return cls(options, event)

    def __init__(self, options: IndependentOptions, event: Event):
        super().__init__(options, event)
        refuse_unused(options, "the data have no counts", "counts")
        auto = {"real": "normal", "binary": "bernoulli"}.get(event.support, "categorical")
        self.likelihood = auto if options.likelihood == "auto" else options.likelihood
        D = math.prod(event.fixed_shape)
        if self.likelihood == "normal":
            refuse_unused(options, "it needs discrete data", "smoothing")
            self.mu = nn.Parameter(torch.zeros(D))
            self.log_sigma = nn.Parameter(torch.zeros(D))
            self.dims = {"mu": ("feature",), "log_sigma": ("feature",)}
            return
        refuse_unused(options, "it needs likelihood = 'normal'", "regularization", "reg_covar")
        if event.support == "real" or (self.likelihood == "bernoulli") != (event.support == "binary"):
            raise InputError(
                f"likelihood = {options.likelihood!r} does not suit {event.support} data. Use likelihood = "
                "'auto'."
            )
        self.levels = event.levels or 2
        if self.levels > MOST_LEVELS:
            raise InputError(
                f"x has {self.levels} levels, but a histogram allows at most {MOST_LEVELS}. "
                "Give x as floats, or use likelihood = 'normal'."
            )
        self.log_theta = nn.Parameter(torch.zeros(D, self.levels))
        self.dims = {"log_theta": ("feature", "level")}

    @property
    def measure(self) -> str:
        """The base measure of a score: Lebesgue for a normal, also on whole numbers, otherwise counting."""
        return "lebesgue" if self.likelihood == "normal" else "counting"

    def p(self) -> Any:
        """Return the distribution of each dimension of x: batch shape (feature,)."""
        if self.likelihood == "normal":
            return dist.Normal(self.mu, self.log_sigma.exp())
        if self.likelihood == "bernoulli":
            return dist.Bernoulli(logits=self.log_theta[:, 1] - self.log_theta[:, 0])
        return dist.Categorical(logits=self.log_theta)

    def model(
        self, x: Tensor | None = None, *, n: int, observed: Tensor | None = None, **given: Any
    ) -> Tensor:
        """Sample x ~ prod_i p(x_i)."""
        p = self.p().expand([n, self.event.size])
        if observed is not None:
            p = p.mask(observed.flatten(1))
        with pyro.plate("row", n):
            return pyro.sample("x", p.to_event(1), obs=None if x is None else x.flatten(1))

    def complete(self, x: Tensor, observed: Tensor, options: Any, **given: Tensor) -> dict[str, Tensor]:
        """Sample the missing values, independently of the observed values."""
        drawn = self.draw(len(x), {}, options)["x"]
        return {"x": torch.where(observed, x, drawn.to(x.dtype))}

    def learn(self, data: Rows, run: Run) -> None:
        """Fit in closed form, as EM without latents; the second step takes the moments about the mean."""
        em(self, data, run, steps=2, tolerance=0.0)

    def e_step(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return weighted counts of the values, or moments: (feature, ...)."""
        x = batch["x"].flatten(1)
        weight = batch.get(
            "weight",
            torch.ones(len(x), dtype=x.dtype if x.is_floating_point() else torch.float64, device=x.device),
        )
        there = batch["observed"].flatten(1) if "observed" in batch else torch.ones_like(x, dtype=torch.bool)
        w = weight[:, None] * there
        given = {"observed": batch["observed"]} if "observed" in batch else {}
        sums = {
            "rows": weight.sum(),
            "log_likelihood": weight @ self.log_prob(batch["x"], **given),
            "w": w.sum(0),
        }
        if self.likelihood == "normal":
            off = x - self.mu  # about the previous mean: no cancellation in the second step
            return {**sums, "off": (w * off).sum(0), "square": (w * off.square()).sum(0)}
        counts = torch.stack([(w * (x == level)).sum(0) for level in range(self.levels)], 1)
        return {**sums, "counts": counts}

    def m_step(self, statistics: dict[str, Tensor]) -> None:
        """Set the parameters to relative frequencies, or to means and variances."""
        if self.likelihood == "normal":
            w = statistics["w"].clamp(min=torch.finfo(self.mu.dtype).tiny)
            off = statistics["off"] / w
            variance = (statistics["square"] / w - off.square()).clamp(min=0)
            self.mu.add_(off)
            units = Moments(w, self.mu, variance).units
            ridge = self.options.regularization * units + self.options.reg_covar
            self.log_sigma.copy_(0.5 * (variance + ridge).log())
        else:
            theta = statistics["counts"] + self.options.smoothing
            self.log_theta.copy_((theta / theta.sum(1, keepdim=True)).log())
