"""Plucked strings by the algorithm of Karplus and Strong (1983): a sound data set that needs no file.

    s_t = e_t for t <= p,    s_t = decay (s_t-p + s_t-p-1) / 2 after it

The burst e is uniform noise, so a string is unpredictable for one period p, and nearly certain afterwards.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import xarray as xr

from probgen.datasets.base import DataSet
from probgen.readers.base import joined
from probgen.readers.sounds import sound_rows

RATE, LENGTH, DECAY, LOUD = 4000, 1200, 0.995, 0.8
PERIODS = (36, 32, 29, 27, 24, 21, 19, 18)  # of a major scale from 111 Hz, in sound samples
_SIZES = {"train": 320, "valid": 40, "test": 80}
_SEEDS = {"train": 0, "valid": 1, "test": 2}


def pluck(burst: np.ndarray, length: int) -> np.ndarray:
    """Return the sound of a string.

    Args:
        burst: The first period (p,), from -1 to 1.
        length: The number of sound samples.

    Returns:
        The sound samples (length,).
    """
    p = len(burst)
    s = np.concatenate([burst, np.zeros(length - p)])
    for t in range(p, length):
        s[t] = DECAY * 0.5 * (s[t - p] + s[max(t - p - 1, 0)])
    return s


@cache
def _part(split: str) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
    rng = np.random.Generator(np.random.PCG64(_SEEDS[split]))
    note = np.arange(_SIZES[split]) % len(PERIODS)
    return tuple(pluck(rng.uniform(-LOUD, LOUD, PERIODS[k]), LENGTH) for k in note), note


def _strings(split: str | None, folder: Path | None) -> xr.Dataset:
    parts = {}
    for name in [split] if split else list(_SIZES):
        sounds, note = _part(name)
        parts[name] = sound_rows(sounds, RATE).assign(label=("row", note, {"levels": len(PERIODS)}))
    return joined(parts, split)


strings = DataSet(
    "plucked strings of eight notes, 0.3 seconds each, 4,000 samples per second, 256 levels (Karplus & Strong 1983)",
    tuple(_SIZES),
    _strings,
)
