"""decode: x of given latents, or what is on the way to it, by a family that declares a decoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import xarray as xr

from probgen.api.common import run_for, shard_rows
from probgen.contract.definition import Decoder, latents_of, places_of
from probgen.contract.fitted import Fitted
from probgen.contract.seeds import generators_kept
from probgen.contract.surroundings import isolated
from probgen.data.describe import described
from probgen.data.given import conditions
from probgen.errors import InputError, NotOffered
from probgen.plugins.calling import guarded


@isolated
def decode(
    fitted: Fitted,
    start: Mapping[str, Any] | xr.Dataset,
    until: str = "x",
    *,
    device: str | torch.device | None = None,
) -> xr.Dataset:
    """From latents or places on the way to x, or to another place, without randomness.

    start   latents or places, and what the model is conditioned on, by name; with a first dimension of rows. Of several
            places the one nearest to `until` counts
    until   "x", the mean of p(x | latents) where that is a distribution, or a latent or place of the model: for a `stylegan`
            "w", "styles", "maps4", ...
    device  where it is worked out

    Returns `x (row, ...)`, or the place by its name. For gradients call `fitted.module.decode`. Errors: `InputError` for a
    place that the model does not have and where more is needed; `NotOffered`, `PluginError`.
    """
    module, event = fitted.module, fitted.event
    if not isinstance(module, Decoder) or not latents_of(module):
        raise NotOffered(f"family {fitted.family!r} does not decode latents")
    run = run_for(fitted, 0, device)
    places = places_of(module)
    known = {**latents_of(module), **places}
    if not isinstance(start, Mapping | xr.Dataset):
        raise InputError(f"decode from {type(start).__name__}: a mapping of latents by name is needed")
    if {"x", "observed"} & set(map(str, start)):
        raise InputError(f"decode goes to x, not from it: give {', '.join(known)}, and leave x out")
    if until not in (*known, "x"):
        raise InputError(f"decode: there is no place {until!r} to go to; there are {', '.join(known)}, x")
    tensors, rows, _ = conditions(fitted, start, run, places)
    module.to(run.device)
    parts = []
    with generators_kept(), guarded(f"family {fitted.family!r} ({fitted.definition.origin}), decode"):
        for shard in torch.arange(rows, device=run.device).split(shard_rows(event)):
            parts.append(module.decode({name: t[shard] for name, t in tensors.items()}, until).cpu())
    dims = event.dims if until == "x" else known[until]
    attrs = described(event) if until == "x" else {}
    return xr.Dataset({until: (("row", *dims), torch.cat(parts).numpy(), attrs)})
