"""Texts, one per row, as numbers of their characters. The symbols are in the attributes of x.

`tiny-shakespeare` (Karpathy 2015), a part of `wikitext-2` (Merity et al. 2017), the start of `enwik8` (Hutter 2006), and the
source code of Python's standard library.
"""

from __future__ import annotations

import sysconfig
from pathlib import Path

import xarray as xr

from probgen.datasets.base import DataSet, Source
from probgen.errors import InputError
from probgen.readers.texts import cut, text_rows

_SHAKESPEARE = Source(
    "tiny_shakespeare/input.txt",
    "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
    "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
)
_WIKITEXT = "https://raw.githubusercontent.com/pytorch/examples/main/word_language_model/data/wikitext-2/"
_WIKITEXT_VALID = Source(
    "text_samples/wikitext-2.valid.txt",
    _WIKITEXT + "valid.txt",
    "f0737ed31fc1329026e95cb8b98e19c2a182c39c240ab909dc31abf2f8af58e8",
)
_WIKITEXT_TEST = Source(
    "text_samples/wikitext-2.test.txt",
    _WIKITEXT + "test.txt",
    "d790b833ef8cf03a90db7bf1271b7520b83c45ce07ba3c1a9699df81e239eca0",
)
_ENWIK8 = "text_samples/enwik8_prefix.xml.txt"


def _tiny_shakespeare(split: str | None, folder: Path | None) -> xr.Dataset:
    text = _SHAKESPEARE.find(folder).read_text(encoding="utf-8")
    return text_rows(cut(text, train=0.9, valid=0.1), split)


def _wikitext(split: str | None, folder: Path | None) -> xr.Dataset:
    """Read a part of WikiText-2: `train` and `valid` are the first nine tenths and the last tenth of its validation part, `test` is its test part."""
    parts = cut(_WIKITEXT_VALID.find(folder).read_text(encoding="utf-8"), train=0.9, valid=0.1)
    return text_rows(parts | {"test": _WIKITEXT_TEST.find(folder).read_text(encoding="utf-8")}, split)


def _enwik8(split: str | None, folder: Path | None) -> xr.Dataset:
    """Read bytes, as in published results: each byte is the character with its number."""
    if folder is None or not (folder / _ENWIK8).is_file():
        raise InputError(
            f"{_ENWIK8} is not in the data folder ({folder or 'none given'}: --data-dir, PROBGEN_DATA). Make the file from any number of the first "
            "bytes of enwik8 (mattmahoney.net/dc/enwik8.zip): head -c 4152177 enwik8"
        )
    text = (folder / _ENWIK8).read_bytes().decode("latin-1")
    return text_rows(cut(text, train=0.9, valid=0.05, test=0.05), split)


def _python_source(split: str | None, folder: Path | None) -> xr.Dataset:
    """Read the ASCII modules of the standard library, by name. Every tenth module is in `test`, and the module before it is in `valid`."""
    parts = {"train": "", "valid": "", "test": ""}
    files = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    sources = [raw.decode("ascii") for raw in (file.read_bytes() for file in files) if raw.isascii() and raw]
    for i, source in enumerate(sources):
        parts[{8: "valid", 9: "test"}.get(i % 10, "train")] += source
    if not all(parts.values()):
        raise InputError(
            "this Python has no source code of its standard library. Use another installation of Python."
        )
    return text_rows(parts, split)


tiny_shakespeare = DataSet(
    "1,115,394 characters of Shakespeare (Karpathy 2015)", ("train", "valid"), _tiny_shakespeare
)
wikitext_2 = DataSet(
    "2.4 million characters of Wikipedia: the validation and test parts of WikiText-2 (Merity et al. 2017)",
    ("train", "valid", "test"),
    _wikitext,
)
enwik8 = DataSet(
    "the first 4,152,177 bytes of Wikipedia's XML, a part of enwik8 (Hutter 2006)",
    ("train", "valid", "test"),
    _enwik8,
)
python_source = DataSet(
    "the source code of the standard library of the running Python",
    ("train", "valid", "test"),
    _python_source,
)
