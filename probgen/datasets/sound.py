"""Speech: the Free Spoken Digits (Jackson et al. 2018), one recording per row. Each sound sample is one of 256 mu-law levels."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np
import xarray as xr

from probgen.codecs.sounds import read_wav
from probgen.datasets.base import DataSet
from probgen.errors import FileError, InputError
from probgen.readers.sounds import sound_rows

_RECORDINGS = "free_spoken_digits/recordings.zip"
_SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
_TAKES = {
    "train": range(10, 50),
    "valid": range(5, 10),
    "test": range(5),
}  # recordings of each digit by each speaker
_RATE = 8000


def _spoken_digits(split: str | None, folder: Path | None) -> xr.Dataset:
    """Read the recordings. The label is the digit, and `speaker` is the number of the speaker."""
    if folder is None or not (folder / _RECORDINGS).is_file():
        raise InputError(
            f"{_RECORDINGS} is not in the data folder ({folder or 'none given'}: --data-dir, PROBGEN_DATA). Make the file from "
            "github.com/Jakobovski/free-spoken-digit-dataset: zip -r recordings.zip recordings"
        )
    takes = _TAKES[split] if split is not None else range(50)
    recordings, labels = [], []
    try:
        with zipfile.ZipFile(folder / _RECORDINGS) as packed:
            for digit in range(10):
                for i, speaker in enumerate(_SPEAKERS):
                    for take in takes:
                        name = f"recordings/{digit}_{speaker}_{take}.wav"
                        s, rate = read_wav(packed.read(name), name)
                        if rate != _RATE or s.shape[1] != 1:
                            raise FileError(
                                f"{name} has {s.shape[1]} channels of {rate} samples per second: one channel of {_RATE} is required"
                            )
                        recordings.append(s[:, 0])
                        labels.append((digit, i))
    except (KeyError, OSError, zipfile.BadZipFile, zlib.error) as error:
        raise FileError(f"{folder / _RECORDINGS} cannot be read: {error}") from None
    digit, speaker = np.array(labels).T
    return sound_rows(recordings, _RATE).assign(
        label=("row", digit, {"levels": 10}),
        speaker=("row", speaker, {"levels": len(_SPEAKERS), "symbols": list(_SPEAKERS)}),
    )


spoken_digits = DataSet(
    "3,000 recordings of ten digits by six speakers, 8,000 samples per second, 256 levels (Jackson et al. 2018)",
    tuple(_TAKES),
    _spoken_digits,
)
