"""sample_images: image files to image files, each what a model makes of one: super-resolution of photographs, translations.

A color image and a fit of one channel: the model makes the luma, chroma goes up by the bicubic kernel, as in all published tables.
Orientations in EXIF are applied; how opaque pixels are goes up likewise. No file is ever replaced.
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
from probgen.readers.base import IMAGES, report
from probgen.store.files import checked_path, write_fresh

LEVELS = 256  # of image files
STRIP = 128  # rows of an image that are finished together


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
    """What a model makes of each image of a folder, or of one, as PNG files.

    given       an image, or a folder of images of any sizes; subfolders are gone through as well
    out         a name that ends in .png, for one image and one draw; otherwise a folder: NAME.png, or NAME-0.png, NAME-1.png, ... of n draws
    n           draws of each; of one it is the mean of p(x given the image) where the family has one, unless `mean` says otherwise
    conditions  what else the model is conditioned on, for all images, e.g. {"label": 1}

    Returns the files. Errors: `InputError`, before anything is drawn for files that are there already; `FileError`, `RunError`.
    """
    from probgen.readers.images import image_files

    n = checked_n(n)
    what = _Asked(fitted)
    given_too = _checked(conditions or {}, what.name)
    source = checked_path(given, "given")
    if not source.exists():
        raise InputError(f"given: there is no file {source}")
    files = image_files(source)
    targets = _targets(files, source, checked_path(out, "out"), n)
    if n == 1 and issubclass(fitted.definition.options("sample"), ConditionalMeanOptions):
        options = {"mean": "temperature" not in options} | options
    written, done = [], Counter[str]()
    if len(files) > 1:
        for file in files:  # a bad one is known before the first is written
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
    report(done, len(files), source)
    return written


def _checked(conditions: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Errors: `InputError` for a condition that is not one for all images, and for one that the image is itself."""
    for condition, value in conditions.items():
        if condition == name:
            raise InputError(f"{condition}: it is the image itself; leave it out")
        if np.ndim(value):
            raise InputError(f"{condition} = {value!r}: one value for all images is needed")
    return dict(conditions)


class _Asked:
    """What a model needs to be given, and what it makes. Errors: `InputError` for one that makes no images of images."""

    def __init__(self, fitted: Fitted):
        event, latents = fitted.event, latents_of(fitted.module)
        found = [name for name, part in event.given.items() if part.is_image]
        found += [name for name in fitted.definition.needed if is_image(latents[name])]
        if not event.is_image or event.levels != LEVELS or len(found) != 1:
            raise InputError(
                f"family {fitted.family!r} does not make images of {LEVELS} levels of one image, but {event}: sample() takes arrays, as given"
            )
        self.name = found[0]
        self.event: Event = event.given.get(self.name, event)
        self.scale = self.event.scale or 1
        self.channels = self.event.channels


@dataclass(frozen=True)
class _Picture:
    """An image as a model takes it, and what is put back beside what it makes.

    input   ([channel,] h, w), uint8
    chroma  (2, h, w), of a color image whose luma the model gets; None
    alpha   (h, w); None
    """

    input: np.ndarray
    chroma: np.ndarray | None = None
    alpha: np.ndarray | None = None

    def finished(self, x: np.ndarray) -> np.ndarray:
        """Levels to be saved: x (channel, height, width) -> (channel, height, width), uint8; by strips, for the memory."""
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
            f"{file} has {MODES[image.mode]}, the fit is of {LEVELS} levels: save it with 8 bits a channel"
        )
    x = np.asarray(image)
    x = x[None] if x.ndim == 2 else np.moveaxis(x, 2, 0)
    alpha = None if opaque is None else np.asarray(opaque)
    if len(x) == 3 and what.channels == 1 and is_gray(x):
        x = x[:1]
    chroma = None
    if len(x) == 3 and what.channels == 1:
        if what.scale == 1:
            raise InputError(f"{file} is in color, the fit is of gray images: save it as gray")
        parts = ycbcr(x)
        x, chroma = rounded(parts[:1]), parts[1:]
    if len(x) != what.channels:
        raise InputError(f"{file} is gray, the fit is of {what.channels} channels: save it as RGB")
    return _Picture(x if len(what.event.dims) == 3 else x[0], chroma, alpha)


def _targets(files: Sequence[Path], source: Path, out: Path, n: int) -> list[list[Path]]:
    """Where the draws of each file go. Errors: `InputError` for a name that is taken, by a file or twice."""
    if out.suffix.lower() in IMAGES:
        if out.suffix.lower() != ".png":
            raise InputError(f"out = {out}: images are written as PNG; give a name that ends in .png")
        if source.is_dir() or n > 1:
            raise InputError(f"out = {out}: there are several images; give a folder for them")
        targets = [[out]]
    elif out.suffix and not out.is_dir():
        raise InputError(
            f"out = {out}: images are written as PNG; give a name that ends in .png, or a folder"
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
        raise InputError(f"out: two images would be written to {twice[0]}: rename one of them")
    folder = out.parent if out.suffix.lower() in IMAGES else out
    if blocked := [place for place in (folder, *folder.parents) if place.exists() and not place.is_dir()]:
        raise InputError(f"out = {out}: {blocked[0]} is a file; give a folder, or a name that ends in .png")
    if there := [name for name in every if name.exists() or name.is_symlink()]:
        raise InputError(
            f"out: {there[0]} is there already, and is not replaced: choose another name or folder"
        )
    if out.suffix.lower() in IMAGES and not out.parent.is_dir():
        raise InputError(f"out = {out}: there is no folder {out.parent}")
    return targets


def _png(x: np.ndarray) -> bytes:
    from PIL import Image

    packed = io.BytesIO()
    Image.fromarray(x[0] if len(x) == 1 else np.ascontiguousarray(np.moveaxis(x, 0, 2))).save(packed, "PNG")
    return packed.getvalue()
