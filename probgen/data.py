"""Whatever the user has, as one Dataset, described and checked once.

`x (row, *event dims)`, and where there are any: `label (row)` and other conditions, `weight (row)`,
`observed (row, *event dims)`, and `length (row)`: of each row so much of the dimension `time` counts, the rest is padding.
A condition may have dimensions of its own, `source (row, source_time)`, of the first of which `source_length (row)` says how much counts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from probgen import datasets
from probgen.errors import InputError
from probgen.event import Event, Support
from probgen.sounds import MU_LAW
from probgen.symbols import frequent, recode

LAZY = 256 << 20  # bytes from which data are read slice by slice and never held whole
_DIMS = {1: ("feature",), 2: ("height", "width"), 3: ("channel", "height", "width")}


def as_dataset(
    data: Any, split: str | None = None, folder: str | Path | None = None, rate: int | None = None
) -> xr.Dataset:
    """Data of any kind as one Dataset with `x`.

    data     NumPy array, torch tensor, DataFrame, DataArray or Dataset; the name of a registered data set; a path
             to `.npy .npz .csv .h5 .hdf5 .nc`, an IDX file, or a folder of images
    split    the part of a named data set
    folder   where named data sets are looked for first
    rate     samples a second that WAV files are resampled to

    Errors: `InputError`.
    """
    if rate is not None and not isinstance(data, str | Path):
        raise InputError("rate is of WAV files")
    if isinstance(data, str | Path):
        dataset = datasets.load(data, split, folder, rate=rate)
    elif split is not None:
        raise InputError("a split can be chosen of a named data set or a file, not of an array")
    elif isinstance(data, xr.Dataset):
        dataset = data
    elif isinstance(data, xr.DataArray):
        dataset = data.to_dataset(name="x")
    elif _is_frame(data):
        dataset = datasets.from_frame(data)
    else:
        dataset = from_array(data)
    dataset = _named(dataset)
    return dataset if dataset.nbytes > LAZY else dataset.load()


def from_array(data: Any, dims: tuple[str, ...] | None = None) -> xr.Dataset:
    """An array or tensor as a Dataset; a masked array's mask becomes `observed`."""
    if hasattr(data, "detach"):  # a torch tensor, on any device, with or without a gradient
        data = data.detach().cpu()
        if "bfloat16" in str(data.dtype) or "float8" in str(data.dtype):
            data = data.float()  # types that NumPy does not have
        data = data.numpy()
    if hasattr(data, "tocsr"):
        raise InputError("a sparse matrix cannot be used: make it dense with .toarray()")
    try:
        masked = isinstance(data, np.ma.MaskedArray)
        values = (
            np.where(np.ma.getmaskarray(data), np.zeros((), data.dtype), data.data)
            if masked
            else np.asarray(data)
        )
    except ValueError as error:
        raise InputError(f"the data cannot be read as an array: {error}") from None
    if values.dtype.kind not in "biuf":
        raise InputError(f"x holds {values.dtype}; numbers or booleans are needed")
    if values.ndim == 0:
        raise InputError("x is a single number; an array whose first dimension is the row is needed")
    if values.ndim == 1:
        values = values[:, None]
    mask = np.ma.getmaskarray(data).reshape(values.shape) if masked else None
    if dims is None:
        if values.ndim - 1 not in _DIMS:
            raise InputError(
                f"x has shape {values.shape}; name its dimensions: xarray.DataArray(x, dims=[...])"
            )
        dims = _DIMS[values.ndim - 1]
        if values.ndim == 4 and values.shape[1] > 4 >= values.shape[3]:
            raise InputError(
                f"x has shape {values.shape} and seems to have its channels last: give x.transpose(0, 3, 1, 2), "
                'or xarray.DataArray(x, dims=["row", "height", "width", "channel"])'
            )
    variables = {"x": (("row", *dims), values)}
    if mask is not None and mask.any():
        variables["observed"] = (("row", *dims), ~mask)
    return xr.Dataset(variables)


def _is_frame(data: Any) -> bool:
    return type(data).__module__.partition(".")[0] == "pandas" and hasattr(data, "columns")


