"""Descriptions of values that become invalid when the values change.

A reader stores its description of values (support, levels, columns of a table) in the attributes of a variable. Arithmetic of xarray keeps attributes,
which can make them false: `digits.x > 7` is not an integer of 17 levels. But xarray drops the encoding of a variable when it computes new
values, and keeps the encoding when it selects, sorts, renames or concatenates values. Therefore a description is marked in both places. If only
the attributes have the mark, the values were computed or read from a file. The description is then valid only if the values agree with it.

Attributes that a user sets have no mark, and are always valid.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from probgen.contract.columns import Column
from probgen.errors import InputError

MARK = "described"
# A coordinate without dimensions: a checksum of the class names of a table. It gets a dimension if tables with other classes are concatenated.
CLASSES = "classes"


def marked(dataset: xr.Dataset) -> xr.Dataset:
    """Mark the descriptions of a Dataset as valid, in place, and return it."""
    for variable in dataset.variables.values():
        if "support" in variable.attrs:
            variable.attrs[MARK] = variable.encoding[MARK] = 1
    columns = dataset["x"].attrs.get("columns", "") if "x" in dataset else ""
    called = [columns] if '"classes"' in columns else []
    called += [
        json.dumps(list(each.attrs["symbols"]))
        for each in dataset.variables.values()
        if each.dims == ("row",) and "symbols" in each.attrs
    ]
    if not called:
        return dataset
    return dataset.assign_coords({CLASSES: zlib.crc32("\n".join(called).encode())})


def of_one_table(dataset: xr.Dataset) -> xr.Dataset:
    """Return a Dataset without the checksum of its classes. Raise `InputError` if tables with different classes were concatenated."""
    if CLASSES not in dataset.coords:
        return dataset
    if dataset[CLASSES].ndim:
        raise InputError(
            "x was concatenated from tables with different columns or classes, so equal numbers mean different classes. "
            "Concatenate the DataFrames, or read the files as one table."
        )
    return dataset.drop_vars(CLASSES)


def holds(x: xr.DataArray) -> bool:
    """Return whether the attribute `support` describes the current values."""
    attrs = x.attrs
    if MARK not in attrs or x.encoding.get(MARK) or attrs["support"] == "mixed":
        return True
    levels = int(attrs["levels"]) if "levels" in attrs else None
    return _is_such(x, Column("", attrs["support"], levels))


def described_columns(x: xr.DataArray) -> dict[str, Column]:
    """Return the columns that the attributes describe, by name, corrected if the values have changed.

    Args:
        x: The table (row, feature).

    Returns:
        Columns by name; empty without a description.

    Raises:
        InputError: When the attribute `columns` is not a description of columns.
    """
    if "columns" not in x.attrs:
        return {}
    try:
        told = [Column.from_dict(each) for each in json.loads(x.attrs["columns"])]
    except (ValueError, TypeError, KeyError, AttributeError):
        raise InputError(
            f"x.attrs['columns'] = {str(x.attrs['columns'])[:80]}: not a description of columns. Drop this attribute."
        ) from None
    names = [str(name) for name in x["feature"].values]
    here = {column.name: column for column in told if column.name in names}
    if MARK not in x.attrs or x.encoding.get(MARK):
        return here
    return {name: _true_of(x.isel(feature=names.index(name)), column) for name, column in here.items()}


def attributes_of(columns: Iterable[Column]) -> dict[str, Any]:
    """Return the attributes of a table that describe its columns."""
    columns = list(columns)
    first = columns[0]
    alike = all(column.alike == first.alike for column in columns) and not first.least
    levels = {"levels": first.levels} if alike and first.levels else {}
    return {
        "support": first.support if alike else "mixed",
        **levels,
        "columns": json.dumps([column.to_dict() for column in columns], ensure_ascii=False),
    }


def _true_of(x: xr.DataArray, column: Column) -> Column:
    """Return the column, or a column inferred from the values if they contradict the description."""
    if _is_such(x, column):
        return column
    plain = Column(column.name, "real")
    if x.dtype.kind == "b" or _whole(x, 0, 1):
        return replace(plain, support="binary")
    return replace(plain, support="count") if _whole(x, 0, None) else plain


def _is_such(x: xr.DataArray, column: Column) -> bool:
    """Return whether values agree with the description of a column.

    Values of only 0 and 1 do not agree with an integer of more levels, because they were probably computed by a comparison.
    """
    if column.support == "real":
        return x.dtype.kind == "f"
    if x.dtype.kind == "b":
        return column.support == "binary"
    low, high = column.values or (0, None)
    made = column.support == "integer" and (low, high) != (0, 1) and _whole(x, 0, 1)
    return _whole(x, low, high) and not made


def _whole(x: xr.DataArray, low: int, high: int | None) -> bool:
    """Return whether all known values are whole numbers from `low` to `high`."""
    for values in blocks(x):
        known = values[~np.isnan(values)] if values.dtype.kind == "f" else values
        if known.size and (known.min() < low or (high is not None and known.max() > high)):
            return False
        if known.dtype.kind == "f" and (known != np.floor(known)).any():
            return False
    return True


def blocks(x: xr.DataArray, size: int = 32 << 20) -> Iterator[np.ndarray]:
    """Yield the values in slices of about `size` bytes, so that a file larger than memory can be processed."""
    first, rows = x.dims[0], x.shape[0]
    step = max(1, size // max(1, x.nbytes // max(1, rows)))
    for start in range(0, rows, step):
        yield x.isel({first: slice(start, start + step)}).values
