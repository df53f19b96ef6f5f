"""Samples of a GAN, and scores of rows: surrogates without a likelihood, or a likelihood under stated noise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import pyro
import pyro.distributions as dist
import torch
import xarray as xr
from pydantic import Field, model_validator
from torch import Tensor

from probgen import Fitted, Options, Pair, Run, hookimpl, log_prob
from probgen.contract.options import only
from probgen.errors import DivergedError, InputError
from probgen.inference.annealed import AT_ONCE, ais, bidirectional
from probgen_gan.adversarial import Adversarial, adversarial
from probgen_gan.searching import DRAWS, SearchOptions, completed


class ScoreOptions(Options):
    """The options of `score` of a GAN.

    `critic` is the output of D. `ratio` is log p_data / p_G by the calibrated D. `ais` is a lower bound on the
    likelihood under stated noise, by annealed importance sampling.
    """

    estimator: Literal["critic", "ratio", "ais"] = Field(
        "critic",
        description="output of D, calibrated log p_data / p_G, or annealed likelihood under noise",
    )
    noise: float | None = Field(
        None, gt=0, description="standard deviation of x around G(z), in units of the data (ais only)"
    )
    steps: int = Field(
        1000,
        ge=1,
        description="annealing distributions from prior to posterior (ais only)",
        json_schema_extra=only(estimator="ais"),
    )
    chains: int = Field(
        16, ge=1, description="annealing chains per row (ais only)", json_schema_extra=only(estimator="ais")
    )
    at_once: int | None = Field(
        None,
        ge=1,
        description="rows times chains that are in memory at the same time (ais only)",
        json_schema_extra=only(estimator="ais"),
    )

    @model_validator(mode="after")
    def _declared(self) -> ScoreOptions:
        if (self.estimator == "ais") != (self.noise is not None):
            raise ValueError(
                f"estimator = {self.estimator!r}: ais needs `noise`, because G(z) alone has no density; the others do not use it. "
                "Set both, or neither."
            )
        return self


class Noisy(Pair):
    """A GAN with observation noise, which has a density (Wu et al., ICLR 2017).

        z ~ Normal(0, 1),    x ~ Normal(G(z), noise)

    Args:
        module: The GAN.
        noise: Standard deviation of x around G(z), in units of the data.
    """

    latents = {"z": ("latent",)}

    def __init__(self, module: Adversarial, noise: float):
        super().__init__(None, module.event)
        self.module, self.noise = module, noise

    def model(self, x: Tensor | None = None, *, n: int, **given: Any) -> Tensor:
        """Sample z and x in one plate of n rows."""
        zero = self.module.calibration.new_zeros(n, self.module.options.latent)
        with self.rows(n):
            z = pyro.sample("z", dist.Normal(zero, 1.0).to_event(1))
            mean = self.module.decode({"z": z, **given})
            return pyro.sample("x", dist.Normal(mean, self.noise).to_event(mean.ndim - 1), obs=x)


def member(fitted: Fitted, i: int) -> Fitted:
    """Return one of several GANs that were fitted together, as a separate fit.

    Args:
        fitted: The fitted GANs.
        i: Number of the member, from 0.

    Returns:
        The i-th GAN, with its own seed and weights.

    Raises:
        InputError: When there is no such member, or when the family is not a GAN.
    """
    members = adversarial(fitted).members
    if not 0 <= i < members:
        raise InputError(f"member = {i}: there are {members} members. Use a number from 0 to {members - 1}.")
    if members == 1:
        return fitted
    return replace(  # samples at moments of the fit were stored for the first member only
        fitted,
        groups=fitted.groups if i == 0 else {},
        provenance=fitted.provenance | {"seed": fitted.provenance["seed"] + i},
        options=fitted.options.model_copy(update={"members": 1}),
        state=fitted.state.isel(member=i),
    )


@hookimpl
def sample(
    fitted: Fitted, n: int, given: dict[str, Tensor], options: SearchOptions, run: Run
) -> dict[str, Tensor]:
    """Sample x = G(z) by the average of the generator.

    With several members, each sample comes from a random member, unless `member` is given. An x that is given is
    completed by a search.

    Args:
        fitted: The fitted GAN.
        n: Number of samples.
        given: Conditions; and z, `member`, or x with `observed`, by name, (row, ...).
        options: Options of the search that completes x.
        run: The run of the call.

    Returns:
        x (row, *event), z (row, latent), and `member` (row,) if there are several; for a given x also `search_error`.

    Raises:
        InputError: When a given value does not suit the model.
        DivergedError: When the generator returns values that are not finite.
    """
    module = adversarial(fitted)
    z = given.get("z")
    if z is None or "x" in given:
        many = max(DRAWS, options.restarts * n) if "x" in given else n
        z = torch.randn(many, module.options.latent, device=run.device, dtype=run.dtype)
    latents = {"z": z.to(run.dtype)}
    if module.members > 1:
        any_of_them = torch.randint(module.members, (n,), device=run.device)
        latents["member"] = module.which(given.get("member", any_of_them))
    if "x" in given:
        return completed(module, "z", latents, given, options)
    x = module.decode({**latents, **{name: given[name] for name in module.event.given}})
    if not torch.isfinite(x).all():
        raise DivergedError(
            "x: the generator returns values that are not finite. Fit again with a lower learning_rate."
        )
    return {"x": module.rounded(x), **latents}


@hookimpl
def score(fitted: Fitted, data: dict[str, Tensor], options: ScoreOptions, run: Run) -> xr.Dataset:
    """Score rows by the discriminator, or by their likelihood under stated noise.

    Args:
        fitted: The fitted GAN.
        data: Rows x and their conditions, by name, (row, ...).
        options: Options of the score.
        run: The run of the call.

    Returns:
        The surrogate `critic` or `log_ratio` (nats), (row,), or (row, member) with several members. With `ais`:
        `log_prob` (row,), and the bounds `simulated_lower` and `simulated_upper` on rows that the model simulated, in nats.

    Raises:
        InputError: When `ais` is used on several members.
    """
    module = adversarial(fitted)
    if options.noise is not None:
        if module.members > 1:
            raise InputError(
                f"members = {module.members}: estimator = 'ais' needs one GAN. Select one of them: probgen_gan.member(fitted, 0)."
            )
        return _annealed(module, data, options)
    x, c = module.of_each(module.standardized(data["x"])), module.of_each(module.condition(data))
    critic = module.critic(x, c)
    attrs = {
        "kind": "surrogate",
        "estimator": module.options.loss,
        "long_name": "output of the discriminator",
    }
    if options.estimator == "critic":
        return _of_rows("critic", critic, attrs)
    a, b = module.calibration[..., :1], module.calibration[..., 1:]
    attrs |= {
        "long_name": "log p_data(x) / p_G(x) by the calibrated discriminator",
        "units": "nat",
        "calibrated_on": "valid" if "valid_sha256" in fitted.provenance["data"] else "train",
    }
    return _of_rows("log_ratio", a * critic + b, attrs)


def _of_rows(name: str, values: Tensor, attrs: dict[str, Any]) -> xr.Dataset:
    """Return values (*member, row) as a data set."""
    return xr.Dataset({name: (("row", "member")[: values.ndim], values.cpu().numpy().T, attrs)})


def _annealed(module: Adversarial, data: dict[str, Tensor], options: ScoreOptions) -> xr.Dataset:
    assert options.noise is not None
    pair = Noisy(module, options.noise)
    x = data["x"]
    given: dict[str, Any] = {name: data[name] for name in module.event.given}
    chains = ais(
        pair, x, options.steps, chains=options.chains, start="prior", at_once=options.at_once, **given
    )
    found = log_prob(
        chains.bound,
        kind="lower_bound",
        estimator=f"ais-{options.steps}",
        measure="lebesgue",
        se=chains.standard_error,
    )
    found["log_prob"].attrs["noise"] = options.noise
    together = max(1, (options.at_once or AT_ONCE) // options.chains)
    parts = []
    for rows in torch.arange(len(x), device=x.device).split(together):
        some = {k: v[rows] for k, v in given.items()}
        parts.append(
            bidirectional(pair, len(rows), options.steps, chains=options.chains, start="prior", **some)
        )
    simulated = [torch.cat(bounds) for bounds in zip(*parts, strict=True)]
    for name, bound, which in zip(("lower", "upper"), simulated, ("forwards", "in reverse"), strict=True):
        attrs = {
            "units": "nat",
            "noise": options.noise,
            "long_name": f"bound on log p of a row that the model simulated, by chains {which}",
        }
        found[f"simulated_{name}"] = ("row", bound.cpu().numpy(), attrs)
    return found
