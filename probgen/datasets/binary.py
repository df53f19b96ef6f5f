"""Binary benchmark data for density models, as packed bits in a data folder.

connect4, dna and mushrooms have the splits of the NADE and MADE papers (UCI repository, CC BY 4.0). nltcs, plants and
bnetflix have the splits of Lowd & Davis 2010 and Van Haaren & Davis 2012.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import xarray as xr

from probgen.datasets.base import DataSet
from probgen.errors import InputError
from probgen.readers import read
from probgen.readers.base import joined

_SPLITS = ("train", "valid", "test")
_NADE = "the binary sets of github.com/mgermain/MADE"
_LOWD = "github.com/UCLA-StarAI/Density-Estimation-Datasets"


def _read(place: str, origin: str, split: str | None, folder: Path | None) -> xr.Dataset:
    """Read packed bits from the data folder. They cannot be downloaded, because the sources have text files with one row per line."""
    if folder is None or not (folder / place).is_file():
        raise InputError(
            f"{place} is not in the data folder ({folder or 'none given'}: --data-dir, PROBGEN_DATA). Make the file from "
            f"{origin}: numpy.savez({Path(place).name!r}, train=, valid=, test= numpy.packbits(bits, axis=1), num_vars=)"
        )
    parts = {name: read(folder / place, name) for name in ([split] if split else _SPLITS)}
    for part in parts.values():
        part["x"].attrs["support"] = "binary"
    return joined(parts, split)


def _set(place: str, origin: str, description: str) -> DataSet:
    return DataSet(description, _SPLITS, partial(_read, place, origin))


connect4 = _set("binary_uci/connect4.npz", _LOWD, "67,557 positions of Connect Four, 126 bits (UCI)")
dna = _set("binary_uci/dna.npz", _NADE, "3,186 splice junctions of genes, 180 bits (UCI)")
mushrooms = _set("binary_uci/mushrooms.npz", _NADE, "8,124 mushrooms, 112 bits (UCI)")
nltcs = _set("binary_density/nltcs.npz", _LOWD, "21,574 answers on disability in old age, 16 bits")
plants = _set("binary_density/plants.npz", _LOWD, "23,215 plants, 69 bits: the states in which they grow")
bnetflix = _set(
    "binary_density/bnetflix.npz", _LOWD, "20,000 viewers, 100 bits: the films that they rated highly"
)