def _named(dataset: xr.Dataset) -> xr.Dataset:
    """`x` with `row` first, and known dimensions in their usual order."""
    if "x" not in dataset:
        if len(dataset.data_vars) != 1:
            raise InputError(
                f"the data have no variable 'x', but {', '.join(map(str, dataset.data_vars)) or 'none'}"
            )
        dataset = dataset.rename({next(iter(dataset.data_vars)): "x"})
    x = dataset["x"]
    if x.ndim == 0:
        raise InputError("x is a single number; its first dimension is the row")
    if "row" not in x.dims:
        dataset = dataset.rename({x.dims[0]: "row"})
        x = dataset["x"]
    if x.dtype.kind not in "biuf":
        raise InputError(f"x holds {x.dtype}; numbers or booleans are needed")
    if x.dtype.kind == "f" and x.dtype.itemsize > 8:
        x = x.astype(np.float64)
        dataset = dataset.assign(x=x)
    if x.ndim == 1:
        x = x.expand_dims("feature", axis=1)
        dataset = dataset.assign(x=x)
    rest = [dim for dim in x.dims if dim != "row"]
    usual = [dim for dim in ("channel", "height", "width", "time", "feature") if dim in rest]
    order = usual if len(usual) == len(rest) else rest
    if ("row", *order) != x.dims:
        dataset = dataset.transpose("row", *order, ...)
    return dataset.drop_vars(list(dataset.indexes)).reset_coords()


def event_of(dataset: xr.Dataset, given: Iterable[str] = ()) -> Event:
    """What one row of the data is. Floats are `real`, booleans and whole numbers in {0, 1} are `binary`, other
    whole numbers are `integer`; attributes `support` and `levels` of `x` say otherwise. With `length` the size of `time`
    is None. Errors: `InputError`.
    """
    x = dataset["x"]
    conditions = {name: _condition(dataset, name) for name in given}
    support, levels = _support(x)
    if "length" in dataset and "time" not in x.dims:
        raise InputError(f"length is of the dimension 'time', which x has not: {', '.join(map(str, x.dims))}")
    varies = "length" in dataset
    shape = tuple(None if varies and dim == "time" else x.sizes[dim] for dim in x.dims[1:])
    return Event(
        tuple(map(str, x.dims[1:])), shape, support, levels, conditions, _checked_symbols(x), _rate(x)
    )


def _condition(dataset: xr.Dataset, name: str) -> Event:
    if name not in dataset:
        raise InputError(f"the model is conditioned on {name!r}, which the data do not have")
    part = dataset[name]
    if part.dims[:1] != ("row",):
        raise InputError(f"{name} has dimensions {part.dims}; the first must be 'row'")
    if part.ndim == 1:
        levels = part.attrs.get("levels")
        return Event((), (), "token", int(levels if levels else int(part.max()) + 1))
    varies = f"{name}_length" in dataset
    shape = tuple(None if varies and i == 0 else size for i, size in enumerate(part.shape[1:]))
    support, levels = _support(part)
    return Event(tuple(map(str, part.dims[1:])), shape, support, levels, {}, _checked_symbols(part))


def _checked_symbols(x: xr.DataArray) -> tuple[str, ...]:
    symbols = _symbols(x)
    support, levels = _support(x) if symbols else (None, None)
    if symbols and (support, levels) != ("token", len(symbols)):
        raise InputError(
            f"{x.name}.attrs['symbols'] names {len(symbols)} symbols, but it is {support} of {levels} levels: set its "
            "attributes support = 'token' and levels"
        )
    return symbols


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
    own = _symbols(x)
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


def without_rare_symbols(dataset: xr.Dataset, least: int) -> xr.Dataset:
    """The same text where symbols that come fewer than `least` times are one that stands for all others. Errors: `InputError`."""
    x, symbols = dataset["x"], _symbols(dataset["x"])
    if not symbols or any(len(symbol) != 1 for symbol in symbols):
        raise InputError(f"rare = {least}: x is no text of characters; leave it out")
    length = dataset["length"].values if "length" in dataset else np.full(x.sizes["row"], x.shape[1])
    kept = frequent(x.values, length, symbols, least)
    found, _ = recode(x.values, length, symbols, kept)
    return dataset.assign(x=(x.dims, found, {**x.attrs, "levels": len(kept), "symbols": kept}))


