"""The base of `flow` and `glow`: the change of variables, as a density of real x and as a bound for whole numbers.

z ~ Normal(0, 1),  v = f^-1(z)            log p(v) = log Normal(f(v); 0, 1) + log |det df/dv|
x = v (real),  x = floor(v) (whole)       log P(x) >= E_q[log p(x + u) - log q(u | x)]
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import pyro
import pyro.distributions as dist
import torch
import xarray as xr
from pydantic import BaseModel, Field
from pyro.distributions import TorchDistribution
from torch import Tensor, nn
from torch.distributions import constraints

from probgen import Event, Options, Pair, Rows, Run, log_prob
from probgen.contract.options import NoOptions, only, refuse_unused
from probgen.contract.places import Step
from probgen.contract.rows import Moments
from probgen.distributions import Standardization
from probgen.errors import InputError, NotOffered
from probgen.inference.importance import iwae_with_error
from probgen.inference.svi import svi
from probgen.inference.training import SVIOptions
from probgen_flow.dequantization import Uniform, log_normal
from probgen_flow.pictures import pictures
from probgen_flow.steps import ActNorm

SEEN = 1000  # rows, at most, that actnorm starts with


class FlowPairOptions(SVIOptions):
    """The options of both families."""

    dequantization: Literal["uniform", "variational"] | None = Field(
        None, description="noise that makes whole numbers real; needed for discrete x, and for it alone"
    )
    noise_depth: int = Field(
        2,
        ge=1,
        description="transforms or steps of the flow of the noise (variational only)",
        json_schema_extra=only(dequantization="variational"),
    )
    given: tuple[str, ...] = Field((), description="conditions of x: ['label']")


class FlowScoreOptions(Options):
    """The options of `score`."""

    k: int = Field(16, ge=2, description="samples of the noise for each row (discrete x only)")


class FlowPair(Pair):
    """A bijection f between v and standard normal z. A subclass defines f and the variational noise.

    Args:
        options: The options of the family.
        event: The event that x is.

    Attributes:
        bijection: f on standardized v.
        noise: q(u | x) of discrete x, or None.
        standard: The units of v.
    """

    Options: ClassVar[type[BaseModel]] = FlowPairOptions
    SampleOptions = NoOptions
    ScoreOptions = FlowScoreOptions
    accepts = frozenset({"weight"})
    supports = frozenset({"real", "binary", "integer"})
    x_dtype = "float64"
    latents = {"z": ("latent",)}
    exact = True
    pictures = staticmethod(pictures)
    standard: Standardization

    def __init__(self, options: Any, event: Event):
        super().__init__(options, event)
        self.shape = event.fixed_shape
        if event.discrete and options.dequantization is None:
            raise InputError(
                f"x is {event}: a density needs real numbers. Set dequantization = 'uniform' or 'variational', or "
                "give x as floats."
            )
        if not event.discrete:
            refuse_unused(options, "x is real", "dequantization")
        self.levels = (event.levels or 2) if event.discrete else None
        self.bijection: Any = self.make_bijection()
        self.noise: Any = None
        if event.discrete:
            self.noise = Uniform() if options.dequantization == "uniform" else self.make_noise()

    @abstractmethod
    def make_bijection(self) -> nn.Module:
        """Return f, a module with `forward(y, c)`, the latents and log-determinants, and `inverse(z, c)`."""

    @abstractmethod
    def make_noise(self) -> nn.Module:
        """Return q(u | x) by a flow."""

    @abstractmethod
    def units(self, seen: Moments) -> tuple[Tensor, Tensor]:
        """Return location and scale of v.

        Args:
            seen: Moments of the rows of the fit.

        Returns:
            Location and scale, in the shapes that `standard` has.
        """

    # the change of variables

    def log_density(self, v: Tensor, c: Tensor | None) -> Tensor:
        """Return log p(v).

        Args:
            v: Real numbers, (row, *event).
            c: Conditions, (row, context), or None.

        Returns:
            Log-densities, (row,), in nats.
        """
        z, log_det = self.bijection(self.standard(v, self.number_type), c)
        return log_normal(z) + (log_det - self.standard.scale.log().expand(self.shape).sum().to(z))

    def to_v(self, z: Tensor, c: Tensor | None) -> Tensor:
        """Return v = f^-1(z).

        Args:
            z: Latents, (row, latent).
            c: Conditions, (row, context), or None.

        Returns:
            v, (row, *event), in float64.
        """
        return self.standard.inverse(self.bijection.inverse(z, c).reshape(-1, *self.shape))

    def log_weight(self, x: Tensor, c: Tensor | None) -> Tensor:
        """Sample u ~ q(u | x), and return log p(x + u) - log q(u | x), which is a lower bound of log P(x) on average.

        Args:
            x: Whole numbers, (row, *event).
            c: Conditions, (row, context), or None.

        Returns:
            Log-weights, (row,), in nats.
        """
        assert self.noise is not None
        u, log_q = self.noise(self.standard(x, self.number_type), c)
        return self.log_density(x.double() + u.double(), c) - log_q

    @property
    def number_type(self) -> torch.dtype:
        """The dtype of the networks."""
        return next(self.parameters()).dtype

    # the program

    def model(self, x: Tensor | None = None, *, n: int, **given: Any) -> Tensor:
        """Sample x ~ p(x); of discrete x, v ~ p(v) and x = floor(v)."""
        p = FlowDistribution(self, n, self.context(given))
        with self.rows(n):
            if not self.event.discrete:
                return pyro.sample("x", p, obs=x)
            v = pyro.sample("v", p)
            return pyro.sample("x", dist.Delta(self.whole(v), event_dim=len(self.shape)), obs=x)

    def whole(self, v: Tensor) -> Tensor:
        """Return floor(v) within the levels of x."""
        return v.floor().clamp(0, (self.levels or 1) - 1)

    # learning

    def learn(self, data: Rows, run: Run) -> None:
        """Fit by maximum likelihood of real x, or of the lower bound of discrete x.

        Args:
            data: The rows, with validation rows or without.
            run: The run of the fit.

        Raises:
            InputError: When a real value does not vary, so that its density has no bound.
        """
        training = self.training_plan()
        training.check(data, run)
        seen = data.moments()
        if not self.event.discrete:
            _check_varies(seen, data, self.event)
        self.standard.learn(*self.units(seen))
        self._start(data.batch(0, min(SEEN, data.n), "start"))
        svi(self, data, run, training)

    @torch.no_grad()
    def _start(self, batch: dict[str, Tensor]) -> None:
        """Let each actnorm start at the first values that pass (Kingma & Dhariwal 2018, section 3.1)."""
        weight = batch.get("weight", torch.ones(len(batch["x"]), device=batch["x"].device))
        if not weight.any():  # the first rows of a fit may have no weight
            return

        def start(norm: ActNorm, inputs: tuple[Tensor]) -> None:
            norm.start(inputs[0], weight)

        norms = [module for module in self.modules() if isinstance(module, ActNorm)]
        handles = [norm.register_forward_pre_hook(start) for norm in norms]
        self.loss(n=len(batch["x"]), **batch)
        for handle in handles:
            handle.remove()

    def loss(self, x: Tensor, *, n: int, weight: Tensor | None = None, **given: Tensor) -> dict[str, Tensor]:
        """Return the mean of -log p(x), or of its bound with one sample of the noise, in nats per row.

        Args:
            x: The rows, (row, *event).
            n: Number of rows.
            weight: Row weights, (row,), or None.
            **given: Conditions by name, (row, ...).

        Returns:
            `loss`.
        """
        c = self.context(given)
        log_p = self.log_weight(x, c) if self.event.discrete else self.log_density(x, c)
        if weight is None:
            return {"loss": -log_p.mean()}
        w = weight.to(log_p)
        return {"loss": -(w @ log_p) / w.sum().clamp(min=torch.finfo(w.dtype).tiny)}

    # scores

    def log_prob(self, x: Tensor, **given: Tensor) -> Tensor:
        """Return the exact log p(x) of real x.

        Args:
            x: The rows, (row, *event).
            **given: Conditions by name, (row, ...).

        Returns:
            Log-densities, (row,), in nats.

        Raises:
            NotOffered: When x is discrete.
        """
        if self.event.discrete:
            raise NotOffered("log P(x) of discrete x has a bound, not an exact value. Use probgen.score.")
        return self.log_density(x, self.context(given))

    def assess(self, x: Tensor, options: Any, **given: Any) -> xr.Dataset:
        """Return the exact log p(x) of real x, or the importance-weighted bound of discrete x.

        Args:
            x: The rows, (row, *event).
            options: The number of samples of the noise.
            **given: Conditions by name, (row, ...).

        Returns:
            `log_prob` (row,) in nats, and for a bound `log_prob_se`.
        """
        if not self.event.discrete:
            refuse_unused(options, "x is real, and its density is exact", "k")
            return super().assess(x, options, **given)
        c, columns = self.context(given), []
        for rows in torch.arange(len(x), device=x.device).split(self.at_once):
            of_rows = None if c is None else c[rows]
            columns.append(torch.stack([self.log_weight(x[rows], of_rows) for _ in range(options.k)]))
        bound, se = iwae_with_error(torch.cat(columns, 1).double())
        name = f"iwae-{options.k}"
        return log_prob(bound, kind="lower_bound", estimator=name, measure=self.measure, se=se)

    # samples, codes

    def draw(self, n: int, given: dict[str, Tensor], options: Any) -> dict[str, Tensor]:
        """Sample z and x, or compute x of given z.

        Args:
            n: Number of samples.
            given: Conditions and z by name, (row, ...).
            options: There are no options.

        Returns:
            x (row, *event) and z (row, latent).

        Raises:
            InputError: When z has another number of values than x.
        """
        like = next(self.parameters())
        z = given["z"].to(like.dtype) if "z" in given else torch.randn(n, self.event.size).to(like)
        if z[0].shape != (self.event.size,):
            raise InputError(
                f"z has shape {tuple(z[0].shape)}: x has {self.event.size} values. Give as many values of z."
            )
        v = self.to_v(z, self.context(given))
        return {"x": self.whole(v) if self.event.discrete else v, "z": z}

    def way(self) -> dict[str, Step]:
        """Return the step from z to x. Discrete x is v - 1/2, whose nearest whole number is floor(v)."""

        def x(at: Mapping[str, Tensor]) -> Tensor:
            v = self.to_v(at["z"].to(self.number_type), self.context(at))
            return v if self.levels is None else (v - 0.5).clamp(0, self.levels - 1)

        return {"x": x}

    def encoded(self, x: Tensor, **given: Tensor) -> dict[str, Tensor]:
        """Return z = f(x); of discrete x, at the center of the noise.

        Args:
            x: The rows, (row, *event).
            **given: Conditions by name, (row, ...).

        Returns:
            `z`, (row, latent).
        """
        c = self.context(given)
        if self.noise is None:
            return {"z": self._z(x, c)}
        y = self.standard(x, self.number_type)
        return {"z": self._z(x.double() + self.noise.center(y, c).double(), c)}

    def _z(self, v: Tensor, c: Tensor | None) -> Tensor:
        z: Tensor = self.bijection(self.standard(v, self.number_type), c)[0]
        return z

    def complete(self, x: Tensor, observed: Tensor, options: Any, **given: Any) -> dict[str, Tensor]:
        """Return complete x and its z; of discrete x, at a sample of the noise.

        Args:
            x: The rows, (row, *event).
            observed: The observed values, (row, *event).
            options: There are no options.
            **given: Conditions by name, (row, ...).

        Returns:
            x and `z`.

        Raises:
            NotOffered: When x is known in part.
            InputError: When z is given in addition to x.
        """
        if not observed.all():
            raise NotOffered(
                "x is known in part: a flow has no distribution of the rest. Give all of x, or search for z with the "
                "analysis restoration."
            )
        if "z" in given:
            raise InputError("x and z are given: z follows from x. Give x or z, not both.")
        c = self.context(given)
        if self.noise is None:
            return {"x": x, "z": self._z(x, c)}
        u, _ = self.noise(self.standard(x, self.number_type), c)
        return {"x": x, "z": self._z(x.double() + u.double(), c)}


class FlowDistribution(TorchDistribution):
    """p(v), a distribution of batch shape (row,) for Pyro.

    Args:
        pair: The flow.
        n: Number of rows.
        c: Conditions, (row, context), or None.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}

    def __init__(self, pair: FlowPair, n: int, c: Tensor | None):
        self.pair, self.c = pair, c
        super().__init__(torch.Size([n]), torch.Size(pair.shape), validate_args=False)

    @property
    def support(self) -> Any:
        """The real numbers."""
        return constraints.independent(constraints.real, len(self.event_shape))

    def expand(self, batch_shape: Any, _instance: Any = None) -> FlowDistribution:
        """Return the distribution itself, whose batch shape is that of the rows."""
        assert torch.Size(batch_shape) == self.batch_shape
        return self

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-densities, (row,), in nats."""
        return self.pair.log_density(value, self.c)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Return a sample for each row, (row, *event)."""
        assert not sample_shape
        like = next(self.pair.parameters())
        z = torch.randn(self.batch_shape[0], self.pair.event.size, dtype=like.dtype, device=like.device)
        return self.pair.to_v(z, self.c)


def _check_varies(seen: Moments, data: Rows, event: Event) -> None:
    if data.n == 1:
        raise InputError("x has one row: a density of it has no bound. Give at least two different rows.")
    constant = (~seen.varies).nonzero().flatten().tolist()
    if constant:
        first = constant[0]
        where = f"column {event.columns[first].name!r}" if event.columns else f"dimension {first}"
        raise InputError(
            f"x has one value in {where}: its density has no bound. Leave it out, or round x to whole "
            "numbers and set dequantization."
        )
