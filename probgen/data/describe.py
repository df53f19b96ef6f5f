"""The event of a Dataset, and the attributes that describe it."""

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
    """Return the event: the description of one row of the data.

    Floats are `real`, booleans and whole numbers in {0, 1} are `binary`, and other nonnegative whole numbers are `integer`. The attributes `support` and
    `levels` of `x` override these defaults, if they describe the current values (`readers.described`). The columns of a table have names. With a
    variable `length`, the size of `time` is None.

    Args:
        dataset: The data.
        given: Names of the conditions.
        attributes: Whether the attributes of the data become part of the event.
        any_size: Whether the height and width of images (x and conditions) are None. `scale` of each condition is then the factor by which the
            condition is smaller than x.

    Returns:
        The event.

    Raises:
        InputError: When the data contradict their description, or a condition is missing or has a wrong shape.
    """
    x = dataset["x"]
    any_size = any_size and is_image(x.dims)
    conditions = {name: _condition(dataset, name) for name in given}
    if any_size:
        conditions = {name: _of_any_size(name, part, x) for name, part in conditions.items()}
    columns = columns_in(x)
    support, levels = _of_columns(columns) if columns else _support(x)
    if "length" in dataset and "time" not in x.dims:
        raise InputError(
            f"length refers to the dimension 'time', but x has the dimensions {', '.join(map(str, x.dims))}. Rename a dimension, or drop 'length'."
        )
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
    """Return the columns of a table, as described by its attributes, or inferred from its values.

    Args:
        x: The table (row, feature), with the names of columns as the coordinate `feature`.

    Returns:
        The columns, or () for a table without names or for other data.

    Raises:
        InputError: When two columns have one name, or a column of a mixed table is not described.
    """
    if x.dims != ("row", "feature") or "feature" not in x.coords:
        return ()
    names = [str(name) for name in x["feature"].values]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"x has two columns {twice!r}. Give each column a different name.")
    told = described_columns(x)
    if all(name in told for name in names):
        return tuple(told[name] for name in names)
    support, levels = _support(x)
    if support == "mixed":
        raise InputError(
            f"x.attrs['columns'] does not describe {next(name for name in names if name not in told)!r}. Describe this column, or drop the attribute 'columns'."
        )
    return tuple(told.get(name) or Column(name, support, levels) for name in names)


def _of_columns(columns: tuple[Column, ...]) -> tuple[Support, int | None]:
    """Return support and levels of a table: the shared values of its columns if they are alike, else `mixed`."""
    first = columns[0]
    alike = all(column.alike == first.alike for column in columns) and not first.least
    return (first.support, first.levels) if alike else ("mixed", None)


def _of_any_size(name: str, part: Event, x: xr.DataArray) -> Event:
    """Return an image condition with free height and width, and with the factor by which it is smaller than x. Other conditions are unchanged."""
    if not part.is_image:
        return part
    height, width = part.shape[-2:]
    scale = x.shape[-2] // (height or 1)
    if (scale * (height or 1), scale * (width or 1)) != x.shape[-2:]:
        raise InputError(
            f"{name} is {height} x {width} and x is {x.shape[-2]} x {x.shape[-1]}: both sides of x must be the same whole multiple "
            f"of the sides of {name}"
        )
    return replace(part, shape=(*part.shape[:-2], None, None), scale=scale)


def _condition(dataset: xr.Dataset, name: str) -> Event:
    if name not in dataset:
        raise InputError(
            f"the model is conditioned on {name!r}, which is not in the data. Add this variable, or leave out given."
        )
    part = dataset[name]
    if part.dims[:1] != ("row",):
        raise InputError(f"{name} has dimensions {part.dims}: the first must be 'row'")
    if part.ndim == 1:
        levels, symbols = part.attrs.get("levels"), symbols_of(part)
        levels = int(levels if levels else len(symbols) or int(part.max()) + 1)
        if symbols and len(symbols) != levels:
            raise InputError(
                f"{name}.attrs['symbols'] names {len(symbols)} classes, but {name} has {levels} levels. Name each class once."
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
            f"{x.name}.attrs['symbols'] names {len(symbols)} symbols, but the support is {support} with {levels} levels. Set the "
            "attributes support = 'token' and levels."
        )
    return symbols


def described(event: Event) -> dict[str, Any]:
    """Return the attributes by which `event_of` recognizes a table, a text or a sound.

    Args:
        event: The event of x or of a condition.

    Returns:
        Attributes of the variable; empty if its values alone determine the event.
    """
    if event.columns:
        return attributes_of(event.columns)
    if event.rate:
        return {"support": event.support, "levels": event.levels, "rate": event.rate, "encoding": MU_LAW}
    if not event.symbols:
        return {}
    return {"support": "token", "levels": event.levels, "symbols": list(event.symbols)}


def known_values(rows: xr.Dataset) -> np.ndarray:
    """Return x as float64, with NaN for missing and unobserved values."""
    x = rows["x"].values.astype(np.float64)
    return np.where(rows["observed"].values.astype(bool), x, np.nan) if "observed" in rows else x


def rate_of(x: xr.DataArray) -> int | None:
    """Return the samples per second of mu-law sounds, or None for other data."""
    return int(x.attrs["rate"]) if x.attrs.get("encoding") == MU_LAW and "rate" in x.attrs else None


def symbols_of(x: xr.DataArray) -> tuple[str, ...]:
    """Return the symbols or class names of a variable, or () if it has none."""
    found = x.attrs.get("symbols", ())
    if isinstance(found, str) and x.attrs.get("levels") in (
        None,
        1,
    ):  # files store a list of one text as a text
        return (found,)
    return tuple(map(str, found))


def _support(x: xr.DataArray) -> tuple[Support, int | None]:
    declared = x.attrs.get("support")
    if declared is not None and holds(x):
        if declared not in get_args(Support):
            raise InputError(
                f"x.attrs['support'] = {declared!r}: must be one of {', '.join(get_args(Support))}"
            )
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
        raise InputError("x: the number of levels cannot be inferred from its values. Set x.attrs['levels'].")
    return max(int(part.max()) for part in blocks(x))


def _least(x: xr.DataArray) -> int:
    return min(int(part.min()) for part in blocks(x))
