"""Files that people have: `.npy .npz .csv .h5 .hdf5 .nc .txt .tsv`, `.wav`, IDX, and folders of images or of sounds."""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from PIL import Image, UnidentifiedImageError

from probgen.datasets.base import classes_of
from probgen.datasets.sound import sounds
from probgen.datasets.text import text_file
from probgen.datasets.translation import pair_file
from probgen.errors import FileError, InputError
from probgen.store.guard import FLOOR, RATIO, UNPACKED
from probgen.store.trees import open_arrays

_DIMS = {
    1: ("row",),
    2: ("row", "feature"),
    3: ("row", "height", "width"),
    4: ("row", "channel", "height", "width"),
}
COLUMNS = 1 << 15  # of a CSV file
_SUFFIXES = (
    ".npy, .npz, .csv, .h5, .hdf5, .nc, .txt, .tsv, .wav, IDX (-ubyte, .gz), a folder of images or sounds"
)


def read(path: Path, split: str | None = None, rate: int | None = None) -> xr.Dataset:
    """A file or folder as a Dataset with `x`; rate: see `probgen.datasets.load`. Errors: `InputError`, `FileError`."""
    if not path.exists():
        raise InputError(f"there is no file {path}")
    suffix, place = path.suffix.lower(), path / split if split and path.is_dir() else path
    if suffix == ".wav" or (
        path.is_dir() and any(file.suffix.lower() == ".wav" for file in place.rglob("*"))
    ):
        return sounds(place, rate)
    if rate is not None:
        raise InputError(f"rate is of WAV files, which {path} is not")
    if path.is_dir():
        return _images(place)
    if suffix == ".npz":
        return _npz(path, split)
    if suffix in (".h5", ".hdf5", ".nc"):
        return _hdf5(path, split)
    if suffix == ".txt":
        return text_file(path, split)
    if suffix == ".tsv":
        return pair_file(path, split)
    if split is not None:
        raise InputError(f"{path} has no splits")
    if suffix == ".npy":
        return _dataset({"x": _npy(path)}, path)
    if suffix == ".csv":
        return _csv(path)
    if suffix in (".gz", "") or "ubyte" in path.name:
        return _dataset({"x": idx(path)}, path)
    raise InputError(f"{path}: files of this kind are not read; known are {_SUFFIXES}")


def _npy(path: Path) -> np.ndarray:
    try:
        return np.load(path, allow_pickle=False, mmap_mode="r")
    except (ValueError, OSError, EOFError) as error:
        raise FileError(f"{path} cannot be read as .npy: {_reason(error)}") from None


def _npz(path: Path, split: str | None) -> xr.Dataset:
    """Arrays `x`, `label` (or `y`), `weight`, `observed`; or one array a split; or `x_SPLIT`, `y_SPLIT`.

    With `num_vars` the rows are packed bits, as `numpy.packbits` makes them.
    """
    try:
        with zipfile.ZipFile(path) as packed:
            if sum(part.file_size for part in packed.infolist()) > _most(path.stat().st_size):
                raise ValueError(UNPACKED)
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        odd = [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]
        if odd:
            raise ValueError(f"{odd[0]!r} is no array")
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error, KeyError, MemoryError) as error:
        raise FileError(f"{path} cannot be read as .npz: {_reason(error)}") from None
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
        return _dataset({name: array for name, array in chosen.items() if array is not None}, path)
    if "y" in arrays and "label" not in arrays:
        arrays["label"] = arrays.pop("y")
    if "x" not in arrays:
        if len(arrays) != 1:
            raise InputError(
                f"{path} has no array 'x', but {', '.join(arrays)}: name it so, or choose a --split"
            )
        arrays = {"x": next(iter(arrays.values()))}
    return _dataset(
        {name: arrays[name] for name in ("x", "label", "weight", "observed") if name in arrays},
        path,
    )


def _hdf5(path: Path, split: str | None) -> xr.Dataset:
    """Arrays `x`, `label`, ... at the root, read slice by slice when they are needed."""
    dataset = open_arrays(path)
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


def _dataset(arrays: dict[str, np.ndarray], path: Path) -> xr.Dataset:
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
        raise InputError(f"{path}: {_reason(error)}") from None


def _csv(path: Path) -> xr.Dataset:
    return from_frame(table(path), str(path))


