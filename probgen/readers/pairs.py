"""Pairs of sentences as rows of symbols."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import xarray as xr

from probgen.codecs.texts import END, UNKNOWN, encode_all, pieces
from probgen.errors import InputError
from probgen.readers.texts import lines_of, read_text

MERGES = 2000  # of byte pairs, of either language

UTF_16 = (b"\xff\xfe", b"\xfe\xff")  # what such a text begins with


def pairs(
    source: Sequence[str], target: Sequence[str], symbols: tuple[Sequence[str], Sequence[str]] | None = None
) -> xr.Dataset:
    """Sentences and what they are in another language, one a row.

    symbols  of source and target; by default pieces of these sentences, and a symbol for characters that they do not have

    Errors: `InputError` for different counts, none, or an empty sentence.
    """
    if len(source) != len(target):
        raise InputError(
            f"source has {len(source)} sentences and target has {len(target)}: one for each is needed"
        )
    if not source:
        raise InputError("there are no sentences")
    for name, texts in (("source", source), ("target", target)):
        empty = next((i for i, text in enumerate(texts) if not text.strip()), None)
        if empty is not None:
            raise InputError(f"{name}, row {empty}: an empty sentence")
    target = [text.removesuffix(END) + END for text in target]
    longer = next((i for i, text in enumerate(target) if END in text[:-1]), None)
    if longer is not None:
        raise InputError(f"target, row {longer}: a line feed ends a sentence, and it has more than one")
    of_source, of_target = symbols or (vocabulary(source), vocabulary(target))
    (s, s_length), (x, length) = encode_all(source, of_source), encode_all(target, of_target)

    def attrs(symbols: Sequence[str]) -> dict[str, Any]:
        return {"support": "token", "levels": len(symbols), "symbols": list(symbols)}

    return xr.Dataset(
        {
            "x": (("row", "time"), x, attrs(of_target)),
            "length": ("row", length),
            "source": (("row", "source_time"), s, attrs(of_source)),
            "source_length": ("row", s_length),
        }
    )


def vocabulary(texts: Sequence[str], merges: int = MERGES) -> list[str]:
    """Pieces of some texts, and the symbol that stands for characters that are not in them."""
    found = pieces(texts, merges)
    return found if UNKNOWN in found else [*found, UNKNOWN]


def pair_file(path: Path, split: str | None = None) -> xr.Dataset:
    """A file in UTF-8 with a pair a line, source TAB target; the last tenth is `valid`, what is before is `train`.

    Errors: `FileError`, `InputError` with the number of the line.
    """
    rows = [line.split("\t") for line in lines_of(read_text(path))]
    for i, row in enumerate(rows):
        if len(row) != 2:
            raise InputError(
                f"{path}, line {i + 1}: {len(row)} columns; source TAB target is needed (a table is named .tab, or read with --sep)"
            )
    source, target = zip(*rows, strict=True)
    symbols = (vocabulary(source), vocabulary([text + END for text in target]))
    cut = round(len(rows) * 0.9)
    parts = {None: slice(None), "train": slice(cut), "valid": slice(cut, None)}
    if split not in parts:
        raise InputError(
            f"{path} has no split {split!r}, but train (its first nine tenths) and valid (the last)"
        )
    return pairs(source[parts[split]], target[parts[split]], symbols)


def is_table(path: Path) -> bool:
    """Whether it is a table and not pairs of texts: its first line has not two fields, or all below it is numbers. Errors: `FileError`, `InputError`."""
    with suppress(OSError), path.open("rb") as file:  # what cannot be read is told below
        if file.read(2) in UTF_16:  # which tables can have
            return True
    first, *below = (line.split("\t") for line in lines_of(read_text(path)))
    if len(first) != 2:
        return True
    if not below or not all(_number(value) for row in below for value in row):
        return False
    if all(map(_number, first)):
        raise InputError(
            f"{path} holds numbers alone: name its columns in the first line, or by --columns a,b, or save it as .npy"
        )
    return True


def _number(text: str) -> bool:
    try:
        float(text or 0)  # nothing is a missing value
    except ValueError:
        return False
    return True
