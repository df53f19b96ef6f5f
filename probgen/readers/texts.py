"""Texts as rows of symbols."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import xarray as xr

from probgen.codecs.texts import encode, symbols_of
from probgen.errors import FileError, InputError
from probgen.readers.base import joined


def text_rows(texts: Mapping[str, str], split: str | None = None) -> xr.Dataset:
    """A text for each part, in the symbols of all of them: `x (row, time)`, `length (row)`; one part, or a row for each."""
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
    """A file in UTF-8, without the mark (BOM) that some editors begin it with.

    Errors: `FileError`, with the place of the first byte that is no UTF-8; `InputError`.
    """
    try:
        text = path.read_bytes().decode("utf-8").removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}")
    except UnicodeDecodeError as error:
        raise FileError(
            f"{path} is no text in UTF-8: byte {error.start} is {error.object[error.start]:#04x}; save it as UTF-8"
        ) from None
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror}") from None
    if not text:
        raise InputError(f"{path} is empty")
    return text


def lines_of(text: str) -> list[str]:
    """The lines of a text, whichever way they end; other marks that Unicode has for a new line are characters."""
    return text.removesuffix("\n").replace("\r\n", "\n").split("\n")


def text_file(path: Path, split: str | None = None) -> xr.Dataset:
    """A file in UTF-8; the last tenth of it is `valid`, what is before is `train`, and by default it is one text.

    Errors: `FileError`, `InputError`.
    """
    text = read_text(path)
    if split is None:
        return text_rows({"all": text}, "all")
    parts = cut(text, train=0.9, valid=0.1)
    if split not in parts:
        raise InputError(
            f"{path} has no split {split!r}, but train (its first nine tenths) and valid (the last)"
        )
    if not all(parts.values()):
        raise InputError(f"{path} has {len(text)} characters, too few to be split")
    return text_rows(parts, split)


def cut(text: str, **shares: float) -> dict[str, str]:
    """Parts of a text, in order."""
    ends = [int(len(text) * share) for share in np.cumsum(list(shares.values())).round(9)]
    return {name: text[start:end] for name, start, end in zip(shares, [0, *ends], ends, strict=False)}
