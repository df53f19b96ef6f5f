"""The conditions of a model as numbers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from probgen.contract.event import Event
from probgen.errors import InputError


def context_of(event: Event, given: Mapping[str, Tensor], dtype: torch.dtype) -> Tensor | None:
    """Return the conditions of an event as concatenated vectors.

    Labels are one-hot. Arrays of one size are flattened, and their levels become numbers from -1 to 1.

    Args:
        event: The description of one datum.
        given: The conditions by name: (row, ...).
        dtype: The dtype of the result.

    Returns:
        The vectors: (row, context); None for an event without conditions.
    """
    if not event.given:
        return None
    return torch.cat([_vector(given[name], part, dtype) for name, part in event.given.items()], 1)


def _vector(values: Tensor, part: Event, dtype: torch.dtype) -> Tensor:
    if not part.dims:
        return nn.functional.one_hot(values.long(), part.levels or 1).to(dtype)
    return centered(values, part, dtype).flatten(1)


def centered(values: Tensor, part: Event, dtype: torch.dtype) -> Tensor:
    """Return the levels of a condition as numbers from -1 to 1; real values remain unchanged.

    Args:
        values: The condition: (row, ...).
        part: The event of the condition.
        dtype: The dtype of the result.

    Returns:
        The numbers: (row, ...).
    """
    if part.support == "real":
        return values.to(dtype)
    return values.to(dtype) * (2 / max(1, (part.levels or 2) - 1)) - 1


def context_size(event: Event) -> int:
    """Return the number of values per row in the result of `context_of`.

    Args:
        event: The description of one datum.

    Returns:
        The size of the dimension `context`; 0 for an event without conditions.

    Raises:
        InputError: When a condition is a sequence or an image of any size.
    """
    for name, part in event.given.items():
        if (part.support == "token" and part.dims) or None in part.shape:
            raise InputError(
                f"given {name!r} is {part}, but this family can be conditioned only on labels and on arrays of numbers of one size."
            )
    return sum(part.size if part.dims else part.levels or 1 for part in event.given.values())


def conditions_in(rows: xr.Dataset, event: Event) -> dict[str, np.ndarray]:
    """Return the conditions of some rows and their lengths, by name.

    Args:
        rows: A Dataset with the conditions as variables.
        event: The description of one datum.

    Returns:
        Arrays by name: (row, ...).
    """
    return {name: rows[name].values for name in (*event.given, *event.lengths)}
