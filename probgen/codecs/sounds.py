"""Sound as numbers: WAV files, and the mu-law that puts a sample into one of 256 levels (ITU-T G.711, without its tables).

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
MU_LAW = "mu-law"  # the attribute `encoding` of such an x
_PCM, _FLOAT, _A_LAW, _MU_LAW, _EXTENSIBLE = 1, 3, 6, 7, 0xFFFE


def mu_law(s: np.ndarray) -> np.ndarray:
    """Samples from -1 to 1 as levels from 0 to 255, silence being 128: (...) to the same, uint8."""
    f = np.sign(s) * np.log1p(MU * np.abs(s)) / np.log1p(MU)
    return np.floor((f + 1) / 2 * MU + 0.5).astype(np.uint8)


def from_mu_law(level: np.ndarray) -> np.ndarray:
    """The sample in the middle of each level: (...) to the same, float64."""
    f = 2 * np.asarray(level, dtype=np.float64) / MU - 1
    return np.sign(f) * np.expm1(np.abs(f) * np.log1p(MU)) / MU


def read_wav(data: bytes, name: str) -> tuple[np.ndarray, int]:
    """Samples (time, channel) in float64, and how many a second, of a WAV file; `name` is for what is said of it.

    They are from -1 to 1, but for files of floating-point numbers, which may hold larger ones. Read are whole numbers of 8 to 64
    bits, floating-point ones of 32 and 64, mu-law and A-law, in RIFF, RIFX and RF64. Of a stream, whose header could not say how
    long it is, everything up to the end is read. Errors: `FileError`.
    """
    try:
        return _samples(*_chunks(data))
    except (ValueError, struct.error) as error:
        raise FileError(f"{name} cannot be read as WAV: {' '.join(str(error).split())}") from None


def _chunks(data: bytes) -> tuple[str, bytes, bytes]:
    """The order of bytes, the format and the sound. A size that a header declares is only ever the bound of a slice."""
    if data[:4] not in (b"RIFF", b"RIFX", b"RF64") or data[8:12] != b"WAVE":
        raise ValueError("its first bytes are not those of a WAV file")
    order, at, long, fmt, sound = ">" if data[:4] == b"RIFX" else "<", 12, 0, b"", b""
    (end,) = struct.unpack_from(f"{order}I", data, 4)
    while at + 8 <= len(data):
        name, size = struct.unpack_from(f"{order}4sI", data, at)
        at += 8
        if name == b"ds64":
            (long,) = struct.unpack_from("<Q", data, at + 8)  # of RF64: the size that 32 bits do not hold
        elif name == b"fmt ":
            fmt = data[at : at + size]
        elif name == b"data":
            if sound or len(fmt) < 16:
                raise ValueError("it has several chunks of sound" if sound else "nothing says its format")
            size = long if long and size == 0xFFFFFFFF else size
            left = len(data) - at
            if _streamed(size, end, at, left):
                size = left - left % max(1, struct.unpack_from(f"{order}H", fmt, 12)[0])
            if size > left:
                raise ValueError(f"it declares {size} bytes of sound and holds {left}")
            sound = data[at : at + size]
        at += size + size % 2
    if not sound:
        raise ValueError("it holds no sound")
    return order, fmt, sound


def _streamed(size: int, end: int, at: int, left: int) -> bool:
    """Whether a header was written before the length was known: as the largest size there is (ffmpeg, sox), or 0 to the end of the file."""
    largest = 0xFFFFFF00 <= size <= 0xFFFFFFFF or 0x7FFFE000 <= size <= 0x7FFFFFFF
    return (largest and size > left) or (size == 0 and (end + 8 <= at or end >= 0x7FFFE000))


def _samples(order: str, fmt: bytes, sound: bytes) -> tuple[np.ndarray, int]:
    tag, channels, rate, _, align, bits = struct.unpack_from(f"{order}HHIIHH", fmt)
    if tag == _EXTENSIBLE and len(fmt) >= 26:
        (tag,) = struct.unpack_from(f"{order}H", fmt, 24)
    if not (channels and rate and align and align % channels == 0 and rate * align < 1 << 32):
        raise ValueError(f"it declares {channels} channels, {rate} samples a second, {align} bytes a sample")
    if len(sound) % align:
        raise ValueError(f"its {len(sound)} bytes of sound are no whole number of samples of {align} bytes")
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
            f"its sound is of format {tag:#06x} with {bits} bits in {width} bytes, which is not read: save it as PCM"
        )
    if not np.isfinite(values).all():
        raise ValueError(f"sample {int(np.argmin(np.isfinite(values))) // channels} is not finite")
    return values.reshape(-1, channels), rate


def _plain_samples(order: str, fmt: tuple[int, ...], sound: bytes) -> np.ndarray:
    """Whole or floating-point numbers, by scipy, which gets a header without what it warns of or stumbles over."""
    from scipy.io import wavfile  # here, as few need it

    riff = b"RIFX" if order == ">" else b"RIFF"
    head = struct.pack(
        f"{order}4sI4s4sIHHIIHH4sI", riff, 36 + len(sound), b"WAVE", b"fmt ", 16, *fmt, b"data", len(sound)
    )
    _, values = wavfile.read(io.BytesIO(head + sound))
    if values.dtype.kind == "u":
        return (values.astype(np.float64) - 128) / 128  # 8 bits are the only ones without a sign
    return values.astype(np.float64) / (2.0 ** (8 * values.itemsize - 1) if values.dtype.kind == "i" else 1.0)


def _from_g711_mu_law(code: np.ndarray) -> np.ndarray:
    """ITU-T G.711, table 2: a sign, an exponent and four bits of mantissa, all inverted."""
    code = ~code
    size = ((((code & 15).astype(np.int64) << 3) + 132) << ((code >> 4) & 7)) - 132
    return np.where(code & 128, -size, size) / 2.0**15


def _from_a_law(code: np.ndarray) -> np.ndarray:
    """ITU-T G.711, table 1: a sign, an exponent and four bits of mantissa, every second one inverted."""
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
    """Write one channel of samples from -1 to 1 (time,) as a WAV file of 16 bits, whole or not at all. Errors: `RunError`."""
    write_whole(path, wav(s, rate))
