"""The call `decode`: from latents to x, or to an intermediate place, for families with a decoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
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
from probgen.plugins.returned import array_of


@isolated
def decode(
    fitted: Fitted,
    start: Mapping[str, Any] | xr.Dataset,
    until: str = "x",
    *,
    device: str | torch.device | None = None,
) -> xr.Dataset:
    """Decode latents without randomness.

    A place is an intermediate result of the decoder, e.g. "w", "styles" or "maps4" of a `stylegan`. Decoding can start
    from places and can end at a place. For gradients, call `fitted.module.decode`.

    Args:
        fitted: A fitted model with a decoder.
        start: Latents or places, and the conditions of the model, by name. Each may have a first dimension of
            rows. If there are several places, the place nearest to `until` is used.
        until: The result: "x", or the name of a latent or place. "x" is the mean of p(x | latents) if that is a
            distribution.
        device: The device to compute on, e.g. "cuda". The default is "cpu".

    Returns:
        A Dataset with `x (row, ...)`, or with the latent or place under its name.

    Raises:
        InputError: When `until` is not a place of the model, or `start` is incomplete or invalid.
        NotOffered: When the family does not decode latents.
        PluginError: When the decoder fails, or returns another shape.
    """
    module, event = fitted.module, fitted.event
    if not isinstance(module, Decoder) or not latents_of(module):
        raise NotOffered(f"family {fitted.family!r} does not decode latents")
    run = run_for(fitted, 0, device)
    places = places_of(module)
    known = {**latents_of(module), **places}
    if not isinstance(start, Mapping | xr.Dataset):
        raise InputError(f"start is of type {type(start).__name__}: a mapping of latents by name is needed")
    if {"x", "observed"} & set(map(str, start)):
        raise InputError(
            f"start contains x or observed, but decode ends at x. Give {', '.join(known)} instead, or use encode."
        )
    if until not in (*known, "x"):
        raise InputError(
            f"until = {until!r}: the model has no such latent or place; known: {', '.join(known)}, x"
        )
    tensors, rows, _ = conditions(fitted, start, run, places)
    module.to(run.device)
    dims, sizes = (event.dims, event.shape) if until == "x" else (known[until], None)
    where, parts = f"family {fitted.family!r} ({fitted.definition.origin}), decode", []
    with generators_kept("decode"), guarded(where):
        for shard in torch.arange(rows, device=run.device).split(shard_rows(event)):
            found = module.decode({name: t[shard] for name, t in tensors.items()}, until)
            parts.append(array_of(found, where, until, len(shard), dims, sizes))
    attrs = described(event) if until == "x" else {}
    return xr.Dataset({until: (("row", *dims), np.concatenate(parts), attrs)})
