"""Readers for pairs of sentences, as rows of symbols."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import xarray as xr

from probgen.codecs.texts import END, UNKNOWN, encode_all, pieces
from probgen.errors import InputError
from probgen.readers.texts import lines_of, read_text

MERGES = 2000  # merges of byte pairs for each language

UTF_16 = (b"\xff\xfe", b"\xfe\xff")  # the first bytes of a text in UTF-16


def pairs(
    source: Sequence[str], target: Sequence[str], symbols: tuple[Sequence[str], Sequence[str]] | None = None
) -> xr.Dataset:
    """Return sentences and their translations, one pair per row.

    Args:
        source: Source sentences.
        target: Target sentences, in the same order.
        symbols: Symbols of source and target. By default, pieces of these sentences, and one symbol for unknown characters.

    Returns:
        A Dataset with `x (row, time)` and `length (row)` for the target, `source (row, source_time)` and `source_length (row)`.

    Raises:
        InputError: When the numbers of sentences differ, there are none, or a sentence is empty.
    """
    if len(source) != len(target):
        raise InputError(
            f"source has {len(source)} sentences, but target has {len(target)}. Give one target sentence per source sentence."
        )
    if not source:
        raise InputError("there are no sentences. Give at least one pair.")
    for name, texts in (("source", source), ("target", target)):
        empty = next((i for i, text in enumerate(texts) if not text.strip()), None)
        if empty is not None:
            raise InputError(f"{name}, row {empty}: the sentence is empty. Leave the pair out.")
    target = [text.removesuffix(END) + END for text in target]
    longer = next((i for i, text in enumerate(target) if END in text[:-1]), None)
    if longer is not None:
        raise InputError(
            f"target, row {longer}: the text has a line feed inside, but a line feed ends a sentence. Give one sentence per row."
        )
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
    """Return the pieces of texts, and the symbol for unknown characters."""
    found = pieces(texts, merges)
    return found if UNKNOWN in found else [*found, UNKNOWN]


def pair_file(path: Path, split: str | None = None) -> xr.Dataset:
    """Read a file in UTF-8 with one pair per line: source TAB target.

    Args:
        path: Path of the file.
        split: "train" for the first nine tenths, "valid" for the last tenth, or None for all pairs.

    Returns:
        A Dataset as returned by `pairs`.

    Raises:
        InputError: When a line is not a pair, or the split is unknown. The message gives the number of the line.
        FileError: When the file cannot be read.
    """
    rows = [line.split("\t") for line in lines_of(read_text(path))]
    for i, row in enumerate(rows):
        if len(row) != 2:
            raise InputError(
                f"{path}, line {i + 1}: {len(row)} columns, but pairs need exactly source TAB target. For a table, use the suffix .tab or --sep."
            )
    source, target = zip(*rows, strict=True)
    symbols = (vocabulary(source), vocabulary([text + END for text in target]))
    cut = round(len(rows) * 0.9)
    parts = {None: slice(None), "train": slice(cut), "valid": slice(cut, None)}
    if split not in parts:
        raise InputError(
            f"split = {split!r}: {path} has the splits train (its first nine tenths) and valid (the last tenth). Choose one."
        )
    return pairs(source[parts[split]], target[parts[split]], symbols)


def is_table(path: Path) -> bool:
    """Return whether a `.tsv` file is a table, not pairs of texts.

    A table has a first line without exactly two fields, or only numbers below the first line.

    Args:
        path: Path of the file.

    Returns:
        Whether the file is a table.

    Raises:
        InputError: When the file has only numbers, so that its columns have no names.
        FileError: When the file cannot be read.
    """
    with suppress(OSError), path.open("rb") as file:  # `read_text` reports a file that cannot be read
        if file.read(2) in UTF_16:  # only tables may be in UTF-16
            return True
    first, *below = (line.split("\t") for line in lines_of(read_text(path)))
    if len(first) != 2:
        return True
    if not below or not all(_number(value) for row in below for value in row):
        return False
    if all(map(_number, first)):
        raise InputError(
            f"{path} has only numbers. Name the columns in the first line or with --columns a,b, or save the table as .npy."
        )
    return True


def _number(text: str) -> bool:
    try:
        float(text or 0)  # an empty field is a missing value
    except ValueError:
        return False
    return True
