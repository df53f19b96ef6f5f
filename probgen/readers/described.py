"""Descriptions that do not outlive what they describe.

What a reader knows of values (their support, their levels, the columns of a table) is in the attributes of a variable. xarray keeps attributes through
arithmetic, where they are no longer true: `digits.x > 7` is no integer of 17 levels. But it drops a variable's encoding wherever values are worked
out anew, and keeps it where they are selected, put in order, renamed or joined. So a description is marked in both places; where only the attributes
have the mark (values were worked out, or come back from a file), it holds for as long as the values are such as it says.

Attributes that you set yourself have no mark, and are taken at their word.
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
CLASSES = "classes"  # a coordinate without dimensions: what the classes of a table are, as a number, which differs where others are joined to it


def marked(dataset: xr.Dataset) -> xr.Dataset:
    """The same, whose descriptions are marked as true. Changes the variables themselves."""
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
    """The same without the mark of its classes. Errors: `InputError` for rows of tables that name their classes differently, which were joined."""
    if CLASSES not in dataset.coords:
        return dataset
    if dataset[CLASSES].ndim:
        raise InputError(
            "x is joined of tables whose columns or classes differ, and its numbers mean different classes: join the DataFrames, or read the files as one"
        )
    return dataset.drop_vars(CLASSES)


def holds(x: xr.DataArray) -> bool:
    """Whether `support` among the attributes is of these values."""
    attrs = x.attrs
    if MARK not in attrs or x.encoding.get(MARK) or attrs["support"] == "mixed":
        return True
    levels = int(attrs["levels"]) if "levels" in attrs else None
    return _is_such(x, Column("", attrs["support"], levels))


def described_columns(x: xr.DataArray) -> dict[str, Column]:
    """What the attributes say of columns, by name, as far as it is true of these values. Errors: `InputError` for what are no columns."""
    if "columns" not in x.attrs:
        return {}
    try:
        told = [Column.from_dict(each) for each in json.loads(x.attrs["columns"])]
    except (ValueError, TypeError, KeyError, AttributeError):
        raise InputError(
            f"x.attrs['columns'] = {str(x.attrs['columns'])[:80]}: no description of columns; drop it"
        ) from None
    names = [str(name) for name in x["feature"].values]
    here = {column.name: column for column in told if column.name in names}
    if MARK not in x.attrs or x.encoding.get(MARK):
        return here
    return {name: _true_of(x.isel(feature=names.index(name)), column) for name, column in here.items()}


def attributes_of(columns: Iterable[Column]) -> dict[str, Any]:
    """How columns are described among the attributes of a table."""
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
    """The column, or what its values are where it is described as something else."""
    if _is_such(x, column):
        return column
    plain = Column(column.name, "real")
    if x.dtype.kind == "b" or _whole(x, 0, 1):
        return replace(plain, support="binary")
    return replace(plain, support="count") if _whole(x, 0, None) else plain


def _is_such(x: xr.DataArray, column: Column) -> bool:
    """Whether values can be those of a column as described; of an integer that 0 and 1 are not all there is, for these were made of it."""
    if column.support == "real":
        return x.dtype.kind == "f"
    if x.dtype.kind == "b":
        return column.support == "binary"
    low, high = column.values or (0, None)
    made = column.support == "integer" and (low, high) != (0, 1) and _whole(x, 0, 1)
    return _whole(x, low, high) and not made


def _whole(x: xr.DataArray, low: int, high: int | None) -> bool:
    """Whether values, of which some may be missing, are whole numbers from `low` to `high`."""
    for values in blocks(x):
        known = values[~np.isnan(values)] if values.dtype.kind == "f" else values
        if known.size and (known.min() < low or (high is not None and known.max() > high)):
            return False
        if known.dtype.kind == "f" and (known != np.floor(known)).any():
            return False
    return True


def blocks(x: xr.DataArray, size: int = 32 << 20) -> Iterator[np.ndarray]:
    """The values in slices of about `size` bytes, so that a file larger than memory can be gone through."""
    first, rows = x.dims[0], x.shape[0]
    step = max(1, size // max(1, x.nbytes // max(1, rows)))
    for start in range(0, rows, step):
        yield x.isel({first: slice(start, start + step)}).values
