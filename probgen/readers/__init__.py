"""Readers for files (arrays, tables, texts, pairs of texts, sounds, images) and for folders of images, sounds or table parts."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import xarray as xr

from probgen.errors import FileError, InputError
from probgen.readers.arrays import dataset, hdf5, idx, npy, npz
from probgen.readers.arrow import of_arrow
from probgen.readers.base import IMAGES, SOUNDS, Reading, part_of
from probgen.readers.frames import Choices, from_frame
from probgen.readers.pairs import is_table, pair_file, pairs
from probgen.readers.parquet import is_parts
from probgen.readers.scaled import scaled
from probgen.readers.stores import is_zarr, zarr_store
from probgen.readers.tables import ARROW, SUFFIXES, arrow_file, arrow_frame, column_names, csv_file, table
from probgen.readers.texts import lines_of, read_text, text_file

__all__ = [
    "Choices",
    "Reading",
    "arrow_frame",
    "column_names",
    "from_frame",
    "idx",
    "kind_of",
    "lines_of",
    "of_arrow",
    "pairs",
    "read",
    "read_stdin",
    "read_text",
    "scaled",
    "stored",
    "table",
]

_KNOWN = (
    ".npy, .npz, .csv, .tsv, .tab, .data and these with .gz, .xz or .zst, .parquet, .feather, .arrow, .h5, .hdf5, .nc, .zarr, .txt, .tsv, .wav, .flac, .ogg, .png, .jpg, .tif and other images, "
    "IDX (-ubyte, .gz), a folder of images, of sounds or of Parquet files"
)
_STORED = (".h5", ".hdf5", ".nc")
_TO_UNPACK = SOUNDS | IMAGES | {".npy", ".npz", ".txt", ".tsv", ".h5", ".hdf5", ".nc"}


def read(path: Path, split: str | None = None, how: Reading = Reading()) -> xr.Dataset:  # noqa: B008 (frozen)
    """Read a file or folder as a Dataset with `x`.

    Args:
        path: Path of the file or folder.
        split: Part of the data, such as `train`. None reads all rows.
        how: Options for reading. `probgen.datasets.load` describes them.

    Returns:
        A Dataset with `x (row, ...)`.

    Raises:
        InputError: When the path, the split or an option cannot be used.
        FileError: When the file is damaged or not allowed.
    """
    if not path.exists():
        raise InputError(f"there is no file {path}. Check the path.")
    if not (path.is_file() or path.is_dir()):  # reading could block
        raise InputError(
            f"{path} is a device or a pipe. Save the content to a file, and give the path of this file."
        )
    place = path / split if split and path.is_dir() else path
    kind = kind_of(path, place, table=how.of_table)
    how.only(
        {"sounds": ["rate"], "images": ["size", "crop", "gray", "scale"], "tables": ["table"]}.get(kind, []),
        f"but {path} is of another kind",
    )
    if kind == "sounds":
        if split is not None and not path.is_dir():
            raise InputError(f"split = {split!r}: {path} has no splits. Leave the split out.")
        from probgen.readers.sounds import sounds  # imports scipy.signal

        return sounds(place, how.rate)
    if is_zarr(path):
        return zarr_store(path, split)
    if is_parts(place):
        return arrow_file(place, how.table, how.like)
    if is_parts(path) and split is not None:
        return part_of(arrow_file(path, how.table, how.like), split, str(path))
    if path.is_dir():
        from probgen.readers.images import images  # imports Pillow

        return images(place, how)
    return _file(path, split, how)


def stored(path: Path) -> bool:
    """Return whether a file has a format of xarray, which keeps the attributes of variables.

    Args:
        path: Path of the file.

    Returns:
        Whether the file is an HDF5, netCDF or Zarr file.
    """
    return path.suffix.lower() in _STORED or is_zarr(path)


def read_stdin(how: Reading = Reading()) -> xr.Dataset:  # noqa: B008 (frozen)
    """Read a table of separated values from standard input.

    Args:
        how: Options for reading. `probgen.datasets.load` describes them.

    Returns:
        A Dataset with `x (row, feature)`.

    Raises:
        InputError: When an option cannot be used, or the table is ambiguous.
        FileError: When the text is not a table.
    """
    how.only(["table"], "but standard input is a table")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "standard input.csv"
        path.write_bytes(sys.stdin.buffer.read())
        try:
            return csv_file(path, how.table, how.like)
        except (InputError, FileError) as error:
            raise type(error)(str(error).replace(str(path), "standard input")) from None


def kind_of(path: Path, place: Path | None = None, *, table: bool = False) -> str:
    """Return the kind of a file or folder. A folder with at least one sound is a folder of sounds.

    Args:
        path: Path of the file or folder.
        place: Part of the folder that is examined, by default the whole folder.
        table: Whether an option of tables or columns of a model are given. A `.tsv` file is then a table, not pairs of texts.

    Returns:
        "sounds", "images", "tables" or "other".
    """
    if is_zarr(path):
        return "other"
    if is_parts(path) or (place is not None and is_parts(place)):
        return "tables"
    if not path.is_dir() or path.suffix.lower() in SOUNDS:
        suffix = path.suffix.lower()
        if suffix in ARROW:
            return "tables"
        if path.name.lower().endswith(SUFFIXES) and (suffix != ".tsv" or table or is_table(path)):
            return "tables"
        return "sounds" if suffix in SOUNDS else "images" if suffix in IMAGES else "other"
    return "sounds" if any(file.suffix.lower() in SOUNDS for file in (place or path).rglob("*")) else "images"


def _file(path: Path, split: str | None, how: Reading) -> xr.Dataset:
    """Read a file that is not a sound."""
    suffix, name = path.suffix.lower(), path.name.lower()
    if suffix == ".npz":
        return npz(path, split)
    if suffix in _STORED:
        return hdf5(path, split)
    if suffix == ".txt":
        return text_file(path, split)
    if suffix == ".tsv" and not how.of_table and not is_table(path):
        return pair_file(path, split)
    if split is not None and (suffix in ARROW or name.endswith(SUFFIXES) or suffix == ".npy"):
        return part_of(_file(path, None, how), split, str(path))
    if split is not None:
        raise InputError(f"split = {split!r}: {path} has no splits. Leave the split out.")
    if suffix in IMAGES:
        from probgen.readers.images import images

        return images(path, how)
    if suffix == ".npy":
        return dataset({"x": npy(path)}, path)
    if suffix in ARROW:
        return arrow_file(path, how.table, how.like)
    if name.endswith(SUFFIXES):
        return csv_file(path, how.table, how.like)
    if suffix == ".gz" and Path(path.stem).suffix.lower() in _TO_UNPACK:
        raise InputError(
            f"{path}: gzip is not supported for this kind of file. Unpack the file with gunzip first."
        )
    if suffix in (".gz", "") or "ubyte" in path.name:
        return dataset({"x": idx(path)}, path)
    raise InputError(f"{path}: files of this kind cannot be read. Supported: {_KNOWN}.")
