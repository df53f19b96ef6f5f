"""What data are: an event from a Dataset, and the attributes that say it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import xarray as xr

from probgen.codecs.sounds import MU_LAW
from probgen.contract.columns import Column
from probgen.contract.event import Event, Support, is_image
from probgen.data.attributes import factors_of
from probgen.errors import InputError
from probgen.readers.described import attributes_of, blocks, described_columns, holds


def event_of(
    dataset: xr.Dataset, given: Iterable[str] = (), *, attributes: bool = False, any_size: bool = False
) -> Event:
    """What one row of the data is. Floats are `real`, booleans and whole numbers in {0, 1} are `binary`, other
    whole numbers are `integer`; attributes `support` and `levels` of `x` say otherwise, as long as they are of these values
    (`readers.described`). The columns of a table have names. With `length` the size of `time`
    is None. With `attributes` those that the data have are part of it. With `any_size` height and width of images, of x and of conditions,
    are None, and of each condition `scale` says how many times smaller it is. Errors: `InputError`.
    """
    x = dataset["x"]
    any_size = any_size and is_image(x.dims)
    conditions = {name: _condition(dataset, name) for name in given}
    if any_size:
        conditions = {name: _of_any_size(name, part, x) for name, part in conditions.items()}
    columns = columns_in(x)
    support, levels = _of_columns(columns) if columns else _support(x)
    if "length" in dataset and "time" not in x.dims:
        raise InputError(f"length is of the dimension 'time', which x has not: {', '.join(map(str, x.dims))}")
    free = {"time"} if "length" in dataset else set(x.dims[-2:]) if any_size else set()
    shape = tuple(None if dim in free else x.sizes[dim] for dim in x.dims[1:])
    return Event(
        tuple(map(str, x.dims[1:])),
        shape,
        support,
        levels,
        conditions,
        _checked_symbols(x),
        rate_of(x),
        factors_of(dataset) if attributes else {},
        columns=columns,
    )


def columns_in(x: xr.DataArray) -> tuple[Column, ...]:
    """The columns of a table, by the names at `feature`: as they are described, others by their values; () where they have no names.

    Errors: `InputError` for two of one name.
    """
    if x.dims != ("row", "feature") or "feature" not in x.coords:
        return ()
    names = [str(name) for name in x["feature"].values]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"x has two columns {twice!r}: names must differ")
    told = described_columns(x)
    if all(name in told for name in names):
        return tuple(told[name] for name in names)
    support, levels = _support(x)
    if support == "mixed":
        raise InputError(
            f"x.attrs['columns'] says nothing of {next(name for name in names if name not in told)!r}"
        )
    return tuple(told.get(name) or Column(name, support, levels) for name in names)


def _of_columns(columns: tuple[Column, ...]) -> tuple[Support, int | None]:
    """Support and levels of a table: those of its columns if they are alike, else `mixed`."""
    first = columns[0]
    alike = all(column.alike == first.alike for column in columns) and not first.least
    return (first.support, first.levels) if alike else ("mixed", None)


def _of_any_size(name: str, part: Event, x: xr.DataArray) -> Event:
    """A condition that is an image of any size, and how many times smaller it is than x; others as they are."""
    if not part.is_image:
        return part
    height, width = part.shape[-2:]
    scale = x.shape[-2] // (height or 1)
    if (scale * (height or 1), scale * (width or 1)) != x.shape[-2:]:
        raise InputError(
            f"{name} is {height} x {width}, x is {x.shape[-2]} x {x.shape[-1]}: both sides of x must be the same whole "
            f"number of times those of {name}"
        )
    return replace(part, shape=(*part.shape[:-2], None, None), scale=scale)


def _condition(dataset: xr.Dataset, name: str) -> Event:
    if name not in dataset:
        raise InputError(f"the model is conditioned on {name!r}, which the data do not have")
    part = dataset[name]
    if part.dims[:1] != ("row",):
        raise InputError(f"{name} has dimensions {part.dims}; the first must be 'row'")
    if part.ndim == 1:
        levels, symbols = part.attrs.get("levels"), symbols_of(part)
        levels = int(levels if levels else len(symbols) or int(part.max()) + 1)
        if symbols and len(symbols) != levels:
            raise InputError(
                f"{name}.attrs['symbols'] names {len(symbols)} classes, and it has {levels} levels"
            )
        return Event((), (), "token", levels, symbols=symbols)
    varies = f"{name}_length" in dataset
    shape = tuple(None if varies and i == 0 else size for i, size in enumerate(part.shape[1:]))
    support, levels = _support(part)
    return Event(tuple(map(str, part.dims[1:])), shape, support, levels, {}, _checked_symbols(part))


def _checked_symbols(x: xr.DataArray) -> tuple[str, ...]:
    symbols = symbols_of(x)
    support, levels = _support(x) if symbols else (None, None)
    if symbols and (support, levels) != ("token", len(symbols)):
        raise InputError(
            f"{x.name}.attrs['symbols'] names {len(symbols)} symbols, but it is {support} of {levels} levels: set its "
            "attributes support = 'token' and levels"
        )
    return symbols


def described(event: Event) -> dict[str, Any]:
    """Attributes of an `x` or a condition that say what `event_of` could not tell from its values: that it is a table, a text, or a sound."""
    if event.columns:
        return attributes_of(event.columns)
    if event.rate:
        return {"support": event.support, "levels": event.levels, "rate": event.rate, "encoding": MU_LAW}
    if not event.symbols:
        return {}
    return {"support": "token", "levels": event.levels, "symbols": list(event.symbols)}


def known_values(rows: xr.Dataset) -> np.ndarray:
    """x as float64, NaN where a value is missing or is not observed."""
    x = rows["x"].values.astype(np.float64)
    return np.where(rows["observed"].values.astype(bool), x, np.nan) if "observed" in rows else x


def rate_of(x: xr.DataArray) -> int | None:
    return int(x.attrs["rate"]) if x.attrs.get("encoding") == MU_LAW and "rate" in x.attrs else None


def symbols_of(x: xr.DataArray) -> tuple[str, ...]:
    found = x.attrs.get("symbols", ())
    if isinstance(found, str) and x.attrs.get("levels") in (None, 1):  # as files keep a list of one text
        return (found,)
    return tuple(map(str, found))


def _support(x: xr.DataArray) -> tuple[Support, int | None]:
    declared = x.attrs.get("support")
    if declared is not None and holds(x):
        if declared not in get_args(Support):
            raise InputError(f"x.attrs['support'] = {declared!r}: {', '.join(get_args(Support))}")
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
