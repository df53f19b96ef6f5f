"""Small real data: digits, irises and wines from scikit-learn, and Old Faithful."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from probgen.contract.columns import Column
from probgen.datasets.base import DataSet, Source
from probgen.readers.base import joined
from probgen.readers.described import attributes_of

_DIGITS = {"train": slice(0, 1197), "valid": slice(1197, 1497), "test": slice(1497, 1797)}


def _digits(split: str | None, folder: Path | None) -> xr.Dataset:
    """Read the digits. The rows are shuffled with a fixed seed (the file is sorted by writer), then cut into 1197, 300 and 300."""
    from sklearn.datasets import load_digits  # takes 0.7 s, and Old Faithful does not need it

    bunch = load_digits()
    order = np.random.Generator(np.random.PCG64(0)).permutation(len(bunch.target))
    x = bunch.images[order].astype(np.uint8)
    label = bunch.target[order].astype(np.int64)
    parts = {
        name: xr.Dataset(
            {
                "x": (("row", "height", "width"), x[rows], {"support": "integer", "levels": 17}),
                "label": ("row", label[rows], {"levels": 10}),
            }
        )
        for name, rows in _DIGITS.items()
    }
    return joined(parts, split)


def _digits_binary(split: str | None, folder: Path | None) -> xr.Dataset:
    dataset = _digits(split, folder)
    x = (dataset["x"] >= 8).astype(np.uint8)
    x.attrs = {"support": "binary"}
    return dataset.assign(x=x)


def _iris(split: str | None, folder: Path | None) -> xr.Dataset:
    from sklearn.datasets import load_iris

    bunch = load_iris()
    names = [name.removesuffix(" (cm)") for name in bunch.feature_names]
    return xr.Dataset(
        {
            "x": (
                ("row", "feature"),
                bunch.data,
                attributes_of(Column(name, "real", unit="cm") for name in names),
            ),
            "label": (
                "row",
                bunch.target.astype(np.int64),
                {"levels": 3, "symbols": [str(name) for name in bunch.target_names]},
            ),
        },
        {"feature": names},
    )


def _wine(split: str | None, folder: Path | None) -> xr.Dataset:
    """Read the wines. The rows are shuffled with a fixed seed (the file is sorted by cultivar), then cut into 118 and 60."""
    from sklearn.datasets import load_wine

    bunch = load_wine()
    order = np.random.Generator(np.random.PCG64(0)).permutation(len(bunch.target))
    names = [str(name).replace("_", " ") for name in bunch.feature_names]
    columns = [
        *(Column(name, "real") for name in names),
        Column("cultivar", "token", 3, classes=("0", "1", "2")),
    ]
    x = np.column_stack([bunch.data, bunch.target])[order]
    whole = xr.Dataset(
        {"x": (("row", "feature"), x, attributes_of(columns))},
        {"feature": [column.name for column in columns]},
    )
    rows = {"train": slice(0, 118), "test": slice(118, 178)}
    return joined({name: whole.isel(row=part) for name, part in rows.items()}, split)


_FAITHFUL = Source(
    "old_faithful/faithful.csv",
    "https://raw.githubusercontent.com/vincentarelbundock/Rdatasets/master/csv/datasets/faithful.csv",
    "5043db1e2c51c8e8fd67e0868c768ae589770cc76ad0ac0c5b7afd1fca31fc57",
)


def _faithful(split: str | None, folder: Path | None) -> xr.Dataset:
    import pandas as pd

    frame = pd.read_csv(_FAITHFUL.find(folder))
    names = ["eruptions", "waiting"]
    x = frame[names].to_numpy(dtype=np.float64)
    described = attributes_of(Column(name, "real", unit="minute") for name in names)
    return xr.Dataset({"x": (("row", "feature"), x, described)}, {"feature": names})


digits = DataSet(
    "1,797 handwritten digits, 8 x 8, 0..16 (UCI; in scikit-learn)", ("train", "valid", "test"), _digits
)
digits_binary = DataSet(
    "the same digits, 1 where the ink is at least 8", ("train", "valid", "test"), _digits_binary
)
iris = DataSet("150 irises, 4 measurements, 3 species (Fisher 1936; in scikit-learn)", (), _iris)
faithful = DataSet("272 eruptions of Old Faithful: duration and waiting time, minutes", (), _faithful)
wine = DataSet(
    "178 wines: 13 measurements and one of three cultivars (in scikit-learn)", ("train", "test"), _wine
)
