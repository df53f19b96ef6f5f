"""Completion of x by a GAN: a search for the code with x nearest to the known values (Bora, Jalal, Price & Dimakis, ICML 2017).

    c* = argmin_c |x_known - G(c)_known|^2 + prior |c|^2,    the best of several searches from samples

The search does not sample from a posterior. It does not give the probability of a completion, and it may miss the best
code. `search_error` is the error that remains at the known values.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor

from probgen import Options
from probgen.contract.options import only
from probgen.errors import InputError
from probgen.inference.inversion import Comparison, Domain, invert
from probgen.inference.least_squares import Search
from probgen_gan.adversarial import Adversarial

DRAWS = 1000  # samples whose codes define the domain of the search


class SearchOptions(Options):
    """The options of the search that completes x."""

    restarts: int = Field(
        4,
        ge=1,
        description="searches per sample; the best result is used",
        json_schema_extra=only(x=("part", "all")),
    )
    search_steps: int = Field(
        100, ge=1, description="Adam steps of each search", json_schema_extra=only(x=("part", "all"))
    )
    prior: float = Field(
        0.02,
        ge=0,
        description="weight of a code's squared distance from the mean code, in addition to the error of x",
        json_schema_extra=only(x=("part", "all")),
    )


def completed(
    module: Adversarial,
    latent: str,
    drawn: Mapping[str, Tensor],
    given: Mapping[str, Tensor],
    options: SearchOptions,
) -> dict[str, Tensor]:
    """Complete x by a search over one latent. Known values of x stay unchanged.

    Args:
        module: The GAN.
        latent: Name of the latent to search.
        drawn: Codes of samples, (sample, ...), with at least `options.restarts` codes per row; and `member`, if there
            are several members.
        given: x and `observed` (row, *event), and the conditions, by name.
        options: Options of the search.

    Returns:
        x (row, *event), the code that was found (row, ...), `member` if there are several, and `search_error` (row,)
        in units of the data.

    Raises:
        InputError: When a latent or another place is given in addition to x.
    """
    if known := {*module.latents, *module.places} & given.keys() - {"member"}:
        raise InputError(f"x and {min(known)} are given: only one of them can be used. Omit one.")
    x, observed = given["x"].double(), given["observed"].bool()
    domain = Domain.of(latent, drawn[latent])
    rest = {name: given[name] for name in module.event.given}
    if "member" in drawn:
        rest["member"] = drawn["member"][: len(x)]
    unit = float(module.standard.scale)
    seen = torch.where(observed, x, torch.nan)
    found = invert(
        module.decode,
        _times(seen, options.restarts),
        domain,
        start=drawn[latent][: options.restarts * len(x)],
        rest={name: _times(value, options.restarts) for name, value in rest.items()},
        comparison=Comparison(unit=unit),
        prior=options.prior,
        search=Search(steps=options.search_steps),
    )
    best = found.objective.unflatten(0, (options.restarts, len(x))).argmin(0) * len(x) + torch.arange(
        len(x), device=x.device
    )
    x_found, codes, error = found.x[best].double(), found.codes[best], found.error[best].sqrt() * unit
    nothing = ~observed.flatten(1).any(1)
    if nothing.any():  # without known values there is nothing to search: use the start of the search
        start = drawn[latent][: len(x)]
        free = module.decode({**rest, latent: start}).double()
        codes = torch.where(nothing.reshape(-1, *[1] * (codes.ndim - 1)), start, codes)
        x_found = torch.where(nothing.reshape(-1, *[1] * (x.ndim - 1)), free, x_found)
    return {
        "x": torch.where(observed, x, module.rounded(x_found)),
        latent: codes,
        **{name: value for name, value in rest.items() if name == "member"},
        "search_error": error.to(module.dtype),
    }


def _times(rows: Tensor, n: int) -> Tensor:
    return rows.repeat(n, *[1] * (rows.ndim - 1))
