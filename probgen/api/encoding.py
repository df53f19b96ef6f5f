"""encode: latents of given rows, by a family that declares an encoder."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import xarray as xr

from probgen.api.common import run_for, shard_rows
from probgen.contract.definition import Encoder, latents_of
from probgen.contract.fitted import Fitted
from probgen.contract.seeds import generators_kept
from probgen.contract.surroundings import isolated
from probgen.data.intake import prepare
from probgen.errors import NotOffered, PluginError
from probgen.plugins.calling import guarded


@isolated
def encode(fitted: Fitted, data: Any, *, device: str | torch.device | None = None) -> xr.Dataset:
    """Where the encoder of a model sees rows, without randomness: the mean of q(z | x), the most likely class.

    data  rows, with what the model is conditioned on; whatever `probgen.data.as_dataset` takes

    Returns the latents, each (row, ...), as `decode` takes them. `sample(given={"x": ...})` draws latents given x instead. Errors:
    `InputError`; `NotOffered` for a model without an encoder, `PluginError`.
    """
    module, where = fitted.module, f"family {fitted.family!r} ({fitted.definition.origin}), encode"
    if not isinstance(module, Encoder):
        raise NotOffered(f"family {fitted.family!r} has no encoder")
    run = run_for(fitted, 0, device)
    how: dict[str, Any] = {
        "event": fitted.event,
        "without": ("weight", "label"),
        "device": run.device,
        "dtype": run.dtype,
    }
    taken = prepare(data, fitted.definition, **how)
    if taken.missing:
        raise NotOffered(
            "an encoder sees whole rows: draw latents by sample(given={'x': ...}) where x is known in part"
        )
    module.to(run.device)
    names = latents_of(module)
    parts: dict[str, list[np.ndarray]] = {}
    with generators_kept(), torch.no_grad(), guarded(where):
        for shard in taken.rows.chunks(shard_rows(fitted.event)):
            given = {
                name: shard[name] for name in (*fitted.event.given, *fitted.event.lengths) if name in shard
            }
            for name, z in module.encoded(shard["x"], **given).items():
                parts.setdefault(name, []).append(z.cpu().numpy())
    if unknown := parts.keys() - names.keys():
        raise PluginError(f"{where}: returned {sorted(unknown)}, which are no latents of it")
    return xr.Dataset({name: (("row", *names[name]), np.concatenate(part)) for name, part in parts.items()})
