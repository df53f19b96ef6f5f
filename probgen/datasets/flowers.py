"""Flowers: 17 kinds, 80 photographs each, 64 x 64 in color (Nilsback & Zisserman 2006), and white and yellow flowers for translation.

The last 10 photographs of each kind are `test`, and the 10 photographs before these are `valid`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from probgen.datasets.base import DataSet
from probgen.errors import InputError
from probgen.readers.base import joined

_FILE = "flowers17/flowers17.npz"
_NAMES = (
    "daffodil snowdrop lily_of_the_valley bluebell crocus iris tigerlily tulip fritillary sunflower daisy colts_foot dandelion cowslip "
    "buttercup windflower pansy"
)
_EACH = 80
_PARTS = {"train": slice(0, 60), "valid": slice(60, 70), "test": slice(70, 80)}
_KINDS = {
    0: "snowdrop lily_of_the_valley daisy windflower",
    1: "daffodil sunflower colts_foot dandelion cowslip buttercup",
}


def _flowers(split: str | None, folder: Path | None) -> xr.Dataset:
    if folder is None or not (folder / _FILE).is_file():
        raise InputError(
            f"{_FILE} is not in the data folder ({folder or 'none given'}: --data-dir, PROBGEN_DATA). Create the file from the 1,360 images of the "
            "17 Category Flower Dataset in their order, center square at 64 x 64: x (row, 64, 64, 3), uint8, and label (row,)."
        )
    with np.load(folder / _FILE, allow_pickle=False) as file:
        x, label = file["x"].transpose(0, 3, 1, 2), file["label"].astype(np.int64)
    number = np.arange(len(x)) % _EACH
    parts = {}
    for part, some in _PARTS.items():
        rows = np.flatnonzero((number >= some.start) & (number < some.stop))
        parts[part] = xr.Dataset(
            {
                "x": (
                    ("row", "channel", "height", "width"),
                    np.ascontiguousarray(x[rows]),
                    {"support": "integer", "levels": 256},
                ),
                "label": ("row", label[rows], {"levels": 17, "symbols": _NAMES.split()}),
            }
        )
    return joined(parts, split)


def _kinds(split: str | None, folder: Path | None) -> xr.Dataset:
    dataset = _flowers(split, folder)
    names = _NAMES.split()
    kind = np.full(len(names), -1)
    for number, some in _KINDS.items():
        kind[[names.index(name) for name in some.split()]] = number
    label = kind[dataset["label"].values]
    rows = np.flatnonzero(label >= 0)
    return dataset.isel(row=rows).assign(
        label=("row", label[rows], {"levels": 2, "symbols": ["white", "yellow"]})
    )


flowers17 = DataSet("1,360 photographs of 17 kinds of flowers, 3 x 64 x 64, 0..255", tuple(_PARTS), _flowers)
flowers_white_yellow = DataSet(
    "800 photographs of white and of yellow flowers, 3 x 64 x 64, 0..255", tuple(_PARTS), _kinds
)
