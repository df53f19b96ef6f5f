"""Conversion of tables of any library to DataFrames with native types of pandas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from probgen.errors import InputError

NULLABLE = (
    "boolean", "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float32", "Float64",
)  # fmt: skip


def is_frame(data: Any) -> bool:
    """Return whether an object is a DataFrame of pandas, or another table with an Arrow interface, such as polars."""
    arrow = hasattr(data, "__arrow_c_stream__") and hasattr(data, "columns")
    return isinstance(data, pd.DataFrame) or (arrow and not isinstance(data, xr.Dataset | xr.DataArray))


def as_pandas(data: Any) -> pd.DataFrame:
    """Convert a table of any library to a DataFrame, through Arrow if necessary.

    Args:
        data: A DataFrame, or a table with an Arrow interface.

    Returns:
        The table as a DataFrame.

    Raises:
        InputError: When the object is not a table, or pyarrow is missing.
    """
    if isinstance(data, pd.DataFrame):
        return data
    if not is_frame(data):
        raise InputError(
            f"the data have type {type(data).__name__}: a name, a path or a DataFrame is required"
        )
    try:
        import pyarrow
    except ImportError:
        raise InputError(
            f"a table of {type(data).__module__} requires pyarrow. Install pyarrow with pip install pyarrow."
        ) from None
    return of_arrow(pyarrow.table(data))


def of_arrow(found: Any, *, spent: bool = False) -> pd.DataFrame:
    """Convert an Arrow table to a DataFrame. Columns of whole numbers with missing values get a nullable type.

    Args:
        found: The Arrow table.
        spent: Whether the table is not used after this call. Its memory is then released column by column.

    Returns:
        The DataFrame.

    Raises:
        InputError: When pandas cannot hold a column.
    """
    return without_nullable(nullable(found, spent=spent))


def nullable(found: Any, *, spent: bool = False) -> pd.DataFrame:
    """Convert an Arrow table to a DataFrame of nullable types. The types depend on the types of the table only, not on missing values.

    Args:
        found: The Arrow table.
        spent: Whether the table is not used after this call. Its memory is then released column by column.

    Returns:
        The DataFrame.

    Raises:
        InputError: When pandas cannot hold a column.
    """
    nullable = {str(kind): kind for kind in map(pd.api.types.pandas_dtype, NULLABLE)}
    kinds = {"bool": "boolean", "float": "Float32", "double": "Float64"}

    def kind_of(arrow: Any) -> Any:
        name = str(arrow)
        whole = name.replace("uint", "UInt") if name.startswith("uint") else name.replace("int", "Int")
        return nullable.get(kinds.get(name, whole))

    try:
        frame: pd.DataFrame = found.to_pandas(types_mapper=kind_of, split_blocks=True, self_destruct=spent)
    except NotImplementedError as error:
        raise InputError(
            f"the table has a column that pandas cannot hold: {' '.join(str(error).split())[:120]}. Leave this column out."
        ) from None
    return frame


def in_own_types(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a DataFrame in native types: columns in Arrow types or foreign byte order are converted.

    Args:
        frame: The DataFrame.

    Returns:
        The DataFrame in native types of pandas.

    Raises:
        InputError: When columns in Arrow types are present and two columns have one name.
    """
    swapped = [
        i for i, dtype in enumerate(frame.dtypes) if isinstance(dtype, np.dtype) and not dtype.isnative
    ]
    if swapped:
        frame = frame.copy(deep=False)
        for i in swapped:
            values = frame.iloc[:, i].to_numpy()
            frame.isetitem(i, values.astype(values.dtype.newbyteorder("=")))
    kept = [name for name, dtype in frame.dtypes.items() if isinstance(dtype, pd.ArrowDtype)]
    if not kept:
        return frame
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise InputError(f"the table has two columns {str(twice)!r}. Give each column a different name.")
    import pyarrow  # columns in Arrow types exist only with pyarrow

    own = {
        name: of_arrow(pyarrow.table({"": pyarrow.chunked_array(frame[name].array.__arrow_array__())}))[""]
        for name in kept
    }
    plain = frame.copy(deep=False)
    for name, column in own.items():
        plain[name] = column.set_axis(frame.index)
    return plain


def without_nullable(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a DataFrame with NumPy types for columns without missing values, as the readers of pandas return it."""
    plain: dict[Any, Any] = {
        name: "str" if str(dtype) == "string" else dtype.numpy_dtype
        for name, dtype in frame.dtypes.items()
        if (str(dtype) in NULLABLE and not frame[name].hasnans) or str(dtype) == "string"
    }
    return frame.astype(plain)
