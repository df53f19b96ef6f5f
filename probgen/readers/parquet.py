"""Reader for Parquet by row groups: tables larger than memory, in one file or in a folder of parts.

The columns get the same descriptions as in memory: one pass collects representative values for `frames.read_columns` (`readers.specimens`). A row group
is then decoded when one of its rows is used.
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
    check_columns,
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
    """Return whether a folder has Parquet files and no other files."""
    return path.is_dir() and bool(visible := _visible(path)) and all(map(is_parquet, visible))


def is_parquet(path: Path) -> bool:
    """Return whether a file has a suffix of Parquet."""
    return path.suffix.lower() in (".parquet", ".pq")


def _visible(folder: Path) -> list[Path]:
    return sorted(
        file for file in folder.iterdir() if file.name[0] not in "._"
    )  # hidden files are marks of the writing program


@dataclass(frozen=True)
class Parquet:
    """Row groups of one file, or of the files of a folder in the order of their names.

    Attributes:
        path: Path of the file or folder.
        files: Files of the table.
        groups: File, number in the file, and number of rows of each row group.
        schema: Arrow schema, the same in all files.
    """

    path: Path
    files: tuple[Path, ...]
    groups: tuple[tuple[Path, int, int], ...]
    schema: Any

    @staticmethod
    def of(path: Path) -> Parquet:
        """Read the footers of the files.

        Args:
            path: Path of the file or folder.

        Returns:
            The row groups.

        Raises:
            InputError: When pyarrow is missing, or the files have different columns.
            FileError: When a file cannot be read.
        """
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
            raise InputError(f"{path} has two columns {twice[0]!r}. Give each column a different name.")
        return Parquet(path, tuple(files), tuple(found), schema)

    @property
    def rows(self) -> int:
        """The number of rows."""
        return sum(rows for _, _, rows in self.groups)

    @property
    def is_large(self) -> bool:
        """Whether the table, with 8 bytes per value, exceeds the limit for data in memory."""
        return self.rows * len(self.columns) * 8 > groups.LAZY

    @cached_property
    def columns(self) -> dict[str, str]:
        """Column names, and their names in the file, without the index columns of pandas."""
        beside = set(self._index)
        stored = [name for name in self.schema.names if name not in beside]
        return dict(zip(named(self.schema.empty_table().to_pandas()).columns, stored, strict=True))

    @property
    def _index(self) -> list[str]:
        pandas = self.schema.pandas_metadata or {}
        return [name for name in pandas.get("index_columns", ()) if isinstance(name, str)]

    def frame(self) -> pd.DataFrame:
        """Return the whole table. Raise `FileError` if a file cannot be read."""
        return of_arrow(self._table(None), spent=True)

    def _table(self, names: Sequence[str] | None) -> Any:
        """Return columns of all files as an Arrow table. None selects all columns."""
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
        )  # nullability of a column can differ between files

    def series(self, group: int, names: Sequence[str]) -> Iterator[pd.Series[Any]]:
        """Yield columns of a row group, one after the other, in nullable types. Raise `FileError` if the file cannot be read."""
        pq = _pyarrow(self.path)
        import pyarrow

        file, i, _ = self.groups[group]
        with _reading(file), pq.ParquetFile(file) as opened:
            for name in names:
                column = opened.read_row_group(i, columns=[self.columns[name]])[self.columns[name]]
                yield nullable(pyarrow.table({name: column}))[name]

    def index(self) -> pd.DataFrame:
        """Return a DataFrame without columns, with the index of the table.

        Raise `InputError` for an index of texts, or `FileError` if the file cannot be read.
        """
        for name in self._index:
            if not _is_short(self.schema.field(name).type):
                raise InputError(
                    f"{self.path}: the row names {name!r} are not numbers, which is not supported for a table larger than memory. Save the table without "
                    "this index."
                )
        index = of_arrow(self._table(self._index)).index
        return pd.DataFrame(index=index if len(index) == self.rows else pd.RangeIndex(self.rows))


def specimens(
    found: Parquet, choices: Choices, like: Sequence[Column] = ()
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Collect a small table for which `frames.read_columns` gives the same result as for the whole table, in one pass.

    Args:
        found: The table.
        choices: How the table is read.
        like: Columns of a model.

    Returns:
        The small table, and the number of missing values by column.

    Raises:
        InputError: When a value contradicts the requested kind, or texts are to be read as numbers.
        FileError: When a file cannot be read.
    """
    names, known = list(found.columns), {column.name: column for column in like}
    unread = {*choices.dropped(names), choices.index}
    if any(column.support == "real" for column in like):
        unread |= set(known)  # the model describes them, and x has real values in any case
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
    """Return values with missing values in place of the marks."""
    return with_gaps(values.to_frame(), choices.na).iloc[:, 0] if choices.na else values


