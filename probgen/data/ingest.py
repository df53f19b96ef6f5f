"""Conversion of any user data to one Dataset.

The Dataset has `x (row, *event dims)`. Optional variables are `label (row)` and other conditions, `weight (row)`,
`observed (row, *event dims)` and `length (row)`. The length is the number of valid positions along `time` in each row; the rest is padding.
`attribute (row, factor)` holds numbers and classes that describe a row. The names of the factors are a coordinate.
A condition may have its own dimensions, such as `source (row, source_time)`. `source_length (row)` then holds the number of valid positions along the
first of these dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from probgen import datasets
from probgen.contract.columns import Column
from probgen.errors import InputError
from probgen.readers import groups
from probgen.readers.arrow import as_pandas, is_frame
from probgen.readers.described import of_one_table

USUAL = ("channel", "height", "width", "time")
_DIMS = {1: ("feature",), 2: ("height", "width"), 3: ("channel", "height", "width")}


def as_dataset(
    data: Any,
    split: str | None = None,
    folder: str | Path | None = None,
    rate: int | None = None,
    *,
    size: int | Sequence[int] | None = None,
    crop: str | None = None,
    gray: bool = False,
    scale: int | None = None,
    table: Mapping[str, Any] | None = None,
    like: Sequence[Column] = (),
    reading: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Convert data of any kind to one Dataset with `x`.

    Args:
        data: A NumPy array, torch tensor, DataFrame, DataArray or Dataset. Or the name of a registered data set. Or a path: a
            `.npy .npz .csv .parquet .h5 .hdf5 .nc .zarr` or IDX file, a sound, an image, or a folder of sounds or images.
        split: Part of a named data set or a file, such as `train`.
        folder: Folder that is searched first for the files of named data sets.
        rate: Samples per second to which sounds are resampled.
        size: Height and width of images. See `probgen.datasets.load`.
        crop: How images of another shape are cut. See `probgen.datasets.load`.
        gray: Whether colors of images are converted to gray.
        scale: Factor by which `low` is smaller than the images. See `probgen.datasets.load`.
        table: How a table is read. See `probgen.datasets.load`.
        like: Columns of a model. A table must have these columns, which are read with the same types and classes.
        reading: Options by which the data of a model were read. See `probgen.datasets.load`.

    Returns:
        A Dataset with `x (row, *event dims)`. Arrays in files are loaded into memory if they have at most 256 MiB in all.

    Raises:
        InputError: When the data or an option cannot be used.
        FileError: When a file cannot be read.
    """
    choices = datasets.Choices.of(table)
    if not isinstance(data, str | Path):
        known = ("table",) if is_frame(data) else ()
        datasets.Reading(rate, size, crop, gray, scale, choices).only(known, "given by their path")
    if isinstance(data, str | Path):
        dataset = datasets.load(
            data,
            split,
            folder,
            rate=rate,
            size=size,
            crop=crop,
            gray=gray,
            scale=scale,
            table=table,
            like=like,
            reading=reading,
        )
    elif split is not None:
        raise InputError(
            f"split = {split!r}: only a named data set or a file has splits, not an array. Select the rows of the array instead."
        )
    elif isinstance(data, xr.Dataset):
        dataset = data
    elif isinstance(data, xr.DataArray):
        dataset = data.to_dataset(name="x")
    elif is_frame(data):
        dataset = datasets.load(as_pandas(data), table=table, like=like, reading=reading)
    else:
        dataset = from_array(data)
    dataset = _named(dataset)
    return dataset if dataset.nbytes > groups.LAZY else dataset.load()


