"""Zarr stores: folders of chunks, read when they are needed.

What may be in a store before anything of it is read, as `store.guard` has it for HDF5: numbers and texts, by codecs that only unpack; no links.
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
    """Whether a path is meant as a Zarr store."""
    return path.suffix.lower() == ".zarr" or any((path / name).exists() for name in (".zgroup", "zarr.json"))


def zarr_store(path: Path, split: str | None) -> xr.Dataset:
    """The arrays `x`, `label`, ... of the group at the root, read when they are needed. Errors: `InputError`, `FileError`."""
    try:
        import zarr
    except ImportError:
        raise InputError(f"{path}: needs zarr: pip install 'probgen[scale]'") from None
    if not path.is_dir():
        raise FileError(f"{path} is a file, and a Zarr store is a folder")
    stored = _stored(path)
    try:
        group = zarr.open_group(path, mode="r", use_consolidated=False)  # as xarray below
        arrays = dict(group.arrays())
    except Exception as error:  # zarr raises what the store makes it raise
        raise FileError(f"{path} cannot be read as a Zarr group: {reason(error)}") from None
    _inspect(path, arrays, stored)
    unnamed = [name for name, array in arrays.items() if _dims(array) is None]
    if unnamed:
        raise InputError(
            f"{path}: the dimensions of {unnamed[0]!r} have no names: write it by xarray, Dataset.to_zarr, or give dimension_names"
        )
    try:
        dataset = xr.open_dataset(
            path, engine="zarr", chunks=None, cache=False, decode_times=False, consolidated=False
        )
    except Exception as error:
        raise FileError(f"{path} cannot be read: {reason(error)}") from None
    return in_groups(of_arrays(dataset, path, split), path)


def _dims(array: Any) -> Any:
    """Names of dimensions, as the format of the array has them; None where it has none."""
    metadata = array.metadata
    if metadata.zarr_format == 2:
        return metadata.attributes.get("_ARRAY_DIMENSIONS")
    return metadata.dimension_names


def _stored(path: Path) -> int:
    """Bytes of all files. Errors: `FileError` for a link, which could reach outside the store."""
    stored = 0
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            entry = Path(folder) / name
            if entry.is_symlink():
                raise FileError(
                    f"{path}: {entry.relative_to(path).as_posix()!r} is a link to somewhere else; refused"
                )
            stored += entry.stat().st_size if name in files else 0
    return stored


def _inspect(path: Path, arrays: dict[str, Any], stored: int) -> None:
    """Errors: `FileError` for what could run code, or unpack to far more than is stored."""
    declared = 0
    for name, array in arrays.items():
        unknown = set(_codecs(array.metadata)) - CODECS
        if unknown:
            raise FileError(f"{path}: {name!r} uses the codec {min(unknown)}, which is not known; refused")
        if array.dtype.kind not in "biufUST":
            raise FileError(f"{path}: {name!r} holds {array.dtype}, not numbers or text; refused")
        declared += array.nbytes
        if declared > FLOOR + RATIO * stored:
            raise FileError(f"{path}: {name!r} declares {declared} bytes where {stored} are stored; refused")


def _codecs(metadata: Any) -> Iterator[str]:
    """The names of what packs an array, also within shards."""
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
