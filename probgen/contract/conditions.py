"""What a model is conditioned on, as numbers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from probgen.contract.event import Event
from probgen.errors import InputError


def one_hot(event: Event, given: Mapping[str, Tensor], dtype: torch.dtype) -> Tensor | None:
    """What an event is conditioned on as one-hot vectors, side by side: (row, context); None where it is on nothing."""
    if not event.given:
        return None
    parts = [
        nn.functional.one_hot(given[name].long(), part.levels or 1) for name, part in event.given.items()
    ]
    return torch.cat(parts, 1).to(dtype)


def context_size(event: Event) -> int:
    """How many numbers `one_hot` has. Errors: `InputError` for a condition that is more than one number a row."""
    for name, part in event.given.items():
        if part.dims:
            raise InputError(
                f"given {name!r} is {part}; this family is conditioned on one number a row, a label say"
            )
    return sum(part.levels or 1 for part in event.given.values())


def conditions_in(rows: xr.Dataset, event: Event) -> dict[str, np.ndarray]:
    """The conditions of some rows, and their lengths, by name."""
    return {name: rows[name].values for name in (*event.given, *event.lengths)}
