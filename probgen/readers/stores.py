"""Reader for Zarr stores: folders of chunks, read on demand.

A store is inspected before its values are read, as `store.guard` does for HDF5. Only numbers and texts, codecs that only unpack, and no links are
allowed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import xarray as xr

from probgen.errors import FileError, InputError
from probgen.readers.arrays import of_arrays
from probgen.readers.base import reason
from probgen.readers.groups import in_groups
from probgen.store.guard import FLOOR, RATIO

CODECS = {
    "bytes", "transpose", "sharding_indexed", "crc32c", "vlen-utf8", "blosc", "zstd", "gzip", "zlib", "bz2", "lzma", "lz4", "shuffle", "delta",
}  # fmt: skip


def is_zarr(path: Path) -> bool:
    """Return whether a path is a Zarr store, by its suffix or content."""
    return path.suffix.lower() == ".zarr" or any((path / name).exists() for name in (".zgroup", "zarr.json"))


def zarr_store(path: Path, split: str | None) -> xr.Dataset:
    """Open the arrays `x`, `label`, ... of the root group. Values are read on demand.

    Args:
        path: Path of the store.
        split: Must be None, because stores have no splits.

    Returns:
        A Dataset with `x (row, ...)`.

    Raises:
        InputError: When zarr or `x` is missing, dimensions have no names, or a split is requested.
        FileError: When the store cannot be read, or is not safe to read.
    """
    try:
        import zarr
    except ImportError:
        raise InputError(
            f"{path}: this format requires zarr. Install zarr with pip install 'probgen[scale]'."
        ) from None
    if not path.is_dir():
        raise FileError(f"{path} is a file, but a Zarr store is a folder. Unpack the file first.")
    stored = _stored(path)
    try:
        group = zarr.open_group(path, mode="r", use_consolidated=False)  # the same option as for xarray below
        arrays = dict(group.arrays())
    except Exception as error:  # a bad store can cause any error in zarr
        raise FileError(f"{path} cannot be read as a Zarr group: {reason(error)}") from None
    _inspect(path, arrays, stored)
    unnamed = [name for name, array in arrays.items() if _dims(array) is None]
    if unnamed:
        raise InputError(
            f"{path}: the dimensions of {unnamed[0]!r} have no names. Write the store with xarray (Dataset.to_zarr), or set dimension_names."
        )
    try:
        dataset = xr.open_dataset(
            path, engine="zarr", chunks=None, cache=False, decode_times=False, consolidated=False
        )
    except Exception as error:
        raise FileError(f"{path} cannot be read: {reason(error)}") from None
    return in_groups(of_arrays(dataset, path, split), path)


def _dims(array: Any) -> Any:
    """Return the names of dimensions in the format of the array, or None."""
    metadata = array.metadata
    if metadata.zarr_format == 2:
        return metadata.attributes.get("_ARRAY_DIMENSIONS")
    return metadata.dimension_names


def _stored(path: Path) -> int:
    """Return the total bytes of all files. Raise `FileError` for a link, because it could point outside the store."""
    stored = 0
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            entry = Path(folder) / name
            if entry.is_symlink():
                raise FileError(
                    f"{path}: {entry.relative_to(path).as_posix()!r} is a link, which is not allowed in a store. Replace the link with the file."
                )
            stored += entry.stat().st_size if name in files else 0
    return stored


def _inspect(path: Path, arrays: dict[str, Any], stored: int) -> None:
    """Raise `FileError` for arrays that could run code, or unpack to far more bytes than are stored."""
    declared = 0
    for name, array in arrays.items():
        unknown = set(_codecs(array.metadata)) - CODECS
        if unknown:
            raise FileError(
                f"{path}: {name!r} uses the codec {min(unknown)}, which is not allowed. Write the array with another codec."
            )
        if array.dtype.kind not in "biufUST":
            raise FileError(
                f"{path}: {name!r} has type {array.dtype}, but only numbers and text are allowed. Leave the array out."
            )
        declared += array.nbytes
        if declared > FLOOR + RATIO * stored:
            raise FileError(
                f"{path}: {name!r} declares {declared} bytes, but only {stored} are stored. The store is refused as a decompression bomb."
            )


def _codecs(metadata: Any) -> Iterator[str]:
    """Yield the names of the codecs of an array, including codecs within shards."""
    if metadata.zarr_format == 2:
        yield from (
            str(codec.codec_id) for codec in (*(metadata.filters or ()), metadata.compressor) if codec
        )
        return
    left = list(metadata.to_dict()["codecs"])
    while left:
        codec = left.pop()
        yield str(codec["name"]).removeprefix("numcodecs.")
        inner = codec.get("configuration", {})
        left += [*inner.get("codecs", ()), *inner.get("index_codecs", ())]
