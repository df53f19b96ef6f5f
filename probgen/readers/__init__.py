"""Files that people have: arrays, tables, texts, pairs of texts, sounds, images; and folders of images, of sounds, or of the parts of a table."""

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
from probgen.readers.tables import ARROW, SUFFIXES, arrow_file, arrow_frame, csv_file, table
from probgen.readers.texts import lines_of, read_text, text_file

__all__ = [
    "Choices",
    "Reading",
    "arrow_frame",
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
    """A file or folder as a Dataset with `x`; how: see `probgen.datasets.load`. Errors: `InputError`, `FileError`."""
    if not path.exists():
        raise InputError(f"there is no file {path}")
    if not (path.is_file() or path.is_dir()):  # it would be waited for
        raise InputError(f"{path} is a device or a pipe: save what it gives to a file, and give its path")
    place = path / split if split and path.is_dir() else path
    kind = kind_of(path, place, table=_is_of_tables(how))
    how.only(
        {"sounds": ["rate"], "images": ["size", "crop", "gray", "scale"], "tables": ["table"]}.get(kind, []),
        f"which {path} is not",
    )
    if kind == "sounds":
        if split is not None and not path.is_dir():
            raise InputError(f"{path} has no splits")
        from probgen.readers.sounds import sounds  # it imports scipy.signal

        return sounds(place, how.rate)
    if is_zarr(path):
        return zarr_store(path, split)
    if is_parts(place):
        return arrow_file(place, how.table, how.like)
    if is_parts(path) and split is not None:
        return part_of(arrow_file(path, how.table, how.like), split, str(path))
    if path.is_dir():
        from probgen.readers.images import images  # it imports Pillow

        return images(place, how)
    return _file(path, split, how)


def stored(path: Path) -> bool:
    """Whether a file is one of xarray's, with the attributes that variables had."""
    return path.suffix.lower() in _STORED or is_zarr(path)


def read_stdin(how: Reading = Reading()) -> xr.Dataset:  # noqa: B008 (frozen)
    """A table of separated values that comes by standard input. Errors: `InputError`, `FileError`."""
    how.only(["table"], "which standard input is not")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "standard input.csv"
        path.write_bytes(sys.stdin.buffer.read())
        try:
            return csv_file(path, how.table, how.like)
        except (InputError, FileError) as error:
            raise type(error)(str(error).replace(str(path), "standard input")) from None


def kind_of(path: Path, place: Path | None = None, *, table: bool = False) -> str:
    """`sounds`, `images`, `tables` or another; a folder is of sounds if there is one in it.

    place  the part of a folder that is looked into
    table  whether an option of tables is said, or columns of a model: a `.tsv` is then none of pairs of texts
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


def _is_of_tables(how: Reading) -> bool:
    return bool(how.table.first() or how.like)


def _file(path: Path, split: str | None, how: Reading) -> xr.Dataset:
    """A file that is no sound."""
    suffix, name = path.suffix.lower(), path.name.lower()
    if suffix == ".npz":
        return npz(path, split)
    if suffix in _STORED:
        return hdf5(path, split)
    if suffix == ".txt":
        return text_file(path, split)
    if suffix == ".tsv" and not _is_of_tables(how) and not is_table(path):
        return pair_file(path, split)
    if split is not None and (suffix in ARROW or name.endswith(SUFFIXES) or suffix == ".npy"):
        return part_of(_file(path, None, how), split, str(path))
    if split is not None:
        raise InputError(f"{path} has no splits")
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
        raise InputError(f"{path}: unpack it first, with gunzip")
    if suffix in (".gz", "") or "ubyte" in path.name:
        return dataset({"x": idx(path)}, path)
    raise InputError(f"{path}: files of this kind are not read; known are {_KNOWN}")
