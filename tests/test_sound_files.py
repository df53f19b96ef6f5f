"""Sound files of every kind: the samples that were put in, or one line that says what is wrong."""

from __future__ import annotations

import io
import shutil
import struct
import subprocess
import sys
import tracemalloc
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile
from scipy.signal import resample_poly

from probgen import datasets
from probgen.codecs.sounds import mu_law, read_wav, write_wav
from probgen.errors import FileError, InputError

RNG = np.random.default_rng(0)
N = 51
UNIT = np.append(RNG.uniform(-1, 1, N - 2), [-1.0, 1.0])
STREAM = 0xFFFFFFFF
PCM, FLOAT, A_LAW, MU_LAW, EXTENSIBLE = 1, 3, 6, 7, 0xFFFE


def chunk(name: bytes, body: bytes, order: str = "<", size: int | None = None) -> bytes:
    return (
        name
        + struct.pack(f"{order}I", len(body) if size is None else size)
        + body
        + b"\0" * (len(body) % 2 if size is None else 0)
    )


def wav(
    sound: bytes,
    tag: int = PCM,
    bits: int = 16,
    *,
    width: int | None = None,
    channels: int = 1,
    rate: int = 8000,
    order: str = "<",
    size: int | None = None,
    riff: int | None = None,
    before: bytes = b"",
    after: bytes = b"",
    extra: bytes = b"",
    name: bytes = b"",
) -> bytes:
    """A WAV file by its specification; size, riff: what the header declares in place of the true sizes."""
    align = (width or -(-bits // 8)) * channels
    fmt = struct.pack(f"{order}HHIIHH", tag, channels, rate, rate * align % (1 << 32), align, bits) + extra
    body = b"WAVE" + before + chunk(b"fmt ", fmt, order) + chunk(b"data", sound, order, size) + after
    head = name or (b"RIFX" if order == ">" else b"RIFF")
    return head + struct.pack(f"{order}I", len(body) if riff is None else riff) + body


def whole(bits: int, order: str = "<", size: int = N) -> tuple[bytes, np.ndarray]:
    """Whole numbers with a sign, as bytes and as samples."""
    values = [int(v) for v in RNG.integers(-(1 << bits - 1), 1 << bits - 1, size)]
    packed = b"".join(v.to_bytes(bits // 8, "little" if order == "<" else "big", signed=True) for v in values)
    return packed, np.array([v / (1 << bits - 1) for v in values])


def g711(tag: int) -> np.ndarray:
    """What the 256 codes mean, by the segments of ITU-T G.711: steps that double from one segment to the next."""
    found = []
    for code in range(256):
        inverted = code ^ (0xFF if tag == MU_LAW else 0x55)
        segment, step = inverted >> 4 & 7, inverted & 15
        if tag == MU_LAW:
            size = (2 * step + 33) * 2**segment - 33  # of 8031, 14 bits
            found.append((-size if inverted & 128 else size) * 4 / 2**15)
        else:
            size = 2 * step + 1 if segment == 0 else (2 * step + 33) * 2 ** (segment - 1)  # of 4032, 13 bits
            found.append((size if inverted & 128 else -size) * 8 / 2**15)
    return np.array(found)


def scipy_file(values: np.ndarray) -> bytes:
    content = io.BytesIO()
    wavfile.write(content, 8000, values)
    return content.getvalue()


def sub(tag: int, valid: int) -> bytes:
    """What the extensible format adds."""
    return struct.pack("<HHIH", 22, valid, 0, tag) + bytes.fromhex("000000001000800000aa00389b71")


def rf64(sound: bytes) -> bytes:
    ds64 = chunk(b"ds64", struct.pack("<QQQI", 0, len(sound), 0, 0))
    return wav(sound, before=ds64, size=STREAM, riff=STREAM, name=b"RF64")


SIXTEEN, SAMPLES = whole(16)
CODES, BYTES = np.arange(256, dtype=np.uint8), RNG.integers(0, 256, N, dtype=np.uint8)
LIST = chunk(b"LIST", b"INFOISFT\5\0\0\0Lavf\0")  # of an odd size
F32, F64 = UNIT.astype("<f4"), UNIT.astype("<f8")
STEREO = RNG.integers(-(2**15), 2**15, (N, 2)).astype(np.int16)
LATER = {bits: whole(bits) for bits in (24, 32, 40, 48, 56, 64)}
BIG = {bits: whole(bits, ">") for bits in (16, 24, 32)}

RIGHT: dict[str, tuple[bytes, np.ndarray]] = {
    "8 bits": (wav(BYTES.tobytes(), bits=8), (BYTES - 128.0) / 128),
    "16 bits": (wav(SIXTEEN), SAMPLES),
    **{f"{bits} bits": (wav(sound, bits=bits), samples) for bits, (sound, samples) in LATER.items()},
    "12 bits in 16": (wav(SIXTEEN, bits=12, width=2), SAMPLES),  # at the upper end of the bytes
    "20 bits in 24": (wav(LATER[24][0], bits=20, width=3), LATER[24][1]),
    "24 bits in 32": (wav(LATER[32][0], bits=24, width=4), LATER[32][1]),
    "floats of 32 bits": (scipy_file(F32), F32.astype(float)),
    "floats of 64 bits": (scipy_file(F64), F64),
    "floats by hand": (wav(F32.tobytes(), FLOAT, 32), F32.astype(float)),
    "whole numbers by scipy": (scipy_file(STEREO), STEREO / 2.0**15),
    "mu-law": (wav(CODES.tobytes(), MU_LAW, 8), g711(MU_LAW)),
    "A-law": (wav(CODES.tobytes(), A_LAW, 8), g711(A_LAW)),
    "extensible": (wav(SIXTEEN, EXTENSIBLE, 16, extra=sub(PCM, 16)), SAMPLES),
    "extensible, 24 bits": (wav(LATER[24][0], EXTENSIBLE, 24, extra=sub(PCM, 24)), LATER[24][1]),
    "extensible, floats": (wav(F32.tobytes(), EXTENSIBLE, 32, extra=sub(FLOAT, 32)), F32.astype(float)),
    "extensible, mu-law": (wav(CODES.tobytes(), EXTENSIBLE, 8, extra=sub(MU_LAW, 8)), g711(MU_LAW)),
    "two channels": (wav(STEREO.tobytes(), channels=2), STEREO / 2.0**15),
    "a stream of ffmpeg": (wav(SIXTEEN, size=STREAM, riff=STREAM, before=LIST), SAMPLES),
    "a stream of sox": (wav(SIXTEEN, size=0x7FFFF000, riff=0x7FFFF024), SAMPLES),
    "a stream, no sizes": (wav(SIXTEEN, size=0, riff=0), SAMPLES),
    "a stream, the size of its header": (wav(SIXTEEN, size=0, riff=36), SAMPLES),
    "a stream that was cut within a sample": (wav(SIXTEEN + b"\1", size=STREAM, riff=STREAM), SAMPLES),
    "odd and unknown chunks": (wav(SIXTEEN, before=LIST + chunk(b"what", b"123"), after=LIST), SAMPLES),
    "an odd number of bytes": (wav(BYTES.tobytes(), bits=8, after=LIST), (BYTES - 128.0) / 128),
    "a format that says more": (wav(SIXTEEN, extra=b"\0\0"), SAMPLES),
    "bytes after the end": (wav(SIXTEEN) + b"junk and more of it", SAMPLES),
    **{f"{bits} bits big-endian": (wav(sound, bits=bits, order=">"), samples) for bits, (sound, samples) in BIG.items()},
    "floats big-endian": (wav(UNIT.astype(">f4").tobytes(), FLOAT, 32, order=">"), F32.astype(float)),
    "RF64": (rf64(SIXTEEN), SAMPLES),
    "samples beyond 1": (wav(np.float32([0.5, 2.0]).tobytes(), FLOAT, 32), np.array([0.5, 2.0])),
}  # fmt: skip

WRONG: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "does not start like a WAV"),
    "no WAV": (b"OggS" + bytes(60), "does not start like a WAV"),
    "a header alone": (b"RIFF\0\0\0\0WAVE", "no sound"),
    "no format": (b"RIFF\0\0\0\0WAVE" + chunk(b"data", SIXTEEN), "has no format chunk"),
    "half a format": (wav(SIXTEEN)[:30], "no sound"),
    "no samples": (wav(b""), "no sound"),
    "cut off": (wav(SIXTEEN)[:-20], "declares 102 bytes of sound but holds 82"),
    "an absurd size": (wav(SIXTEEN, size=0x70000000), "declares 1879048192 bytes of sound but holds 102"),
    "an absurd size of 64 bits": (rf64(SIXTEEN).replace(struct.pack("<Q", 102), struct.pack("<Q", 1 << 60)), "declares 11529"),
    "half a sample": (wav(SIXTEEN + b"\1"), "not a whole number of samples"),
    "ADPCM": (wav(SIXTEEN, 2, 4), r"format 0x0002 with 4 bits .* Save it as PCM"),
    "MP3": (wav(SIXTEEN, 0x55, 16), "format 0x0055"),
    "floats of 16 bits": (wav(SIXTEEN, FLOAT, 16), "format 0x0003 with 16 bits"),
    "whole numbers of 72 bits": (wav(bytes(90), PCM, 72), "format 0x0001 with 72 bits"),
    "no channels": (wav(SIXTEEN, channels=0), "declares 0 channels"),
    "no rate": (wav(SIXTEEN, rate=0), "0 samples a second"),
    "an absurd rate": (wav(SIXTEEN, rate=STREAM), "4294967295 samples a second"),
    "bytes for no sample": (wav(SIXTEEN, PCM, 32, width=2), "32 bits in 2 bytes"),
    "several sounds": (wav(SIXTEEN, after=chunk(b"data", SIXTEEN)), "several chunks of sound"),
    "not a number": (wav(np.float32([0, 0, np.nan]).tobytes(), FLOAT, 32), "sample 2 is not finite"),
    "infinity": (wav(np.float64([np.inf]).tobytes(), FLOAT, 64), "sample 0 is not finite"),
}  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_samples_are_those_of_the_file(name: str) -> None:
    data, expected = RIGHT[name]
    s, rate = read_wav(data, name)
    assert rate == 8000
    assert s.tolist() == expected.reshape(len(s), -1).tolist()


@pytest.mark.quick(every=1)
@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named_in_one_line(name: str) -> None:
    data, message = WRONG[name]
    tracemalloc.start()
    with pytest.raises(FileError, match=f"a.wav cannot be read as WAV: .*{message}") as caught:
        read_wav(data, "a.wav")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "\n" not in str(caught.value)
    assert peak < 16 << 20  # whatever the header declares


def test_any_header_is_read_or_refused() -> None:
    """Bytes of a header that were changed at random end in samples or in a `FileError`."""
    original = wav(STEREO.tobytes(), channels=2, before=LIST)
    for _ in range(3000):
        changed = bytearray(original)
        for place in RNG.integers(0, 80, RNG.integers(1, 5)):
            changed[place] = RNG.integers(256)
        with suppress(FileError):
            read_wav(bytes(changed), "a.wav")


@pytest.mark.skipif(shutil.which("sox") is None, reason="sox is not there")
@pytest.mark.parametrize(
    "options", ["-e mu-law", "-e a-law", "-e floating-point -b 32", "-b 24", "-b 8", "-B -b 16"]
)
def test_files_of_sox(options: str, tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", UNIT * 0.9, 8000)
    subprocess.run(["sox", "-D", tmp_path / "a.wav", *options.split(), tmp_path / "b.wav"], check=True)
    subprocess.run(
        ["sox", "-D", tmp_path / "b.wav", "-e", "signed", "-b", "32", tmp_path / "c.wav"], check=True
    )
    found, _ = read_wav((tmp_path / "b.wav").read_bytes(), "b.wav")
    expected, _ = read_wav((tmp_path / "c.wav").read_bytes(), "c.wav")
    np.testing.assert_allclose(found, expected, atol=1e-9)


# files and folders


def test_clipping_is_reported_once(tmp_path: Path) -> None:
    for i, largest in enumerate((0.5, 1.0, 1.5, -3.0)):
        (tmp_path / f"{i}.wav").write_bytes(scipy_file(np.float32([0.25, largest])))
    with pytest.warns(UserWarning, match="samples beyond -1 and 1 were clipped: 2 of 4 files") as given:
        data = datasets.load(tmp_path)
    assert len(given) == 1
    assert (data.x.values == mu_law(np.array([[0.25, 0.5], [0.25, 1], [0.25, 1], [0.25, -1]]))).all()


def test_what_resampling_clips_is_reported(tmp_path: Path) -> None:
    square = np.sign(np.sin(np.arange(400) / 10 + 0.1))
    write_wav(tmp_path / "a.wav", square, 8000)
    with pytest.warns(UserWarning, match="clipped: 1 of 1"):
        data = datasets.load(tmp_path / "a.wav", rate=16_000)
    written = (square * 32767).round() / 2**15
    assert (data.x.values[0] == mu_law(np.clip(resample_poly(written, 2, 1), -1, 1))).all()


@pytest.mark.parametrize("rate", [7, 3_000_001])
def test_rates_that_no_filter_is_made_for(rate: int, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav(BYTES.tobytes(), bits=8, rate=rate))
    with pytest.raises(InputError, match=f"declares {rate} samples per second, too far from 16000"):
        datasets.load(tmp_path, rate=16_000)


def test_images_beside_sounds_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav(SIXTEEN))
    (tmp_path / "cover.png").write_bytes(b"?")
    with pytest.warns(UserWarning, match=r"\.png among sounds, left out: 1 of 2 files"):
        datasets.load(tmp_path)
    with pytest.raises(InputError, match="size is only for images, but"):
        datasets.load(tmp_path, size=3)


def test_a_file_has_no_splits(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav(SIXTEEN))
    with pytest.raises(InputError, match="has no splits"):
        datasets.load(tmp_path / "a.wav", "train")


def test_other_formats_say_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "soundfile", None)
    (tmp_path / "a.flac").write_bytes(b"fLaC")
    with pytest.raises(InputError, match=r"a\.flac.* requires soundfile\. .*pip install 'probgen\[audio\]'"):
        datasets.load(tmp_path)


@pytest.mark.parametrize("suffix", ["flac", "ogg"])
def test_flac_and_ogg(suffix: str, tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    tone = np.sin(2 * np.pi * 440 * np.arange(8000) / 8000) / 2
    soundfile.write(tmp_path / f"a.{suffix}", tone, 8000)
    data = datasets.load(tmp_path)
    assert data.x.attrs["rate"] == 8000
    tolerance = 1 if suffix == "flac" else 8  # levels; OGG is lossy
    assert (abs(data.x.values[0].astype(int) - mu_law(tone)) <= tolerance).mean() > 0.95
    assert data.length.values.tolist() == [8000]
    whole = (tmp_path / f"a.{suffix}").read_bytes()
    for broken in (b"no", whole[: len(whole) // 2] if suffix == "flac" else whole[:40]):
        (tmp_path / f"a.{suffix}").write_bytes(broken)
        with pytest.raises(FileError, match="cannot be read as sound") as caught:
            datasets.load(tmp_path)
        assert "\n" not in str(caught.value)


def test_a_header_of_flac_is_not_believed(tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    soundfile.write(tmp_path / "a.flac", UNIT, 8000)
    raw = bytearray((tmp_path / "a.flac").read_bytes())
    raw[21:26] = bytes([raw[21] | 0x0F, 255, 255, 255, 255])  # 2^36 - 1 samples
    (tmp_path / "a.flac").write_bytes(raw)
    with pytest.raises(FileError, match="cannot be read as sound"):
        datasets.load(tmp_path)
