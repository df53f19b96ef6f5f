"""Conversion of texts and labels to the symbols of an event."""

from __future__ import annotations

import numpy as np
import xarray as xr

from probgen.codecs.texts import recode
from probgen.contract.event import Event
from probgen.data.describe import described, symbols_of
from probgen.errors import InputError, did_you_mean


def in_symbols_of(event: Event, dataset: xr.Dataset) -> xr.Dataset:
    """Return the data with x and conditions in the symbols of an event.

    Args:
        event: The event of a model.
        dataset: Data, with or without symbols.

    Returns:
        The data. Each variable with symbols uses the symbols of the event, if the event has symbols for this variable.

    Raises:
        InputError: When the event does not have a symbol of the data.
    """
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
    """Return texts in the symbols of a part of an event, and their new lengths.

    Args:
        part: The event, or the part of it that describes a condition.
        x: One text per row, or a single text.
        length: Length of each text (row,). None: all positions are valid.

    Returns:
        The converted texts and their lengths. The lengths are None if no length changed.

    Raises:
        InputError: When the event does not have a symbol of the texts.
    """
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
    """Return a label in the class numbers of an event. Classes are matched by name; NaN and -1 stay.

    Raise `InputError` for a class that the event does not have.
    """
    numbers = {name: number for number, name in enumerate(part.symbols)}
    bare = [name.strip() for name in part.symbols]  # a file of separated values has no spaces around a label
    numbers = {name: i for i, name in enumerate(bare) if bare.count(name) == 1} | numbers
    values = label.values
    known = np.isin(values, np.arange(len(own)))
    used = np.unique(values[known]).astype(int)
    new = [i for i in used if own[i] not in numbers]
    if new:
        row = int(np.flatnonzero(values == new[0])[0])
        raise InputError(
            f"{label.name or 'label'}, row {row} = {own[new[0]]!r}: the model was not fitted to this class; {did_you_mean(own[new[0]], numbers)}"
        )
    table = np.array([numbers.get(name, -1) for name in own])
    out = values.copy()
    out[known] = table[values[known].astype(int)]
    attrs = label.attrs | {"levels": part.levels, "symbols": list(part.symbols)}
    return xr.DataArray(out, dims=label.dims, attrs=attrs, name=label.name)
