"""Parquet by row groups: tables larger than memory, in one file or in a folder of parts.

The columns are what they are in memory: one pass gathers what `frames.read_columns` goes by (`readers.specimens`). A row group is then decoded
when one of its rows is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from probgen.contract.columns import Column
from probgen.errors import FileError, InputError
from probgen.readers import groups
from probgen.readers.arrow import nullable, of_arrow, without_nullable
from probgen.readers.base import reason
from probgen.readers.described import attributes_of, marked
from probgen.readers.frames import (
    ROW_NAMES,
    Choices,
    Read,
    described_label,
    index_of,
    label_of,
    named,
    names_of_rows,
    numbers,
    read_columns,
    with_gaps,
)
from probgen.readers.groups import Groups, variable_of
from probgen.readers.specimens import Specimen


def is_parts(path: Path) -> bool:
    """Whether a folder has parts of a table in it, and nothing else."""
    return path.is_dir() and bool(visible := _visible(path)) and all(map(is_parquet, visible))


def is_parquet(path: Path) -> bool:
    """Whether a file is called as one of Parquet."""
    return path.suffix.lower() in (".parquet", ".pq")


def _visible(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.name[0] not in "._")  # marks of whoever wrote it


@dataclass(frozen=True)
class Parquet:
    """Row groups of one file, or of the files of a folder in the order of their names.

    path    as it was given
    files   that it is in
    groups  the file, the number in it, and how many rows it has, of each row group
    schema  Arrow's, the same in all files
    """

    path: Path
    files: tuple[Path, ...]
    groups: tuple[tuple[Path, int, int], ...]
    schema: Any

    @staticmethod
    def of(path: Path) -> Parquet:
        """What the footers say. Errors: `InputError` where pyarrow is missing, and for a part whose columns differ; `FileError`."""
        pq = _pyarrow(path)
        files = _visible(path) if path.is_dir() else [path]
        found: list[tuple[Path, int, int]] = []
        schema: Any = None
        for file in files:
            with _reading(file), pq.ParquetFile(file) as opened:
                if schema is None:
                    schema = opened.schema_arrow
                if (opened.schema_arrow.names, opened.schema_arrow.types) != (schema.names, schema.types):
                    raise InputError(f"{file}: {_difference(opened.schema_arrow, schema)} {files[0].name}")
                of_file = (opened.metadata.row_group(i).num_rows for i in range(opened.num_row_groups))
                found += [(file, i, rows) for i, rows in enumerate(of_file) if rows]
        names = list(schema.names)
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise InputError(f"{path} has two columns {twice[0]!r}: names must differ")
        return Parquet(path, tuple(files), tuple(found), schema)

    @property
    def rows(self) -> int:
        """How many there are."""
        return sum(rows for _, _, rows in self.groups)

    @property
    def is_large(self) -> bool:
        """Whether it would be more than is held whole, a number of 8 bytes a column and row."""
        return self.rows * len(self.columns) * 8 > groups.LAZY

    @cached_property
    def columns(self) -> dict[str, str]:
        """What columns are called, and their names in the file; without those that are an index of pandas."""
        beside = set(self._index)
        stored = [name for name in self.schema.names if name not in beside]
        return dict(zip(named(self.schema.empty_table().to_pandas()).columns, stored, strict=True))

    @property
    def _index(self) -> list[str]:
        pandas = self.schema.pandas_metadata or {}
        return [name for name in pandas.get("index_columns", ()) if isinstance(name, str)]

    def frame(self) -> pd.DataFrame:
        """All of it. Errors: `FileError`."""
        return of_arrow(self._table(None), spent=True)

    def _table(self, names: Sequence[str] | None) -> Any:
        """Some columns of all files, or all, as a table of Arrow's."""
        pq = _pyarrow(self.path)
        import pyarrow

        parts = []
        for file in self.files:
            with _reading(file), pq.ParquetFile(file) as opened:
                parts.append(opened.read(columns=names))
        if len(parts) == 1:
            return parts[0]
        plain = pyarrow.schema(
            [self.schema.field(name).with_nullable(True) for name in parts[0].schema.names]
        )
        return pyarrow.concat_tables(
            [part.cast(plain) for part in parts]
        )  # what may be null differs between writers

    def series(self, group: int, names: Sequence[str]) -> Iterator[pd.Series[Any]]:
        """Columns of a row group, one after the other, in nullable types. Errors: `FileError`."""
        pq = _pyarrow(self.path)
        import pyarrow

        file, i, _ = self.groups[group]
        with _reading(file), pq.ParquetFile(file) as opened:
            for name in names:
                column = opened.read_row_group(i, columns=[self.columns[name]])[self.columns[name]]
                yield nullable(pyarrow.table({name: column}))[name]

    def index(self) -> pd.DataFrame:
        """A frame without columns, whose index is that of the table. Errors: `FileError`, `InputError` for one of texts."""
        for name in self._index:
            if not _is_short(self.schema.field(name).type):
                raise InputError(
                    f"{self.path}: its rows are named by {name!r}, which is not of numbers, and the table is larger than memory: save it without "
                    "this index"
                )
        index = of_arrow(self._table(self._index)).index
        return pd.DataFrame(index=index if len(index) == self.rows else pd.RangeIndex(self.rows))


