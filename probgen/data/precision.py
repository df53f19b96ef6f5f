"""Columns that a dtype cannot hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from probgen.contract.event import Event
from probgen.contract.rows import Moments
from probgen.data.check import place_of
from probgen.errors import InputError
from probgen.readers.described import blocks

LOST = 1e-4  # of a standard deviation, at most, by what a cast changes values


def check_precision(dataset: xr.Dataset, event: Event, family: str, dtype: Any, x_dtype: Any) -> None:
    """Whether the dtypes in which x and what it is conditioned on are handed over hold how far columns vary.

    Real x, counts and tables of several supports come in `x_dtype`, all else in `dtype`.

    Errors: `InputError`, which names the column.
    """
    for name, part in {"x": event, **event.given}.items():
        variable = dataset[name]
        fine = part.support in ("real", "count", "mixed")
        kind = x_dtype if name == "x" and fine else dtype
        whole = part.support == "integer" and (part.levels or 0) > 2 ** np.finfo(kind).nmant
        if np.can_cast(variable.dtype, kind) or kind == np.float64 or not (whole or fine):
            continue
        seen, change = (Moments.of(_parts(variable, cast)) for cast in (None, kind))
        lost = seen.varies & (change.variance + change.mean.square() > LOST**2 * seen.variance)
        if lost.any():
            i = int(lost.nonzero()[0])
            place = (
                f", {place_of(variable, np.unravel_index(i, variable.shape[1:]))}"
                if variable.ndim > 1
                else ""
            )
            raise InputError(
                f"{name}{place}: mean {float(seen.mean[i]):.6g} and standard deviation "
                f"{float(seen.variance[i].sqrt()):.3g}, which {family} would lose in {np.dtype(kind)}: subtract the "
                f"mean, {'give floats, ' if whole else ''}or fit in dtype = 'float64'"
            )


def _parts(variable: xr.DataArray, kind: Any) -> Iterator[tuple[Tensor, Tensor]]:
    """Values, or by how much a cast changes them; and where there are any."""
    for values in blocks(variable):
        x = np.asarray(values, dtype=np.float64).reshape(len(values), -1)
        some = torch.from_numpy(x if kind is None else x - x.astype(kind))
        yield some.nan_to_num(), ~some.isnan()
