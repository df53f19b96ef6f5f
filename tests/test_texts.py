"""Texts by name and by path: nothing is lost, splits have one vocabulary, and what is no text is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from probgen import datasets
from probgen.codecs.texts import decode
from probgen.data.describe import event_of
from probgen.errors import FileError, InputError


def written(dataset: object, row: int = 0) -> str:
    x, length = dataset.x, dataset.length  # type: ignore[attr-defined]
    return decode(x.values[row, : length.values[row]], x.attrs["symbols"])


def test_a_file_is_the_text_that_is_in_it(tmp_path: Path) -> None:
    text = "Grüße,\r\n\tto you — 世界\n" * 10
    (tmp_path / "a.txt").write_bytes(text.encode())
    whole = datasets.load(tmp_path / "a.txt")
    assert written(whole) == text
    assert event_of(whole).shape == (None,)
    train, valid = (datasets.load(tmp_path / "a.txt", split) for split in ("train", "valid"))
    assert written(train) + written(valid) == text
    assert len(written(train)) == int(0.9 * len(text))
    assert train.x.attrs["symbols"] == valid.x.attrs["symbols"] == sorted(set(text))


@pytest.mark.parametrize(
    ("content", "split", "error", "message"),
    [
        (b"abc\xff", None, FileError, "not a text in UTF-8: byte 3 is 0xff"),
        (b"", None, InputError, "is empty"),
        (b"a", "train", InputError, "has 1 characters, too few for two parts"),
        (b"abc", "test", InputError, "split = 'test': .* train"),
    ],
)
def test_what_is_no_text_is_named(
    content: bytes, split: str | None, error: type[Exception], message: str, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(error, match=message):
        datasets.load(tmp_path / "a.txt", split)


def test_the_source_of_python() -> None:
    parts = {split: datasets.load("python-source", split) for split in ("train", "valid", "test")}
    assert "def dataclass(" in "".join(map(written, parts.values()))
    whole = datasets.load("python-source")
    for row, part in enumerate(parts.values()):
        assert part.x.attrs == whole.x.attrs
        assert written(part) == written(whole, row)
        assert len(written(part)) > 100_000


def test_texts_by_name(real_data: Path) -> None:
    raw = (real_data / "tiny_shakespeare" / "input.txt").read_text()
    train, valid = (datasets.load("tiny-shakespeare", split, real_data) for split in ("train", "valid"))
    assert written(train) == raw[: int(0.9 * len(raw))]  # nanoGPT's split
    assert written(train) + written(valid) == raw
    assert train.x.attrs["levels"] == 65
    assert datasets.load("wikitext-2", "test", real_data).length.item() == 1_255_018
    wikipedia = [datasets.load("enwik8", split, real_data) for split in ("train", "valid", "test")]
    found = b"".join(written(part).encode("latin-1") for part in wikipedia)
    assert found == (real_data / "text_samples" / "enwik8_prefix.xml.txt").read_bytes()


def test_a_text_that_is_not_there_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="head -c 4152177 enwik8"):
        datasets.load("enwik8", "train", tmp_path)
