"""Conversion of a table to the columns of an event. Columns and classes are matched by name."""

from __future__ import annotations

from dataclasses import replace
from shlex import quote

import numpy as np
import xarray as xr

from probgen.contract.columns import RARE, Column
from probgen.contract.event import Event
from probgen.data.describe import columns_in, described
from probgen.errors import InputError, did_you_mean
from probgen.readers.described import blocks
from probgen.readers.frames import same_names


def in_columns_of(event: Event, dataset: xr.Dataset) -> xr.Dataset:
    """Return a table with columns in the order of an event, and with the class numbers of the event.

    Args:
        event: The event of a model.
        dataset: The table. Columns without names are matched by position.

    Returns:
        The table in the columns of the event.

    Raises:
        InputError: When columns are missing or unexpected, or a class is not in the event.
    """
    x = dataset["x"]
    own = columns_in(x)
    if not event.columns:
        classes = [column for column in own if column.support == "token"]
        if classes and event.support != "token":
            raise InputError(
                f"column {classes[0]} has classes, but the model was fitted to numbers without names ({event}). Give an array of numbers."
            )
        return dataset
    if not own:
        return dataset
    names, wanted = [column.name for column in own], [column.name for column in event.columns]
    same_names(names, wanted, "the table")
    order = [names.index(name) for name in wanted]
    found = [own[i] for i in order]
    if found == list(event.columns) and names == wanted:
        return dataset
    dataset = dataset if names == wanted else dataset.isel(feature=order)
    x = dataset["x"]
    attrs = {name: value for name, value in x.attrs.items() if name not in ("support", "levels", "columns")}
    attrs |= described(event)
    others = {
        i: pair
        for i, pair in enumerate(zip(found, event.columns, strict=True))
        if len({(column.support, column.classes) for column in pair}) > 1
        and any(column.classes for column in pair)
    }
    if not others:  # values stay where they are, even on disk
        x = x.copy(deep=False)
        x.attrs = attrs
        return dataset.assign(x=x)
    values = x.values.copy()
    for i, (was, column) in others.items():
        values = values if values.dtype.kind == "f" else values.astype(np.float64)
        values[:, i] = _recoded(values[:, i], was, column)
    return dataset.assign(x=(x.dims, values, attrs))


def check_supports(event: Event, supports: frozenset[str], family: str) -> None:
    """Check that a family supports all columns of an event.

    Args:
        event: The event of the data.
        supports: Supports that the family accepts.
        family: Name of the family, for error messages.

    Raises:
        InputError: When the family does not accept a column. The message names the column and the options that change it.
    """
    wanted = [column for column in event.columns if column.support not in supports]
    if event.support in supports and not wanted:
        return
    if event.support != "mixed" and not event.columns:
        raise InputError(
            f"{family} does not accept x of {event}. {family} accepts {', '.join(sorted(supports))}; probgen families lists other families."
        )
    if wanted:
        raise InputError(
            f"{family} does not accept the column {wanted[0]}, only {', '.join(sorted(supports - {'mixed'}))}. Set the kind of the column "
            f"(--kind {quote(wanted[0].name)}={_kind_of(supports)}), leave the column out (--drop {quote(wanted[0].name)}), or choose another family (probgen families)."
        )
    kinds = {column.support: column for column in event.columns}
    raise InputError(
        f"{family} accepts columns of a single kind, but the table has {', '.join(map(str, kinds.values()))}. Leave columns out (--drop), "
        f"set the kind of columns (--kind NAME={_kind_of(supports)}), or choose another family (probgen families)."
    )


def _kind_of(supports: frozenset[str]) -> str:
    """Return a kind, in the words of --kind, that a family accepts."""
    some = sorted(supports - {"mixed"}, key=["real", "integer", "count", "binary", "token"].index)
    return some[0].replace("token", "category")


def with_gaps(event: Event, dataset: xr.Dataset) -> Event:
    """Return the event, with a mark at each table column that has missing values."""
    if not event.columns:
        return event
    gaps = np.zeros(len(event.columns), bool)
    if dataset["x"].dtype.kind == "f":
        for values in blocks(dataset["x"]):
            gaps |= np.isnan(values).any(0)
    if "observed" in dataset:
        for values in blocks(dataset["observed"]):
            gaps |= (values == 0).any(0)
    columns = (replace(column, gaps=bool(gap)) for column, gap in zip(event.columns, gaps, strict=True))
    return replace(event, columns=tuple(columns))


def _recoded(values: np.ndarray, found: Column, column: Column) -> np.ndarray:
    """Return the values of a column in the class numbers of the model's column. Classes are matched by name."""
    known = ~np.isnan(values)
    if column.classes:
        numbers = {name: number for number, name in enumerate(column.classes)}
        codes, inverse = np.unique(values[known], return_inverse=True)
        told = [_called(code, found) for code in codes]
        new = [name for name in told if name not in numbers and RARE not in numbers]
        if new:
            row = int(np.flatnonzero(known)[inverse == told.index(new[0])][0])
            raise InputError(
                f"row {row}, column {column.name!r} = {new[0]!r}: the model was not fitted to this class; {did_you_mean(new[0], numbers)}"
            )
        out = np.full(len(values), np.nan)
        other = numbers.get(RARE, -1)
        out[known] = (
            np.array([numbers.get(name, other) for name in told], dtype=float)[inverse] if told else []
        )
        return out
    if found.support == "binary":  # False and True become 0 and 1
        return values
    row = int(np.flatnonzero(known)[0]) if known.any() else 0
    raise InputError(
        f"row {row}, column {column.name!r} = {_called(values[row], found)!r}: the model was fitted to numbers ({column.support}). "
        "Give this column as numbers."
    )


def _called(value: float, column: Column) -> str:
    """Return the name of a value: the name of its class, or the number in digits."""
    if column.classes and 0 <= value < len(column.classes):
        return column.classes[int(value)]
    return str(int(value)) if value == int(value) else str(value)
