"""Sentences and their translations: Multi30k, task 1, German to English (Elliott, Frank, Sima'an & Specia 2016).

The variables are `source (row, source_time)` and `source_length (row)`, `x (row, time)` and `length (row)`. A sentence of x ends with a line feed, so
that p(x | source) is a distribution over sentences of every length. Symbols are pieces of words: see `probgen.symbols`.
"""

from __future__ import annotations

import gzip
import zlib
from functools import lru_cache
from pathlib import Path

import xarray as xr

from probgen.codecs.texts import END
from probgen.datasets.base import DataSet, Source
from probgen.errors import FileError
from probgen.readers.pairs import pairs, vocabulary
from probgen.readers.texts import lines_of

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


def _multi30k(split: str | None, folder: Path | None) -> xr.Dataset:
    """Read the usual parts. The symbols are derived from `train`."""
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
    "31,014 captions of pictures in German and English (Elliott et al. 2016)", tuple(_PARTS), _multi30k
)
