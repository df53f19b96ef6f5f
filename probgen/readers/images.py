"""Readers for images: one file, a folder of images, or one folder per class."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from PIL import Image, ImageOps

from probgen.errors import FileError, InputError, of_all
from probgen.readers.arrays import dataset as as_rows
from probgen.readers.base import IMAGES, SOUNDS, Reading, classes_of, report
from probgen.readers.pixels import MODES, opened
from probgen.readers.scaled import stacked

NAMED = 8  # largest number of files in a message
_EIGHT = ("1", "L", "RGB")  # each mode can represent all earlier modes
_GRAY = "1 bit to gray, 0 and 255"
_UNREAD = {".heic", ".heif", ".jxl", ".avif", ".svg"}  # images that Pillow may not support


def images(path: Path, how: Reading = Reading()) -> xr.Dataset:  # noqa: B008 (frozen)
    """Read one image, or a folder of images. Subfolders are classes.

    The values of the files are kept: one bit is `binary`, 8 and 16 bits are 256 and 65,536 levels, 32 bits are `real`. A warning and the attribute
    `converted` report every conversion.

    Args:
        path: Path of the file or folder.
        how: Options for reading. `size` scales images with antialiasing (bicubic). `crop` cuts off the edges of images with another shape.
            `gray` converts colors to gray (ITU-R 601-2). With `scale`, images may have several sizes (`readers.scaled`).

    Returns:
        A Dataset with `x (row, [channel,] height, width)`, `label (row)` for subfolders, and `size (row, side)` for images of several sizes.

    Raises:
        InputError: When images differ in size or depth, or there are no images. The message names the file.
        FileError: When an image cannot be read. The message names the file.
    """
    files, done = image_files(path), Counter[str]()
    found, problems = [], []
    for file in files:
        try:
            found.append(_read(file, how, done))
        except (InputError, FileError) as error:
            problems.append(error)
    if problems:
        raise of_all(str(path), problems)
    mode = _common(files, [mode for mode, _ in found])
    arrays = [_raised(array, own, mode, done) for own, array in found]
    sides = [array.shape[:2] for array in arrays]
    others = [f"{file} is {w} x {h}" for file, (h, w) in zip(files, sides, strict=True) if (h, w) != sides[0]]
    if how.scale is None and others:
        more = f", ... ({len(others)} files)" if len(others) > NAMED else ""
        raise InputError(
            f"{', '.join(others[:NAMED])}{more}, but {files[0].name} is {sides[0][1]} x "
            f"{sides[0][0]}: all images must have one size. Scale the images with size = (height, width), or for "
            "super-resolution of any sizes use scale = 4 or --scale 4."
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
    """Return an image file, or all image files of a folder in the order of their names. Raise `InputError` if there are none."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputError(f"there is no folder {path}. Check the path.")
    every = sorted(file for file in path.rglob("*") if file.is_file())
    files = [file for file in every if file.suffix.lower() in IMAGES]
    if not files:
        raise InputError(
            f"{path} has no images ({', '.join(sorted(IMAGES))}) and no sounds ({', '.join(sorted(SOUNDS))}). Check the path."
        )
    others = (_UNREAD | set(Image.registered_extensions())) - IMAGES
    left = Counter(file.suffix.lower() for file in every if file.suffix.lower() in others)
    report({f"{suffix} is not supported, left out": n for suffix, n in left.items()}, len(every), path)
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
            f'{file} is {image.width} x {image.height}, and scaling to {width} x {height} would distort it. Cut the images with crop = "center".'
        )
    if width > image.width or height > image.height:
        done["smaller than size, enlarged"] += 1
    if image.mode == "1":
        done[_GRAY] += 1
        image = image.convert("L")
    return ImageOps.fit(image, (width, height), Image.Resampling.BICUBIC)


def _common(files: list[Path], modes: list[str]) -> str:
    """Return the mode that represents all modes without loss. Raise `InputError` if there is none."""
    if set(modes) <= set(_EIGHT):
        return max(modes, key=_EIGHT.index)
    for file, mode in zip(files, modes, strict=True):
        if mode != modes[0]:
            raise InputError(
                f"{file} has {MODES[mode]}, but {files[0].name} has {MODES[modes[0]]}. Convert all images to one depth."
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
