"""The command `probgen data`: the columns of a table as probgen reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from probgen.cli.common import Json, place, print_table, put
from probgen.cli.reading import with_tables
from probgen.errors import InputError


@with_tables
def command(
    file: Annotated[Path, typer.Argument(parser=place, help="Path of a table, e.g. a CSV file.")],
    how: Any = None,
    json: Json = False,
) -> None:
    """Show how a table is read, column by column.

    The list has the kind, the values, the gaps (missing values) and the use of each column. Check it before probgen fit,
    and correct the reading with the options below.

    Example: probgen data titanic.csv --drop alive,class --kind pclass=category
    """
    from probgen.datasets import path_of

    if path_of(file) is None:
        raise InputError(f"{file} is a data set, not a file. Use probgen datasets {file} to describe it.")
    from probgen.data.tables import summary

    found = summary(file, how.get("table"))
    title = f"{file}: {found.rows} rows, {len(found.columns)} columns"
    put(
        {"file": str(file), "rows": found.rows, "columns": found.columns},
        json,
        lambda: print_table(
            found.columns, ["column", "kind", "values", "gaps", "unit", "used_as", "why"], title
        ),
    )
