"""The call `sample_images`: from image files to image files, e.g. super-resolution or a translation.

If the image is in color and the model has one channel, the model computes the luma. The chroma is enlarged by the
bicubic kernel, as in all published tables. The alpha channel is enlarged in the same way. EXIF orientations are applied.
An existing file is never replaced.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from probgen.api.sampling import checked_n, sample
from probgen.codecs.images import is_gray, resized, rgb_of, rounded, ycbcr
from probgen.contract.definition import latents_of
from probgen.contract.event import Event, is_image
from probgen.contract.fitted import Fitted
from probgen.contract.options import ConditionalMeanOptions
from probgen.contract.surroundings import isolated
from probgen.errors import InputError
from probgen.plugins.observers import made
from probgen.readers.base import IMAGES, report
from probgen.store.files import checked_path, write_fresh

LEVELS = 256  # of an image file
STRIP = 128  # rows of pixels that are converted together


@isolated
def sample_images(
    fitted: Fitted,
    given: str | Path,
    out: str | Path,
    n: int = 1,
    *,
    conditions: Mapping[str, Any] | None = None,
    seed: int = 0,
    device: str | torch.device | None = None,
    progress: bool = False,
    **options: Any,
) -> list[Path]:
    """Sample images conditional on image files, and write them as PNG files.

    Args:
        fitted: A fitted model that is conditional on one image, e.g. for super-resolution.
        given: An image file, or a folder of images of any sizes, with its subfolders.
        out: For one image and one sample, a file name that ends in .png. Otherwise a folder: the files are NAME.png, or
            NAME-0.png, NAME-1.png, ... for several samples.
        n: Number of samples per image. A single sample is the mean of p(x | image) if the family can compute it; the
            options `mean` and `temperature` change this.
        conditions: Other conditions of the model, for all images, e.g. {"label": 1}.
        seed: Seed of all random numbers.
        device: The device to compute on, e.g. "cuda". The default is "cpu".
        progress: Show a progress bar on stderr.
        **options: Options of the family for `sample`.

    Returns:
        The paths of the written files.

    Raises:
        InputError: When the model does not fit the images, an argument is invalid, or a file exists. Existing files are
            found before sampling.
        FileError: When an image file is damaged.
        RunError: When a file cannot be written.
    """
    from probgen.readers.images import image_files

    n = checked_n(n)
    what = _Asked(fitted)
    given_too = _checked(conditions or {}, what.name)
    source = checked_path(given, "given")
    if not source.exists():
        raise InputError(f"given = {source}: there is no such file or folder")
    files = image_files(source)
    targets = _targets(files, source, checked_path(out, "out"), n)
    if n == 1 and issubclass(fitted.definition.options("sample"), ConditionalMeanOptions):
        options = {"mean": "temperature" not in options} | options
    written, done = [], Counter[str]()
    if len(files) > 1:
        for file in files:  # find a damaged file before the first result is written
            _read(file, what, Counter[str]())
    for file, names in zip(files, targets, strict=True):
        picture = _read(file, what, done)
        drawn = sample(
            fitted,
            n,
            given={**given_too, what.name: picture.input},
            seed=seed,
            device=device,
            progress=progress,
            **options,
        )["x"].values
        for name, x in zip(names, drawn.reshape(n, -1, *drawn.shape[-2:]), strict=True):
            write_fresh(name, _png(picture.finished(x)))
            written.append(name)
            made("samples", name)
    report(done, len(files), source)
    return written


def _checked(conditions: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the other conditions, or raise `InputError` if one is not a single value or is the image itself."""
    for condition, value in conditions.items():
        if condition == name:
            raise InputError(f"{condition}: this condition is the image itself. Leave it out.")
        if np.ndim(value):
            raise InputError(f"{condition} = {value!r}: a single value for all images is needed")
    return dict(conditions)


class _Asked:
    """The image condition and the image result of a model.

    Args:
        fitted: A fitted model that is conditional on one image.

    Raises:
        InputError: When the model does not compute images from images.
    """

    def __init__(self, fitted: Fitted):
        event, latents = fitted.event, latents_of(fitted.module)
        found = [name for name, part in event.given.items() if part.is_image]
        found += [name for name in fitted.definition.needed if is_image(latents[name])]
        if not event.is_image or event.levels != LEVELS or len(found) != 1:
            raise InputError(
                f"family {fitted.family!r} computes {event}, not an image of {LEVELS} levels from one image. "
                "Use sample() with arrays as given."
            )
        self.name = found[0]
        self.event: Event = event.given.get(self.name, event)
        self.scale = self.event.scale or 1
        self.channels = self.event.channels