def described(event: Event) -> dict[str, Any]:
    """Attributes of an `x` or a condition that say what `event_of` could not tell from its values: that it is a text, or a sound."""
    if event.rate:
        return {"support": event.support, "levels": event.levels, "rate": event.rate, "encoding": MU_LAW}
    if not event.symbols:
        return {}
    return {"support": "token", "levels": event.levels, "symbols": list(event.symbols)}


def _rate(x: xr.DataArray) -> int | None:
    return int(x.attrs["rate"]) if x.attrs.get("encoding") == MU_LAW and "rate" in x.attrs else None


def _symbols(x: xr.DataArray) -> tuple[str, ...]:
    return tuple(map(str, x.attrs.get("symbols", ())))


def _support(x: xr.DataArray) -> tuple[Support, int | None]:
    declared = x.attrs.get("support")
    if declared is not None:
        if declared not in ("real", "binary", "integer", "token"):
            raise InputError(f"x.attrs['support'] = {declared!r}: real, binary, integer or token")
        levels = x.attrs.get("levels")
        if declared in ("integer", "token"):
            return declared, int(levels if levels is not None else _largest(x) + 1)
        return declared, None
    if x.dtype.kind == "f":
        return "real", None
    if x.dtype.kind == "b" or (x.size and _largest(x) <= 1 and _least(x) >= 0):
        return "binary", None
    if x.size and _least(x) < 0:
        return "real", None
    return "integer", 256 if x.dtype == np.uint8 and x.ndim > 2 else _largest(x) + 1 if x.size else 1


def _largest(x: xr.DataArray) -> int:
    if not x.size or (x.dtype.kind == "f" and not np.isfinite(x.values).all()):
        raise InputError("x: its levels cannot be counted; set x.attrs['levels']")
    return max(int(part.max()) for part in blocks(x))


def _least(x: xr.DataArray) -> int:
    return min(int(part.min()) for part in blocks(x))


