"""Tables of any library as frames, of types that pandas has of its own."""

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
    """Whether it is a DataFrame of pandas, or another table that Arrow takes, as of polars."""
    arrow = hasattr(data, "__arrow_c_stream__") and hasattr(data, "columns")
    return isinstance(data, pd.DataFrame) or (arrow and not isinstance(data, xr.Dataset | xr.DataArray))


def as_pandas(data: Any) -> pd.DataFrame:
    """A frame of pandas, of a table of another library through Arrow. Errors: `InputError`."""
    if isinstance(data, pd.DataFrame):
        return data
    if not is_frame(data):
        raise InputError(f"a name, a path or a DataFrame is needed, not {type(data).__name__}")
    try:
        import pyarrow
    except ImportError:
        raise InputError(f"a table of {type(data).__module__}: needs pyarrow: pip install pyarrow") from None
    return of_arrow(pyarrow.table(data))


def of_arrow(found: Any, *, spent: bool = False) -> pd.DataFrame:
    """A table of Arrow's as a frame; whole numbers with gaps stay whole.

    spent  whether nobody uses the table after this: then its memory is given back column by column
    """
    return without_nullable(nullable(found, spent=spent))


def nullable(found: Any, *, spent: bool = False) -> pd.DataFrame:
    """The same, in types of columns that follow from those of the table alone, and not from whether there are gaps."""
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
            f"the table has a column that pandas cannot hold: {' '.join(str(error).split())[:120]}"
        ) from None
    return frame


def in_own_types(frame: pd.DataFrame) -> pd.DataFrame:
    """The same, with columns that pandas keeps in Arrow, or as another processor has them, in types of its own. Errors: `InputError` for two columns of one name."""
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
        raise InputError(f"the table has two columns {str(twice)!r}: names must differ")
    import pyarrow  # there is none without it

    own = {
        name: of_arrow(pyarrow.table({"": pyarrow.chunked_array(frame[name].array.__arrow_array__())}))[""]
        for name in kept
    }
    plain = frame.copy(deep=False)
    for name, column in own.items():
        plain[name] = column.set_axis(frame.index)
    return plain


def without_nullable(frame: pd.DataFrame) -> pd.DataFrame:
    """The same, with columns without gaps in types of NumPy, as pandas reads them."""
    plain: dict[Any, Any] = {
        name: "str" if str(dtype) == "string" else dtype.numpy_dtype
        for name, dtype in frame.dtypes.items()
        if (str(dtype) in NULLABLE and not frame[name].hasnans) or str(dtype) == "string"
    }
    return frame.astype(plain)