def _check(found: Parquet, values: pd.Series[Any], asked: str | None, first: int) -> None:
    """Raise `InputError` for values that contradict the requested kind, and for infinite numbers. The message gives the row."""
    kind: Any = asked or ("real" if values.dtype.kind == "f" else None)
    if kind is None:
        return
    if values.dtype == object or pd.api.types.is_string_dtype(values.dtype):
        raise InputError(
            f"{found.path}: column {values.name!r} has texts, which cannot be read as {kind} in a table larger than memory. Save the column as numbers, or "
            f"leave it out (--drop {quote(str(values.name))})."
        )
    numbers(values, Column(str(values.name), kind, 1 if kind == "integer" else None), first)


def row_groups(found: Parquet, choices: Choices, like: Sequence[Column] = ()) -> xr.Dataset:
    """Return a table as lazy `x (row, feature)`, with the same other variables as `frames.from_frame`. A row group is decoded on use.

    Args:
        found: The table.
        choices: How the table is read.
        like: Columns of a model. Columns with the same names are read with the same kinds and classes.

    Returns:
        A Dataset with `x (row, feature)`. Reading its values can raise `InputError` for values that contradict their column.

    Raises:
        InputError: When the table has no rows, or a column is ambiguous.
        FileError: When a file cannot be read.
    """
    if not found.rows:
        raise InputError(f"{found.path} has no rows. Give at least one row.")
    choices = choices.at(list(found.columns))
    check_columns(list(found.columns), str(found.path), choices, like)
    small, gaps = specimens(found, choices, like)
    reads = read_columns(small, str(found.path), choices, like, gaps)
    features = [each for each in reads if each.use == "feature"]
    if not features:
        raise InputError(
            f"{found.path} has no column to model. Leave at least one column that is not a label, a weight, an index or dropped."
        )
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
    """Read one whole column: (row,), float64."""
    return np.asarray(
        variable_of(_lazy(found, choices, [column], np.dtype(np.float64)), ("row", "one")).values[:, 0]
    )


def _names(found: Parquet, read: Read) -> dict[str, Any]:
    """Return the row names from a column of numbers or dates. Raise `InputError` for texts."""
    if not _is_short(found.schema.field(found.columns[read.name]).type):
        raise InputError(
            f"{found.path}: the row names {read.name!r} are not numbers, which is not supported for a table larger than memory. "
            f"Leave the column out (--drop {quote(read.name)})."
        )
    parts = [values for g in range(len(found.groups)) for values in found.series(g, [read.name])]
    values = without_nullable(pd.DataFrame({read.name: pd.concat(parts, ignore_index=True)}))[read.name]
    return {"row": ("row", names_of_rows(values), {"name": read.name})}


def _is_short(kind: Any) -> bool:
    """Return whether an Arrow type has numbers or times."""
    from pyarrow import types

    return any(
        told(kind)
        for told in (types.is_integer, types.is_floating, types.is_boolean, types.is_timestamp, types.is_date)
    )


def _difference(schema: Any, first: Any) -> str:
    if schema.names != first.names:
        return "the names or the order of its columns differ from"
    name = next(name for name in schema.names if schema.field(name).type != first.field(name).type)
    return f"its column {name!r} has type {schema.field(name).type}, not {first.field(name).type} as in"


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    """Convert errors of pyarrow into `FileError`."""
    import pyarrow

    try:
        yield
    except InputError:  # also a ValueError, but not from pyarrow
        raise
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise FileError(f"{file} cannot be read: {reason(error)}") from None


def _pyarrow(path: Path) -> Any:
    """Import pyarrow. Raise `InputError` if it is missing."""
    try:
        import pyarrow.parquet
    except ImportError:
        raise InputError(
            f"{path}: this format requires pyarrow. Install pyarrow with pip install pyarrow, or save the table as .csv."
        ) from None
    return pyarrow.parquet
