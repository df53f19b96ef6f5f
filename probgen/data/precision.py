"""Check that a dtype can represent the variation of columns."""

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

LOST = 1e-4  # largest change of values by a cast, in standard deviations


def check_precision(dataset: xr.Dataset, event: Event, family: str, dtype: Any, x_dtype: Any) -> None:
    """Check that the dtypes of x and of its conditions preserve the variation of each column.

    Args:
        dataset: Checked data.
        event: The event of the data.
        family: Name of the family, for error messages.
        dtype: NumPy dtype of conditions and of other x.
        x_dtype: NumPy dtype of real x, of counts, and of tables with several supports.

    Raises:
        InputError: When a cast changes the values of a column too much. The message names the column.
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
                f"{float(seen.variance[i].sqrt()):.3g}, but {family} uses {np.dtype(kind)}, which would lose this variation. Subtract the "
                f"mean, {'use floats, ' if whole else ''}or fit with dtype = 'float64'."
            )


def _parts(variable: xr.DataArray, kind: Any) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield values, or their changes by a cast to `kind`, and a mask of known values."""
    for values in blocks(variable):
        x = np.asarray(values, dtype=np.float64).reshape(len(values), -1)
        some = torch.from_numpy(x if kind is None else x - x.astype(kind))
        yield some.nan_to_num(), ~some.isnan()
