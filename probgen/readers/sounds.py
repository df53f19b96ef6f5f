"""Recordings as rows of levels of the mu-law."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from probgen.codecs.sounds import MU_LAW, mu_law, read_wav
from probgen.errors import FileError, InputError
from probgen.readers.base import classes_of

SILENCE = 128  # the level of a sample that is 0


def sound_rows(recordings: Sequence[np.ndarray], rate: int) -> xr.Dataset:
    """Samples from -1 to 1, one recording (time,) a row: `x (row, time)` in levels of the mu-law, silence past `length (row)`."""
    length = np.array([len(s) for s in recordings])
    x = np.full((len(recordings), length.max()), SILENCE, np.uint8)
    for row, s in enumerate(recordings):
        x[row, : len(s)] = mu_law(s)
    attrs = {"support": "integer", "levels": 256, "rate": rate, "encoding": MU_LAW}
    return xr.Dataset({"x": (("row", "time"), x, attrs), "length": ("row", length)})


def sounds(path: Path, rate: int | None = None) -> xr.Dataset:
    """A WAV file, or a folder of some, whose subfolders are classes.

    rate  samples a second to which they are resampled (by a polyphase filter, scipy), and their channels mixed to one; None: files of
          different rates, or of more than one channel, are refused

    Errors: `FileError` that names the file, `InputError`.
    """
    files = [path]
    if path.is_dir():
        files = sorted(f for f in path.rglob("*") if f.suffix.lower() == ".wav" and f.is_file())
    if not files:
        raise InputError(f"{path} holds no WAV files")
    if rate is not None and rate < 1:
        raise InputError(f"rate = {rate}: at least 1 is needed")
    recordings, wanted = [], rate
    for file in files:
        try:
            s, own = read_wav(file.read_bytes(), str(file))
        except OSError as error:
            raise FileError(f"{file} cannot be read: {error.strerror}") from None
        wanted = wanted or own
        if rate is None and (own != wanted or s.shape[1] > 1):
            raise InputError(
                f"{file} has {s.shape[1]} channel{'s' * (s.shape[1] > 1)} of {own} samples a second, and one of {wanted} is needed: "
                f"rate = {wanted} mixes and resamples"
            )
        mixed = s.mean(1)
        if own != wanted:
            from scipy.signal import resample_poly  # 0.5 s, and most sounds are of one rate

            common = math.gcd(own, wanted)
            mixed = np.clip(resample_poly(mixed, wanted // common, own // common), -1, 1)
        recordings.append(mixed)
    return sound_rows(recordings, wanted or 0).assign(classes_of(files, path) if path.is_dir() else {})
