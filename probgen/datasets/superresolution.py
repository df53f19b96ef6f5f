"""Photographs of several sizes for training and measuring super-resolution.

- set5: 5 images (Bevilacqua et al. 2012), in color
- t91: 91 images (Yang, Wright, Huang & Ma 2010), in color
- bsd: luma, 8 bits, as used for measurements. `train` is T91 and 190 of the 200 training images of BSDS300 (Martin et al. 2001), `valid` is the other
  10 images, `test` is Set5. T91 and the 200 images are the 291 images of VDSR (Kim et al. 2016).

`load(..., scale=4)` adds the reduced images.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr
from PIL import Image

from probgen.codecs.images import luma, rounded
from probgen.datasets.base import DataSet
from probgen.errors import FileError, InputError
from probgen.readers.base import joined
from probgen.readers.scaled import stacked

_VALID = 20  # every 20th image of BSDS300 is in `valid`
_FILES = {
    "set5": ("set5", "baby.png, bird.png, butterfly.png, head.png and woman.png"),
    "t91": ("t91/t91.zip", "the 91 images as PNG"),
    "bsd200": ("bsd200/bsd200_y.zip", "the luma of the 200 training images of BSDS300 as PNG, 8 bits"),
}


def _files(name: str, folder: Path | None) -> list[np.ndarray]:
    """Return the images of one data set, in the order of their names: (height, width[, channel])."""
    place, what = _FILES[name]
    if folder is None or not (folder / place).exists():
        raise InputError(
            f"{place} is not in the data folder ({folder or 'none given'}: --data-dir, PROBGEN_DATA). Create {place} with {what}."
        )
    path = folder / place
    try:
        if path.is_dir():
            return [np.asarray(Image.open(file)) for file in sorted(path.glob("*.png"))]
        with zipfile.ZipFile(path) as packed:
            names = sorted(name for name in packed.namelist() if name.endswith(".png"))
            return [np.asarray(Image.open(io.BytesIO(packed.read(name)))) for name in names]
    except (OSError, zipfile.BadZipFile) as error:
        raise FileError(f"{path} cannot be read: {error}") from None


def _dataset(images: Sequence[np.ndarray]) -> xr.Dataset:
    x, size = stacked(images)
    dims = ("row", "height", "width") if x.ndim == 3 else ("row", "channel", "height", "width")
    return xr.Dataset({"x": (dims, x, {"support": "integer", "levels": 256}), **size})


def _color(name: str, folder: Path | None) -> xr.Dataset:
    return _dataset([np.moveaxis(image, 2, 0) for image in _files(name, folder)])


def _luma(name: str, folder: Path | None) -> list[np.ndarray]:
    return [rounded(luma(np.moveaxis(image, 2, 0))) for image in _files(name, folder)]


def _bsd(split: str | None, folder: Path | None) -> xr.Dataset:
    parts = {}
    for part in [split] if split is not None else ["train", "valid", "test"]:
        if part == "test":
            images = _luma("set5", folder)
        else:
            valid = part == "valid"
            images = [x for i, x in enumerate(_files("bsd200", folder)) if (i % _VALID == 0) == valid]
            images = images if valid else [*_luma("t91", folder), *images]
        parts[part] = _dataset(images)
    return joined(parts, split)


set5 = DataSet(
    "5 photographs of 228 to 512 pixels per side, in color: Set5",
    (),
    lambda split, folder: _color("set5", folder),
)
t91 = DataSet(
    "91 photographs of 78 to 508 pixels per side, in color: T91",
    (),
    lambda split, folder: _color("t91", folder),
)
bsd = DataSet(
    "296 photographs, luma, of 78 to 512 pixels per side: T91 and BSDS300 for training, Set5 for testing",
    ("train", "valid", "test"),
    _bsd,
)
