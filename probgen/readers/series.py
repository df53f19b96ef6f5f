"""Conversion of table values to columns of a DataFrame, in their original types."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd

from probgen.contract.columns import RARE, Column
from probgen.readers.classes import OF_NUMBERS
from probgen.readers.frames import YES_NO


def rounded(x: np.ndarray, columns: Sequence[Column]) -> np.ndarray:
    """Round samples (..., feature) in columns of whole numbers. Use it for samples only, not for data."""
    whole = [i for i, column in enumerate(columns) if column.whole]
    if not whole:
        return x
    x = x.copy()
    x[..., whole] = np.rint(x[..., whole])
    return x


def series(values: np.ndarray, column: Column) -> pd.Series[Any]:
    """Return values as a column of a DataFrame, with class names. This is the inverse of `numbers`.

    The column has its original type if this type can hold all values. Whole numbers and booleans with missing values have a nullable type.

    Args:
        values: Values (row,), NaN if missing.
        column: The description of the column.

    Returns:
        The column (row,).
    """
    gaps = np.isnan(values)
    if column.support == "token" or (column.support == "binary" and column.classes not in ((), YES_NO)):
        return _of_classes(np.where(gaps, -1, values).astype(np.int64), column)
    if column.support == "real" and not (column.whole and gaps.any()):
        return _typed(pd.Series(values), column.dtype)
    if column.support == "real" and (values[~gaps] != np.rint(values[~gaps])).any():
        return pd.Series(values)
    whole: pd.Series[Any] = pd.Series(values).astype("Int64" if gaps.any() else "int64")
    if column.support == "binary" and column.classes == YES_NO:
        whole = whole.astype("boolean" if gaps.any() else "bool")
    return whole if "loat" in column.dtype else _typed(whole, column.dtype)


def _of_classes(codes: np.ndarray, column: Column) -> pd.Series[Any]:
    categories: pd.Index[Any] = pd.Index([*column.classes] or [str(v) for v in range(column.levels or 2)])
    of = OF_NUMBERS.fullmatch(column.dtype) if RARE not in column.classes else None
    if of:
        with suppress(ValueError):  # ordered classes from the user need not be numbers
            categories = (
                pd.Index(categories == "True") if of[2].startswith("bool") else categories.astype(of[2])
            )
    found = pd.Series(pd.Categorical.from_codes(codes, categories, ordered=column.ordered))
    if of and not of[1]:  # the classes were numbers in the table
        numbers: Any = pd.Series(categories).convert_dtypes().dtype
        return _typed(found.astype(numbers), column.dtype)
    if column.dtype.startswith("category") or column.ordered:
        return found
    plain: Any = column.dtype if column.dtype in ("object", "string") else "str"
    return found.astype(plain)


def _typed(found: pd.Series[Any], dtype: Any) -> pd.Series[Any]:
    """Return a column in another type, or unchanged if this type cannot hold all values."""
    if not OF_NUMBERS.fullmatch(dtype):
        return found
    with suppress(TypeError, ValueError, OverflowError), np.errstate(all="ignore"):
        cast = found.astype(dtype)
        one, other = (each.to_numpy(dtype=np.float64, na_value=np.nan) for each in (cast, found))
        if np.array_equal(one, other, equal_nan=True):
            return cast
    return found