@dataclass(frozen=True)
class _Picture:
    """An image as the input of a model, and the channels that the model does not compute.

    Attributes:
        input: The input of the model: ([channel,] h, w), uint8.
        chroma: The chroma if the model receives only the luma, or None: (2, h, w).
        alpha: The alpha channel, or None: (h, w).
    """

    input: np.ndarray
    chroma: np.ndarray | None = None
    alpha: np.ndarray | None = None

    def finished(self, x: np.ndarray) -> np.ndarray:
        """Return the levels of the final image in uint8, x (channel, height, width) -> (channel, height, width).

        It is computed in strips, to save memory.
        """
        channels = (3 if self.chroma is not None else len(x)) + (self.alpha is not None)
        height, width = x.shape[-2:]
        image = np.empty((channels, height, width), np.uint8)
        for top in range(0, height, STRIP):
            rows = slice(top, min(top + STRIP, height))
            part = x[:, rows]
            if self.chroma is not None:
                part = rgb_of(np.concatenate([part, resized(self.chroma, height, width, rows)]))
            image[: len(part), rows] = rounded(part)
            if self.alpha is not None:
                image[-1, rows] = rounded(resized(self.alpha, height, width, rows))
        return image


def _read(file: Path, what: _Asked, done: Counter[str]) -> _Picture:
    from probgen.readers.pixels import MODES, opened_with_alpha

    image, opaque = opened_with_alpha(file, done)
    if image.mode not in ("L", "RGB"):
        raise InputError(
            f"{file} has {MODES[image.mode]}, but the model needs {LEVELS} levels. Save it with 8 bits per channel."
        )
    x = np.asarray(image)
    x = x[None] if x.ndim == 2 else np.moveaxis(x, 2, 0)
    alpha = None if opaque is None else np.asarray(opaque)
    if len(x) == 3 and what.channels == 1 and is_gray(x):
        x = x[:1]
    chroma = None
    if len(x) == 3 and what.channels == 1:
        if what.scale == 1:
            raise InputError(f"{file} is in color, but the model needs gray images. Save it as gray.")
        parts = ycbcr(x)
        x, chroma = rounded(parts[:1]), parts[1:]
    if len(x) != what.channels:
        raise InputError(f"{file} is gray, but the model needs {what.channels} channels. Save it as RGB.")
    return _Picture(x if len(what.event.dims) == 3 else x[0], chroma, alpha)


def _targets(files: Sequence[Path], source: Path, out: Path, n: int) -> list[list[Path]]:
    """Return the paths for the samples of each file, or raise `InputError` if a path exists or occurs twice."""
    if out.suffix.lower() in IMAGES:
        if out.suffix.lower() != ".png":
            raise InputError(f"out = {out}: images are written as PNG. Give a name that ends in .png.")
        if source.is_dir() or n > 1:
            raise InputError(f"out = {out}: there are several images to write. Give a folder.")
        targets = [[out]]
    elif out.suffix and not out.is_dir():
        raise InputError(
            f"out = {out}: images are written as PNG. Give a name that ends in .png, or a folder."
        )
    else:
        names = [
            file.relative_to(source).with_suffix("") if source.is_dir() else Path(file.stem) for file in files
        ]
        targets = [
            [out / f"{name}.png"] if n == 1 else [out / f"{name}-{i}.png" for i in range(n)] for name in names
        ]
    every = [name for some in targets for name in some]
    if twice := [name for name, times in Counter(every).items() if times > 1]:
        raise InputError(
            f"out = {out}: two images would be written to {twice[0]}. Rename one of the input files."
        )
    folder = out.parent if out.suffix.lower() in IMAGES else out
    if blocked := [place for place in (folder, *folder.parents) if place.exists() and not place.is_dir()]:
        raise InputError(f"out = {out}: {blocked[0]} is a file. Give a folder, or a name that ends in .png.")
    if there := [name for name in every if name.exists() or name.is_symlink()]:
        raise InputError(
            f"out = {out}: {there[0]} already exists and is not replaced. Choose another name or folder."
        )
    if out.suffix.lower() in IMAGES and not out.parent.is_dir():
        raise InputError(
            f"out = {out}: the folder {out.parent} does not exist. Create it, or choose another folder."
        )
    return targets


def _png(x: np.ndarray) -> bytes:
    from PIL import Image

    packed = io.BytesIO()
    Image.fromarray(x[0] if len(x) == 1 else np.ascontiguousarray(np.moveaxis(x, 0, 2))).save(packed, "PNG")
    return packed.getvalue()
