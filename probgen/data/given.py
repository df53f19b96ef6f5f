"""Conditions of samples: check `given`, and convert it to tensors with one row per condition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from probgen.codecs.texts import encode_all
from probgen.contract.definition import latents_of
from probgen.contract.event import Event
from probgen.contract.fitted import Fitted
from probgen.contract.rows import as_tensor, numpy_dtype, ready
from probgen.contract.run import Run
from probgen.contract.sizes import sizes_of
from probgen.data.attributes import with_conditions
from probgen.data.check import check
from probgen.data.columns import in_columns_of
from probgen.data.ingest import as_dataset
from probgen.data.vocabulary import in_symbols, in_symbols_of
from probgen.errors import InputError, did_you_mean
from probgen.readers.arrow import as_pandas, is_frame


def conditions(
    fitted: Fitted,
    given: Mapping[str, Any] | xr.Dataset | None,
    run: Run,
    places: Mapping[str, tuple[str, ...]] | None = None,
) -> tuple[dict[str, Tensor], int, bool]:
    """Convert `given` to tensors with one row per condition.

    Args:
        fitted: The fitted model.
        given: Conditions by name: values of x, of conditions, or of latents. Each has one row, several rows, or no row dimension.
        run: Device and dtype of the tensors.
        places: Names and dimensions of further allowed entries. With `places`, the caller checks for required conditions itself.

    Returns:
        The tensors (row, ...), the number of rows, and whether any entry had a row dimension.

    Raises:
        InputError: When a required condition is missing, or an entry has a wrong name, shape or value.
    """
    if isinstance(given, xr.Dataset) and "attribute" in given:
        given = with_conditions(given, fitted.event.given).drop_dims("factor")
    event, latents = fitted.event, {**latents_of(fitted.module), **(places or {})}
    needed = [name for name in event.given if given is None or name not in given]
    if needed and places is None and not is_frame(given):
        raise InputError(f"this model needs given={{{needed[0]!r}: ...}}: {event.given[needed[0]]}")
    for name, what in fitted.definition.needed.items():
        if places is None and (given is None or name not in given):
            raise InputError(f"{fitted.family} samples x from {what}. Pass given={{{name!r}: ...}}.")
    if given is None:
        return {}, 1, False
    if is_frame(given):
        raise InputError("given is a table without a name. Pass given={'x': table}.")
    given = _in_columns_of(fitted, given)
    if isinstance(given, xr.Dataset):
        given = _of_one_size(_of_one_length(in_symbols_of(event, given)), event)
    given = _as_numbers(event, given)
    arrays: dict[str, np.ndarray] = {}
    counts: dict[str, int] = {}
    for name in map(str, given):
        dims = _dims(event, name, latents)
        if dims is None:
            known = ["x", "observed", *event.given, *event.lengths, *latents]
            raise InputError(
                f"given {name!r} is not known to {fitted.family}. Known names: {', '.join(known)}."
            )
        value = given[name]
        if isinstance(value, np.ma.MaskedArray):
            value = np.where(np.ma.getmaskarray(value), np.nan, value.data)
        if isinstance(value, xr.DataArray):
            value = value.transpose("row", ..., missing_dims="ignore")
            value = value.transpose(..., *dims) if set(dims) <= set(value.dims) else value
        try:
            array = np.asarray(value.detach().cpu() if isinstance(value, Tensor) else value)
        except ValueError:
            raise InputError(
                f"given {name!r} cannot be converted to an array. Pass rows of equal length."
            ) from None
        if array.dtype.kind not in "biuf" or array.ndim not in (len(dims), len(dims) + 1):
            raise InputError(
                f"given {name!r} has shape {array.shape} and type {array.dtype}: numbers with dimensions "
                f"{dims or '()'} are required, optionally after a row dimension"
            )
        if not array.size:
            raise InputError(f"given {name!r} has shape {array.shape}: it has no values")
        if array.ndim == len(dims) + 1:
            counts[name] = len(array)
        arrays[name] = array if name in counts else array[None]
    if len(set(counts.values())) > 1:
        raise InputError(
            f"given has entries with different numbers of rows: {counts}. Use the same number for all."
        )
    rows = next(iter(counts.values()), 1)
    if rows == 0:
        raise InputError("given has no rows. Pass at least one row.")
    for length, name in event.lengths.items():
        if length not in arrays:  # all positions are valid
            arrays[length] = np.full(len(arrays[name]), arrays[name].shape[1])
    return _tensors(fitted, arrays, rows, run), rows, bool(counts)


def _in_columns_of(fitted: Fitted, given: Mapping[str, Any] | xr.Dataset) -> Mapping[str, Any] | xr.Dataset:
    """Return `given` with a table x in the columns of the event, if its columns have names."""
    if "x" not in given:
        return given
    event = fitted.event
    if isinstance(given, xr.Dataset):
        return in_columns_of(event, given)
    x = given["x"]
    if is_frame(x):
        table = as_dataset(x, like=event.columns, reading=fitted.reading)
    elif isinstance(x, xr.DataArray) and x.dims == ("row", "feature"):
        table = x.to_dataset(name="x")
    else:
        return given
    beside = given.get("observed")
    if beside is not None:
        table = table.assign(observed=(("row", "feature"), _in_columns(beside, table["x"])))
    table = in_columns_of(event, table).drop_vars("row", errors="ignore")
    return {**given, **{str(name): table[name] for name in ("x", "observed") if name in table}}


def _in_columns(observed: Any, x: xr.DataArray) -> np.ndarray:
    """Return `observed` of a table in the column order of x, matched by name if it has names. Raise `InputError` if it does not match x."""
    names = [str(name) for name in x["feature"].values]
    if is_frame(observed):
        observed = as_pandas(observed)
        if sorted(map(str, observed.columns)) != sorted(names):
            raise InputError("given 'observed' must have the same columns as x")
        observed = observed.set_axis(list(map(str, observed.columns)), axis=1)[names]
    elif isinstance(observed, xr.DataArray) and "feature" in observed.coords:
        observed = observed.sel(feature=names)
    found = np.asarray(observed.detach().cpu() if isinstance(observed, Tensor) else observed)
    if found.shape != x.shape:
        raise InputError(
            f"given 'observed' has shape {found.shape}, but x has shape {x.shape}. Use the same shape."
        )
    return found


def _dims(event: Event, name: str, latents: Mapping[str, tuple[str, ...]]) -> tuple[str, ...] | None:
    if name in ("x", "observed"):
        return event.dims
    return (
        event.given[name].dims if name in event.given else () if name in event.lengths else latents.get(name)
    )


def _as_numbers(event: Event, given: Mapping[str, Any] | xr.Dataset) -> dict[str, Any]:
    """Return `given` with texts as numbers of the symbols of the fit. An entry may be one text or a list of texts."""
    out: dict[str, Any] = {}
    for name in map(str, given):
        value, part = given[name], event if name == "x" else event.given.get(name)
        if part is not None and isinstance(value, xr.DataArray):
            value, length = in_symbols(part, value.rename(name))
            if length is not None and f"{name}_length" in event.lengths:
                out[f"{name}_length"] = length
        texts = [value] if isinstance(value, str) else value
        if part is not None and part.symbols and not part.dims and _all_texts(texts):
            numbers = _numbers_of(name, list(texts), part)
            out[name] = numbers[0] if isinstance(value, str) else numbers
            continue
        if not (
            part and part.symbols and isinstance(texts, list | tuple) and texts and isinstance(texts[0], str)
        ):
            out.setdefault(name, value)
            continue
        if not all(texts) and name != "x":
            raise InputError(f"given {name!r} is an empty text. Give at least one character.")
        try:
            found, lengths = encode_all(texts, part.symbols)
        except InputError as error:
            raise InputError(f"given {name!r}, {error}") from None
        if f"{name}_length" not in event.lengths and len(set(lengths)) > 1:
            raise InputError(
                f"given {name!r} has texts of the lengths {set(lengths)}: all texts must have one length. Pass the texts one by one."
            )
        one = isinstance(value, str)
        out[name] = found[0] if one else found
        if f"{name}_length" in event.lengths:
            out[f"{name}_length"] = lengths[0] if one else lengths
    return out


def _all_texts(values: Any) -> bool:
    return (
        isinstance(values, list | tuple | np.ndarray)
        and len(values) > 0
        and all(isinstance(v, str) for v in values)
    )


def _numbers_of(name: str, classes: Sequence[str], part: Event) -> np.ndarray:
    """Return the numbers of classes from their names. Raise `InputError` for an unknown name."""
    numbers = {symbol: number for number, symbol in enumerate(part.symbols)}
    for each in classes:
        if each not in numbers:
            raise InputError(
                f"given {name!r} = {each!r}: not a class of the model; {did_you_mean(each, numbers)}"
            )
    return np.array([numbers[each] for each in classes])


def _of_one_length(given: xr.Dataset) -> xr.Dataset:
    if "length" not in given:
        return given
    lengths = np.unique(given["length"].values)
    if len(lengths) > 1:
        raise InputError(
            f"given has rows of lengths from {lengths.min()} to {lengths.max()}: all rows must have one length. Pass the rows one by one."
        )
    return given.isel(time=slice(0, int(lengths[0]))).drop_vars("length")


def _of_one_size(given: xr.Dataset, event: Event) -> xr.Dataset:
    if "size" not in given or not event.any_size:
        return given
    sizes = sizes_of(given)
    if (sizes != sizes[0]).any():
        raise InputError(
            f"given has images of sizes from {tuple(map(int, sizes.min(0)))} to {tuple(map(int, sizes.max(0)))}: "
            "all images must have one size. Pass the images one by one."
        )
    parts = {"x": event, **event.given}
    cut: dict[str, slice] = {}
    for name, part in parts.items():
        if name in given and part.any_size:
            height, width = (int(side) // (part.scale or 1) for side in sizes[0])
            cut |= {str(given[name].dims[-2]): slice(0, height), str(given[name].dims[-1]): slice(0, width)}
    return given.isel(cut).drop_vars("size")


def _tensors(fitted: Fitted, arrays: dict[str, np.ndarray], rows: int, run: Run) -> dict[str, Tensor]:
    event = fitted.event
    if "observed" in arrays and "x" not in arrays:
        raise InputError("given 'observed' marks the known values of x, but x is missing. Pass 'x' as well.")
    variables = {}
    for name, array in arrays.items():
        dims = _dims(event, name, {})
        if dims is not None:
            variables[name] = (("row", *dims), np.repeat(array, rows // len(array), axis=0))
    missing, x_dtype = False, fitted.definition.dtype_of_x(run.dtype)
    kinds = numpy_dtype(run.dtype), numpy_dtype(x_dtype)
    if "x" in variables:
        if None in event.shape and not event.any_size:  # all positions are valid
            longest = variables["x"][1].shape[1 + event.dims.index("time")]
            variables["length"] = (("row",), np.full(rows, longest))
        dataset = xr.Dataset(variables)
        known = frozenset({"observed", "length"})
        missing, _ = check(dataset, event, known, fitted.family, *kinds)
    elif variables:
        alone = xr.Dataset({**variables, "x": (("row",), np.zeros(rows))})
        check(
            alone,
            Event((), (), "real", None, event.given),
            frozenset(),
            fitted.family,
            *kinds,
        )
    tensors = {name: as_tensor(values) for name, (_, values) in variables.items()}
    out = ready(tensors, event, missing, run.device, run.dtype, x_dtype)
    if "x" in out and "observed" not in out:
        out["observed"] = torch.ones_like(out["x"], dtype=torch.bool)
    for name, array in arrays.items():
        if name not in variables:
            if not np.isfinite(array).all():
                raise InputError(f"given {name!r} has a value that is NaN or infinite. Give finite numbers.")
            latent = as_tensor(np.repeat(array, rows // len(array), axis=0)).to(run.device)
            out[name] = latent.to(run.dtype) if latent.is_floating_point() else latent.long()
    return out
