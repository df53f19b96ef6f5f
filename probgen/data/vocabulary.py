"""Texts in the symbols of an event."""

from __future__ import annotations

import numpy as np
import xarray as xr

from probgen.codecs.texts import recode
from probgen.contract.event import Event
from probgen.data.describe import described, symbols_of
from probgen.errors import InputError


def in_symbols_of(event: Event, dataset: xr.Dataset) -> xr.Dataset:
    """The same texts in the symbols of an event, where both have symbols. Errors: `InputError` for one it has not."""
    parts = {"x": (event, "length")} | {name: (part, f"{name}_length") for name, part in event.given.items()}
    for name, (part, length) in parts.items():
        if name not in dataset:
            continue
        found, lengths = in_symbols(part, dataset[name], dataset.get(length))
        if lengths is not None:
            kept = length in dataset or None in part.shape
            dataset = dataset.drop_vars([name, length], errors="ignore").assign({name: found})
            dataset = dataset.assign({length: lengths}) if kept else dataset
    return dataset


def in_symbols(
    part: Event, x: xr.DataArray, length: xr.DataArray | None = None
) -> tuple[xr.DataArray, xr.DataArray | None]:
    """One text a row, or one alone, in the symbols of a part of an event, and how long it then is; None where nothing had to be done."""
    own = symbols_of(x)
    if not own or not part.symbols or own == part.symbols:
        return x, None
    alone = x.ndim == 1
    rows = x.values[None] if alone else x.values
    n = np.full(len(rows), rows.shape[1]) if length is None else np.atleast_1d(length.values)
    try:
        found, n = recode(rows, n, own, part.symbols)
    except InputError as error:
        raise InputError(f"{x.name or 'x'}, {error}") from None
    attrs = x.attrs | described(part)
    if alone:
        return xr.DataArray(found[0], dims=x.dims, attrs=attrs), xr.DataArray(n[0])
    return xr.DataArray(found, dims=x.dims, attrs=attrs), xr.DataArray(n, dims="row")
