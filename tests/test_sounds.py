"""WAV files, the mu-law, and recordings as data."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from scipy.io import wavfile

from probgen import datasets
from probgen.data import event_of
from probgen.errors import FileError, InputError
from probgen.sounds import from_mu_law, mu_law, read_wav, write_wav


def test_mu_law() -> None:
    """Levels are those of the formula; back and forth ends in the same level, and within half a level of the sample."""
    levels = np.arange(256)
    assert (mu_law(from_mu_law(levels)) == levels).all()
    assert mu_law(np.array([-1.0, 0.0, 1.0])).tolist() == [0, 128, 255]
    s = np.random.default_rng(0).uniform(-1, 1, 10_000)
    widths = np.diff(from_mu_law(np.arange(257) - 0.5))
    assert (abs(from_mu_law(mu_law(s)) - s) <= widths[mu_law(s)] * 0.52).all()


@pytest.mark.parametrize("kind", ["u1", "<i2", "<i4", "24 bits"])
@pytest.mark.parametrize("channels", [1, 2])
def test_wav_files_are_those_of_scipy(kind: str, channels: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "a.wav"
    if kind == "24 bits":
        whole = rng.integers(-(1 << 23), 1 << 23, (50, channels))
        body = b"".join(int(v).to_bytes(3, "little", signed=True) for v in whole.ravel())
        fmt = struct.pack("<HHIIHH", 1, channels, 8000, 8000 * 3 * channels, 3 * channels, 24)
        chunks = b"fmt " + struct.pack("<I", 16) + fmt + b"data" + struct.pack("<I", len(body)) + body
        path.write_bytes(b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks)
        expected = whole / 2.0**23
    else:
        info = np.iinfo(kind)
        whole = rng.integers(info.min, info.max, (50, channels), endpoint=True).astype(kind)
        wavfile.write(path, 8000, whole)
        expected = (whole.astype(float) - (128 if kind == "u1" else 0)) / 2.0 ** (info.bits - 1)
    s, rate = read_wav(path.read_bytes(), "a.wav")
    assert rate == 8000
    np.testing.assert_allclose(s, expected, atol=1e-12)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    s = np.linspace(-1, 1, 100)
    write_wav(tmp_path / "a.wav", s, 16_000)
    found, rate = read_wav((tmp_path / "a.wav").read_bytes(), "a.wav")
    assert rate == 16_000
    np.testing.assert_allclose(found[:, 0], s, atol=1 / 16_000)


@pytest.mark.parametrize("content", [b"", b"RIFF", b"no sound at all", None])
def test_a_broken_file_is_named(content: bytes | None, tmp_path: Path) -> None:
    if content is None:  # cut off in its samples
        write_wav(tmp_path / "a.wav", np.zeros(100), 8000)
        content = (tmp_path / "a.wav").read_bytes()[:-50]
    with pytest.raises(FileError, match=r"a\.wav cannot be read as WAV"):
        read_wav(content, "a.wav")


def test_spoken_digits(real_data: Path) -> None:
    parts = {split: datasets.load("spoken-digits", split, real_data) for split in ("train", "valid", "test")}
    assert {name: part.sizes["row"] for name, part in parts.items()} == {
        "train": 2400,
        "valid": 300,
        "test": 300,
    }
    assert sum(int(part.length.sum()) for part in parts.values()) == 10_498_424
    test = parts["test"]
    event = event_of(test, ["label", "speaker"])
    assert (event.shape, event.levels, event.given["speaker"].levels) == ((None,), 256, 6)
    counts = xr.Dataset({"n": test.length}).groupby(test.label).count().n
    assert (counts == 30).all()
    row = 7  # the digit 0 by the second speaker, take 2
    assert (int(test.label[row]), int(test.speaker[row])) == (0, 1)
    past = np.arange(test.sizes["time"]) >= test.length.values[:, None]
    assert (test.x.values[past] == 128).all()


def test_digits_that_are_not_there_say_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"zip -r recordings\.zip recordings"):
        datasets.load("spoken-digits", "test", tmp_path)
