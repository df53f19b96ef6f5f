"""x completed by a GAN: codes are searched for whose x is nearest to what is known (Bora, Jalal, Price & Dimakis, ICML 2017).

    c* = argmin_c |x_known - G(c)_known|^2 + prior |c|^2,    the best of several searches from draws

It is a search and no posterior: how likely one completion is against another is not known, nor whether the best was found. `search_error`
says how near it came to what is known.
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

DRAWS = 1000  # whose codes say where the domain is


class SearchOptions(Options):
    """How x is completed."""

    restarts: int = Field(
        4,
        ge=1,
        description="searches of each draw, of which the best is taken",
        json_schema_extra=only(x=("part", "all")),
    )
    search_steps: int = Field(
        100, ge=1, description="of Adam, in each search", json_schema_extra=only(x=("part", "all"))
    )
    prior: float = Field(
        0.02,
        ge=0,
        description="weight of the squared distance of a code from the mean of draws, against that of x in its deviations",
        json_schema_extra=only(x=("part", "all")),
    )


def completed(
    module: Adversarial,
    latent: str,
    drawn: Mapping[str, Tensor],
    given: Mapping[str, Tensor],
    options: SearchOptions,
) -> dict[str, Tensor]:
    """x with what is known of it as it is, the code that was found, and `search_error (row,)`.

    latent  in which the search is
    drawn   codes of draws, (draw, ...), of which there are more than one for each row, and other latents that stay
    given   x, observed, and conditions
    """
    if known := {*module.latents, *module.places} & given.keys() - {"member"}:
        raise InputError(f"x and {min(known)} are given: leave one of them out")
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
    if nothing.any():  # there is nothing to search for: the draw that the search would have begun with
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
