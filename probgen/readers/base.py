"""What readers share."""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from probgen.contract.columns import Column
from probgen.errors import InputError
from probgen.readers.frames import Choices
from probgen.store.guard import FLOOR, RATIO, UNPACKED

IMAGES = {".png", ".apng", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"}
WAV, PACKED = {".wav", ".wave"}, {".flac", ".ogg", ".oga", ".opus"}  # the packed ones by soundfile
SOUNDS = WAV | PACKED
_OF = {
    "rate": "WAV files",
    "size": "images",
    "crop": "images",
    "gray": "images",
    "scale": "images",
    "table": "tables",
}


MOST_SCALE = 16  # times that an image can be larger than its `low`
PIXELS = 50_000_000  # of an image that others are scaled to


@dataclass(frozen=True)
class Reading:
    """How files are read: `probgen.datasets.load` says what each option means. Errors: `InputError`."""

    rate: int | None = None
    size: int | Sequence[int] | None = None
    crop: str | None = None
    gray: bool = False
    scale: int | None = None
    table: Choices = field(default_factory=Choices)
    like: tuple[Column, ...] = ()

    def __post_init__(self) -> None:
        if self.rate is not None and self.rate < 1:
            raise InputError(f"rate = {self.rate}: at least 1 is needed")
        if self.scale is not None and (type(self.scale) is not int or not 2 <= self.scale <= MOST_SCALE):
            raise InputError(f"scale = {self.scale!r}: a whole number from 2 to {MOST_SCALE} is needed")
        if self.size is not None:
            sides = self.sides
            if len(sides) != 2 or any(type(side) is not int or side < 1 for side in sides):
                raise InputError(
                    f"size = {self.size!r}: a whole number from 1, or (height, width), is needed"
                )
            if self.sides[0] * self.sides[1] > PIXELS:
                raise InputError(f"size = {self.size!r}: at most {PIXELS:,} pixels an image can be asked for")
        if self.crop not in (None, "center"):
            raise InputError(f"crop = {self.crop!r}: only 'center' is known")
        if self.crop and self.size is None:
            raise InputError("crop needs a size that images are cut to")

    @property
    def sides(self) -> tuple[int, ...]:
        """Height and width that images are scaled to; () where they stay as they are."""
        if self.size is None:
            return ()
        return tuple(self.size) if isinstance(self.size, Sequence) else (self.size, self.size)

    def only(self, known: Iterable[str], what: str) -> None:
        """Refuse options that mean nothing for these data. Errors: `InputError`."""
        for option in fields(self):
            value = getattr(self, option.name)
            if option.name == "like" or option.name in known or value == getattr(Reading(), option.name):
                continue
            name = value.first() if isinstance(value, Choices) else option.name
            raise InputError(f"{name} is of {_OF[option.name]}, {what}")


def report(counts: Mapping[str, int], files: int, path: Path) -> None:
    """Warn once of each thing that was done to files; counts: of how many of them."""
    for done, n in counts.items():
        warnings.warn(f"{path}: {done}: {n} of {files} files", stacklevel=3)


def part_of(dataset: xr.Dataset, split: str, where: str) -> xr.Dataset:
    """A part of rows that have none of their own: eight, one and one tenths of them, drawn at random, the same every time. Errors: `InputError`."""
    n = dataset.sizes["row"]
    first, second = round(0.8 * n), round(0.9 * n)
    parts = {"train": slice(first), "valid": slice(first, second), "test": slice(second, None)}
    if split not in parts:
        raise InputError(
            f"{where} has no split {split!r}, but train (eight tenths of its rows, at random), valid and test (one tenth each)"
        )
    rows = np.sort(np.random.default_rng(0).permutation(n)[parts[split]])
    if not len(rows):
        raise InputError(f"{where} has {n} rows: too few for a part {split!r}")
    return dataset.isel(row=rows)


def joined(parts: Mapping[str, xr.Dataset], split: str | None) -> xr.Dataset:
    """One part, or all of them in order."""
    return (
        parts[split]
        if split is not None
        else xr.concat(list(parts.values()), "row", combine_attrs="override")
    )


def classes_of(files: Sequence[Path], folder: Path) -> dict[str, Any]:
    """`label (row)` of files that lie in folders of classes; none where one lies beside them."""
    if any(file.parent == folder for file in files):
        return {}
    classes = sorted({file.parent.name for file in files})
    codes = np.array([classes.index(file.parent.name) for file in files])
    return {"label": ("row", codes, {"levels": len(classes), "symbols": classes})}


def most_unpacked(stored: int) -> int:
    """To how many bytes a packed file may unpack."""
    return FLOOR + RATIO * stored


def unpacked(packed: bytes) -> bytes:
    """What gzip packed, piece by piece, so that a bomb is known before it has gone off. Errors: `ValueError`, `zlib.error`."""
    unpacker = zlib.decompressobj(wbits=31)  # with the header of gzip
    pieces, left = [], most_unpacked(len(packed))
    while packed and left > 0:
        pieces.append(unpacker.decompress(packed, 1 << 20))
        packed, left = unpacker.unconsumed_tail, left - len(pieces[-1])
        if unpacker.eof and unpacker.unused_data.startswith(b"\x1f\x8b"):  # another member
            packed, unpacker = unpacker.unused_data, zlib.decompressobj(wbits=31)
    if not unpacker.eof:
        raise ValueError(UNPACKED if packed else "it is cut off")
    return b"".join(pieces)


def reason(error: Exception) -> str:
    """The message of an error of somebody else's, on one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__
