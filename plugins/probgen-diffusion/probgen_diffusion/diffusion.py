"""Variational diffusion models (Kingma, Salimans, Poole & Ho, NeurIPS 2021).

    q(z_t | x) = Normal(alpha_t x, sigma_t^2),    alpha_t^2 = sigmoid(-gamma(t)),    sigma_t^2 = sigmoid(gamma(t))
    p(z_1) = Normal(0, 1),    p(z_s | z_t) = q(z_s | z_t, x = x_hat(z_t)),    x_hat = (z_t - sigma_t eps_hat) / alpha_t
    -log p(x) <= KL(q(z_1 | x) || p(z_1)) - E[log p(x | z_0)] + E[1/2 gamma'(t) |eps - eps_hat(z_t)|^2]

The latent z is the noise z_1 from which DDIM steps lead to x (Song, Meng & Ermon, ICLR 2021): decoding and encoding have no noise.
With `given`, eps_hat also receives conditions, which a fit drops at random for guidance (Ho & Salimans 2022).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar, Literal

import pyro
import pyro.distributions as dist
import torch
import xarray as xr
from pydantic import BaseModel, Field, model_validator
from torch import Tensor, nn
from torch.func import functional_call

from probgen import Event, Options, Pair, Rows, Run, log_prob
from probgen.contract.conditions import centered, context_size
from probgen.contract.options import MeanOptions, Sizes, layer_sizes, only, refuse_unused
from probgen.contract.places import Step
from probgen.distributions import NormalVector
from probgen.errors import InputError, NotOffered
from probgen.inference.svi import svi
from probgen.inference.training import AutocastOptions
from probgen_diffusion import sampling
from probgen_diffusion.average import Average
from probgen_diffusion.bound import Epsilon, drawn, mean_over_times, prior_loss, spread_times
from probgen_diffusion.networks import MLP, UNet
from probgen_diffusion.ode import EXACT, denoising_density, ode_log_prob, signs
from probgen_diffusion.pictures import pictures
from probgen_diffusion.schedule import SCHEDULES, along, alpha_sigma
from probgen_diffusion.values import AT_ONCE, Levels, Reals, values_of

STEPS = 50  # of DDIM in `decode` and `encode`, and of samples by default
WIDEST = 30.0  # of gamma: float32 and a few random times do not resolve more


class DiffusionOptions(AutocastOptions):
    """Options of `diffusion`."""

    hidden: Sizes = Field(
        (64, 64),
        description="channels at each resolution, from the finest (images), or units of each group of blocks",
    )
    blocks: int = Field(2, ge=1, le=20, description="residual blocks at each resolution or of each group")
    dropout: float = Field(0.0, ge=0, lt=1, description="share of the features dropped in training")
    noise: Literal["linear", "cosine", "learned"] = Field(
        "linear", description="noise schedule gamma(t), the negative log signal-to-noise ratio"
    )
    gamma_min: float | None = Field(
        None,
        ge=-WIDEST,
        le=WIDEST,
        description="gamma at t = 0, with little noise; None: by the spacing of the levels, -12 for reals",
    )
    gamma_max: float = Field(5.0, ge=-WIDEST, le=WIDEST, description="gamma at t = 1, with almost no signal")
    timesteps: int | None = Field(
        None, ge=2, description="number of steps T of the bound; None: continuous time"
    )
    average: float = Field(
        0.999, ge=0, lt=1, description="decay of the exponential average of the weights; 0: no average"
    )
    given: tuple[str, ...] = Field((), description="conditions of x: labels, vectors or images of one size")
    drop: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="probability that a row's conditions are dropped in the fit; guidance needs it",
    )

    @model_validator(mode="after")
    def _together(self) -> DiffusionOptions:
        if not layer_sizes(self.hidden):
            raise ValueError("hidden = []: at least one size is needed. Give one number, or a list.")
        if self.gamma_min is not None and self.gamma_min >= self.gamma_max:
            raise ValueError(
                f"gamma_min = {self.gamma_min}: the schedule must increase, but gamma_max = {self.gamma_max}. Use a lower gamma_min."
            )
        if self.drop and not self.given:
            raise ValueError(
                f"drop = {self.drop}: there are no conditions to drop. Set given, or leave drop out."
            )
        if self.graph and self.noise == "learned":
            raise ValueError(
                "graph = true: a learned schedule changes gradients in each step. Leave graph out, or use another noise."
            )
        return self


class DiffusionSampleOptions(MeanOptions):
    """Options of samples of `diffusion`."""

    sampler: Literal["ddim", "ancestral"] = Field(
        "ddim",
        description="steps without noise (ddim), or with noise: the model of the bound (ancestral)",
        json_schema_extra=only(x="nothing"),
    )
    steps: int = Field(STEPS, ge=2, description="number of steps from noise to x")
    guidance: float = Field(
        1.0,
        ge=0,
        le=100,
        description="weight of the conditions in eps_hat; 1: no guidance, above 1: more typical samples",
    )
    resampling: int = Field(
        5,
        ge=1,
        description="repetitions of each step of a completion; more are nearer to p(x | known)",
        json_schema_extra=only(x="part"),
    )


class DiffusionScoreOptions(Options):
    """Options of scores of `diffusion`."""

    estimator: Literal["bound", "ode"] = Field(
        "bound", description="variational bound, or estimate by the probability-flow ODE"
    )
    k: int = Field(
        16, ge=4, multiple_of=2, description="random times (bound), or random probes (ode), per row"
    )
    steps: int = Field(
        64,
        ge=2,
        multiple_of=2,
        description="Runge-Kutta steps of the ODE (ode only)",
        json_schema_extra=only(estimator="ode"),
    )


class Diffusion(Pair):
    """A variational diffusion model: a U-Net for images, or an MLP for vectors.

    Args:
        options: The options of the family.
        event: The event that x is.
    """

    Options: ClassVar[type[BaseModel]] = DiffusionOptions
    SampleOptions: ClassVar[type[BaseModel]] = DiffusionSampleOptions
    ScoreOptions: ClassVar[type[BaseModel]] = DiffusionScoreOptions
    accepts = frozenset({"weight"})
    supports = frozenset({"real", "binary", "integer"})
    x_dtype = "float64"
    pictures = staticmethod(pictures)
    long_names: ClassVar[Mapping[str, str]] = {
        "repaint": "x approximates samples of p(x | known) by RePaint with so many repetitions of each step"
    }

    def __init__(self, options: DiffusionOptions, event: Event):
        super().__init__(options, event)
        self.shape, self.values = event.fixed_shape, values_of(event)
        self.latents = {"z": tuple(f"z_{dim}" for dim in event.dims)}
        self.gamma_0 = self.values.gamma_0 if options.gamma_min is None else options.gamma_min
        self.gamma_1 = options.gamma_max
        if self.gamma_0 >= self.gamma_1:
            raise InputError(
                f"gamma_max = {self.gamma_1}: the schedule must increase, but gamma_min is {self.gamma_0:.1f} for these data. "
                "Use a larger gamma_max."
            )
        self.schedule = SCHEDULES[options.noise](self.gamma_0, self.gamma_1)
        sizes = layer_sizes(options.hidden)
        images = [name for name, part in event.given.items() if event.is_image and part.is_image]
        self.planes = {name: event.given[name] for name in images}
        self.vectors = [name for name in event.given if name not in images]
        context = context_size(event) - sum(part.size for part in self.planes.values())
        self.net: nn.Module
        if event.is_image:
            depth, _, _ = self.image = event.image(len(sizes) - 1, "sizes in hidden")
            planes = depth * self.values.features + sum(part.channels for part in self.planes.values())
            flag = 1 if self.planes else 0
            self.net = UNet(planes + flag, depth, sizes, options.blocks, context, options.dropout)
        else:
            self.net = MLP(self.values.features, event.size, sizes, options.blocks, context, options.dropout)
        self.widest = event.size * max(sizes)
        self.average: Average | None = None  # during a fit

    # eps_hat

    def epsilon(self, given: Mapping[str, Tensor], guidance: float = 1.0) -> Epsilon:
        """Return eps_hat(z, gamma) under conditions.

        Args:
            given: The conditions by name, (row, ...).
            guidance: Weight w of the conditions: eps_hat = eps_0 + w (eps_c - eps_0), where eps_0 has no conditions.

        Returns:
            The function.
        """

        def of(z: Tensor, gamma: Tensor) -> Tensor:
            whole = torch.ones_like(gamma)
            if guidance == 1:
                return self._epsilon(z, gamma, given, whole)
            without = self._epsilon(z, gamma, given, 0 * whole)
            return without + guidance * (self._epsilon(z, gamma, given, whole) - without)

        return of

    def _epsilon(self, z: Tensor, gamma: Tensor, given: Mapping[str, Tensor], kept: Tensor) -> Tensor:
        """Return eps_hat; `kept` is 0 for rows whose conditions are dropped."""
        share = (gamma - self.gamma_0) / (self.gamma_1 - self.gamma_0)
        seen, c = self.values.look(z), self._vector(given, z.dtype)
        if self.event.is_image:
            depth, height, width = self.image
            seen = seen.reshape(len(z), depth, height, width, -1).movedim(4, 2).flatten(1, 2)
            seen = torch.cat([seen, *self._planes(given, kept, seen)], 1)
        else:
            seen = seen.reshape(len(z), -1, self.values.features)
        inputs = (seen, share, c, kept)
        averaged = self.average is not None and not self.training
        v = functional_call(self.net, self.average.weights, inputs) if averaged else self.net(*inputs)  # type: ignore[arg-type, union-attr]
        alpha, sigma = alpha_sigma(along(gamma, z))
        return torch.addcmul(sigma * z, alpha, v.reshape(z.shape).to(z.dtype))  # autocast returns bfloat16

    def _vector(self, given: Mapping[str, Tensor], dtype: torch.dtype) -> Tensor | None:
        """Return the conditions that are no images of x's kind: (row, context)."""
        if not self.vectors:
            return None
        each = []
        for name in self.vectors:
            part = self.event.given[name]
            if part.dims:
                each.append(centered(given[name], part, dtype).flatten(1))
            else:
                each.append(nn.functional.one_hot(given[name].long(), part.levels or 1).to(dtype))
        return torch.cat(each, 1)

    def _planes(self, given: Mapping[str, Tensor], kept: Tensor, like: Tensor) -> list[Tensor]:
        """Return given images in the size of x, and a plane that tells whether they are there."""
        if not self.planes:
            return []
        there = along(kept, like).expand(-1, 1, *like.shape[2:])
        found = [there]
        for name, part in self.planes.items():
            image = centered(given[name], part, like.dtype)
            image = image.reshape(len(like), part.channels, *image.shape[-2:])
            found.append(there * nn.functional.interpolate(image, like.shape[2:], mode="bilinear"))
        return found

    # learning

    def loss(self, x: Tensor, *, n: int, weight: Tensor | None = None, **given: Tensor) -> dict[str, Tensor]:
        """Return the negative bound and its three terms, with one random time for each row.

        Args:
            x: The rows, (row, *event).
            n: Number of rows.
            weight: Row weights, (row,), or None.
            **given: The conditions by name.

        Returns:
            `loss`, `prior`, `reconstruction` and `diffusion`, in nats per row.
        """
        y = self.values.encode(x, self._dtype)
        kept = y.new_ones(n)
        if self.options.drop and self.training:
            kept = (torch.rand_like(kept) >= self.options.drop).to(kept)
        squared = _Squared() if self.options.noise == "learned" and not self.options.timesteps else None

        def epsilon(z: Tensor, gamma: Tensor) -> Tensor:
            return self._epsilon(z, gamma, given, kept)

        each = drawn(
            epsilon, self.schedule, y, spread_times(n, kept), self.options.timesteps,
            None if squared is None else squared.watch,
        ).loss()  # fmt: skip
        if squared is not None:
            squared.loss = each.detach()
        terms = {
            "prior": prior_loss(y, self.gamma_1),
            "reconstruction": self.values.reconstruction(x, self.gamma_0, self._dtype),
            "diffusion": each,
        }
        found = {name: _mean(term, weight) for name, term in terms.items()}
        return {"loss": found["prior"] - found["reconstruction"] + found["diffusion"], **found}

    def learn(self, data: Rows, run: Run) -> None:
        """Maximize the bound. The fitted weights are an exponential average."""
        if isinstance(self.values, Reals):
            seen = data.moments() if self.values.each else data.moments().pooled()
            self.values.standard.learn(seen.mean, seen.scale)
        if self.options.average:
            self.average = Average(self.net, self.options.average).to(run.device)
        svi(self, data, run, self.training_plan())
        if self.average is not None:
            self.average.follow()  # the last step
            self.net.load_state_dict(dict(self.average.weights), strict=False)
            self.average = None

    def after(self, parts: Mapping[str, Tensor]) -> None:
        """Update the average with the weights before this step."""
        if self.average is not None:
            self.average.follow()

    @property
    def at_once(self) -> int:
        """The number of rows whose features of one layer fill 64 MiB."""
        return max(1, AT_ONCE // self.widest)

    @property
    def _dtype(self) -> torch.dtype:
        return next(self.net.parameters()).dtype

    # samples

    def model(self, x: Tensor | None = None, *, n: int, **given: Any) -> Tensor:
        """Sample z ~ Normal(0, 1) and x ~ p(x | z_0), where z_0 follows from z by DDIM steps."""
        like = next(self.net.parameters())
        zero = like.new_zeros(n, *self.shape)
        with self.rows(n):
            z = pyro.sample("z", NormalVector(zero, zero + 1, len(self.shape)))
            z_0 = self._descend(sampling.ddim, z, STEPS, given)
            x_of_z = self.values.sample(z_0, self.gamma_0)
            return pyro.sample("x", dist.Delta(x_of_z, event_dim=len(self.shape)), obs=x)

    def _descend(
        self, step: sampling.Step, z: Tensor, steps: int, given: Mapping[str, Tensor], guidance: float = 1.0
    ) -> Tensor:
        return sampling.descend(step, self.epsilon(given, guidance), z, self.schedule.times(steps, z))

    def draw(self, n: int, given: dict[str, Tensor], options: Any) -> dict[str, Tensor]:
        """Sample x from noise z, which may be given.

        Args:
            n: Number of samples.
            given: Conditions, and z, by name, (row, ...).
            options: The options of samples.

        Returns:
            x, and the noise z at the start, (row, *event) each.

        Raises:
            InputError: When guidance is used without conditions that were dropped in the fit.
        """
        self._check_guidance(options.guidance)
        like = next(self.net.parameters())
        z = given["z"] if "z" in given else torch.randn(n, *self.shape, dtype=like.dtype, device=like.device)
        step = sampling.ddim if options.sampler == "ddim" else sampling.ancestral
        z_0 = self._by_shares(
            lambda z, given: self._descend(step, z, options.steps, given, options.guidance), z.to(like), given
        )
        return {"x": self._x(z_0, options.mean), "z": z}

    def complete(self, x: Tensor, observed: Tensor, options: Any, **given: Any) -> dict[str, Tensor]:
        """Complete x by RePaint, which approximates samples of p(x | known).

        Args:
            x: Rows, (row, *event).
            observed: Whether each value of x is known, (row, *event).
            options: The options of samples.
            **given: Conditions by name, (row, ...).

        Returns:
            The completed x, and `repaint`, the repetitions of each step, (row,).

        Raises:
            NotOffered: When all values are known.
            InputError: When z is given in addition to x, or guidance is not possible.
        """
        self._check_guidance(options.guidance)
        if observed.all():
            raise NotOffered(
                "given x: the mask hides nothing, so there is nothing to complete. Use probgen.encode for its noise z."
            )
        if "z" in given:
            raise InputError("x and z are given: the noise of a completion is random. Give x or z, not both.")
        y = self.values.encode(x, self._dtype)
        gammas = self.schedule.times(options.steps, y)

        def painted(y: Tensor, given: Mapping[str, Tensor]) -> Tensor:
            epsilon = self.epsilon(given, options.guidance)
            return sampling.repaint(epsilon, y, given["observed"], gammas, options.resampling)

        z_0 = self._by_shares(painted, y, {**given, "observed": observed})
        completed = self._x(z_0, options.mean)
        repaint = torch.full((len(x),), options.resampling)
        return {"x": torch.where(observed, x.to(completed), completed), "repaint": repaint}

    def encoded(self, x: Tensor, **given: Tensor) -> dict[str, Tensor]:
        """Return the noise z from which DDIM leads to x.

        Args:
            x: Rows, (row, *event).
            **given: Conditions by name, (row, ...).

        Returns:
            z, (row, *event).
        """

        def of(y: Tensor, given: Mapping[str, Tensor]) -> Tensor:
            z_0 = alpha_sigma(y.new_tensor(self.gamma_0))[0] * y
            return sampling.inverse(self.epsilon(given), z_0, self.schedule.times(STEPS, y))

        return {"z": self._by_shares(of, self.values.encode(x, self._dtype), given)}

    def way(self) -> dict[str, Step]:
        """Return the step z -> E[x | z_0], where z_0 follows from z by DDIM.

        Returns:
            The function of x.
        """

        def x(at: Mapping[str, Tensor]) -> Tensor:
            given = {name: at[name] for name in self.event.given}
            return self.values.mean(
                self._descend(sampling.ddim, at["z"].to(self._dtype), STEPS, given), self.gamma_0
            )

        return {"x": x}

    def _by_shares(
        self, f: Callable[[Tensor, dict[str, Tensor]], Tensor], first: Tensor, given: Mapping[str, Tensor]
    ) -> Tensor:
        """Return f of all rows, computed for as many rows at a time as fit into memory."""
        size = self.at_once
        parts = [
            f(first[i : i + size], {name: value[i : i + size] for name, value in given.items()})
            for i in range(0, len(first), size)
        ]
        return torch.cat(parts)

    def _x(self, z_0: Tensor, mean: bool) -> Tensor:
        return (self.values.mean if mean else self.values.sample)(z_0, self.gamma_0)

    def _check_guidance(self, guidance: float) -> None:
        if guidance != 1 and not self.event.given:
            raise InputError(
                f"guidance = {guidance}: the model has no condition. Fit it with given = ['label'] and drop = 0.1."
            )
        if guidance != 1 and not self.options.drop:
            raise InputError(
                f"guidance = {guidance}: the model was not fitted without conditions. Fit it with drop = 0.1."
            )

    # scores

    def assess(self, x: Tensor, options: Any, **given: Any) -> xr.Dataset:
        """Return the bound with its three terms, or the estimate by the ODE, with standard errors.

        Args:
            x: Rows, (row, *event).
            options: The options of scores.
            **given: Conditions by name, (row, ...).

        Returns:
            `log_prob` and `log_prob_se`; for the bound also `prior`, `reconstruction` and `diffusion`: (row,), in nats.
        """
        given.pop("weight", None)
        score = self._bound if options.estimator == "bound" else self._ode
        kind = "lower_bound" if options.estimator == "bound" else "estimate"
        parts = [
            score(x[i : i + self.at_once], options, {k: v[i : i + self.at_once] for k, v in given.items()})
            for i in range(0, len(x), self.at_once)
        ]
        found = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        name = f"vdm-{options.k}" if options.estimator == "bound" else f"ode-{options.steps}"
        scores = log_prob(
            found.pop("log_prob"), kind=kind, estimator=name, measure=self.measure, se=found.pop("se")
        )
        return scores.assign(
            {k: ("row", v.cpu().numpy(), {"units": "nat", "long_name": TERMS[k]}) for k, v in found.items()}
        )

    def _bound(self, x: Tensor, options: Any, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
        y = self.values.encode(x, self._dtype)
        draw = partial(drawn, self.epsilon(given), self.schedule, y, timesteps=self.options.timesteps)
        diffusion, se = mean_over_times(draw, len(x), options.k, y)
        prior = prior_loss(y, self.gamma_1).double()
        reconstruction = self.values.reconstruction(x, self.gamma_0, torch.float64)
        terms = {"prior": prior, "reconstruction": reconstruction, "diffusion": diffusion}
        return {"log_prob": reconstruction - prior - diffusion, "se": se, **terms}

    def _ode(self, x: Tensor, options: Any, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return log p(x) by the ODE: of reals without noise, of levels as a bound in expectation over z_0."""
        y, ends = self.values.encode(x, self._dtype), (self.gamma_0, self.gamma_1)
        exact, values = self.event.size <= EXACT, self.values
        certain = exact and isinstance(values, Reals)  # without a random number
        if certain:
            refuse_unused(options, f"the trace of {self.event.size} dimensions is exact", "k")
        alpha, sigma = alpha_sigma(y.new_tensor(self.gamma_0))
        draws, off = [], []
        for _ in range(1 if certain else options.k):
            z_0 = alpha * y
            if isinstance(values, Levels):
                z_0 = z_0 + sigma * torch.randn_like(y)
            log_p, error = ode_log_prob(
                self.epsilon(given), z_0, *ends, options.steps, None if exact else signs(y)
            )
            if isinstance(values, Levels):
                of_x = values.p(z_0, self.gamma_0).log_prob(x).flatten(1).sum(1)
                log_p = log_p + of_x - denoising_density(z_0, y, self.gamma_0)
            draws.append(log_p)
            off.append(error)
        each, units = torch.stack(draws), self.values.nats(self.event.size)
        if isinstance(values, Reals):  # the density of y is alpha_0 for each number times that of z_0
            units += self.event.size * float(alpha.log())
        spread = each.var(0) / len(each) if len(each) > 1 else torch.zeros_like(each[0])
        return {"log_prob": each.mean(0) + units, "se": (spread + torch.stack(off).mean(0).square()).sqrt()}


TERMS = {
    "prior": "KL(q(z_1 | x) || p(z_1))",
    "reconstruction": "E[log p(x | z_0)]",
    "diffusion": "diffusion loss",
}


class _Squared:
    """Gradients of the squared loss for the schedule: its shape reduces the variance of the bound (VDM, appendix I.2).

    d loss_i^2 = 2 loss_i d loss_i, so that one backward pass serves the network and the schedule.
    """

    loss: Tensor

    def watch(self, numbers: Tensor) -> None:
        """Multiply the gradient of per-row numbers of the schedule by twice the loss of the row."""
        if numbers.requires_grad:
            numbers.register_hook(lambda gradient: 2 * self.loss * gradient)


def _mean(each: Tensor, weight: Tensor | None) -> Tensor:
    return each.mean() if weight is None else (weight * each).sum() / weight.sum()
