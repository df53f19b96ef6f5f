"""Trees of named arrays in netCDF-4 files (HDF5), which xarray writes and common readers open."""

from __future__ import annotations

import io
import json
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr

from probgen.errors import FileError
from probgen.store.files import read_file, write_file
from probgen.store.guard import SIGNATURE, open_hdf5

SCHEMA = 1  # the version of the file format; a reader refuses a newer version


def write_tree(path: Path, tree: xr.DataTree) -> None:
    """Write a tree to one file, completely or not at all; raise `RunError` on failure."""
    write_file(path, content_of(tree))


def content_of(tree: xr.DataTree) -> bytes | memoryview:
    """Return the content of the file of a tree, without its checksum."""
    tree = tree.copy()
    tree.attrs = {"probgen_schema": SCHEMA, **tree.attrs}
    with _no_cluster():
        return tree.to_netcdf(engine="h5netcdf")


def _no_cluster() -> AbstractContextManager[Any]:
    """Use dask's synchronous scheduler within the context.

    If dask is connected to a cluster, xarray would request a lock from the cluster, named after the written
    bytes.
    """
    dask: Any = sys.modules.get("dask")
    return nullcontext() if dask is None else dask.config.set(scheduler="synchronous")


def read_tree(path: Path) -> xr.DataTree:
    """Read a file of `write_tree` into memory; raise `FileError` if it is damaged or refused."""
    return tree_of(read_file(path), str(path))


def tree_of(content: bytes, name: str) -> xr.DataTree:
    """Return the tree of a file's content; raise `FileError` if the content is refused.

    The message begins with `name`.
    """
    if not content.startswith(SIGNATURE):
        raise FileError(f"{name} is not an HDF5 file. Give a file that probgen wrote.")
    with open_hdf5(io.BytesIO(content), name) as file:
        _check_schema(file.attrs.get("probgen_schema"), name)
    try:
        with xr.open_datatree(io.BytesIO(content), engine="h5netcdf", decode_times=False) as tree:
            return tree.load()
    except Exception as error:  # a damaged file makes xarray and h5netcdf raise errors of any type
        raise FileError(f"{name} cannot be read: {' '.join(str(error).split())}") from None


def _check_schema(schema: Any, name: str) -> None:
    found = np.asarray(schema)
    if found.size != 1 or found.dtype.kind not in "iu":
        raise FileError(
            f"{name} was not written by probgen: it has no attribute 'probgen_schema'. Give a file that probgen wrote."
        )
    if found.item() > SCHEMA:
        raise FileError(
            f"{name} has schema {found.item()}, but this version of probgen reads schemas up to {SCHEMA}. Upgrade probgen."
        )


def write_dataset(path: Path, group: str, dataset: xr.Dataset) -> None:
    """Write one Dataset as `/probgen/GROUP`; raise `RunError` on failure.

    The attributes of the Dataset are also attributes of the root.
    """
    root = xr.Dataset(attrs={"title": f"{group} by probgen", **dataset.attrs})
    write_tree(path, xr.DataTree.from_dict({"/": root, f"/probgen/{group}": dataset}))


def read_dataset(path: Path, group: str) -> xr.Dataset:
    """Return the Dataset that `write_dataset` wrote; raise `FileError` for another or a damaged file."""
    try:
        return read_tree(path)[f"/probgen/{group}"].to_dataset()
    except KeyError:
        raise FileError(f"{path} holds no {group}. Give a file with {group}.") from None


def dataset_content(dataset: xr.Dataset) -> bytes:
    """Return a Dataset as bytes, for another process."""
    return bytes(content_of(xr.DataTree(dataset)))


def dataset_of(content: bytes, name: str) -> xr.Dataset:
    """Return the Dataset of the bytes of `dataset_content`; raise `FileError` on failure.

    The message begins with `name`.
    """
    return tree_of(content, name).to_dataset()


def open_arrays(path: Path) -> xr.Dataset:
    """Return the arrays of an HDF5 or netCDF file of any origin as one lazy Dataset.

    The file is inspected first; a file that is refused raises `FileError`.
    """
    open_hdf5(path, str(path)).close()
    try:
        return xr.open_dataset(path, engine="h5netcdf", phony_dims="sort", cache=False, decode_times=False)
    except Exception as error:  # a damaged file makes xarray and h5netcdf raise errors of any type
        raise FileError(f"{path} cannot be read: {' '.join(str(error).split())}") from None


def to_json(values: Any) -> str:
    """Return a dictionary as JSON, because netCDF attributes hold neither dictionaries nor booleans.

    The order is kept, because the order of the conditions and attributes of an event is the order of the
    inputs and outputs of the network.
    """
    return json.dumps(values, allow_nan=False)


def from_json(text: Any, where: str) -> Any:
    """Return the value of a JSON text; raise `FileError` on failure.

    The message begins with `where`.
    """
    try:
        return json.loads(text)
    except (TypeError, ValueError, RecursionError):
        raise FileError(f"{where} is not JSON") from None


def write_arrays(path: Path, structure: Any, arrays: list[Any]) -> None:
    """Write arrays and the JSON structure that refers to them, completely or not at all.

    The function uses plain h5py, which takes 0.04 s for 300 arrays instead of 0.8 s for a tree. A failure
    raises `RunError`.
    """
    image = io.BytesIO()
    with h5py.File(image, "w") as file:
        file.attrs["probgen_schema"] = SCHEMA
        file.create_dataset("structure", data=json.dumps(structure))
        for i, array in enumerate(arrays):
            file.create_dataset(f"array-{i:06d}", data=array)
    write_file(path, image.getbuffer())


def read_arrays(path: Path) -> tuple[Any, list[Any]]:
    """Return the structure and the arrays that `write_arrays` wrote; raise `FileError` on failure."""
    return arrays_of(read_file(path), str(path))


def arrays_of(content: bytes, where: str) -> tuple[Any, list[Any]]:
    """Return the structure and the arrays in the content of a file; raise `FileError` on failure.

    The message begins with `where`.
    """
    with open_hdf5(io.BytesIO(content), where) as file:
        names = sorted(name for name in file if name.startswith("array-"))
        structure = from_json(file["structure"][()], f"{where}: 'structure'")
        return structure, [file[name][()] for name in names]
