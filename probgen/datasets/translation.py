"""Sentences and their translations: Multi30k, task 1, German to English (Elliott, Frank, Sima'an & Specia 2016).

`source (row, source_time)` and `source_length (row)`, `x (row, time)` and `length (row)`; a sentence of x ends with a line feed, so
that p(x | source) is a distribution over sentences of every length. Symbols are pieces of words: see `probgen.symbols`.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import xarray as xr

from probgen.datasets.base import DataSet, Source
from probgen.datasets.text import lines_of, read_text
from probgen.errors import FileError, InputError
from probgen.symbols import END, UNKNOWN, encode_all, pieces

MERGES = 2000  # of byte pairs, of either language
_URL = "https://raw.githubusercontent.com/multi30k/dataset/master/data/task1/raw/"
_PARTS = {"train": "train", "valid": "val", "test": "test_2016_flickr"}
_SHA256 = {
    "train.de": "726e39b2fa9eb9ffb6dc763fb35a179f80fae06ffc5d28b6ace5faa883de28a6",
    "train.en": "d79cfa999dd4c51d2cb42499b6796d5a882c3a8a961923c25a898c90f8bbd56f",
    "val.de": "f0cba2f995189cf5770f29a8a9a537a3ad3f51657ad873405082ff6863a5e75a",
    "val.en": "14f7d25ddd868909a9213e361768460edcacdd6ab9d1e77b92560dc10c10dc28",
    "test_2016_flickr.de": "9204244e408ccb38d2a55cfcd344df15005fc42a07a6e55ca6c52b6ababb8cc8",
    "test_2016_flickr.en": "611d361c6334bc7246101d48097c13cf5c4413c5befc793cc629934359d532d9",
}


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
            raise InputError(f"{path}, line {i + 1}: {len(row)} columns; source TAB target is needed")
    source, target = zip(*rows, strict=True)
    symbols = (vocabulary(source), vocabulary([text + END for text in target]))
    cut = round(len(rows) * 0.9)
    parts = {None: slice(None), "train": slice(cut), "valid": slice(cut, None)}
    if split not in parts:
        raise InputError(
            f"{path} has no split {split!r}, but train (its first nine tenths) and valid (the last)"
        )
    return pairs(source[parts[split]], target[parts[split]], symbols)


def _multi30k(split: str | None, folder: Path | None) -> xr.Dataset:
    """Its usual parts; symbols are those of `train`."""
    wanted = [_PARTS[split]] if split is not None else list(_PARTS.values())
    source, target = (
        [line for part in wanted for line in _lines(part, language, folder)] for language in ("de", "en")
    )
    return pairs(source, target, (_symbols("de", folder), _symbols("en", folder)))


def _lines(part: str, language: str, folder: Path | None) -> list[str]:
    name = f"{part}.{language}"
    path = Source(f"multi30k/{name}.gz", f"{_URL}{name}.gz", _SHA256[name]).find(folder)
    try:
        text = gzip.decompress(path.read_bytes()).decode("utf-8")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise FileError(f"{path} cannot be read: {error}") from None
    return lines_of(text)


@lru_cache(maxsize=4)
def _symbols(language: str, folder: Path | None) -> tuple[str, ...]:
    end = END if language == "en" else ""
    return tuple(vocabulary([line + end for line in _lines("train", language, folder)]))


multi30k = DataSet(
    "31,014 captions of pictures in German, and in English (Elliott et al. 2016)", tuple(_PARTS), _multi30k
)
