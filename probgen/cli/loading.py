"""Data of a command: a part of a data set, and the part for validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probgen.datasets import STDIN, find_set, path_of
from probgen.plugins.registry import registered

if TYPE_CHECKING:
    import xarray as xr

    from probgen.contract.columns import Column


def check_source(data: str) -> None:
    """Look the data up by name or path, which needs no torch. Errors: `InputError`."""
    path_of(data)


def as_it_is(data: str, split: str | None, how: Mapping[str, Any] | None) -> Path | None:
    """The path of all rows of a file that is read without options, which workers can open by themselves."""
    return path_of(data) if data != STDIN and split is None and not any((how or {}).values()) else None


def loaded(
    data: str,
    split: str | None,
    usual: str,
    folder: Path | None,
    how: Mapping[str, Any] | None = None,
    like: Sequence[Column] = (),
) -> tuple[xr.Dataset, xr.Dataset | None]:
    """Rows of `split` (or of the usual one, where there is one), and those of `valid` beside `train`.

    how   files are read
    like  columns of a model, as which those of a table are taken
    """
    how = {**(how or {}), "like": like}
    from probgen.data.ingest import as_dataset

    splits = find_set(data).splits if data in registered("datasets") else ()
    part = split if split is not None else usual if usual in splits else None
    place = str(folder) if folder is not None else None
    valid = as_dataset(data, "valid", place, **how) if part == "train" and "valid" in splits else None
    return as_dataset(data, part, place, **how), valid
