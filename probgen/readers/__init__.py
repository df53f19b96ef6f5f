"""Files that people have: `.npy .npz .csv .h5 .hdf5 .nc .txt .tsv`, `.wav`, IDX, and folders of images or of sounds."""

from __future__ import annotations

from pathlib import Path

import xarray as xr

from probgen.errors import InputError
from probgen.readers.arrays import dataset, hdf5, idx, npy, npz
from probgen.readers.images import images
from probgen.readers.pairs import pair_file, pairs
from probgen.readers.tables import csv, from_frame, table
from probgen.readers.texts import lines_of, read_text, text_file

__all__ = ["from_frame", "idx", "lines_of", "pairs", "read", "read_text", "table"]

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
        from probgen.readers.sounds import sounds  # it imports scipy.signal

        return sounds(place, rate)
    if rate is not None:
        raise InputError(f"rate is of WAV files, which {path} is not")
    if path.is_dir():
        return images(place)
    if suffix == ".npz":
        return npz(path, split)
    if suffix in (".h5", ".hdf5", ".nc"):
        return hdf5(path, split)
    if suffix == ".txt":
        return text_file(path, split)
    if suffix == ".tsv":
        return pair_file(path, split)
    if split is not None:
        raise InputError(f"{path} has no splits")
    if suffix == ".npy":
        return dataset({"x": npy(path)}, path)
    if suffix == ".csv":
        return csv(path)
    if suffix in (".gz", "") or "ubyte" in path.name:
        return dataset({"x": idx(path)}, path)
    raise InputError(f"{path}: files of this kind are not read; known are {_SUFFIXES}")
