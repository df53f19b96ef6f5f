"""Images: folders of pictures, in folders of classes or together."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from PIL import Image, ImageOps

from probgen.errors import InputError
from probgen.readers.arrays import dataset as as_rows
from probgen.readers.base import IMAGES, SOUNDS, Reading, classes_of, report
from probgen.readers.pixels import MODES, opened
from probgen.readers.scaled import stacked

_EIGHT = ("1", "L", "RGB")  # each holds all that those before it hold
_GRAY = "1 bit to gray, 0 and 255"
_UNREAD = {".heic", ".heif", ".jxl", ".avif", ".svg"}  # images that Pillow may not know


def images(path: Path, how: Reading = Reading()) -> xr.Dataset:  # noqa: B008 (frozen)
    """A folder of images of one size, or one image; with a scale also of several sizes; subfolders are classes.

    how  size: what images are scaled to, antialiased (bicubic); crop: what is beside their middle is cut off for it; gray: colors
         to gray by ITU-R 601-2; scale: see `readers.scaled`

    What files hold is kept as it is: one bit is `binary`, 8 and 16 bits are 256 and 65,536 levels, 32 bits are `real`. Whatever is
    converted is reported by a warning, and is in the attribute `converted`. Errors: `FileError`, `InputError`, which name the file.
    """
    files, done = image_files(path), Counter[str]()
    found = [_read(file, how, done) for file in files]
    mode = _common(files, [mode for mode, _ in found])
    arrays = [_raised(array, own, mode, done) for own, array in found]
    for file, array in zip(files, arrays, strict=True):
        if how.scale is None and array.shape != arrays[0].shape:
            raise InputError(
                f"{file} is {array.shape[1]} x {array.shape[0]}, {files[0].name} is {arrays[0].shape[1]} x "
                f"{arrays[0].shape[0]}: images of one size are needed; size = (height, width) scales them, and for "
                "super-resolution scale = 4, or --scale 4, takes images of any size"
            )
    x, sizes = stacked([np.moveaxis(array, 2, 0) if mode == "RGB" else array for array in arrays])
    dataset = as_rows({"x": x}, path).assign(sizes)
    dataset["x"].attrs.update(_support(mode))
    report(done, len(files), path)
    if done:
        dataset.attrs["converted"] = "; ".join(
            f"{what}: {n} of {len(files)} files" for what, n in done.items()
        )
    return dataset.assign(classes_of(files, path) if path.is_dir() else {})


def image_files(path: Path) -> list[Path]:
    """An image, or those of a folder, in the order of their names. Errors: `InputError` where there are none."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputError(f"there is no folder {path}")
    every = sorted(file for file in path.rglob("*") if file.is_file())
    files = [file for file in every if file.suffix.lower() in IMAGES]
    if not files:
        raise InputError(
            f"{path} holds no images ({', '.join(sorted(IMAGES))}) and no sounds ({', '.join(sorted(SOUNDS))})"
        )
    others = (_UNREAD | set(Image.registered_extensions())) - IMAGES
    left = Counter(file.suffix.lower() for file in every if file.suffix.lower() in others)
    report({f"{suffix} is not read, left out": n for suffix, n in left.items()}, len(every), path)
    return files


def _read(file: Path, how: Reading, done: Counter[str]) -> tuple[str, np.ndarray]:
    image = opened(file, done)
    if how.gray and image.mode == "RGB":
        image = image.convert("L")
    if how.sides:
        image = _scaled(image, file, how, done)
    return image.mode, np.asarray(image)


def _scaled(image: Image.Image, file: Path, how: Reading, done: Counter[str]) -> Image.Image:
    height, width = how.sides
    if image.size == (width, height):
        return image
    alike = width == round(image.width * height / image.height) or height == round(
        image.height * width / image.width
    )
    if not alike and how.crop is None:
        raise InputError(
            f'{file} is {image.width} x {image.height}, which {width} x {height} would distort: crop = "center" cuts it'
        )
    if width > image.width or height > image.height:
        done["smaller than size, enlarged"] += 1
    if image.mode == "1":
        done[_GRAY] += 1
        image = image.convert("L")
    return ImageOps.fit(image, (width, height), Image.Resampling.BICUBIC)


def _common(files: list[Path], modes: list[str]) -> str:
    """The mode that holds all of them without loss. Errors: `InputError`."""
    if set(modes) <= set(_EIGHT):
        return max(modes, key=_EIGHT.index)
    for file, mode in zip(files, modes, strict=True):
        if mode != modes[0]:
            raise InputError(
                f"{file} has {MODES[mode]}, {files[0].name} has {MODES[modes[0]]}: images of one depth are needed"
            )
    return modes[0]


def _raised(array: np.ndarray, own: str, mode: str, done: Counter[str]) -> np.ndarray:
    if own == "1" and mode != "1":
        done[_GRAY] += 1
        array = array.astype(np.uint8) * np.uint8(255)
    if own != "RGB" and mode == "RGB":
        done["gray to RGB, the same values"] += 1
        array = np.repeat(array[..., None], 3, axis=2)
    return array.astype(np.float64) if mode == "I" else array


def _support(mode: str) -> dict[str, Any]:
    if mode == "1":
        return {"support": "binary"}
    return (
        {"support": "real"}
        if mode in ("I", "F")
        else {"support": "integer", "levels": 65_536 if mode == "I;16" else 256}
    )
