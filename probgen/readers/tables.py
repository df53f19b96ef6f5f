"""Tables: CSV files and data frames."""

from __future__ import annotations

import io
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from probgen.errors import FileError, InputError
from probgen.readers.base import reason, unpacked

COLUMNS = 1 << 15  # of a CSV file
COMMA = r"\s*[-+]?\d+,\d+\s*"  # a number as some countries write it


def csv(path: Path) -> xr.Dataset:
    return from_frame(table(path), str(path))


def table(path: Path) -> pd.DataFrame:
    """A CSV file as it is, with or without gzip; its columns are parted by the first of comma, tab and semicolon that its first line
    has, those of `.tab` and `.tsv` by tabs. Errors: `FileError`; `InputError` where the first line has no names, for the row would be lost.
    """
    try:
        with (
            io.BytesIO(unpacked(path.read_bytes()))
            if path.suffix.lower() == ".gz"
            else path.open("rb") as file
        ):
            first = file.readline(COLUMNS << 5)
            tabs = Path(path.name.removesuffix(".gz")).suffix.lower() in (".tab", ".tsv")
            by = "\t" if tabs else next((mark for mark in ",\t;" if mark.encode() in first), ",")
            if first.count(by.encode()) >= COLUMNS:
                raise ValueError(f"more than {COLUMNS} columns; give an .npy file")
            names = first.decode("utf-8-sig", errors="replace").strip("\r\n").split(by)
            if any(map(_is_number, names)) and all(_is_number(name) or not name.strip() for name in names):
                raise InputError(
                    f"{path}: its first line holds numbers alone, and it is the one that names the columns: write names above "
                    "it, or in its place, or save the table as .npy"
                )
            file.seek(0)
            return pd.read_csv(file, sep=by, encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise FileError(f"{path} cannot be read as CSV: it is no text in UTF-8; save it as UTF-8") from None
    except InputError:
        raise
    except (ValueError, OSError, EOFError, zlib.error) as error:
        raise FileError(f"{path} cannot be read as CSV: {reason(error)}") from None


def from_frame(frame: pd.DataFrame, name: str = "the table") -> xr.Dataset:
    """A table: numeric columns are features, a column `label` (or one column of text) the label, `weight` the weight.

    A first column of row numbers (`rownames`, or without a name) is left out. Errors: `InputError`.
    """
    columns = list(frame.columns)
    if columns and str(columns[0]) in ("rownames", "Unnamed: 0", "index"):
        frame = frame.drop(columns=columns[0])
    text = [c for c in frame.columns if not pd.api.types.is_numeric_dtype(frame[c])]
    for column in text:
        if frame[column].astype(str).str.fullmatch(COMMA).all():
            raise InputError(
                f"{name}: column {str(column)!r} has commas for decimal points, as in {frame[column].iloc[0]}: write points"
            )
    label = "label" if "label" in frame.columns else text[0] if len(text) == 1 else None
    others = [str(c) for c in text if c != label]
    if others:
        raise InputError(f"{name}: column {others[0]!r} is not numeric: drop it, or make it numbers")
    variables: dict[str, Any] = {}
    if label is not None:
        codes, names = pd.factorize(frame[label], sort=True)
        variables["label"] = ("row", codes, {"levels": len(names), "names": " ".join(map(str, names))})
    if "weight" in frame.columns:
        variables["weight"] = ("row", frame["weight"].to_numpy())
    features = frame.drop(columns=[c for c in (label, "weight") if c is not None and c in frame.columns])
    if features.shape[1] == 0:
        raise InputError(f"{name} has no numeric column")
    if len({d.kind for d in map(np.dtype, map(_numpy_dtype, features.dtypes))}) > 1 or features.isna().any(
        axis=None
    ):
        values = features.to_numpy(dtype=np.float64, na_value=np.nan)
    else:
        values = features.to_numpy(dtype=np.result_type(*map(_numpy_dtype, features.dtypes)))
    variables["x"] = (("row", "feature"), values, {"names": " ".join(map(str, features.columns))})
    return xr.Dataset(variables)


def _is_number(text: str) -> bool:
    """Whether it is a number that is written in digits: a column may be called nan, or infinity."""
    try:
        return math.isfinite(float(text.strip().strip("\"'")))
    except ValueError:
        return False


def _numpy_dtype(dtype: Any) -> Any:
    return getattr(dtype, "numpy_dtype", dtype)
