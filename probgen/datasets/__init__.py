"""Loading of data sets by name, and of files by path."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probgen.datasets.base import DataSet
from probgen.errors import InputError, did_you_mean
from probgen.plugins.registry import find, registered

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from probgen.contract.columns import Column
    from probgen.readers import (
        Choices,
        Reading,
        column_names,
        from_frame,
        kind_of,
        lines_of,
        of_arrow,
        pairs,
        read,
        read_text,
        scaled,
        table,
    )

STDIN = "-"  # path of a table on standard input
READING = "reading"  # attribute of a Dataset: the options by which it was read, as JSON

__all__ = [
    "Choices",
    "DataSet",
    "Reading",
    "column_names",
    "find_set",
    "from_frame",
    "kind_of",
    "lines_of",
    "load",
    "of_arrow",
    "pairs",
    "path_of",
    "read",
    "read_text",
    "scaled",
    "table",
]


def __getattr__(name: str) -> Any:
    """Import a reader on first use, because looking up a name or a path does not need xarray."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from probgen import readers

    return getattr(readers, name)


def load(
    name: str | Path | pd.DataFrame,
    split: str | None = None,
    folder: str | Path | None = None,
    *,
    rate: int | None = None,
    size: int | Sequence[int] | None = None,
    crop: str | None = None,
    gray: bool = False,
    scale: int | None = None,
    table: Mapping[str, Any] | None = None,
    like: Sequence[Column] = (),
    reading: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Load a data set by its registered name, or a file or folder by its path.

    The content of a file is kept, refused, or converted with a warning. docs/data.md has a table of all cases.

    Args:
        name: A name from the list of `probgen datasets`, or a path. Any existing path, and any text with a `/` or a suffix, is a path; `-` is a table on
            standard input. Or a DataFrame, with options in `table`.
        split: `train`, `valid`, `test`, ...; None loads all rows. Tables and `.npy` files have these three splits, with 80, 10 and 10 percent of
            the rows, at random.
        folder: Folder that is searched for the files of a named data set before a download, by default the environment variable `PROBGEN_DATA`.
        rate: For sounds: samples per second to which the sounds are resampled; their channels are mixed to one. None refuses files that differ.
        size: For images: (height, width), or one number for both, to which the images are scaled. None refuses images that differ. For a
            painted data set: the side of the images.
        crop: For images: "center" cuts off the edges of an image with another shape than `size`. None refuses such an image.
        gray: For images: whether colors are converted to gray.
        scale: For images: adds `low`, the images reduced by this factor (bicubic, antialiased), for super-resolution. The images may then have
            several sizes, `size (row, side)`.
        table: For tables, options by name: `sep`, `decimal`, `encoding` and `columns` (format of a file and names of its columns), `na` (marks of
            missing values), `drop`, `label`, `weight`, `index`, `rare`, and `kind` (kinds of columns, such as `{"month": "category"}`). docs/data.md
            describes each option.
        like: Columns of a model, `fitted.event.columns`. A table must have these columns, which are read with the same kinds and classes.
        reading: Options of this function by which the data of a model were read, `fitted.reading`. They apply where the other options and the
            file permit it: a column that was left out is left out again.

    Returns:
        A Dataset with `x (row, ...)`, and `label (row)` if there are labels. The attribute `reading` has the options as JSON.

    Raises:
        InputError: When there is no such data set or file, or an option or the data cannot be used.
        FileError: When a file is damaged or not allowed.
        PluginError: When the plugin of a data set cannot be imported.
    """
    from probgen.readers import Choices, Reading, from_frame, kind_of, read, read_stdin, scaled, stored
    from probgen.readers.arrow import as_pandas
    from probgen.readers.base import part_of
    from probgen.readers.described import marked

    if not isinstance(like, Sequence) or not all(hasattr(each, "support") for each in like):
        raise InputError("like: must be the columns of a model. Pass fitted.event.columns.")
    earlier = dict(reading or {})
    how = Reading(rate, size, crop, gray, scale, Choices.of(table), tuple(like))
    told = {READING: json.dumps(how.chosen())} if how.chosen() else {}
    if not isinstance(name, str | Path):
        how.only(("table",), "but the data are a DataFrame")
        how = how.completed(earlier, "tables")
        rows = from_frame(as_pandas(name), choices=how.table, like=how.like).assign_attrs(told)
        return rows if split is None else part_of(rows, split, "the table")
    text, path = str(name), path_of(name)
    if path is not None:
        place = path / split if split and path.is_dir() else path
        kind = "tables" if text == STDIN else kind_of(path, place, table="table" in earlier or how.of_table)
        how = how.completed(earlier, kind)
        if text == STDIN:
            dataset = read_stdin(how)
            dataset = dataset if split is None else part_of(dataset, split, "standard input")
        else:
            dataset = read(path, split, how)
        dataset = dataset if how.scale is None else scaled(dataset, how.scale)
        dataset = dataset if stored(path) else marked(dataset)
        return dataset.assign_attrs(path=text, **told, **({"split": split} if split else {}))
    found = find_set(text)
    suited = ("scale", "size") if found.sized is not None else ("scale",)
    how = how.completed({option: value for option, value in earlier.items() if option in suited}, "images")
    if found.sized is not None and how.size is not None:
        height, width = how.sides
        if height != width:
            raise InputError(f"size = {how.size!r}: images of {text!r} are square. Give one number.")
        found, how = found.sized(height), Reading(rate, None, None, gray, how.scale)
        if crop is not None:
            raise InputError(f"crop is only for files, but {text!r} is painted at any size. Leave crop out.")
    how.only(("scale",), f"but {text!r} is a data set")
    dataset = found.load(split, folder)
    dataset = dataset if how.scale is None else scaled(dataset, how.scale)
    return marked(dataset).assign_attrs(name=text, **told, **({"split": split} if split else {}))


def path_of(name: str | Path) -> Path | None:
    """Return the path of a file or folder, or None for a registered data set.

    Args:
        name: A name or a path.

    Returns:
        The path, or None for a registered data set.

    Raises:
        InputError: When there is neither a file nor a data set of this name.
    """
    text = str(name)
    if text == STDIN:
        return Path(STDIN)
    if text in registered("datasets"):
        return None
    path = Path(os.path.expanduser(text))  # Path.expanduser raises for an unknown user
    if text and path.exists():
        return path
    if text and (isinstance(name, Path) or "/" in text or path.suffix):
        raise InputError(f"there is no file {path}. Check the path.")
    raise InputError(
        f"there is no data set and no file {text!r}; "
        f"{did_you_mean(text, registered('datasets'), 'List the data sets with: probgen datasets')}"
    )


def find_set(name: str) -> DataSet:
    """Import and return a registered data set.

    Args:
        name: The registered name.

    Returns:
        The data set.

    Raises:
        InputError: When the registered object is not a `DataSet`.
        PluginError: When the name is unknown, or the import fails.
    """
    found = find("datasets", name).load()
    if not isinstance(found, DataSet):
        raise InputError(
            f"data set {name!r} has type {type(found).__name__}: it must be a probgen.datasets.DataSet. Fix the plugin."
        )
    return found
