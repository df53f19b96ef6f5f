"""Sound as numbers: WAV files, and the mu-law, which converts a sample to one of 256 levels.

The mu-law is that of ITU-T G.711, computed without its tables:

f(s) = sign(s) ln(1 + mu |s|) / ln(1 + mu),    -1 <= s <= 1, mu = 255        van den Oord et al. 2016, section 2.2
"""

from __future__ import annotations

import io
import struct
import wave
from pathlib import Path

import numpy as np

from probgen.errors import FileError
from probgen.store.files import write_whole

MU = 255
MU_LAW = "mu-law"  # the attribute `encoding` of an x with mu-law levels
_PCM, _FLOAT, _A_LAW, _MU_LAW, _EXTENSIBLE = 1, 3, 6, 7, 0xFFFE


def mu_law(s: np.ndarray) -> np.ndarray:
    """Return the mu-law levels of samples; silence is level 128.

    Args:
        s: Samples from -1 to 1, of any shape.

    Returns:
        Levels from 0 to 255 in the same shape, uint8.
    """
    f = np.sign(s) * np.log1p(MU * np.abs(s)) / np.log1p(MU)
    return np.floor((f + 1) / 2 * MU + 0.5).astype(np.uint8)


def from_mu_law(level: np.ndarray) -> np.ndarray:
    """Return the sample in the middle of each mu-law level.

    Args:
        level: Levels from 0 to 255, of any shape.

    Returns:
        Samples from -1 to 1 in the same shape, float64.
    """
    f = 2 * np.asarray(level, dtype=np.float64) / MU - 1
    return np.sign(f) * np.expm1(np.abs(f) * np.log1p(MU)) / MU


def read_wav(data: bytes, name: str) -> tuple[np.ndarray, int]:
    """Return the samples and the sampling rate of a WAV file.

    Supported formats are integers of 8 to 64 bits, floating-point numbers of 32 and 64 bits, mu-law and
    A-law, in RIFF, RIFX and RF64. If the header of a stream does not contain the length, the stream is read
    to its end.

    Args:
        data: The bytes of the file.
        name: The name of the file, for messages.

    Returns:
        Samples (time, channel), float64, and the sampling rate in samples per second. Samples are from -1 to
        1; files of floating-point numbers may contain larger values.

    Raises:
        FileError: When the file is damaged or its format is not supported.
    """
    try:
        return _samples(*_chunks(data))
    except (ValueError, struct.error) as error:
        raise FileError(f"{name} cannot be read as WAV: {' '.join(str(error).split())}") from None


def _chunks(data: bytes) -> tuple[str, bytes, bytes]:
    """Return the byte order, the format and the sound.

    A size in a header is used only as the bound of a slice.
    """
    if data[:4] not in (b"RIFF", b"RIFX", b"RF64") or data[8:12] != b"WAVE":
        raise ValueError("it does not start like a WAV file")
    order, at, long, fmt, sound = ">" if data[:4] == b"RIFX" else "<", 12, 0, b"", b""
    (end,) = struct.unpack_from(f"{order}I", data, 4)
    while at + 8 <= len(data):
        name, size = struct.unpack_from(f"{order}4sI", data, at)
        at += 8
        if name == b"ds64":
            (long,) = struct.unpack_from("<Q", data, at + 8)  # in RF64, a size that exceeds 32 bits
        elif name == b"fmt ":
            fmt = data[at : at + size]
        elif name == b"data":
            if sound or len(fmt) < 16:
                raise ValueError("it has several chunks of sound" if sound else "it has no format chunk")
            size = long if long and size == 0xFFFFFFFF else size
            left = len(data) - at
            if _streamed(size, end, at, left):
                size = left - left % max(1, struct.unpack_from(f"{order}H", fmt, 12)[0])
            if size > left:
                raise ValueError(f"it declares {size} bytes of sound but holds {left}")
            sound = data[at : at + size]
        at += size + size % 2
    if not sound:
        raise ValueError("it holds no sound")
    return order, fmt, sound


def _streamed(size: int, end: int, at: int, left: int) -> bool:
    """Return whether the header was written before the length was known.

    The size is then the largest possible size (ffmpeg, sox), or 0 for a sound that extends to the end of the
    file.
    """
    largest = 0xFFFFFF00 <= size <= 0xFFFFFFFF or 0x7FFFE000 <= size <= 0x7FFFFFFF
    return (largest and size > left) or (size == 0 and (end + 8 <= at or end >= 0x7FFFE000))


