"""Readers for arrays: `.npy .npz .h5 .hdf5 .nc` and IDX files."""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from probgen.errors import FileError, InputError
from probgen.readers.base import most_unpacked, reason, unpacked
from probgen.readers.groups import in_groups
from probgen.store.guard import UNPACKED
from probgen.store.trees import open_arrays

_DIMS = {
    1: ("row",),
    2: ("row", "feature"),
    3: ("row", "height", "width"),
    4: ("row", "channel", "height", "width"),
}


def npy(path: Path) -> np.ndarray:
    """Open an `.npy` file as a memory-mapped array. Raise `FileError` if it cannot be read."""
    try:
        return np.load(path, allow_pickle=False, mmap_mode="r")
    except (ValueError, OSError, EOFError) as error:
        raise FileError(f"{path} cannot be read as .npy: {reason(error)}") from None


def npz(path: Path, split: str | None) -> xr.Dataset:
    """Read an `.npz` file with arrays `x`, `label` (or `y`), `weight`, `observed`; or one array per split; or `x_SPLIT`, `y_SPLIT`.

    If the file has an array `num_vars`, the rows are packed bits from `numpy.packbits`.

    Args:
        path: Path of the file.
        split: Name of a split. None reads `x`, or the single array of the file.

    Returns:
        A Dataset with `x (row, ...)`.

    Raises:
        InputError: When the split or the array `x` is missing.
        FileError: When the file cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as packed:
            if sum(part.file_size for part in packed.infolist()) > most_unpacked(path.stat().st_size):
                raise ValueError(UNPACKED)
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        odd = [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]
        if odd:
            raise ValueError(f"{odd[0]!r} is not an array")
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error, KeyError, MemoryError) as error:
        raise FileError(f"{path} cannot be read as .npz: {reason(error)}") from None
    bits = arrays.pop("num_vars", None)
    if bits is not None:
        arrays = {
            name: np.unpackbits(a, axis=1)[:, : int(bits)] if a.dtype == np.uint8 and a.ndim == 2 else a
            for name, a in arrays.items()
        }
    if split is not None:
        chosen = {"x": arrays.get(split, arrays.get(f"x_{split}")), "label": arrays.get(f"y_{split}")}
        if chosen["x"] is None:
            raise InputError(f"split = {split!r}: not in {path}. The file has {', '.join(arrays)}.")
        return dataset({name: array for name, array in chosen.items() if array is not None}, path)
    if "y" in arrays and "label" not in arrays:
        arrays["label"] = arrays.pop("y")
    if "x" not in arrays:
        if len(arrays) != 1:
            raise InputError(
                f"{path} has no array 'x', only {', '.join(arrays)}. Name one array 'x', or choose a --split."
            )
        arrays = {"x": next(iter(arrays.values()))}
    return dataset(
        {name: arrays[name] for name in ("x", "label", "weight", "observed") if name in arrays},
        path,
    )


def hdf5(path: Path, split: str | None) -> xr.Dataset:
    """Open the arrays `x`, `label`, ... at the root of an HDF5 file. Large arrays are read slice by slice on demand."""
    return in_groups(of_arrays(open_arrays(path), path, split), path)


def of_arrays(dataset: xr.Dataset, path: Path, split: str | None) -> xr.Dataset:
    """Return `x` and all numeric variables with rows of a third-party Dataset.

    Args:
        dataset: The Dataset.
        path: Path of the file, for error messages.
        split: Must be None, because such files have no splits.

    Returns:
        A Dataset with `x (row, ...)`.

    Raises:
        InputError: When a split is requested, or `x` is missing or has unnamed dimensions.
    """
    if split is not None:
        raise InputError(f"split = {split!r}: {path} has no splits. Leave the split out.")
    if "x" not in dataset:
        if len(dataset.data_vars) != 1:
            names = ", ".join(map(str, dataset.data_vars)) or "no array at the root"
            raise InputError(f"{path} has no array 'x', only these: {names}. Name one array 'x'.")
        dataset = dataset.rename({next(iter(dataset.data_vars)): "x"})
    x = dataset["x"]
    if any(str(dim).startswith("phony_dim") for dim in x.dims):
        dims = _named_dims(x.ndim, path)
        dataset = dataset.rename(dict(zip(x.dims, dims, strict=True)))
    of_rows = [
        name for name, part in dataset.items() if part.dims[:1] == ("row",) and part.dtype.kind in "biuf"
    ]
    return dataset[["x", *(name for name in of_rows if name != "x")]]


def _named_dims(ndim: int, path: Path) -> tuple[str, ...]:
    if ndim not in _DIMS:
        raise InputError(
            f"{path}: x has {ndim} dimensions without names. Save x as a netCDF file with named dimensions."
        )
    return _DIMS[ndim]


def dataset(arrays: dict[str, np.ndarray], path: Path) -> xr.Dataset:
    """Return arrays by name as a Dataset. Raise `InputError` if their types or shapes do not fit."""
    x = arrays["x"]
    if x.dtype.kind not in "biuf":
        raise InputError(f"{path}: x has type {x.dtype}: numbers or booleans are required")
    if x.ndim == 1:
        x = x[:, None]
    if x.ndim == 4 and x.shape[1] > 4 >= x.shape[3]:  # channels last, as in image files
        x = np.moveaxis(x, 3, 1)
    dims = _named_dims(x.ndim, path)
    variables: dict[str, Any] = {"x": (dims, x)}
    for name in ("label", "weight", "observed"):
        if name in arrays:
            variables[name] = (
                dims if name == "observed" else ("row",),
                arrays[name].reshape(-1) if name != "observed" else arrays[name],
            )
    try:
        return xr.Dataset(variables)
    except ValueError as error:
        raise InputError(f"{path}: {reason(error)}") from None


def idx(path: Path) -> np.ndarray:
    """Read an IDX file, the format of MNIST: magic number, sizes, values; big-endian, with or without gzip.

    Args:
        path: Path of the file.

    Returns:
        The array.

    Raises:
        FileError: When the file is not an IDX file or cannot be read.
    """
    types = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
    try:
        raw = path.read_bytes()
        if raw[:2] == b"\x1f\x8b":
            raw = unpacked(raw)
        zero, code, ndim = struct.unpack(">HBB", raw[:4])
        shape = struct.unpack(f">{ndim}I", raw[4 : 4 + 4 * ndim])
        if zero or code not in types or not ndim:
            raise ValueError("its first bytes are not the start of an IDX file")
        values = np.frombuffer(raw, types[code], offset=4 + 4 * ndim)
        if values.size != np.prod(shape, dtype=object):
            raise ValueError(f"it declares the shape {shape} but contains {values.size} values")
        return values.reshape(shape).astype(values.dtype.newbyteorder("="))
    except (OSError, EOFError, ValueError, zlib.error, struct.error) as error:
        raise FileError(f"{path} cannot be read as IDX: {reason(error)}") from None
