"""Texts in the symbols of an event."""

from __future__ import annotations

import numpy as np
import xarray as xr

from probgen.codecs.texts import recode
from probgen.contract.event import Event
from probgen.data.describe import described, symbols_of
from probgen.errors import InputError, did_you_mean


def in_symbols_of(event: Event, dataset: xr.Dataset) -> xr.Dataset:
    """The same texts in the symbols of an event, where both have symbols. Errors: `InputError` for one it has not."""
    parts = {"x": (event, "length")} | {name: (part, f"{name}_length") for name, part in event.given.items()}
    for name, (part, length) in parts.items():
        if name not in dataset:
            continue
        found, lengths = in_symbols(part, dataset[name], dataset.get(length))
        if not part.dims:
            dataset = dataset.assign({name: found})
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
    if not part.dims:
        return _classes(part, x, own), None
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


def _classes(part: Event, label: xr.DataArray, own: tuple[str, ...]) -> xr.DataArray:
    """A label in the classes of an event, by what they are called; NaN and -1 stay. Errors: `InputError` for one that it has not."""
    numbers = {name: number for number, name in enumerate(part.symbols)}
    values = label.values
    known = np.isin(values, np.arange(len(own)))
    used = np.unique(values[known]).astype(int)
    new = [i for i in used if own[i] not in numbers]
    if new:
        row = int(np.flatnonzero(values == new[0])[0])
        raise InputError(
            f"{label.name or 'label'}, row {row}: {own[new[0]]!r}, which the model has not seen; {did_you_mean(own[new[0]], numbers)}"
        )
    table = np.array([numbers.get(name, -1) for name in own])
    out = values.copy()
    out[known] = table[values[known].astype(int)]
    attrs = label.attrs | {"levels": part.levels, "symbols": list(part.symbols)}
    return xr.DataArray(out, dims=label.dims, attrs=attrs, name=label.name)
