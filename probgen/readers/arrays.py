"""Arrays: `.npy .npz .h5 .hdf5 .nc` and IDX files."""

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
    try:
        return np.load(path, allow_pickle=False, mmap_mode="r")
    except (ValueError, OSError, EOFError) as error:
        raise FileError(f"{path} cannot be read as .npy: {reason(error)}") from None


def npz(path: Path, split: str | None) -> xr.Dataset:
    """Arrays `x`, `label` (or `y`), `weight`, `observed`; or one array a split; or `x_SPLIT`, `y_SPLIT`.

    With `num_vars` the rows are packed bits, as `numpy.packbits` makes them.
    """
    try:
        with zipfile.ZipFile(path) as packed:
            if sum(part.file_size for part in packed.infolist()) > most_unpacked(path.stat().st_size):
                raise ValueError(UNPACKED)
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        odd = [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]
        if odd:
            raise ValueError(f"{odd[0]!r} is no array")
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
            raise InputError(f"{path} has no split {split!r}; it has {', '.join(arrays)}")
        return dataset({name: array for name, array in chosen.items() if array is not None}, path)
    if "y" in arrays and "label" not in arrays:
        arrays["label"] = arrays.pop("y")
    if "x" not in arrays:
        if len(arrays) != 1:
            raise InputError(
                f"{path} has no array 'x', but {', '.join(arrays)}: name it so, or choose a --split"
            )
        arrays = {"x": next(iter(arrays.values()))}
    return dataset(
        {name: arrays[name] for name in ("x", "label", "weight", "observed") if name in arrays},
        path,
    )


def hdf5(path: Path, split: str | None) -> xr.Dataset:
    """Arrays `x`, `label`, ... at the root, read slice by slice when they are needed."""
    return in_groups(of_arrays(open_arrays(path), path, split), path)


def of_arrays(dataset: xr.Dataset, path: Path, split: str | None) -> xr.Dataset:
    """What is of use in anybody's Dataset: `x`, and numbers a row. Errors: `InputError`."""
    if split is not None:
        raise InputError(f"{path} has no splits")
    if "x" not in dataset:
        if len(dataset.data_vars) != 1:
            names = ", ".join(map(str, dataset.data_vars)) or "no array at the root"
            raise InputError(f"{path} has no array 'x', but {names}")
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
        raise InputError(f"{path}: x has {ndim} dimensions; give a netCDF file that names them")
    return _DIMS[ndim]


def dataset(arrays: dict[str, np.ndarray], path: Path) -> xr.Dataset:
    x = arrays["x"]
    if x.dtype.kind not in "biuf":
        raise InputError(f"{path}: x holds {x.dtype}; numbers or booleans are needed")
    if x.ndim == 1:
        x = x[:, None]
    if x.ndim == 4 and x.shape[1] > 4 >= x.shape[3]:  # channels last, as image files have them
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
    """An IDX file, as MNIST's: magic number, sizes, values; big-endian, with or without gzip. Errors: `FileError`."""
    types = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
    try:
        raw = path.read_bytes()
        if raw[:2] == b"\x1f\x8b":
            raw = unpacked(raw)
        zero, code, ndim = struct.unpack(">HBB", raw[:4])
        shape = struct.unpack(f">{ndim}I", raw[4 : 4 + 4 * ndim])
        if zero or code not in types or not ndim:
            raise ValueError("its first bytes are not those of an IDX file")
        values = np.frombuffer(raw, types[code], offset=4 + 4 * ndim)
        if values.size != np.prod(shape, dtype=object):
            raise ValueError(f"it declares {shape} values and holds {values.size}")
        return values.reshape(shape).astype(values.dtype.newbyteorder("="))
    except (OSError, EOFError, ValueError, zlib.error, struct.error) as error:
        raise FileError(f"{path} cannot be read as IDX: {reason(error)}") from None
