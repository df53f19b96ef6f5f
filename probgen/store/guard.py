"""Inspection of an HDF5 file from an unknown source, before any of its content is read.

The inspection refuses links that lead outside the file, unknown filters, and arrays that unpack to far more
bytes than the file stores. Error messages show names in escaped form, and names never become paths.
"""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np

from probgen.errors import FileError

DEPTH, OBJECTS, ATTRIBUTES, ATTRIBUTE_BYTES = 16, 20_000, 1_000, 1 << 20
FLOOR, RATIO = 16 << 20, 200  # a file may declare 16 MiB plus 200 times the bytes that it stores
FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}
SCALES = {"DIMENSION_LIST", "REFERENCE_LIST"}  # attributes of HDF5's own dimension scales
UNPACKED = f"unpacks to more than {FLOOR >> 20} MiB and {RATIO} times its size"
SIGNATURE = b"\x89HDF\r\n\x1a\n"


def inspect(file: h5py.File, name: str) -> None:
    """Check every link, dtype, filter and size of an open file; raise `FileError` for one that is refused."""
    _Inspection(name).group(file, "/", 0)


def open_hdf5(source: Path | IO[bytes], name: str) -> h5py.File:
    """Open a file for reading and inspect it; raise `FileError` if it is damaged or refused."""
    try:
        file = h5py.File(source, "r")
    except (OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise FileError(f"{name} cannot be read as HDF5: {reason}") from None
    try:
        inspect(file, name)
    except FileError:
        file.close()
        raise
    except Exception as error:  # a damaged file makes h5py raise errors of any type
        file.close()
        raise FileError(f"{name} is damaged: {' '.join(str(error).split())}") from None
    return file


class _Inspection:
    def __init__(self, name: str):
        self.name = name
        self.objects: set[int] = set()
        self.links = 1
        self.declared = self.stored = 0

    def refuse(self, where: str, reason: str) -> FileError:
        return FileError(f"{self.name}: {where!r} {reason}; refused")

    def group(self, group: h5py.Group, where: str, depth: int) -> None:
        if depth > DEPTH:
            raise self.refuse(where[:80], f"is nested more than {DEPTH} deep")
        self.visit(group, where)
        self.links += len(group)
        if self.links > OBJECTS:
            raise self.refuse(where, f"holds more than {OBJECTS} objects")
        for name in group:
            path = f"{where.rstrip('/')}/{name}"
            if type(group.get(name, getlink=True)) is not h5py.HardLink:
                raise self.refuse(path, "is a link to somewhere else")
            kind = group.get(name, getclass=True)
            if kind is h5py.Group:
                self.group(group[name], path, depth + 1)
            elif kind is h5py.Dataset:
                self.dataset(group[name], path)
            else:
                raise self.refuse(path, "is neither a group nor an array")

    def visit(self, item: h5py.Group | h5py.Dataset, where: str) -> None:
        address = h5py.h5o.get_info(item.id).addr
        if address in self.objects:
            raise self.refuse(where, "is linked more than once")
        self.objects.add(address)
        if len(item.attrs) > ATTRIBUTES:
            raise self.refuse(where, f"has more than {ATTRIBUTES} attributes")
        for name in item.attrs:
            attribute = item.attrs.get_id(name)
            if name in SCALES:
                continue
            if attribute.get_storage_size() > ATTRIBUTE_BYTES:
                raise self.refuse(f"{where}@{name}", f"is an attribute of more than {ATTRIBUTE_BYTES} bytes")
            self.dtype(attribute.dtype, f"{where}@{name}")

    def dataset(self, dataset: h5py.Dataset, where: str) -> None:
        self.visit(dataset, where)
        if dataset.is_virtual:
            raise self.refuse(where, "is a virtual data set")
        if dataset.external:
            raise self.refuse(where, "has its data in another file")
        self.dtype(dataset.dtype, where)
        plist = dataset.id.get_create_plist()
        for i in range(plist.get_nfilters()):
            if plist.get_filter(i)[0] not in FILTERS:
                raise self.refuse(
                    where, f"uses the filter {plist.get_filter(i)[0]}, not gzip, shuffle or fletcher32"
                )
        if _is_length_only(dataset):
            return
        self.declared += dataset.size * dataset.dtype.itemsize
        self.stored += dataset.id.get_storage_size()
        if self.declared > FLOOR + RATIO * self.stored:
            raise self.refuse(where, f"declares {self.declared} bytes where {self.stored} are stored")

    def dtype(self, dtype: np.dtype[Any], where: str) -> None:
        text = h5py.check_string_dtype(dtype) is not None
        # h5py returns its enumeration of FALSE and TRUE as bool, which is no enumeration of NumPy's
        if not (text or (dtype.kind in "iufb" and h5py.check_enum_dtype(dtype) is None)):
            raise self.refuse(where, f"holds {dtype}, not numbers or text")


def _is_length_only(dataset: h5py.Dataset) -> bool:
    """Return whether this is a netCDF dimension without coordinates.

    Only the length of such a dimension is read.
    """
    name = dataset.attrs.get("NAME", b"")
    return isinstance(name, bytes) and name.startswith(
        b"This is a netCDF dimension but not a netCDF variable"
    )
