"""WAV files, the mu-law, and recordings as data."""

from __future__ import annotations

import struct
import wave
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from scipy.io import wavfile
from typer.testing import CliRunner

import probgen
from probgen import datasets, figures
from probgen.cli import app
from probgen.codecs.sounds import from_mu_law, mu_law, read_wav, write_wav
from probgen.contract.event import Event
from probgen.data.describe import event_of
from probgen.data.ingest import as_dataset
from probgen.datasets.strings import DECAY, PERIODS, pluck
from probgen.errors import FileError, InputError


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


def test_a_string_follows_its_recursion() -> None:
    """After the burst, each sample is a weakened mean of two samples one period ago; the weaker, the later."""
    burst = np.random.default_rng(0).uniform(-1, 1, 20)
    s = pluck(burst, 500)
    np.testing.assert_array_equal(s[:20], burst)
    np.testing.assert_allclose(s[21:], DECAY * 0.5 * (s[1:-20] + s[:-21]), atol=1e-12)
    assert np.abs(s[400:]).max() < 0.7 * np.abs(s[:100]).max()


def test_strings_have_the_pitch_of_their_label() -> None:
    """The largest autocorrelation is at a period, or at the next lag: the mean of two samples delays by half a sample."""
    rows = datasets.load("strings", "test")
    event = event_of(rows, ["label"])
    assert (event.rate, event.levels, event.given["label"].levels) == (4000, 256, 8)
    s = from_mu_law(rows["x"].values)[:, 100:]
    for row, note in zip(s, rows["label"].values, strict=True):
        p = PERIODS[note]
        lags = range(p * 2 // 3, p * 4 // 3)
        best = lags[int(np.argmax([(row[lag:] * row[:-lag]).mean() for lag in lags]))]
        assert best in (p, p + 1)
    train = datasets.load("strings", "train")["x"].values[:, :18]
    assert not (train[:, None] == rows["x"].values[None, :, :18]).all(2).any()  # no string is in both parts


def test_digits_that_are_not_there_say_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"zip -r recordings\.zip recordings"):
        datasets.load("spoken-digits", "test", tmp_path)


def test_a_folder_of_sounds(tmp_path: Path) -> None:
    """Subfolders are classes; the levels are those of the samples, silence past the end."""
    s = 0.8 * np.sin(np.arange(200) / 5)
    for name, n in (("low/a", 200), ("low/b", 50), ("high/c", 120)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_wav(tmp_path / f"{name}.wav", s[:n], 8000)
    data = datasets.load(tmp_path)
    assert data.length.values.tolist() == [120, 200, 50]
    assert data.label.values.tolist() == [0, 1, 1]
    assert data.label.attrs["symbols"] == ["high", "low"]
    event = event_of(data)
    assert (event.shape, event.levels, event.rate) == ((None,), 256, 8000)
    written, _ = read_wav((tmp_path / "low" / "a.wav").read_bytes(), "a.wav")
    assert (data.x.values[1] == mu_law(written[:, 0])).all()
    assert (data.x.values[0, 120:] == 128).all()
    one = datasets.load(tmp_path / "low" / "b.wav")
    assert one.sizes == {"row": 1, "time": 50}
    assert "label" not in one
    (tmp_path / "e.wav").mkdir()
    with pytest.raises(InputError, match="has no WAV, FLAC or OGG files"):
        datasets.load(tmp_path / "e.wav")
    assert event_of(datasets.load(tmp_path, "low")).rate == 8000


def stereo(path: Path, s: np.ndarray, rate: int) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.stack([s, 0 * s], 1) * 32767).round().astype("<i2").tobytes())


def test_other_rates_and_channels_are_refused_or_resampled(tmp_path: Path) -> None:
    """A tone of 440 Hz is one at any rate, and half as loud where one of two channels has it."""
    write_wav(tmp_path / "a.wav", np.sin(2 * np.pi * 440 * np.arange(4000) / 8000) / 2, 8000)
    stereo(tmp_path / "b.wav", np.sin(2 * np.pi * 440 * np.arange(8000) / 16_000) / 2, 16_000)
    with pytest.raises(
        InputError,
        match=r"b\.wav has 2 channels of 16000 samples per second, .*Mix and resample with rate = 8000",
    ):
        datasets.load(tmp_path)
    data = datasets.load(tmp_path, rate=8000)
    assert data.length.values.tolist() == [4000, 4000]
    first, second = (from_mu_law(row)[500:-500] for row in data.x.values)
    np.testing.assert_allclose(second, first / 2, atol=0.02)
    for call, message in (
        (lambda: datasets.load(tmp_path, rate=0), "rate = 0"),
        (lambda: datasets.load("digits", rate=8000), "rate is only for WAV files, but 'digits'"),
        (lambda: as_dataset(np.zeros((3, 2)), rate=8000), "rate is only for WAV files"),
    ):
        with pytest.raises(InputError, match=message):
            call()
    (tmp_path / "c.wav").write_bytes(b"RIFF")
    with pytest.raises(FileError, match=r"c\.wav cannot be read as WAV"):
        datasets.load(tmp_path, rate=8000)


