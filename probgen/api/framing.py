"""The calls `frame` and `write_table`: samples or rows of a table as a DataFrame or as a file."""

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
from probgen.store.files import checked_path, write_fresh, write_whole

if TYPE_CHECKING:
    import pandas as pd

TABLES = (".csv", ".tsv", ".parquet")


def frame(data: xr.Dataset | xr.DataArray) -> pd.DataFrame:
    """Return samples or rows of a table as a DataFrame, with the names, types and classes of the columns.

    Samples of a column of whole numbers are rounded to whole numbers. Missing values are NA, in a nullable type.

    Args:
        data: A table as a Dataset with x, or as x itself: (row, feature), (sample, feature) or (sample, row, feature).

    Returns:
        The table. Samples of several rows have an index with the levels `sample` and `row`.

    Raises:
        InputError: When the data is not a table.
    """
    import pandas as pd

    if isinstance(data, xr.Dataset) and "x" not in data:
        raise InputError(
            "the Dataset has no x, so it contains neither samples nor rows. For an analysis, give one variable, e.g. found.table."
        )
    x = data["x"] if isinstance(data, xr.Dataset) else data
    if x.dims[-1:] != ("feature",) or "feature" not in x.coords:
        raise InputError(
            f"x has dimensions {', '.join(map(str, x.dims))}: a table is needed, with named columns as its last dimension"
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


def write_table(data: xr.Dataset | xr.DataArray, path: str | Path, *, force: bool = False) -> Path:
    """Write samples or rows of a table to a file.

    Args:
        data: A table, as for `frame`.
        path: A new file that ends in `.csv`, `.tsv` or `.parquet`. An existing file is not replaced.
        force: Replace an existing file.

    Returns:
        The path of the file.

    Raises:
        InputError: When the data is not a table, the path has another ending, or the file exists.
        RunError: When the file cannot be written.
    """
    path = checked_path(path, "path")
    suffix = path.suffix.lower()
    if suffix not in TABLES:
        raise InputError(
            f"path = {path}: tables are written to {', '.join(TABLES)} files. Choose one of these endings."
        )
    table = frame(data)
    indexed = is_named(table)
    if suffix == ".parquet":
        try:
            content = table.to_parquet(index=indexed)
        except ImportError:
            raise InputError(
                f"path = {path}: Parquet needs pyarrow. Run pip install pyarrow, or write a .csv file."
            ) from None
        assert isinstance(content, bytes)
    else:
        content = separated(table, "\t" if suffix == ".tsv" else ",", indexed)
    (write_whole if force else write_fresh)(path, content)
    return path


def separated(table: pd.DataFrame, sep: str, indexed: bool) -> bytes:
    """Return a table as separated values, with quotes if a text would otherwise change.

    It raises `InputError` if missing values and the class '' would be written alike.
    """
    texts = [str(name) for name in table.columns]
    for name in table.columns:
        if table[name].dtype.kind in "biuf":
            continue
        classes = {str(each) for each in table[name].dropna().unique()}
        if "" in classes and table[name].hasnans:
            raise InputError(
                f"column {name!r} has missing values and the class '', which text files cannot distinguish. Write a .parquet file."
            )
        if marks := sorted(classes & {*GAPS}):
            warnings.warn(
                f"column {name!r} has the class {marks[0]!r}, which programs read as a missing value. A .parquet file preserves it.",
                stacklevel=3,
            )
        texts += classes
    odd = any(text != text.strip() or "\r" in text or text.startswith("#") for text in texts)
    quoting: Any = csv.QUOTE_NONNUMERIC if odd else csv.QUOTE_MINIMAL
    return table.to_csv(index=indexed, sep=sep, quoting=quoting).encode()


def is_named(table: pd.DataFrame) -> bool:
    """Return whether the rows of a table have names, which a file should store."""
    import pandas as pd

    index: object = table.index
    return not isinstance(index, pd.RangeIndex)