def blocks(x: xr.DataArray, size: int = 32 << 20) -> Iterable[np.ndarray]:
    """The values in slices of about `size` bytes, so that a file larger than memory can be gone through."""
    rows = max(1, size // max(1, x.nbytes // max(1, x.sizes["row"])))
    for start in range(0, x.sizes["row"], rows):
        yield x.isel(row=slice(start, start + rows)).values


def check(
    dataset: xr.Dataset, event: Event, accepts: frozenset[str], family: str, dtype: Any
) -> tuple[bool, str]:
    """Check data against an event and a family, in one pass; whether values are missing, and the digest.

    The digest is the SHA-256 of names, types, shapes and values, the same for every layout in memory and on disk.
    Errors: `InputError`, which names the field, the value and what is allowed.
    """
    x = dataset["x"]
    if x.sizes["row"] == 0:
        raise InputError("the data have no rows")
    shape = tuple(x.shape[1:])
    if 0 in shape:
        raise InputError(f"x has shape {x.shape}: a row without values")
    if len(shape) != len(event.shape) or any(
        b not in (None, a) for a, b in zip(shape, event.shape, strict=True)
    ):
        raise InputError(f"a row of x has shape {shape}; {family} was fitted to rows of {event}")
    rate = _rate(x)
    if event.rate and rate and rate != event.rate:
        raise InputError(f"x has {rate} samples a second; {family} was fitted to {event.rate}: resample it")
    digest = hashlib.sha256()
    missing = False
    known_in_part = {"label"} & (accepts - event.given.keys())
    if None in event.shape and "length" not in dataset:
        raise InputError(
            f"{family} was fitted to rows of several lengths: say how long each is, length (row)"
        )
    for name in ("x", "observed", "weight", "length", *event.given, *event.lengths, *known_in_part):
        if name not in dataset:
            continue
        variable = dataset[name]
        part = event.given.get(name)
        wanted = x.dims if name in ("x", "observed") else ("row", *part.dims) if part else ("row",)
        if variable.dims != wanted or (name == "observed" and variable.shape != x.shape):
            raise InputError(f"{name} has dimensions {variable.dims}, not {wanted}")
        if part and None not in part.shape and f"{name}_length" in dataset:
            raise InputError(
                f"{family} was fitted to {name} of one length, {part.shape[0]}: cut it to that, and drop {name}_length"
            )
        if part and any(b not in (None, a) for a, b in zip(variable.shape[1:], part.shape, strict=True)):
            raise InputError(f"a row of {name} has shape {variable.shape[1:]}; {family} was fitted to {part}")
        digest.update(f"{name} {variable.dtype.newbyteorder('<').str} {variable.shape}".encode())
        first = 0
        for values in blocks(variable):
            digest.update(np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<")).data)
            if name == "length":
                _check_lengths(name, values, x.sizes["time"], first)
            elif name in event.lengths:
                _check_lengths(name, values, dataset[event.lengths[name]].shape[1], first)
            else:
                missing |= _check_values(name, values, event, first, dtype)
            first += len(values)
    if "weight" in dataset and not float(dataset["weight"].sum()) > 0:
        raise InputError("weight: all weights are 0")
    _check_accepts(dataset, missing, accepts, family)
    for name in (*event.given, *event.lengths):
        if name not in dataset:
            raise InputError(f"{family} is conditioned on {name!r}, which the data do not have")
    return missing, digest.hexdigest()


def _check_accepts(dataset: xr.Dataset, missing: bool, accepts: frozenset[str], family: str) -> None:
    if (missing or "observed" in dataset) and "observed" not in accepts:
        raise InputError(
            f"x has missing values (NaN, or 'observed'), which {family} cannot use: drop or fill them"
        )
    if "length" in dataset and "length" not in accepts:
        raise InputError(
            f"rows have several lengths, which {family} cannot use: cut them to one, and drop 'length'"
        )
    if "weight" in dataset and "weight" not in accepts:
        raise InputError(f"the data have a weight a row, which {family} cannot use: drop 'weight'")


def _check_lengths(name: str, values: np.ndarray, longest: int, first: int) -> None:
    fine = (values >= 1) & (values <= longest) & (values == np.floor(values))
    _refuse(name, values, ~fine, first, f"a whole number from 1 to {longest}")


def _check_values(name: str, values: np.ndarray, event: Event, first: int, dtype: Any) -> bool:
    """Check a slice of one variable; whether it has NaN where NaN may be."""
    if values.dtype.kind not in "biuf":
        raise InputError(f"{name} holds {values.dtype}; numbers are needed")
    if name == "observed":
        _refuse(name, values, ~np.isin(values, (0, 1)), first, "0 or 1")
        return False
    if name == "weight":
        _refuse(name, values, ~(np.isfinite(values) & (values >= 0)), first, "a finite number of at least 0")
        return False
    if name == "label" and name not in event.given:
        fine = np.isnan(values) if values.dtype.kind == "f" else np.zeros(values.shape, bool)
        fine |= (values >= -1) & (values == np.floor(values)) & (values < 1 << 31)
        _refuse(name, values, ~fine, first, "a class from 0, or -1 or NaN where it is not known")
        return False
    part = event if name == "x" else event.given[name]
    nan = np.isnan(values) if values.dtype.kind == "f" else np.zeros(values.shape, bool)
    if part.support == "real":
        largest = float(np.finfo(dtype).max)
        if values.dtype.kind == "f":
            with np.errstate(over="ignore"):
                there = np.isfinite(values.astype(dtype))
            _refuse(
                name,
                values,
                ~(there | (nan & (name == "x"))),
                first,
                f"a finite number of at most {largest:.3g}",
            )
    else:
        levels = 2 if part.support == "binary" else part.levels or 0
        allowed = "0 or 1" if levels == 2 else f"a whole number from 0 to {levels - 1}"
        whole = (values >= 0) & (values < levels)
        if values.dtype.kind == "f":
            whole &= values == np.floor(values)
            whole |= nan & (name == "x")
        _refuse(name, values, ~whole, first, f"{allowed} ({part.support})")
    return bool(nan.any())


def _refuse(name: str, values: np.ndarray, bad: np.ndarray, first: int, allowed: str) -> None:
    if bad.any():
        where = np.argwhere(bad)[0]
        place = f"row {first + where[0]}" + (
            f", position {tuple(map(int, where[1:]))}" if len(where) > 1 else ""
        )
        raise InputError(f"{name}, {place}: {values[tuple(where)]!s}; allowed is {allowed}")