def from_array(data: Any, dims: tuple[str, ...] | None = None) -> xr.Dataset:
    """Return an array or tensor as a Dataset. The mask of a masked array becomes `observed`."""
    if hasattr(data, "detach"):  # a torch tensor, on any device, with or without a gradient
        if str(data.layout) != "torch.strided":
            raise InputError(
                f"a sparse tensor ({data.layout}) cannot be used. Convert the tensor with .to_dense()."
            )
        data = data.detach().cpu()
        if "bfloat16" in str(data.dtype) or "float8" in str(data.dtype):
            data = data.float()  # NumPy does not have these types
        data = data.numpy()
    if hasattr(data, "tocsr"):
        raise InputError("a sparse matrix cannot be used. Convert the matrix with .toarray().")
    try:
        masked = isinstance(data, np.ma.MaskedArray)
        values = (
            np.where(np.ma.getmaskarray(data), np.zeros((), data.dtype), data.data)
            if masked
            else np.asarray(data)
        )
    except ValueError as error:
        raise InputError(f"the data cannot be read as an array: {error}") from None
    if values.dtype.kind not in "biuf":
        raise InputError(f"x has type {values.dtype}: numbers or booleans are required")
    if values.ndim == 0:
        raise InputError("x is a single number: an array with rows as its first dimension is required")
    if values.ndim == 1:
        values = values[:, None]
    mask = np.ma.getmaskarray(data).reshape(values.shape) if masked else None
    if dims is None:
        if values.ndim - 1 not in _DIMS:
            raise InputError(
                f"x has shape {values.shape}: the meaning of its dimensions is not clear. Name the dimensions with xarray.DataArray(x, dims=[...])."
            )
        dims = _DIMS[values.ndim - 1]
        if values.ndim == 4 and values.shape[1] > 4 >= values.shape[3]:
            raise InputError(
                f"x has shape {values.shape}: the channels seem to be last. Use x.transpose(0, 3, 1, 2), "
                'or xarray.DataArray(x, dims=["row", "height", "width", "channel"]).'
            )
    variables = {"x": (("row", *dims), values)}
    if mask is not None and mask.any():
        variables["observed"] = (("row", *dims), ~mask)
    return xr.Dataset(variables)


def _named(dataset: xr.Dataset) -> xr.Dataset:
    """Return the Dataset with `row` as the first dimension of `x`, and known dimensions in their usual order."""
    if "x" not in dataset:
        if len(dataset.data_vars) != 1:
            raise InputError(
                f"the data have no variable 'x', only these: {', '.join(map(str, dataset.data_vars)) or 'none'}. Rename one variable to 'x'."
            )
        dataset = dataset.rename({next(iter(dataset.data_vars)): "x"})
    x = dataset["x"]
    if x.ndim == 0:
        raise InputError("x is a single number: an array with rows as its first dimension is required")
    if "row" not in x.dims:
        dataset = dataset.rename({x.dims[0]: "row"})
        x = dataset["x"]
    if x.dtype.kind not in "biuf":
        raise InputError(f"x has type {x.dtype}: numbers or booleans are required")
    if x.dtype.kind == "f" and x.dtype.itemsize > 8:
        x = x.astype(np.float64)
        dataset = dataset.assign(x=x)
    dataset = _with_names(dataset)
    x = dataset["x"]
    if x.ndim == 1:
        x = x.expand_dims("feature", axis=1)
        dataset = dataset.assign(x=x)
    rest = [dim for dim in x.dims if dim != "row"]
    usual = [dim for dim in (*USUAL, "feature") if dim in rest]
    order = usual if len(usual) == len(rest) else rest
    if ("row", *order) != x.dims:
        dataset = dataset.transpose("row", *order, ...)
    dataset = of_one_table(dataset)
    kept = _kept(dataset)
    dataset = dataset.drop_vars([*dataset.indexes, *(name for name in kept if name in dataset.coords)])
    return dataset.reset_coords().assign_coords(kept).drop_indexes("row" if "row" in kept else [])


def _with_names(dataset: xr.Dataset) -> xr.Dataset:
    """Move the column names of a table to `feature`, as texts. The second dimension may have another name, or years as names."""
    x = dataset["x"]
    if x.ndim != 2 or x.dims[1] in USUAL or x.dims[1] not in x.coords:
        return dataset
    dim = str(x.dims[1])
    names = x.coords[dim]
    numbered = names.dtype.kind in "iu" and np.array_equal(names.values, np.arange(len(names)))
    plain = dim in ("feature", f"dim_{1}")
    if numbered or names.dims != (dim,) or not (_texts(names) or (plain and names.dtype.kind in "iu")):
        return dataset
    renamed = dataset if dim == "feature" else dataset.rename({dim: "feature"})
    return renamed.assign_coords(feature=[str(name) for name in names.values])


def _kept(dataset: xr.Dataset) -> dict[str, xr.Variable]:
    """Return the coordinates to keep: names of factors, columns and rows.

    The row names are not kept as an index, because xarray would align the rows of different variables by an index.
    """
    names = {"row"}
    names |= {"factor"} if "attribute" in dataset else set()
    names |= {"feature"} if _texts(dataset.coords.get("feature")) else set()
    there = {name: dataset.coords[name] for name in sorted(names) if name in dataset.coords}
    return {name: found.variable for name, found in there.items() if found.dims == (name,)}


def _texts(names: xr.DataArray | None) -> bool:
    return names is not None and all(isinstance(name, str) for name in names.values)
