"""Options and functions that all readers share."""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from probgen.contract.columns import Column
from probgen.errors import InputError
from probgen.readers.frames import Choices
from probgen.store.guard import FLOOR, RATIO, UNPACKED

IMAGES = {".png", ".apng", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"}
WAV, PACKED = {".wav", ".wave"}, {".flac", ".ogg", ".oga", ".opus"}  # soundfile reads the packed formats
SOUNDS = WAV | PACKED
_OF = {
    "rate": "WAV files",
    "size": "images",
    "crop": "images",
    "gray": "images",
    "scale": "images",
    "table": "tables",
}
_KIND_OF = {name: {"WAV files": "sounds"}.get(what, what) for name, what in _OF.items()}

MOST_SCALE = 16  # largest ratio between the sides of an image and of its `low`
PIXELS = 50_000_000  # largest number of pixels of a scaled image


@dataclass(frozen=True)
class Reading:
    """Options for reading files. `probgen.datasets.load` describes them in detail.

    Attributes:
        rate: Samples per second to which sounds are resampled.
        size: (height, width) of images, or one number for both.
        crop: "center" to cut images of another shape, or None to refuse them.
        gray: Whether colors of images are converted to gray.
        scale: Factor by which `low` is smaller than the images.
        table: How tables are read.
        like: Columns of a model, for tables with columns of the same names.

    Raises:
        InputError: When an option has a value that is not allowed.
    """

    rate: int | None = None
    size: int | Sequence[int] | None = None
    crop: str | None = None
    gray: bool = False
    scale: int | None = None
    table: Choices = field(default_factory=Choices)
    like: tuple[Column, ...] = ()

    def __post_init__(self) -> None:
        if self.rate is not None and self.rate < 1:
            raise InputError(f"rate = {self.rate}: must be at least 1 sample per second")
        if self.scale is not None and (type(self.scale) is not int or not 2 <= self.scale <= MOST_SCALE):
            raise InputError(f"scale = {self.scale!r}: must be a whole number from 2 to {MOST_SCALE}")
        if self.size is not None:
            sides = self.sides
            if len(sides) != 2 or any(type(side) is not int or side < 1 for side in sides):
                raise InputError(
                    f"size = {self.size!r}: must be a whole number of at least 1, or (height, width)"
                )
            if self.sides[0] * self.sides[1] > PIXELS:
                raise InputError(f"size = {self.size!r}: an image may have at most {PIXELS:,} pixels")
        if self.crop not in (None, "center"):
            raise InputError(f"crop = {self.crop!r}: must be 'center', or left out")
        if self.crop and self.size is None:
            raise InputError(f"crop = {self.crop!r}: requires the size of the cut images. Set size as well.")

    @property
    def sides(self) -> tuple[int, ...]:
        """Height and width to which images are scaled; () if images keep their size."""
        if self.size is None:
            return ()
        return tuple(self.size) if isinstance(self.size, Sequence) else (self.size, self.size)

    @property
    def of_table(self) -> bool:
        """Whether an option of tables, or columns of a model, are given."""
        return bool(self.table.first() or self.like)

    def completed(self, earlier: Mapping[str, Any], kind: str) -> Reading:
        """Return the options, completed by those by which the data of a fit were read.

        Args:
            earlier: Options of `probgen.datasets.load` by name. Options of other kinds of files are left out.
            kind: Kind of the file: "tables", "images" or "sounds".

        Returns:
            The options. An option that is set here is not replaced.
        """
        known = {name: value for name, value in earlier.items() if _KIND_OF.get(name) == kind}
        if "table" in known:
            before = Choices.of(known.pop("table"))
            return replace(self, table=replace(self.table, earlier=before))
        unset = {name for name in known if getattr(self, name) == getattr(Reading(), name)}
        return replace(self, **{name: known[name] for name in unset})

    def chosen(self) -> dict[str, Any]:
        """Return the options that are set, as plain values for `probgen.datasets.load`.

        Returns:
            The options by name. `earlier` options of a table are not among them.
        """
        found: dict[str, Any] = {}
        for name in _OF:
            value, usual = getattr(self, name), getattr(Reading(), name)
            if isinstance(value, Choices):
                value, usual = value.chosen(), {}
            if value != usual:
                found[name] = list(value) if isinstance(value, tuple) else value
        return found

    def only(self, known: Iterable[str], what: str) -> None:
        """Refuse options that do not apply to the data.

        Args:
            known: Names of the options that apply.
            what: End of the message: the reason why other options do not apply.

        Raises:
            InputError: When another option is set.
        """
        for option in fields(self):
            value = getattr(self, option.name)
            if option.name == "like" or option.name in known or value == getattr(Reading(), option.name):
                continue
            name = value.first() if isinstance(value, Choices) else option.name
            raise InputError(f"{name} is only for {_OF[option.name]}, {what}. Leave {name} out.")


def report(counts: Mapping[str, int], files: int, path: Path) -> None:
    """Warn once about each conversion of files. `counts` has the number of converted files."""
    for done, n in counts.items():
        warnings.warn(f"{path}: {done}: {n} of {files} files", stacklevel=3)


def part_of(dataset: xr.Dataset, split: str, where: str) -> xr.Dataset:
    """Return one part of data without parts: 80, 10 or 10 percent of the rows, at random, but the same rows at every call.

    Args:
        dataset: All rows.
        split: "train", "valid" or "test".
        where: Name of the data, for error messages.

    Returns:
        The rows of the part, in their order.

    Raises:
        InputError: When the name of the part is unknown, or the part has no rows.
    """
    n = dataset.sizes["row"]
    first, second = round(0.8 * n), round(0.9 * n)
    parts = {"train": slice(first), "valid": slice(first, second), "test": slice(second, None)}
    if split not in parts:
        raise InputError(
            f"split = {split!r}: {where} has the splits train (80% of the rows, at random), valid and test (10% each). Choose one."
        )
    rows = np.sort(np.random.default_rng(0).permutation(n)[parts[split]])
    if not len(rows):
        raise InputError(
            f"split = {split!r}: {where} has only {n} rows, which are too few for this part. Leave the split out."
        )
    return dataset.isel(row=rows)


def joined(parts: Mapping[str, xr.Dataset], split: str | None) -> xr.Dataset:
    """Return one part, or all parts in order if `split` is None."""
    return (
        parts[split]
        if split is not None
        else xr.concat(list(parts.values()), "row", combine_attrs="override")
    )


def classes_of(files: Sequence[Path], folder: Path) -> dict[str, Any]:
    """Return `label (row)` of files in one folder per class, or {} if a file lies outside these folders."""
    if any(file.parent == folder for file in files):
        return {}
    classes = sorted({file.parent.name for file in files})
    codes = np.array([classes.index(file.parent.name) for file in files])
    return {"label": ("row", codes, {"levels": len(classes), "symbols": classes})}


def most_unpacked(stored: int) -> int:
    """Return the largest number of bytes to which a packed file may unpack."""
    return FLOOR + RATIO * stored


def unpacked(packed: bytes) -> bytes:
    """Unpack gzip data piece by piece, so that a decompression bomb is detected early. Raise `ValueError` or `zlib.error` for bad data."""
    unpacker = zlib.decompressobj(wbits=31)  # wbits = 31: data with a gzip header
    pieces, left = [], most_unpacked(len(packed))
    while packed and left > 0:
        pieces.append(unpacker.decompress(packed, 1 << 20))
        packed, left = unpacker.unconsumed_tail, left - len(pieces[-1])
        if unpacker.eof and unpacker.unused_data.startswith(b"\x1f\x8b"):  # the file has another gzip member
            packed, unpacker = unpacker.unused_data, zlib.decompressobj(wbits=31)
    if not unpacker.eof:
        raise ValueError(UNPACKED if packed else "it is truncated")
    return b"".join(pieces)


def reason(error: Exception) -> str:
    """Return the message of a third-party error, on one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__
