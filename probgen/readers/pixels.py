"""Reader for one image file, with exactly the pixels of the file.

Pillow reads some files with fewer bits than they have, and ignores alpha, orientation and all frames except the first. This module refuses such files, or
counts the conversion.
"""

from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageFile, ImageOps, TiffImagePlugin

from probgen.errors import FileError, InputError, ProbgenError
from probgen.readers.base import reason

_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")  # other formats, such as EPS, can run programs
MODES = {  # modes after reading, by their names in Pillow
    "1": "1 bit a pixel",
    "L": "8 bits of gray",
    "RGB": "8 bits a color",
    "I;16": "16 bits of gray",
    "I": "32-bit whole numbers",
    "F": "32-bit floating-point numbers",
}
_NPY = "save the arrays as .npy"


def opened(file: Path, done: Counter[str]) -> Image.Image:
    """Open an image, upright, in a mode of `MODES`.

    Args:
        file: Path of the image.
        done: Counts of conversions, which this function increases.

    Returns:
        The image.

    Raises:
        InputError: When the image has transparent pixels, or cannot be read without loss.
        FileError: When the file is damaged.
    """
    image, alpha = opened_with_alpha(file, done)
    if alpha is not None:
        raise InputError(
            f"{file} has transparent pixels, so their color is unknown. Add a background, and save the image without alpha."
        )
    return image


def opened_with_alpha(file: Path, done: Counter[str]) -> tuple[Image.Image, Image.Image | None]:
    """Open an image as `opened` does, and return it with its alpha channel.

    Args:
        file: Path of the image.
        done: Counts of conversions, which this function increases.

    Returns:
        The image, and the opacity of each pixel from 0 to 255, or None if all pixels are opaque.

    Raises:
        InputError: When the image cannot be read without loss.
        FileError: When the file is damaged.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file, formats=_FORMATS) as image:
                _check_frames(image, done)
                _check_bits(image)
                orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
                image.load()  # rotates a TIFF, which has no orientation afterwards
                if orientation in range(2, 9):
                    done["turned upright by the orientation in EXIF"] += 1
                return _plain(image, ImageOps.exif_transpose(image), done)
    except ProbgenError as error:
        raise InputError(f"{file} {error}") from None
    except Exception as error:  # a damaged file can cause any error in a decoder
        raise FileError(f"{file} cannot be read as an image: {reason(error)}") from None


def _check_frames(image: ImageFile.ImageFile, done: Counter[str]) -> None:
    frames = image.n_frames if hasattr(image, "n_frames") else 1
    if frames > 1 and image.format == "MPO":  # a photograph, and further pictures of the camera
        done["only the first picture of several (MPO) was read"] += 1
    elif frames > 1:
        raise InputError(f"has {frames} frames or pages. Save each frame or page as a separate image.")


def _check_bits(image: ImageFile.ImageFile) -> None:
    """Refuse images that Pillow would change silently."""
    deep = False
    if image.format == "PNG":
        deep = image.mode in ("RGB", "RGBA") and any("16" in str(tile[3]) for tile in image.tile)
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        tags = image.tag_v2
        bits = max(tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,)))
        deep = not image.mode.startswith("I") and 8 < bits <= 16
        if image.mode == "L" and 2 in tags.get(TiffImagePlugin.SAMPLEFORMAT, ()):
            raise InputError(f"has signed 8-bit numbers, and Pillow would lose the sign: {_NPY}")
        if image.mode not in ("1", "L") and tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0:
            raise InputError("stores white as 0. Save the image with black as 0.")
        if 0 in tags.get(TiffImagePlugin.EXTRASAMPLES, ()):
            raise InputError(
                f"has a channel of unknown meaning in addition to its colors. Save the image without this channel, or {_NPY}."
            )
    if deep:
        raise InputError(
            f"has 16 bits per channel, but Pillow reads only 8. Save the image with 8 bits, or {_NPY}."
        )


def _plain(
    source: ImageFile.ImageFile, image: Image.Image, done: Counter[str]
) -> tuple[Image.Image, Image.Image | None]:
    """Return the same pixels without a palette, and their alpha channel. `source` is the opened file."""
    if image.mode in ("P", "PA"):
        done["palette to RGB, the same colors"] += 1
        image = image.convert("RGBA" if image.mode == "PA" or "transparency" in image.info else "RGB")
    elif "transparency" in image.info and (
        source.format != "GIF" or (np.asarray(image) == image.info["transparency"]).any()
    ):
        raise InputError(
            "has a transparent color. Add a background, and save the image without transparency."
        )
    if image.mode in ("RGBA", "LA", "La"):
        *colors, alpha = image.split()
        plain = Image.merge("RGB", colors) if len(colors) == 3 else colors[0]
        if alpha.getextrema() != (255, 255):
            return plain, alpha
        done["fully opaque alpha was left out"] += 1
        return plain, None
    if image.mode.startswith("I;16") or (image.mode == "I" and source.format == "PNG"):  # Pillow before 11
        return Image.fromarray(np.asarray(image).astype("<u2")), None
    if image.mode == "I" and _unsigned(source) and np.asarray(image).min() < 0:
        raise InputError(f"has whole numbers of 2^31 or more, which Pillow would make negative: {_NPY}")
    if image.mode not in MODES:
        raise InputError(
            f"has the colors {image.mode}, which cannot be converted to RGB without a profile. Save the image as RGB."
        )
    return image, None


def _unsigned(source: ImageFile.ImageFile) -> bool:
    """Return whether the 32-bit whole numbers of a TIFF are unsigned."""
    return isinstance(source, TiffImagePlugin.TiffImageFile) and 2 not in source.tag_v2.get(
        TiffImagePlugin.SAMPLEFORMAT, ()
    )
