"""Images: folders of pictures, in folders of classes or together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from probgen.errors import FileError, InputError
from probgen.readers.arrays import dataset as as_rows
from probgen.readers.base import classes_of, reason

if TYPE_CHECKING:
    from PIL import Image


def images(folder: Path) -> xr.Dataset:
    """A folder of images of one size; subfolders are classes."""
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}")
    suffixes = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"}
    files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in suffixes)
    if not files:
        raise InputError(f"{folder} holds no images ({', '.join(sorted(suffixes))})")
    images = [_image(file) for file in files]
    modes = {image.mode for image in images}
    mode = "L" if modes <= {"L", "1", "LA", "I;16"} else "RGB"
    arrays = [np.asarray(image.convert(mode)) for image in images]
    for file, array in zip(files, arrays, strict=True):
        if array.shape != arrays[0].shape:
            raise InputError(
                f"{file} is {array.shape[1]} x {array.shape[0]}, {files[0].name} is {arrays[0].shape[1]} x "
                f"{arrays[0].shape[0]}: images of one size are needed"
            )
    x = np.stack(arrays)
    dataset = as_rows({"x": np.moveaxis(x, 3, 1) if x.ndim == 4 else x}, folder)
    dataset["x"].attrs.update(support="integer", levels=256)
    return dataset.assign(classes_of(files, folder))


def _image(file: Path) -> Image.Image:
    from PIL import Image, UnidentifiedImageError  # imported where there are images

    try:
        with Image.open(file) as image:
            image.load()
            return image
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise FileError(f"{file} cannot be read as an image: {reason(error)}") from None
