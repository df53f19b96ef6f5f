"""What a model is conditioned on, as numbers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from probgen.contract.event import Event
from probgen.errors import InputError


def context_of(event: Event, given: Mapping[str, Tensor], dtype: torch.dtype) -> Tensor | None:
    """What an event is conditioned on as vectors, side by side: (row, context); None where it is on nothing.

    Labels are one-hot; arrays of one size lie flat, levels as numbers from -1 to 1.
    """
    if not event.given:
        return None
    return torch.cat([_vector(given[name], part, dtype) for name, part in event.given.items()], 1)


def _vector(values: Tensor, part: Event, dtype: torch.dtype) -> Tensor:
    if not part.dims:
        return nn.functional.one_hot(values.long(), part.levels or 1).to(dtype)
    return centered(values, part, dtype).flatten(1)


def centered(values: Tensor, part: Event, dtype: torch.dtype) -> Tensor:
    """Levels of a condition as numbers from -1 to 1; reals as they are."""
    if part.support == "real":
        return values.to(dtype)
    return values.to(dtype) * (2 / max(1, (part.levels or 2) - 1)) - 1


def context_size(event: Event) -> int:
    """How many numbers `context_of` has. Errors: `InputError` for sequences, and for images of any size."""
    for name, part in event.given.items():
        if (part.support == "token" and part.dims) or None in part.shape:
            raise InputError(
                f"given {name!r} is {part}; this family is conditioned on labels, and on arrays of numbers of one size"
            )
    return sum(part.size if part.dims else part.levels or 1 for part in event.given.values())


def conditions_in(rows: xr.Dataset, event: Event) -> dict[str, np.ndarray]:
    """The conditions of some rows, and their lengths, by name."""
    return {name: rows[name].values for name in (*event.given, *event.lengths)}
