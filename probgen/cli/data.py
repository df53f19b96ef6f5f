"""Data for a command: a part of a data set, with the part to choose by."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import xarray as xr


def loaded(
    data: str, split: str | None, usual: str, folder: Path | None
) -> tuple[xr.Dataset, xr.Dataset | None]:
    """Rows of `split` (or of the usual one, where there is one), and those of `valid` beside `train`."""
    from probgen.data.ingest import as_dataset
    from probgen.datasets import find_set
    from probgen.plugins.registry import registered

    splits = find_set(data).splits if data in registered("datasets") else ()
    part = split if split is not None else usual if usual in splits else None
    place = str(folder) if folder is not None else None
    valid = as_dataset(data, "valid", place) if part == "train" and "valid" in splits else None
    return as_dataset(data, part, place), valid
