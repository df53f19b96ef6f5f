"""Sound as numbers: WAV files, and the mu-law that puts a sample into one of 256 levels (ITU-T G.711, without its tables).

f(s) = sign(s) ln(1 + mu |s|) / ln(1 + mu),    -1 <= s <= 1, mu = 255        van den Oord et al. 2016, section 2.2
"""

from __future__ import annotations

import io
import wave
from pathlib import Path

import numpy as np

from probgen.errors import FileError
from probgen.store.files import write_whole

MU = 255
MU_LAW = "mu-law"  # the attribute `encoding` of such an x


def mu_law(s: np.ndarray) -> np.ndarray:
    """Samples from -1 to 1 as levels from 0 to 255, silence being 128: (...) to the same, uint8."""
    f = np.sign(s) * np.log1p(MU * np.abs(s)) / np.log1p(MU)
    return np.floor((f + 1) / 2 * MU + 0.5).astype(np.uint8)


def from_mu_law(level: np.ndarray) -> np.ndarray:
    """The sample in the middle of each level: (...) to the same, float64."""
    f = 2 * np.asarray(level, dtype=np.float64) / MU - 1
    return np.sign(f) * np.expm1(np.abs(f) * np.log1p(MU)) / MU


def read_wav(data: bytes, name: str) -> tuple[np.ndarray, int]:
    """Samples from -1 to 1 (time, channel) in float64, and how many a second, of a PCM file; `name` is for what is said of it.

    Errors: `FileError`.
    """
    try:
        with wave.open(io.BytesIO(data)) as file:
            width, channels, rate = file.getsampwidth(), file.getnchannels(), file.getframerate()
            raw = file.readframes(file.getnframes())
            whole = file.getnframes() * width * channels
    except (wave.Error, EOFError) as error:
        raise FileError(f"{name} cannot be read as WAV: {error or 'it is cut off'}") from None
    if len(raw) != whole or not raw:
        raise FileError(
            f"{name} cannot be read as WAV: it declares {whole} bytes of sound and holds {len(raw)}"
        )
    values = np.frombuffer(raw, np.uint8).reshape(-1, channels, width)
    if width == 1:
        return (values[..., 0].astype(np.float64) - 128) / 128, rate  # the only width without a sign
    padded = np.zeros((*values.shape[:2], 4), np.uint8)
    padded[..., 4 - width :] = values
    return padded.view("<i4")[..., 0] / 2.0**31, rate


def write_wav(path: Path, s: np.ndarray, rate: int) -> None:
    """One channel of samples from -1 to 1 (time,), in 16 bits; whole or not at all."""
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.clip(s, -1, 1) * 32767).round().astype("<i2").tobytes())
    write_whole(path, content.getbuffer())
