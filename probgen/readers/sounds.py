"""Readers for recordings, as rows of mu-law levels."""

from __future__ import annotations

import importlib
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr
from scipy.signal import resample_poly

from probgen.codecs.sounds import MU_LAW, mu_law, read_wav
from probgen.errors import FileError, InputError
from probgen.readers.base import IMAGES, PACKED, SOUNDS, classes_of, most_unpacked, reason, report

SILENCE = 128  # level of a sample of value 0
_UNREAD = {".mp3", ".m4a", ".aac", ".wma", ".aif", ".aiff", ".au"}
_FASTEST, _FARTHEST = (
    1 << 20,
    1000,
)  # largest samples per second, and largest ratio of two rates, for resampling


def sound_rows(recordings: Sequence[np.ndarray], rate: int) -> xr.Dataset:
    """Return recordings as rows of mu-law levels, padded with silence.

    Args:
        recordings: Sound samples from -1 to 1 of each recording (time,).
        rate: Sound samples per second.

    Returns:
        A Dataset with `x (row, time)` and `length (row)`.
    """
    length = np.array([len(s) for s in recordings])
    x = np.full((len(recordings), length.max()), SILENCE, np.uint8)
    for row, s in enumerate(recordings):
        x[row, : len(s)] = mu_law(s)
    attrs = {"support": "integer", "levels": 256, "rate": rate, "encoding": MU_LAW}
    return xr.Dataset({"x": (("row", "time"), x, attrs), "length": ("row", length)})


def sounds(path: Path, rate: int | None = None) -> xr.Dataset:
    """Read a WAV, FLAC or OGG file, or a folder of such files. Subfolders are classes.

    Sound samples beyond -1 and 1, from floating-point files or from resampling, are clipped, and a warning reports it.

    Args:
        path: Path of the file or folder.
        rate: Samples per second to which the sounds are resampled (polyphase filter, scipy); their channels are mixed to one. None refuses files of
            different rates or with several channels.

    Returns:
        A Dataset with `x (row, time)`, `length (row)`, and `label (row)` for subfolders.

    Raises:
        InputError: When rates or channels differ, or there are no sounds.
        FileError: When a file cannot be read. The message names the file.
    """
    files = _files(path)
    recordings, wanted, done = [], rate, Counter[str]()
    for file in files:
        s, own = _read(file)
        wanted = wanted or own
        if rate is None and (own != wanted or s.shape[1] > 1):
            raise InputError(
                f"{file} has {s.shape[1]} channel{'s' * (s.shape[1] > 1)} of {own} samples per second, but one channel of {wanted} is required. "
                f"Mix and resample with rate = {wanted}."
            )
        mixed = _resampled(s.mean(1), own, wanted, file)
        if np.abs(mixed).max() > 1:
            done["samples beyond -1 and 1 were clipped"] += 1
        recordings.append(np.clip(mixed, -1, 1))
    report(done, len(files), path)
    return sound_rows(recordings, wanted or 0).assign(classes_of(files, path) if path.is_dir() else {})


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    every = sorted(file for file in path.rglob("*") if file.is_file())
    files = [file for file in every if file.suffix.lower() in SOUNDS]
    if not files:
        raise InputError(f"{path} has no WAV, FLAC or OGG files. Check the path.")
    left = Counter(file.suffix.lower() for file in every if file.suffix.lower() in IMAGES | _UNREAD)
    report({f"{suffix} among sounds, left out": n for suffix, n in left.items()}, len(every), path)
    return files


def _read(file: Path) -> tuple[np.ndarray, int]:
    """Return the sound samples (time, channel), and the samples per second."""
    try:
        return _unpacked(file) if file.suffix.lower() in PACKED else read_wav(file.read_bytes(), str(file))
    except OSError as error:
        raise FileError(f"{file} cannot be read: {error.strerror}") from None


def _resampled(s: np.ndarray, own: int, wanted: int, file: Path) -> np.ndarray:
    if own == wanted:
        return s
    if max(own, wanted) > _FASTEST or max(own, wanted) > _FARTHEST * min(own, wanted):
        raise InputError(
            f"{file} declares {own} samples per second, too far from {wanted} to be resampled. Leave the file out."
        )
    common = math.gcd(own, wanted)
    return resample_poly(s, wanted // common, own // common)


def _unpacked(file: Path) -> tuple[np.ndarray, int]:
    """Read a FLAC or OGG file piece by piece, because the declared size in the header may be false."""
    try:
        soundfile = importlib.import_module("soundfile")
    except (ImportError, OSError):  # OSError: the system library is missing
        raise InputError(
            f"{file}: this format requires soundfile. Install soundfile with pip install 'probgen[audio]'."
        ) from None
    pieces, left = [], most_unpacked(file.stat().st_size) // 2  # samples, of 16 bits
    try:
        with soundfile.SoundFile(file) as sound:
            rate, declared = sound.samplerate, sound.frames
            while left > 0 and len(piece := sound.read(1 << 16, dtype="float64", always_2d=True)):
                pieces.append(piece)
                left -= piece.size
    except soundfile.LibsndfileError as error:
        raise FileError(f"{file} cannot be read as sound: {reason(error)}") from None
    read = sum(map(len, pieces))
    if left <= 0 or read != declared or not read:
        raise FileError(
            f"{file} cannot be read as sound: the header declares {declared} samples, but the file contains {'more' if left <= 0 else read}"
        )
    s = np.concatenate(pieces)
    if not np.isfinite(s).all():
        raise FileError(f"{file} cannot be read as sound: a sample is not finite")
    return s, rate
