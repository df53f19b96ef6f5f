"""Whatever the user has, as one Dataset, described and checked once.

`x (row, *event dims)`, and where there are any: `label (row)` and other conditions, `weight (row)`,
`observed (row, *event dims)`, and `length (row)`: of each row so much of the dimension `time` counts, the rest is padding.
`attribute (row, factor)` is what is known of a row, numbers and classes, with the names of factors as a coordinate.
A condition may have dimensions of its own, `source (row, source_time)`, of the first of which `source_length (row)` says how much counts.
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
) -> xr.Dataset:
    """Data of any kind as one Dataset with `x`.

    data     NumPy array, torch tensor, DataFrame, DataArray or Dataset; the name of a registered data set; a path
             to `.npy .npz .csv .parquet .h5 .hdf5 .nc .zarr`, an IDX file, a sound, an image, or a folder of them
    split    the part of a named data set
    folder   where named data sets are looked for first
    rate     samples a second that sounds are resampled to
    size, crop, gray, scale, table  of images and of tables: see `probgen.datasets.load`
    like     columns of a model, as which those of a table are taken

    Errors: `InputError`.
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
        )
    elif split is not None:
        raise InputError("a split can be chosen of a named data set or a file, not of an array")
    elif isinstance(data, xr.Dataset):
        dataset = data
    elif isinstance(data, xr.DataArray):
        dataset = data.to_dataset(name="x")
    elif is_frame(data):
        dataset = datasets.from_frame(as_pandas(data), choices=choices, like=like)
    else:
        dataset = from_array(data)
    dataset = _named(dataset)
    return dataset if dataset.nbytes > groups.LAZY else dataset.load()


def from_array(data: Any, dims: tuple[str, ...] | None = None) -> xr.Dataset:
    """An array or tensor as a Dataset; a masked array's mask becomes `observed`."""
    if hasattr(data, "detach"):  # a torch tensor, on any device, with or without a gradient
        if str(data.layout) != "torch.strided":
            raise InputError(
                f"a sparse tensor ({data.layout}) cannot be used: make it dense with .to_dense()"
            )
        data = data.detach().cpu()
        if "bfloat16" in str(data.dtype) or "float8" in str(data.dtype):
            data = data.float()  # types that NumPy does not have
        data = data.numpy()
    if hasattr(data, "tocsr"):
        raise InputError("a sparse matrix cannot be used: make it dense with .toarray()")
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
        raise InputError(f"x holds {values.dtype}; numbers or booleans are needed")
    if values.ndim == 0:
        raise InputError("x is a single number; an array whose first dimension is the row is needed")
    if values.ndim == 1:
        values = values[:, None]
    mask = np.ma.getmaskarray(data).reshape(values.shape) if masked else None
    if dims is None:
        if values.ndim - 1 not in _DIMS:
            raise InputError(
                f"x has shape {values.shape}; name its dimensions: xarray.DataArray(x, dims=[...])"
            )
        dims = _DIMS[values.ndim - 1]
        if values.ndim == 4 and values.shape[1] > 4 >= values.shape[3]:
            raise InputError(
                f"x has shape {values.shape} and seems to have its channels last: give x.transpose(0, 3, 1, 2), "
                'or xarray.DataArray(x, dims=["row", "height", "width", "channel"])'
            )
    variables = {"x": (("row", *dims), values)}
    if mask is not None and mask.any():
        variables["observed"] = (("row", *dims), ~mask)
    return xr.Dataset(variables)


def _named(dataset: xr.Dataset) -> xr.Dataset:
    """`x` with `row` first, and known dimensions in their usual order."""
    if "x" not in dataset:
        if len(dataset.data_vars) != 1:
            raise InputError(
                f"the data have no variable 'x', but {', '.join(map(str, dataset.data_vars)) or 'none'}"
            )
        dataset = dataset.rename({next(iter(dataset.data_vars)): "x"})
    x = dataset["x"]
    if x.ndim == 0:
        raise InputError("x is a single number; its first dimension is the row")
    if "row" not in x.dims:
        dataset = dataset.rename({x.dims[0]: "row"})
        x = dataset["x"]
    if x.dtype.kind not in "biuf":
        raise InputError(f"x holds {x.dtype}; numbers or booleans are needed")
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
    """The same with names of columns as texts at `feature`, where the second dimension of a table has names under another name, or years for names."""
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
    """The coordinates that mean something: names of factors and of columns, and what rows are called.

    That of rows is no index, by which xarray would put rows of different variables in one order.
    """
    names = {"row"}
    names |= {"factor"} if "attribute" in dataset else set()
    names |= {"feature"} if _texts(dataset.coords.get("feature")) else set()
    there = {name: dataset.coords[name] for name in sorted(names) if name in dataset.coords}
    return {name: found.variable for name, found in there.items() if found.dims == (name,)}


def _texts(names: xr.DataArray | None) -> bool:
    return names is not None and all(isinstance(name, str) for name in names.values)
