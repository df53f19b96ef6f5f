"""One image file with exactly the pixels that it holds, or one line that says why not and what to do.

Pillow reads some files into fewer bits than they have, and leaves alpha, orientation and all frames but the first aside. What
would be lost so is refused here, or counted.
"""

from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageFile, ImageOps, TiffImagePlugin

from probgen.errors import FileError, InputError, ProbgenError
from probgen.readers.base import reason

_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")  # others run programs (EPS), whatever the suffix
MODES = {  # what there is in the end, by Pillow's names
    "1": "1 bit a pixel",
    "L": "8 bits of gray",
    "RGB": "8 bits a color",
    "I;16": "16 bits of gray",
    "I": "32-bit whole numbers",
    "F": "32-bit floating-point numbers",
}
_NPY = "give the arrays as .npy"


def opened(file: Path, done: Counter[str]) -> Image.Image:
    """An image, upright, in a mode of `MODES`; done: counts what was converted. Errors: `FileError`, `InputError`."""
    image, alpha = opened_with_alpha(file, done)
    if alpha is not None:
        raise InputError(
            f"{file} has transparent pixels, whose color is not known: put it on a background and save it without alpha"
        )
    return image


def opened_with_alpha(file: Path, done: Counter[str]) -> tuple[Image.Image, Image.Image | None]:
    """The same, and beside it how opaque each pixel is, 0 to 255; None where all are."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file, formats=_FORMATS) as image:
                _check_frames(image, done)
                _check_bits(image)
                orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
                image.load()  # a TIFF is turned by this, and has no orientation afterwards
                if orientation in range(2, 9):
                    done["turned upright by the orientation in EXIF"] += 1
                return _plain(image, ImageOps.exif_transpose(image), done)
    except ProbgenError as error:
        raise InputError(f"{file} {error}") from None
    except Exception as error:  # decoders raise what their files make them raise
        raise FileError(f"{file} cannot be read as an image: {reason(error)}") from None


def _check_frames(image: ImageFile.ImageFile, done: Counter[str]) -> None:
    frames = image.n_frames if hasattr(image, "n_frames") else 1
    if frames > 1 and image.format == "MPO":  # a photograph, and what the camera made beside it
        done["the first picture of several (MPO) was taken"] += 1
    elif frames > 1:
        raise InputError(f"has {frames} frames or pages: save each as an image of its own")


def _check_bits(image: ImageFile.ImageFile) -> None:
    """Refuse what Pillow would read into something else without a word."""
    deep = False
    if image.format == "PNG":
        deep = image.mode in ("RGB", "RGBA") and any("16" in str(tile[3]) for tile in image.tile)
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        tags = image.tag_v2
        bits = max(tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,)))
        deep = not image.mode.startswith("I") and 8 < bits <= 16
        if image.mode == "L" and 2 in tags.get(TiffImagePlugin.SAMPLEFORMAT, ()):
            raise InputError(f"holds 8-bit numbers with a sign, which Pillow reads without it: {_NPY}")
        if image.mode not in ("1", "L") and tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0:
            raise InputError("stores white as 0: save it with black as 0")
        if 0 in tags.get(TiffImagePlugin.EXTRASAMPLES, ()):
            raise InputError(
                f"has a channel beside its colors that nothing says the meaning of: save it without, or {_NPY}"
            )
    if deep:
        raise InputError(f"has 16 bits a channel, of which Pillow reads 8: save it with 8, or {_NPY}")


def _plain(
    source: ImageFile.ImageFile, image: Image.Image, done: Counter[str]
) -> tuple[Image.Image, Image.Image | None]:
    """The same pixels without palette, and their alpha apart; source: the file that it was read from."""
    if image.mode in ("P", "PA"):
        done["palette to RGB, the same colors"] += 1
        image = image.convert("RGBA" if image.mode == "PA" or "transparency" in image.info else "RGB")
    elif "transparency" in image.info and (
        source.format != "GIF" or (np.asarray(image) == image.info["transparency"]).any()
    ):
        raise InputError(
            "has a color that stands for transparent: put it on a background and save it without"
        )
    if image.mode in ("RGBA", "LA", "La"):
        *colors, alpha = image.split()
        plain = Image.merge("RGB", colors) if len(colors) == 3 else colors[0]
        if alpha.getextrema() != (255, 255):
            return plain, alpha
        done["alpha that was opaque everywhere was left out"] += 1
        return plain, None
    if image.mode.startswith("I;16") or (image.mode == "I" and source.format == "PNG"):  # Pillow before 11
        return Image.fromarray(np.asarray(image).astype("<u2")), None
    if image.mode == "I" and _unsigned(source) and np.asarray(image).min() < 0:
        raise InputError(f"holds whole numbers from 2^31 on, which Pillow makes negative: {_NPY}")
    if image.mode not in MODES:
        raise InputError(
            f"has the colors {image.mode}, of which RGB cannot be made without a profile: save it as RGB"
        )
    return image, None


def _unsigned(source: ImageFile.ImageFile) -> bool:
    """Whether 32-bit whole numbers of a TIFF have no sign."""
    return isinstance(source, TiffImagePlugin.TiffImageFile) and 2 not in source.tag_v2.get(
        TiffImagePlugin.SAMPLEFORMAT, ()
    )