def test_draws_are_sounds(tmp_path: Path) -> None:
    """The rate goes from the files into the fit, and from there into what is drawn; another rate is refused."""
    tone = np.sin(np.arange(300) / 3) / 2
    write_wav(tmp_path / "a.wav", tone, 8000)
    small: dict[str, object] = {
        "channels": 4,
        "skip": 4,
        "dilations": [1, 2],
        "stacks": 1,
        "window": 50,
        "epochs": 2,
    }
    fitted = probgen.fit("wavenet", datasets.load(tmp_path / "a.wav"), out=tmp_path / "run", **small)
    assert probgen.load(tmp_path / "run").event.rate == 8000
    draws = probgen.sample(fitted, 2, length=90)
    assert (draws.x.attrs["rate"], draws.x.attrs["encoding"]) == (8000, "mu-law")
    assert (
        CliRunner()
        .invoke(
            app, ["sample", str(tmp_path / "run"), "-n", "2", "--set", "length=90", "--wav", str(tmp_path)]
        )
        .exit_code
        == 0
    )
    for i in (0, 1):
        s, rate = read_wav((tmp_path / f"samples-00{i}.wav").read_bytes(), "s")
        assert rate == 8000
        np.testing.assert_allclose(s[:, 0], from_mu_law(draws.x.values[i]), atol=1e-4)
    write_wav(tmp_path / "b.wav", tone, 16_000)
    with pytest.raises(InputError, match="x has 16000 samples per second, but wavenet was fitted to 8000"):
        probgen.score(fitted, tmp_path / "b.wav")


def test_pictures_of_sounds_have_a_wave_and_a_spectrum_each() -> None:
    levels = mu_law(np.sin(2 * np.pi * 1000 * np.arange(4000) / 8000) / 2)[None].repeat(5, 0)
    event = Event(("time",), (None,), "integer", 256, rate=8000)
    figure = figures.draw(levels, event, names=[f"digit {i}" for i in range(5)])
    waves, spectra = ([a for a in figure.axes if kind(a)] for kind in (lambda a: a.lines, lambda a: a.images))
    assert (len(waves), len(spectra)) == (5, 5)
    bands = spectra[0]
    power = np.asarray(bands.images[0].get_array())[::-1].mean(1)  # low frequencies first
    assert power.argmax() * 4000 / len(power) == pytest.approx(1000, abs=40)


def test_a_table_of_conditions_alone_says_what_to_draw(tmp_path: Path) -> None:
    s = np.sin(np.arange(100) / 3) / 2
    for name in ("high/a", "low/b"):
        (tmp_path / name).parent.mkdir()
        write_wav(tmp_path / f"{name}.wav", s, 8000)
    small = [
        "channels=4",
        "skip=4",
        "dilations=[1, 2]",
        "stacks=1",
        "window=50",
        "epochs=1",
        'given=["label"]',
    ]
    options = [part for option in small for part in ("--set", option)]
    run, labels = str(tmp_path / "run"), tmp_path / "labels.csv"
    done = CliRunner().invoke(
        app, ["fit", "wavenet", "--data", str(tmp_path), "--out", run, "--quiet", *options]
    )
    assert done.exit_code == 0, done.output
    labels.write_text("label\n1\n0\n1\n")
    args = ["sample", run, "-n", "2", "--given", str(labels), "--set", "length=20", "--wav", str(tmp_path)]
    done = CliRunner().invoke(app, args)
    assert done.exit_code == 0, done.output
    assert len(list(tmp_path.glob("samples-*.wav"))) == 6
    fitted = probgen.load(tmp_path / "run")
    drawn = probgen.sample(fitted, 2, given={"label": np.array([1, 0, 1])}, length=20)
    found, _ = read_wav((tmp_path / "samples-001.wav").read_bytes(), "s")
    np.testing.assert_allclose(found[:, 0], from_mu_law(drawn.x.values[0, 1]), atol=1e-4)
    labels.write_text("label\n7\n")
    done = CliRunner().invoke(app, args)
    assert done.exit_code == 2
    assert "label, row 0 = 7: must be 0 or 1" in done.output
