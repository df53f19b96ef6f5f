"""Summary of a table as probgen reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from probgen import datasets
from probgen.contract.columns import Column
from probgen.errors import InputError
from probgen.readers import Choices, arrow_frame, kind_of, table
from probgen.readers.frames import named, numbers, read_columns, with_gaps
from probgen.readers.parquet import Parquet, is_parquet, specimens
from probgen.readers.tables import ARROW, SUFFIXES

SHOWN = 6  # number of class names shown
WORDS = {"token": "category"}


@dataclass(frozen=True)
class Summary:
    """A summary of a table.

    Attributes:
        rows: Number of rows.
        columns: One dictionary per column, with keys such as column, kind, values, gaps, used_as and why.
    """

    rows: int
    columns: list[dict[str, Any]]


def _frame(path: Path, choices: Choices) -> tuple[pd.DataFrame, int, dict[str, int] | None]:
    """Return a table, its number of rows, and None.

    For a table larger than memory, return representative rows instead, and the number of missing values per column instead of None.
    """
    if str(path) == datasets.STDIN:
        raise InputError("probgen data reads files, not standard input. Save the table to a file.")
    if kind_of(path, table=bool(choices.first())) != "tables":
        raise InputError(
            f"{path} is not a table, so it has no columns to show. Tables have the suffixes {', '.join([*SUFFIXES, *ARROW])}."
        )
    if is_parquet(path) or path.is_dir():
        found = Parquet.of(path)
        if found.is_large:
            small, gaps = specimens(found, choices)
            return small, found.rows, gaps
    whole = arrow_frame(path) if path.suffix.lower() in ARROW or path.is_dir() else table(path, choices)
    frame = with_gaps(named(whole), choices.na)
    return frame, len(frame), None


def summary(path: Path, choices: Mapping[str, Any] | None = None) -> Summary:
    """Read a table in the same way as a fit, and summarize its columns.

    Args:
        path: Path of the table.
        choices: How the table is read. See `probgen.datasets.load`.

    Returns:
        The number of rows, and a description of each column.

    Raises:
        InputError: When the file is not a table, or its columns are ambiguous.
        FileError: When the file cannot be read.
    """
    wanted = Choices.of(choices)
    frame, rows, gaps = _frame(path, wanted)
    lines = []
    for read in read_columns(frame, str(path), wanted, counted=gaps):
        if read.use == "weight":
            numbers(frame[read.name], Column(read.name, "real"))
        column = read.column
        line: dict[str, Any] = {"column": read.name, "used_as": read.use, "why": read.why or None}
        line["gaps"] = read.gaps or None
        if column is not None:
            line |= _words(column)
            if "values" not in line:
                x = numbers(frame[read.name], column)
                line["values"] = f"{np.nanmin(x):.6g} to {np.nanmax(x):.6g}"
        lines.append(line)
    return Summary(rows, lines)


def told(columns: Sequence[Column]) -> list[dict[str, Any]]:
    """Return the columns of a model, one dictionary per column."""
    return [
        {"column": column.name, **_words(column), "gaps": "some" if column.gaps else None}
        for column in columns
    ]


def _words(column: Column) -> dict[str, Any]:
    """Return kind, values and unit of a column, as text."""
    kind = WORDS.get(column.support, column.support)
    line: dict[str, Any] = {"kind": f"ordered {kind}" if column.ordered else kind}
    if column.classes and column.support == "token":
        more = f", ... ({column.levels})" if len(column.classes) > SHOWN else ""
        line["values"] = (" < " if column.ordered else ", ").join(column.classes[:SHOWN]) + more
    if column.support == "integer" and column.values is not None:
        line["values"] = "{} to {}".format(*column.values)
    return line | ({"unit": column.unit} if column.unit else {})
