"""Photographs: a part of CIFAR-10 (Krizhevsky 2009), and the Olivetti faces (Samaria & Harter 1994)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from probgen.datasets.base import DataSet, Source
from probgen.errors import InputError
from probgen.readers import read
from probgen.readers.base import joined

_SPLITS = ("train", "valid", "test")
_CIFAR = "cifar10_subset/cifar10_subset.npz"
_CIFAR_NAMES = "airplane automobile bird cat deer dog frog horse ship truck"
_VALID = 400  # the last 400 training images
_FACES = "olivetti_faces/olivetti_faces.npy"
_MAT = Source(
    "olivetti_faces/olivettifaces.mat",
    "https://ndownloader.figshare.com/files/5976027",
    "b612fb967f2dc77c9c62d3e1266e0c73d5fca46a4b8906c18e454d41af987794",
)
_PEOPLE = {"train": slice(0, 320), "valid": slice(320, 360), "test": slice(360, 400)}  # 10 images of each


def _cifar(split: str | None, folder: Path | None) -> xr.Dataset:
    """Read the first 4,000 training and 1,000 test images. The last 400 of the 4,000 are `valid`."""
    if folder is None or not (folder / _CIFAR).is_file():
        raise InputError(
            f"{_CIFAR} is not in the data folder ({folder or 'none given'}: --data-dir, PROBGEN_DATA). Make the file from the first "
            f"images of CIFAR-10: numpy.savez({Path(_CIFAR).name!r}, "
            "x_train= (4000, 32, 32, 3), y_train= (4000,), x_test= (1000, 32, 32, 3), y_test= (1000,)), all uint8"
        )
    parts = {}
    for part in [split] if split else _SPLITS:
        dataset = read(folder / _CIFAR, "test" if part == "test" else "train")
        rows = {"train": slice(0, -_VALID), "valid": slice(-_VALID, None), "test": slice(None)}[part]
        parts[part] = dataset.isel(row=rows)
        parts[part]["x"].attrs.update(support="integer", levels=256)
        parts[part]["label"].attrs.update(levels=10, symbols=_CIFAR_NAMES.split())
    return joined(parts, split)


def _faces(split: str | None, folder: Path | None) -> xr.Dataset:
    """Read ten images of each of 40 people, with four people in `valid` and four in `test`. The label is the person."""
    if folder is not None and (folder / _FACES).is_file():
        x = np.load(folder / _FACES, allow_pickle=False)
    else:
        from scipy.io import loadmat

        x = loadmat(_MAT.find(folder))["faces"].T.reshape(-1, 64, 64).transpose(0, 2, 1)
    label = np.arange(len(x)) // 10
    rows = _PEOPLE[split] if split is not None else slice(None)
    return xr.Dataset(
        {
            "x": (
                ("row", "height", "width"),
                x[rows].astype(np.uint8),
                {"support": "integer", "levels": 256},
            ),
            "label": ("row", label[rows], {"levels": 40}),
        }
    )


cifar10_subset = DataSet(
    "5,000 photographs, 3 x 32 x 32, 0..255: the first of CIFAR-10 (Krizhevsky 2009)", _SPLITS, _cifar
)
olivetti_faces = DataSet("400 faces of 40 people, 64 x 64, 0..255 (Samaria & Harter 1994)", _SPLITS, _faces)
