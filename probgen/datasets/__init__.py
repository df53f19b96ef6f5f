"""Data sets by name, and files by path."""

from __future__ import annotations

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
        from_frame,
        lines_of,
        of_arrow,
        pairs,
        read,
        read_text,
        scaled,
        table,
    )

STDIN = "-"  # a table that comes by standard input

__all__ = [
    "Choices",
    "DataSet",
    "Reading",
    "find_set",
    "from_frame",
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
    """The readers, imported when used: a name or a path is looked up without xarray."""
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
) -> xr.Dataset:
    """A data set by its registered name, or a file or folder by its path.

    name    a name that `probgen datasets` lists, or a path: anything with a `/`, a suffix, or that exists; `-` is a table that comes by standard input. Or a DataFrame, for which `table` says what its columns are
    split   `train`, `valid`, `test`, ...; None is all rows. Tables and `.npy` files have these three: eight, one and one tenths of their rows, at random
    folder  where to look for files before they are downloaded; by default `PROBGEN_DATA`
    rate    of sounds: samples a second that they are resampled to, and their channels mixed; None refuses files that differ
    size    of images: (height, width), or both in one number, that they are scaled to; None refuses images that differ. Of a
            data set that is painted, the side that it is painted at
    crop    "center": what is beside the middle of an image is cut off where its shape is not that of `size`; None refuses it
    gray    of images: colors become gray
    scale   of images: with `low`, the same made so many times smaller (bicubic, antialiased), for super-resolution; then images may be of
            several sizes, `size (row, side)`
    table   of tables, by name: `sep`, `decimal`, `encoding`, `columns` (how a file is written, names of its columns), `na` (marks of gaps),
            `drop`, `label`, `weight`, `index`, `rare`, `kind` (`{"month": "category"}`: what columns are). docs/data.md has each
    like    columns of a model, as which those of a table are taken

    What files hold is kept, refused, or converted with a warning: docs/data.md has the table. Returns a Dataset with `x (row, ...)` and `label (row)` where there are labels. Errors: `InputError`,
    `PluginError`.
    """
    from probgen.readers import Choices, Reading, from_frame, read, read_stdin, scaled, stored
    from probgen.readers.arrow import as_pandas
    from probgen.readers.base import part_of
    from probgen.readers.described import marked

    if not isinstance(like, Sequence) or not all(hasattr(each, "support") for each in like):
        raise InputError("like: the columns of a model are needed, as fitted.event.columns")
    how = Reading(rate, size, crop, gray, scale, Choices.of(table), tuple(like))
    if not isinstance(name, str | Path):
        how.only(("table",), "and a DataFrame is given")
        rows = from_frame(as_pandas(name), choices=how.table, like=how.like)
        return rows if split is None else part_of(rows, split, "the table")
    text, path = str(name), path_of(name)
    if path is not None:
        if text == STDIN:
            dataset = read_stdin(how)
            dataset = dataset if split is None else part_of(dataset, split, "standard input")
        else:
            dataset = read(path, split, how)
        dataset = dataset if scale is None else scaled(dataset, scale)
        dataset = dataset if stored(path) else marked(dataset)
        return dataset.assign_attrs(path=text, **({"split": split} if split else {}))
    found = find_set(text)
    if found.sized is not None and how.size is not None:
        height, width = how.sides
        if height != width:
            raise InputError(f"size = {how.size!r}: images of {text!r} are square; give one number")
        found, how = found.sized(height), Reading(rate, None, None, gray, scale)
        if crop is not None:
            raise InputError(f"crop is of files, and {text!r} is painted at any size: leave it out")
    how.only(("scale",), f"and {text!r} is a data set")
    dataset = found.load(split, folder)
    dataset = dataset if scale is None else scaled(dataset, scale)
    return marked(dataset).assign_attrs(name=text, **({"split": split} if split else {}))


def path_of(name: str | Path) -> Path | None:
    """The file or folder that is meant, or None for a registered data set. Errors: `InputError` if there is neither."""
    text = str(name)
    if text == STDIN:
        return Path(STDIN)
    if text in registered("datasets"):
        return None
    path = Path(os.path.expanduser(text))  # Path.expanduser raises for an unknown user
    if text and path.exists():
        return path
    if text and (isinstance(name, Path) or "/" in text or path.suffix):
        raise InputError(f"there is no file {path}")
    raise InputError(
        f"no data set and no file is called {text!r}; {did_you_mean(text, registered('datasets'))}"
    )


def find_set(name: str) -> DataSet:
    """A registered data set, imported. Errors: `PluginError`."""
    found = find("datasets", name).load()
    if not isinstance(found, DataSet):
        raise InputError(f"data set {name!r} is a {type(found).__name__}, not a probgen.datasets.DataSet")
    return found
