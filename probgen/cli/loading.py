"""The data of a command: a part of a data set, and the part for validation."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from probgen.datasets import STDIN, find_set, path_of
from probgen.plugins.registry import registered

LISTS = ("drop", "na", "kind")  # options that are completed by those of a fit, not replaced

if TYPE_CHECKING:
    import xarray as xr

    from probgen.contract.fitted import Fitted


def check_source(data: str) -> None:
    """Raise `InputError` if there is no such data set or file. This needs no torch."""
    path_of(data)


def as_it_is(data: str, split: str | None, how: Mapping[str, Any] | None) -> Path | None:
    """Return the path of a file that workers can open themselves, which is read whole and without options, or None."""
    return path_of(data) if data != STDIN and split is None and not any((how or {}).values()) else None


def loaded(
    data: str,
    split: str | None,
    usual: str,
    folder: Path | None,
    how: Mapping[str, Any] | None = None,
    fitted: Fitted | None = None,
) -> tuple[xr.Dataset, xr.Dataset | None]:
    """Return the rows of a part, and the validation rows if the part is `train` and there is a part `valid`.

    Args:
        data: The name of a data set, or the path of a file.
        split: The part, or None for the usual part.
        usual: The usual part, if the data set has it.
        folder: The folder with data sets, or None.
        how: The options for reading files.
        fitted: The model that uses the rows. They are read as the rows of its fit, if the options do not say otherwise.

    Returns:
        The rows, and the validation rows or None.
    """
    how = dict(how or {})
    if fitted is not None:
        how |= {"like": fitted.event.columns, "reading": fitted.reading}
    from probgen.data.ingest import as_dataset

    splits = find_set(data).splits if data in registered("datasets") else ()
    part = split if split is not None else usual if usual in splits else None
    place = str(folder) if folder is not None else None
    valid = as_dataset(data, "valid", place, **how) if part == "train" and "valid" in splits else None
    return as_dataset(data, part, place, **how), valid


def tell_reading(fitted: Fitted, data: str, how: Mapping[str, Any]) -> None:
    """Print the options of the fit by which a file is read, on stderr."""
    if data in registered("datasets"):
        return
    from probgen.readers.words import words

    own = {**how, **how.get("table", {})}
    before = {**fitted.reading, **fitted.reading.get("table", {})}
    # the model has the classes that were left by rare
    kept = {k: v for k, v in before.items() if k != "rare" and (k in LISTS or not own.get(k))}
    if options := shlex.join(words(kept)):
        typer.echo(f"{data} is read as the data of the fit, where these options apply: {options}", err=True)
