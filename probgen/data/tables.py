"""What was read of a table, in words."""

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

SHOWN = 6  # classes that are named
WORDS = {"token": "category"}


@dataclass(frozen=True)
class Summary:
    """How many rows a table has, and of each column: column, kind, values, gaps, used_as, why."""

    rows: int
    columns: list[dict[str, Any]]


def _frame(path: Path, choices: Choices) -> tuple[pd.DataFrame, int, dict[str, int] | None]:
    """A table, or of one that is larger than memory some rows that say as much; how many rows there are, and, of the latter, gaps by column."""
    if str(path) == datasets.STDIN:
        raise InputError("probgen data looks at files: save what comes by standard input to one")
    if kind_of(path, table=bool(choices.first())) != "tables":
        raise InputError(f"{path} is no table whose columns could be shown: {', '.join([*SUFFIXES, *ARROW])}")
    if is_parquet(path) or path.is_dir():
        found = Parquet.of(path)
        if found.is_large:
            small, gaps = specimens(found, choices)
            return small, found.rows, gaps
    whole = arrow_frame(path) if path.suffix.lower() in ARROW or path.is_dir() else table(path, choices)
    frame = with_gaps(named(whole), choices.na)
    return frame, len(frame), None


def summary(path: Path, choices: Mapping[str, Any] | None = None) -> Summary:
    """Read a file as a fit would. Errors: `InputError`, `FileError`."""
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
    """The columns of a model, a line each."""
    return [
        {"column": column.name, **_words(column), "gaps": "some" if column.gaps else None}
        for column in columns
    ]


def _words(column: Column) -> dict[str, Any]:
    """Kind, classes and unit."""
    kind = WORDS.get(column.support, column.support)
    line: dict[str, Any] = {"kind": f"ordered {kind}" if column.ordered else kind}
    if column.classes and column.support == "token":
        more = f", ... ({column.levels})" if len(column.classes) > SHOWN else ""
        line["values"] = (" < " if column.ordered else ", ").join(column.classes[:SHOWN]) + more
    if column.support == "integer" and column.values is not None:
        line["values"] = "{} to {}".format(*column.values)
    return line | ({"unit": column.unit} if column.unit else {})
