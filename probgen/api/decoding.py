"""decode: x of given latents, by a family that declares a decoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import xarray as xr

from probgen.api.common import run_for, shard_rows
from probgen.contract.definition import Decoder, latents_of
from probgen.contract.fitted import Fitted
from probgen.contract.seeds import generators_kept
from probgen.contract.surroundings import isolated
from probgen.data.describe import described
from probgen.data.given import conditions
from probgen.errors import NotOffered
from probgen.plugins.calling import guarded


@isolated
def decode(
    fitted: Fitted, given: Mapping[str, Any] | xr.Dataset, *, device: str | torch.device | None = None
) -> xr.Dataset:
    """x of latents, without randomness: the mean of p(x | latents) where that is a distribution.

    given   all latents of the model, and what it is conditioned on, by name; with a first dimension of rows
    device  where it is worked out

    Returns `x (row, ...)`. For gradients call `fitted.module.decode`. Errors: `InputError`, `NotOffered`, `PluginError`.
    """
    module, latents = fitted.module, latents_of(fitted.module)
    if not isinstance(module, Decoder):
        raise NotOffered(f"family {fitted.family!r} does not decode latents")
    missing = [name for name in latents if name not in given]
    if missing:
        raise NotOffered(
            f"family {fitted.family!r} decodes {', '.join(latents)} together: give {missing[0]!r}, too"
        )
    run = run_for(fitted, 0, device)
    tensors, rows, _ = conditions(fitted, given, run)
    module.to(run.device)
    parts = []
    with generators_kept(), guarded(f"family {fitted.family!r} ({fitted.definition.origin}), decode"):
        for shard in torch.arange(rows, device=run.device).split(shard_rows(fitted.event)):
            some = {name: tensor[shard] for name, tensor in tensors.items()}
            z = {name: some.pop(name) for name in latents}
            parts.append(module.decode(z, some).cpu())
    return xr.Dataset({"x": (("row", *fitted.event.dims), torch.cat(parts).numpy(), described(fitted.event))})