def specimens(
    found: Parquet, choices: Choices, like: Sequence[Column] = ()
) -> tuple[pd.DataFrame, dict[str, int]]:
    """A small table that `frames.read_columns` reads as it would the whole one, and how many gaps the columns have, in one pass.

    Errors: `InputError` for a value that contradicts the kind that was asked for, and for texts that are to be numbers; `FileError`.
    """
    names, known = list(found.columns), {column.name: column for column in like}
    unread = {*choices.dropped(names), choices.index}
    if any(column.support == "real" for column in like):
        unread |= set(known)  # what they are is known, and also that x is not of whole numbers
    wanted = [name for name in names if name not in unread]
    asked = {name: choices.kind_of(name) for name in wanted}
    of: dict[str, Specimen] = {}
    for name in wanted:
        label = name == (choices.label or "label") and name not in known
        classes = label or asked[name] == "category" or "<" in (asked[name] or "")
        numbering = name == names[0] and name in ROW_NAMES and asked[name] is None
        of[name] = Specimen(choices.rare or 1, classes=classes, numbering=numbering)
    first = 0
    for group, (_, _, rows) in enumerate(found.groups):
        for name, values in zip(wanted, found.series(group, wanted), strict=True):
            of[name].add(values, _marked(values, choices).dropna())
            if not of[name].classes and name not in known:
                _check(
                    found, _marked(values, choices), "real" if name == choices.weight else asked[name], first
                )
        first += rows
    longest = max((len(of[name].values()) for name in wanted), default=1)
    nothing = pd.Series([None] * longest, dtype=object)
    small = {name: of[name].values(longest) if name in of else nothing for name in names}
    gaps = {name: of[name].gaps if name in of else 0 for name in names}
    return with_gaps(without_nullable(pd.DataFrame(small)), choices.na), gaps


def _marked(values: pd.Series[Any], choices: Choices) -> pd.Series[Any]:
    """The same without what marks gaps."""
    return with_gaps(values.to_frame(), choices.na).iloc[:, 0] if choices.na else values


def _check(found: Parquet, values: pd.Series[Any], asked: str | None, first: int) -> None:
    """Errors: `InputError` for values that contradict the kind that was asked for, by their row, and for numbers that are not finite."""
    kind: Any = asked or ("real" if values.dtype.kind == "f" else None)
    if kind is None:
        return
    if values.dtype == object or pd.api.types.is_string_dtype(values.dtype):
        raise InputError(
            f"{found.path}: column {values.name!r} holds texts that are to be {kind}, and the table is larger than memory: save it as numbers, or "
            f"leave it out (--drop {quote(str(values.name))})"
        )
    numbers(values, Column(str(values.name), kind, 1 if kind == "integer" else None), first)