def table(path: Path) -> pd.DataFrame:
    """A CSV file as it is. Errors: `FileError`."""
    try:
        with path.open("rb") as file:
            columns = file.readline(COLUMNS << 5).count(b",") + 1
        if columns > COLUMNS:
            raise ValueError(f"more than {COLUMNS} columns; give an .npy file")
        return pd.read_csv(path)
    except (ValueError, OSError) as error:
        raise FileError(f"{path} cannot be read as CSV: {_reason(error)}") from None


def from_frame(frame: pd.DataFrame, name: str = "the table") -> xr.Dataset:
    """A table: numeric columns are features, a column `label` (or one column of text) the label, `weight` the weight.

    A first column of row numbers (`rownames`, or without a name) is left out. Errors: `InputError`.
    """
    columns = list(frame.columns)
    if columns and str(columns[0]) in ("rownames", "Unnamed: 0", "index"):
        frame = frame.drop(columns=columns[0])
    text = [c for c in frame.columns if not pd.api.types.is_numeric_dtype(frame[c])]
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


def _numpy_dtype(dtype: Any) -> Any:
    return getattr(dtype, "numpy_dtype", dtype)


def idx(path: Path) -> np.ndarray:
    """An IDX file, as MNIST's: magic number, sizes, values; big-endian, with or without gzip. Errors: `FileError`."""
    types = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
    try:
        raw = path.read_bytes()
        if raw[:2] == b"\x1f\x8b":
            raw = _unpacked(raw)
        zero, code, ndim = struct.unpack(">HBB", raw[:4])
        shape = struct.unpack(f">{ndim}I", raw[4 : 4 + 4 * ndim])
        if zero or code not in types or not ndim:
            raise ValueError("its first bytes are not those of an IDX file")
        values = np.frombuffer(raw, types[code], offset=4 + 4 * ndim)
        if values.size != np.prod(shape, dtype=object):
            raise ValueError(f"it declares {shape} values and holds {values.size}")
        return values.reshape(shape).astype(values.dtype.newbyteorder("="))
    except (OSError, EOFError, ValueError, zlib.error, struct.error) as error:
        raise FileError(f"{path} cannot be read as IDX: {_reason(error)}") from None


def _unpacked(packed: bytes) -> bytes:
    """What gzip packed, piece by piece, so that a bomb is known before it has gone off."""
    unpacker = zlib.decompressobj(wbits=31)  # with the header of gzip
    pieces, left = [], _most(len(packed))
    while packed and left > 0:
        pieces.append(unpacker.decompress(packed, 1 << 20))
        packed, left = unpacker.unconsumed_tail, left - len(pieces[-1])
        if unpacker.eof and unpacker.unused_data.startswith(b"\x1f\x8b"):  # another member
            packed, unpacker = unpacker.unused_data, zlib.decompressobj(wbits=31)
    if not unpacker.eof:
        raise ValueError(UNPACKED if packed else "it is cut off")
    return b"".join(pieces)


def _most(stored: int) -> int:
    """To how many bytes a packed file may unpack."""
    return FLOOR + RATIO * stored


def _images(folder: Path) -> xr.Dataset:
    """A folder of images of one size; subfolders are classes."""
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}")
    suffixes = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"}
    files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in suffixes)
    if not files:
        raise InputError(f"{folder} holds no images ({', '.join(sorted(suffixes))})")
    images = [_image(file) for file in files]
    modes = {image.mode for image in images}
    mode = "L" if modes <= {"L", "1", "LA", "I;16"} else "RGB"
    arrays = [np.asarray(image.convert(mode)) for image in images]
    for file, array in zip(files, arrays, strict=True):
        if array.shape != arrays[0].shape:
            raise InputError(
                f"{file} is {array.shape[1]} x {array.shape[0]}, {files[0].name} is {arrays[0].shape[1]} x "
                f"{arrays[0].shape[0]}: images of one size are needed"
            )
    x = np.stack(arrays)
    dataset = _dataset({"x": np.moveaxis(x, 3, 1) if x.ndim == 4 else x}, folder)
    dataset["x"].attrs.update(support="integer", levels=256)
    return dataset.assign(classes_of(files, folder))


def _image(file: Path) -> Image.Image:
    try:
        with Image.open(file) as image:
            image.load()
            return image
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise FileError(f"{file} cannot be read as an image: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