def _samples(order: str, fmt: bytes, sound: bytes) -> tuple[np.ndarray, int]:
    tag, channels, rate, _, align, bits = struct.unpack_from(f"{order}HHIIHH", fmt)
    if tag == _EXTENSIBLE and len(fmt) >= 26:
        (tag,) = struct.unpack_from(f"{order}H", fmt, 24)
    if not (channels and rate and align and align % channels == 0 and rate * align < 1 << 32):
        raise ValueError(f"it declares {channels} channels, {rate} samples a second, {align} bytes a sample")
    if len(sound) % align:
        raise ValueError(
            f"its {len(sound)} bytes of sound are not a whole number of samples of {align} bytes"
        )
    width = align // channels
    if tag in (_A_LAW, _MU_LAW) and bits == width * 8 == 8:
        code = np.frombuffer(sound, np.uint8)
        values = _from_a_law(code) if tag == _A_LAW else _from_g711_mu_law(code)
    elif (tag == _PCM and width <= 8 and 0 < bits <= 8 * width and (bits > 8 or width == 1)) or (
        tag == _FLOAT and bits == 8 * width and width in (4, 8)
    ):
        values = _plain_samples(order, (tag, channels, rate, rate * align, align, bits), sound)
    else:
        raise ValueError(
            f"its format {tag:#06x} with {bits} bits in {width} bytes is not supported. Save it as PCM."
        )
    if not np.isfinite(values).all():
        raise ValueError(f"sample {int(np.argmin(np.isfinite(values))) // channels} is not finite")
    return values.reshape(-1, channels), rate


def _plain_samples(order: str, fmt: tuple[int, ...], sound: bytes) -> np.ndarray:
    """Return samples of whole or floating-point numbers.

    scipy reads them with a new header, because it warns of some headers and fails on others.
    """
    from scipy.io import wavfile  # here, because few callers need it

    riff = b"RIFX" if order == ">" else b"RIFF"
    head = struct.pack(
        f"{order}4sI4s4sIHHIIHH4sI", riff, 36 + len(sound), b"WAVE", b"fmt ", 16, *fmt, b"data", len(sound)
    )
    _, values = wavfile.read(io.BytesIO(head + sound))
    if values.dtype.kind == "u":
        return (values.astype(np.float64) - 128) / 128  # only samples of 8 bits are unsigned
    return values.astype(np.float64) / (2.0 ** (8 * values.itemsize - 1) if values.dtype.kind == "i" else 1.0)


def _from_g711_mu_law(code: np.ndarray) -> np.ndarray:
    """Return the samples of ITU-T G.711, table 2.

    A code has a sign, an exponent and four bits of mantissa; all bits are inverted.
    """
    code = ~code
    size = ((((code & 15).astype(np.int64) << 3) + 132) << ((code >> 4) & 7)) - 132
    return np.where(code & 128, -size, size) / 2.0**15


def _from_a_law(code: np.ndarray) -> np.ndarray:
    """Return the samples of ITU-T G.711, table 1.

    A code has a sign, an exponent and four bits of mantissa; every second bit is inverted.
    """
    code = code ^ 0x55
    exponent = ((code >> 4) & 7).astype(np.int64)
    size = ((code & 15).astype(np.int64) << 4) + 8 + 256 * (exponent > 0) << np.maximum(exponent - 1, 0)
    return np.where(code & 128, size, -size) / 2.0**15


def wav(s: np.ndarray, rate: int) -> bytes:
    """Return one channel of samples from -1 to 1 (time,) as a WAV file of 16 bits."""
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.clip(s, -1, 1) * 32767).round().astype("<i2").tobytes())
    return content.getvalue()


def write_wav(path: Path, s: np.ndarray, rate: int) -> None:
    """Write one channel of sound as a WAV file with 16 bits, completely or not at all.

    Args:
        path: The path of the file.
        s: Samples from -1 to 1: (time,).
        rate: The sampling rate in samples per second.

    Raises:
        RunError: When the file cannot be written.
    """
    write_whole(path, wav(s, rate))