def row_groups(found: Parquet, choices: Choices, like: Sequence[Column] = ()) -> xr.Dataset:
    """The table as `x (row, feature)`, of which a row group is decoded when it is asked for, and what `frames.from_frame` has beside it.

    Errors: `InputError`, also when values are read that contradict what their column is; `FileError`.
    """
    if not found.rows:
        raise InputError(f"{found.path} has no rows")
    small, gaps = specimens(found, choices, like)
    reads = read_columns(small, str(found.path), choices, like, gaps)
    features = [each for each in reads if each.use == "feature"]
    if not features:
        raise InputError(f"{found.path} has no column to model")
    columns = [each.column for each in features if each.column is not None]
    whole = all(column.support != "real" for column in columns) and not any(each.gaps for each in features)
    dtype = np.dtype(np.int64 if whole else np.float64)
    largest = max(rows for _, _, rows in found.groups) * len(columns) * 8
    groups.say_large(found.path, largest, "row groups", "of fewer rows (row_group_size)")
    x = _lazy(found, choices, columns, dtype)
    variables: dict[str, Any] = {"x": variable_of(x, ("row", "feature"), attributes_of(columns))}
    coords: dict[str, Any] = {"feature": [column.name for column in columns]}
    called: dict[str, Any] | None = None
    for each in reads:
        if each.use == "label" and each.column is not None:
            codes = _read(found, choices, each.column)
            variables["label"] = ("row", label_of(codes), described_label(each.column))
        if each.use == "weight":
            variables["weight"] = ("row", _read(found, choices, Column(each.name, "real")))
        if each.use == "index":
            called = _names(found, each)
    coords |= index_of(found.index()) if called is None else called
    return marked(xr.Dataset(variables, coords))


def _lazy(found: Parquet, choices: Choices, columns: Sequence[Column], dtype: np.dtype[Any]) -> Groups:
    ends = np.cumsum([rows for _, _, rows in found.groups])
    names = [column.name for column in columns]

    def decode(group: int) -> np.ndarray:
        rows = found.groups[group][2]
        out = np.empty((rows, len(columns)), dtype)
        each = found.series(group, names)
        for i, (column, values) in enumerate(zip(columns, each, strict=True)):
            out[:, i] = numbers(_marked(values, choices), column, int(ends[group]) - rows)
        return out

    return Groups((found.rows, len(columns)), dtype, ends, decode)


def _read(found: Parquet, choices: Choices, column: Column) -> np.ndarray:
    """One column, whole: (row,), float64."""
    return np.asarray(
        variable_of(_lazy(found, choices, [column], np.dtype(np.float64)), ("row", "one")).values[:, 0]
    )


def _names(found: Parquet, read: Read) -> dict[str, Any]:
    """What rows are called by a column of numbers or dates. Errors: `InputError` for texts."""
    if not _is_short(found.schema.field(found.columns[read.name]).type):
        raise InputError(
            f"{found.path}: {read.name!r} is not of numbers, and the table is larger than memory: leave it out (--drop {quote(read.name)})"
        )
    parts = [values for g in range(len(found.groups)) for values in found.series(g, [read.name])]
    values = without_nullable(pd.DataFrame({read.name: pd.concat(parts, ignore_index=True)}))[read.name]
    return {"row": ("row", names_of_rows(values), {"name": read.name})}


def _is_short(kind: Any) -> bool:
    """Whether values of a type of Arrow's are numbers or times."""
    from pyarrow import types

    return any(
        told(kind)
        for told in (types.is_integer, types.is_floating, types.is_boolean, types.is_timestamp, types.is_date)
    )


def _difference(schema: Any, first: Any) -> str:
    if schema.names != first.names:
        return "its columns have other names, or another order, than those of"
    name = next(name for name in schema.names if schema.field(name).type != first.field(name).type)
    return f"its column {name!r} is of {schema.field(name).type}, not of {first.field(name).type} as in"


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    """Errors: `FileError` for what pyarrow cannot read."""
    import pyarrow

    try:
        yield
    except InputError:  # a ValueError, too
        raise
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise FileError(f"{file} cannot be read: {reason(error)}") from None


def _pyarrow(path: Path) -> Any:
    """Errors: `InputError` where it is missing."""
    try:
        import pyarrow.parquet
    except ImportError:
        raise InputError(f"{path}: needs pyarrow: pip install pyarrow, or save it as .csv") from None
    return pyarrow.parquet
