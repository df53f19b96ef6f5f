"""Tables in the columns of an event: by name, classes by what they are called."""

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

SAID = 8  # names in a message


def in_columns_of(event: Event, dataset: xr.Dataset) -> xr.Dataset:
    """The same table with its columns in the order of an event, and classes by the numbers that they have there.

    Columns without names go by their position. Errors: `InputError` for columns that are missing or too many, and for a class that
    the event has not.
    """
    x = dataset["x"]
    own = columns_in(x)
    if not event.columns:
        classes = [column for column in own if column.support == "token"]
        if classes and event.support != "token":
            raise InputError(
                f"column {classes[0]} holds classes; the model was fitted to numbers that have no names ({event})"
            )
        return dataset
    if not own:
        return dataset
    names, wanted = [column.name for column in own], [column.name for column in event.columns]
    _same_names(names, wanted)
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
    if not others:  # as it lies, be it larger than memory
        x = x.copy(deep=False)
        x.attrs = attrs
        return dataset.assign(x=x)
    values = x.values.copy()
    for i, (was, column) in others.items():
        values = values if values.dtype.kind == "f" else values.astype(np.float64)
        values[:, i] = _recoded(values[:, i], was, column)
    return dataset.assign(x=(x.dims, values, attrs))


def check_supports(event: Event, supports: frozenset[str], family: str) -> None:
    """Errors: `InputError` for values that a family does not take, with the column and what makes it another."""
    wanted = [column for column in event.columns if column.support not in supports]
    if event.support in supports and not wanted:
        return
    if event.support != "mixed" and not event.columns:
        raise InputError(f"{family} does not take x of {event}: it takes {', '.join(sorted(supports))}")
    if wanted:
        raise InputError(
            f"{family} does not take the column {wanted[0]}: it takes {', '.join(sorted(supports - {'mixed'}))}; say what it is "
            f"(--kind {quote(wanted[0].name)}=real), leave it out (--drop {quote(wanted[0].name)}), or choose another family (probgen families)"
        )
    kinds = {column.support: column for column in event.columns}
    raise InputError(
        f"{family} takes columns of one kind, and these are {', '.join(map(str, kinds.values()))}: leave some out (--drop), say what "
        "they are (--kind NAME=real), or choose another family (probgen families)"
    )


def with_gaps(event: Event, dataset: xr.Dataset) -> Event:
    """The event with what columns of a table have missing values."""
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


def _same_names(names: list[str], wanted: list[str]) -> None:
    missing, extra = ([n for n in a if n not in b] for a, b in ((wanted, names), (names, wanted)))
    if missing:
        has = f"; it has {_listed(extra)}, which the model has not" if extra else ""
        raise InputError(f"the table has no column {_listed(missing)}, which the model was fitted to{has}")
    if extra:
        raise InputError(f"column {_listed(extra)}: the model was not fitted to it; leave it out (--drop)")


def _recoded(values: np.ndarray, found: Column, column: Column) -> np.ndarray:
    """Values of a column in the numbers of another one of the same name, by what they are called."""
    known = ~np.isnan(values)
    if column.classes:
        numbers = {name: number for number, name in enumerate(column.classes)}
        codes, inverse = np.unique(values[known], return_inverse=True)
        told = [_called(code, found) for code in codes]
        new = [name for name in told if name not in numbers and RARE not in numbers]
        if new:
            row = int(np.flatnonzero(known)[inverse == told.index(new[0])][0])
            raise InputError(
                f"row {row}, column {column.name!r}: {new[0]!r}, which the model has not seen; {did_you_mean(new[0], numbers)}"
            )
        out = np.full(len(values), np.nan)
        other = numbers.get(RARE, -1)
        out[known] = (
            np.array([numbers.get(name, other) for name in told], dtype=float)[inverse] if told else []
        )
        return out
    if found.support == "binary":  # False and True as 0 and 1
        return values
    row = int(np.flatnonzero(known)[0]) if known.any() else 0
    raise InputError(
        f"row {row}, column {column.name!r}: {_called(values[row], found)!r}; the model was fitted to numbers ({column.support})"
    )


def _called(value: float, column: Column) -> str:
    """What a value is called: the name of its class, or the number in digits."""
    if column.classes and 0 <= value < len(column.classes):
        return column.classes[int(value)]
    return str(int(value)) if value == int(value) else str(value)


def _listed(names: list[str]) -> str:
    return ", ".join(map(repr, names[:SAID])) + (", ..." if len(names) > SAID else "")
