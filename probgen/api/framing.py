"""frame: a table of draws, or of rows, as the data frame that it came from would be."""

from __future__ import annotations

import csv
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from probgen.data.describe import columns_in
from probgen.data.ingest import as_dataset
from probgen.errors import InputError
from probgen.readers.series import rounded, series
from probgen.readers.tables import GAPS
from probgen.store.files import checked_path, write_fresh

if TYPE_CHECKING:
    import pandas as pd

TABLES = (".csv", ".tsv", ".parquet")


def frame(data: xr.Dataset | xr.DataArray) -> pd.DataFrame:
    """Rows of a table, or draws of `probgen.sample`, with the names, types and classes of the columns of the fit.

    Draws (dimension `sample`) of a column of whole numbers are rounded to such. Draws of several rows have an index of `sample` and `row`. A gap is NA, in a nullable type. Errors: `InputError` for what is no table.
    """
    import pandas as pd

    if isinstance(data, xr.Dataset) and "x" not in data:
        raise InputError(
            "these are no draws and no rows: they have no x; of an analysis give one variable, as found.table"
        )
    x = data["x"] if isinstance(data, xr.Dataset) else data
    if x.dims[-1:] != ("feature",) or "feature" not in x.coords:
        raise InputError(
            f"x has dimensions {', '.join(map(str, x.dims))} and is no table: its columns have no names"
        )
    flat = x.values.reshape(-1, x.sizes["feature"])
    alone = xr.DataArray(flat, dims=("row", "feature"), coords={"feature": x["feature"]}, attrs=x.attrs)
    alone.encoding = x.encoding
    columns = columns_in(as_dataset(alone)["x"])
    index = None
    if x.ndim == 3:
        rows = x["row"].values if "row" in x.coords else np.arange(x.sizes["row"])
        names = [name if name not in x["feature"].values else f"({name})" for name in ("sample", "row")]
        index = pd.MultiIndex.from_product([np.arange(len(x)), rows], names=names)
    elif "row" in x.coords:
        index = pd.Index(x["row"].values, name=x["row"].attrs.get("name"))
    flat = rounded(flat, columns) if "sample" in x.dims else flat
    made = {column.name: series(flat[:, i], column) for i, column in enumerate(columns)}
    return pd.DataFrame(made).set_axis(index, axis=0) if index is not None else pd.DataFrame(made)


def write_table(data: xr.Dataset | xr.DataArray, path: str | Path) -> Path:
    """The same as a file, `.csv`, `.tsv` or `.parquet`; never over one that is there. Errors: `InputError`, `RunError`."""
    path = checked_path(path, "path")
    suffix = path.suffix.lower()
    if suffix not in TABLES:
        raise InputError(f"{path}: tables are written as {', '.join(TABLES)}")
    table = frame(data)
    indexed = is_named(table)
    if suffix == ".parquet":
        try:
            content = table.to_parquet(index=indexed)
        except ImportError:
            raise InputError(f"{path}: Parquet needs pyarrow: pip install pyarrow, or write .csv") from None
        assert isinstance(content, bytes)
    else:
        content = separated(table, "\t" if suffix == ".tsv" else ",", indexed)
    write_fresh(path, content)
    return path


def separated(table: pd.DataFrame, sep: str, indexed: bool) -> bytes:
    """Separated values, in quotes where a text would be another one without. Errors: `InputError` where two things would be one."""
    texts = [str(name) for name in table.columns]
    for name in table.columns:
        if table[name].dtype.kind in "biuf":
            continue
        classes = {str(each) for each in table[name].dropna().unique()}
        if "" in classes and table[name].hasnans:
            raise InputError(
                f"column {name!r} has gaps and the class '', which separated values write alike: write .parquet"
            )
        if marks := sorted(classes & {*GAPS}):
            warnings.warn(
                f"column {name!r} has the class {marks[0]!r}, which readers of separated values take for a gap: .parquet keeps it",
                stacklevel=3,
            )
        texts += classes
    odd = any(text != text.strip() or "\r" in text or text.startswith("#") for text in texts)
    quoting: Any = csv.QUOTE_NONNUMERIC if odd else csv.QUOTE_MINIMAL
    return table.to_csv(index=indexed, sep=sep, quoting=quoting).encode()


def is_named(table: pd.DataFrame) -> bool:
    """Whether its rows are called something, which a file should hold."""
    import pandas as pd

    index: object = table.index
    return not isinstance(index, pd.RangeIndex)
