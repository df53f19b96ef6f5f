"""Readers for texts, as rows of symbols."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import xarray as xr

from probgen.codecs.texts import encode, symbols_of
from probgen.errors import FileError, InputError
from probgen.readers.base import joined


def text_rows(texts: Mapping[str, str], split: str | None = None) -> xr.Dataset:
    """Return one text per part as rows of symbols: `x (row, time)` and `length (row)`.

    Args:
        texts: Text of each part. All parts share their symbols.
        split: Name of one part. None returns one row per part.

    Returns:
        The part, or all parts, padded to one length.
    """
    symbols = symbols_of("".join(texts.values()))
    parts = {}
    for name, text in texts.items():
        if split in (None, name):
            x = encode(text, symbols)
            attrs = {"support": "token", "levels": len(symbols), "symbols": symbols}
            parts[name] = xr.Dataset(
                {"x": (("row", "time"), x[None], attrs), "length": ("row", np.array([len(x)]))}
            )
    if split is not None:
        return parts[split]
    longest = max(part.sizes["time"] for part in parts.values())
    padded = {
        name: part.pad(time=(0, longest - part.sizes["time"]), constant_values=0)
        for name, part in parts.items()
    }
    return joined(padded, None)


def read_text(path: Path) -> str:
    """Read a file in UTF-8, without the byte order mark (BOM) that some editors write.

    Args:
        path: Path of the file.

    Returns:
        The text.

    Raises:
        FileError: When the file is not in UTF-8 or cannot be read. The message gives the position of the first bad byte.
        InputError: When the file is empty.
    """
    try:
        text = path.read_bytes().decode("utf-8").removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}")
    except UnicodeDecodeError as error:
        raise FileError(
            f"{path} is not a text in UTF-8: byte {error.start} is {error.object[error.start]:#04x}. Save the file as UTF-8."
        ) from None
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror}") from None
    if not text:
        raise InputError(f"{path} is empty. Give a file with at least one character.")
    return text


def lines_of(text: str) -> list[str]:
    """Return the lines of a text, which end with LF or CR LF. Other line separators of Unicode count as characters.

    Args:
        text: The text.

    Returns:
        The lines, without their line ends.
    """
    return text.removesuffix("\n").replace("\r\n", "\n").split("\n")


def text_file(path: Path, split: str | None = None) -> xr.Dataset:
    """Read a file in UTF-8 as one row of symbols.

    Args:
        path: Path of the file.
        split: "train" for the first nine tenths, "valid" for the last tenth, or None for the whole text.

    Returns:
        A Dataset with `x (row, time)` and `length (row)`.

    Raises:
        InputError: When the split is unknown, or the text is too short for it.
        FileError: When the file cannot be read.
    """
    text = read_text(path)
    if split is None:
        return text_rows({"all": text}, "all")
    parts = cut(text, train=0.9, valid=0.1)
    if split not in parts:
        raise InputError(
            f"split = {split!r}: {path} has the splits train (its first nine tenths) and valid (the last tenth). Choose one."
        )
    if not all(parts.values()):
        raise InputError(
            f"split = {split!r}: {path} has {len(text)} characters, too few for two parts. Leave the split out."
        )
    return text_rows(parts, split)


def cut(text: str, **shares: float) -> dict[str, str]:
    """Cut a text into consecutive parts with given shares of its length."""
    ends = [int(len(text) * share) for share in np.cumsum(list(shares.values())).round(9)]
    return {name: text[start:end] for name, start, end in zip(shares, [0, *ends], ends, strict=False)}
