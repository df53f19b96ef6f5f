"""The call `encode`: from rows to latents, for families with an encoder."""

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
from probgen.plugins.returned import array_of, complete, named, numbers_that_square


@isolated
def encode(fitted: Fitted, data: Any, *, device: str | torch.device | None = None) -> xr.Dataset:
    """Encode rows as latents without randomness: the mean of q(z | x), or the most likely class.

    To sample latents given x instead, use `sample(fitted, given={"x": ...})`.

    Args:
        fitted: A fitted model with an encoder.
        data: Complete rows and the conditions of the model, in any form that `probgen.data.as_dataset` accepts.
        device: The device to compute on, e.g. "cuda". The default is "cpu".

    Returns:
        A Dataset with the latents, each (row, ...). `decode` accepts them as `start`.

    Raises:
        InputError: When the rows are invalid.
        NotOffered: When the family has no encoder, or values of x are missing.
        PluginError: When the encoder fails, or does not return every latent in its declared dimensions.
    """
    module, where = fitted.module, f"family {fitted.family!r} ({fitted.definition.origin}), encode"
    if not isinstance(module, Encoder):
        raise NotOffered(f"family {fitted.family!r} has no encoder")
    run = run_for(fitted, 0, device)
    how: dict[str, Any] = {
        "event": fitted.event,
        "reading": fitted.reading,
        "without": ("weight", "label"),
        "device": run.device,
        "dtype": run.dtype,
    }
    taken = prepare(data, fitted.definition, **how)
    if taken.missing:
        raise NotOffered(
            "x has missing values, but an encoder needs complete rows. Sample the latents with sample(given={'x': ...})."
        )
    module.to(run.device)
    names = latents_of(module)
    parts: dict[str, list[np.ndarray]] = {}
    with generators_kept("encode"), torch.no_grad(), guarded(where):
        for shard in taken.rows.chunks(shard_rows(fitted.event)):
            given = {
                name: shard[name] for name in (*fitted.event.given, *fitted.event.lengths) if name in shard
            }
            found = named(
                module.encoded(shard["x"], **given), where, "a dict of tensors, one for each latent"
            )
            if found.keys() != names.keys():
                raise PluginError(
                    f"{where}: returned {sorted(found)}, but the latents of the model are {sorted(names)}. Return each latent."
                )
            with numbers_that_square(shard["x"], run.dtype):
                for name, z in found.items():
                    array = array_of(z, where, name, len(shard["x"]), names[name])
                    parts.setdefault(name, []).append(complete(array, where, name))
    return xr.Dataset({name: (("row", *names[name]), np.concatenate(part)) for name, part in parts.items()})
