"""The same 3,786 emoji in two styles, Noto and Twemoji, 32 x 32 in color, on white.

- emoji: pairs with `source` in Noto and x in Twemoji
- emoji-unpaired: kind 0 is Noto and kind 1 is Twemoji. In `train`, the kinds have different subjects. `valid` and `test` have each emoji in both
  kinds, with its counterpart in `pair`.

`attribute` has the category. The parts have different subjects. In the order of Unicode, every tenth subject is in `test`, with all its skin tones;
every twentieth of the others is in `valid`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from probgen.datasets.base import DataSet
from probgen.errors import InputError
from probgen.readers.base import joined

_FILE = "emoji/emoji.npz"
_VALID = 20  # every 20th subject outside `test` is in `valid`
_PARTS = ("train", "valid", "test")
_X = {"support": "integer", "levels": 256}


def _arrays(folder: Path | None) -> dict[str, np.ndarray]:
    """Return images (row, 3, 32, 32) in both styles, category, subject, and the number of the part of each row, 0 to 2."""
    if folder is None or not (folder / _FILE).is_file():
        raise InputError(
            f"{_FILE} is not in the data folder ({folder or 'none given'}: --data-dir, PROBGEN_DATA). Create the file with noto and twemoji "
            "(row, 32, 32, 3), uint8, of emoji-data 16.0.0, and category, subject, test (row,)."
        )
    with np.load(folder / _FILE, allow_pickle=False) as file:
        found = {name: file[name] for name in ("category", "subject", "test")}
        images = {
            name: np.ascontiguousarray(file[name].transpose(0, 3, 1, 2)) for name in ("noto", "twemoji")
        }
    others = np.unique(found["subject"][~found["test"]])
    valid = np.isin(found["subject"], others[::_VALID])
    part = np.where(found["test"], 2, np.where(valid, 1, 0))
    return {**images, **found, "part": part}


def _category(values: np.ndarray) -> tuple[tuple[str, str], np.ndarray, dict[str, list[int]]]:
    return ("row", "factor"), values[:, None].astype(np.float32), {"levels": [10]}


def _paired(split: str | None, folder: Path | None) -> xr.Dataset:
    found = _arrays(folder)
    parts = {}
    for i, part in enumerate(_PARTS):
        rows = np.flatnonzero(found["part"] == i)
        parts[part] = xr.Dataset(
            {
                "x": (("row", "channel", "height", "width"), found["twemoji"][rows], _X),
                "source": (
                    ("row", "source_channel", "source_height", "source_width"),
                    found["noto"][rows],
                    _X,
                ),
                "attribute": _category(found["category"][rows]),
            },
            {"factor": ["category"]},
        )
    return joined(parts, split)


def _unpaired(split: str | None, folder: Path | None) -> xr.Dataset:
    found = _arrays(folder)
    dims, parts = ("row", "channel", "height", "width"), {}
    for i, part in enumerate(_PARTS):
        rows = np.flatnonzero(found["part"] == i)
        kinds = (rows, rows)
        if part == "train":
            half = found["subject"][rows] % 2 == 0
            kinds = (rows[half], rows[~half])
        x = np.concatenate([found["noto"][kinds[0]], found["twemoji"][kinds[1]]])
        variables = {
            "x": (dims, x, _X),
            "label": (
                "row",
                np.repeat([0, 1], [len(kind) for kind in kinds]),
                {"levels": 2, "symbols": ["noto", "twemoji"]},
            ),
            "attribute": _category(found["category"][np.concatenate(kinds)]),
        }
        if part != "train":
            variables["pair"] = (dims, np.concatenate([found["twemoji"][rows], found["noto"][rows]]), _X)
        parts[part] = xr.Dataset(variables, {"factor": ["category"]})
    if split is None:
        parts = {name: part.drop_vars("pair", errors="ignore") for name, part in parts.items()}
    return joined(parts, split)


_HELD = "3,786 emoji in two styles, 3 x 32 x 32, 0..255"
emoji = DataSet(f"{_HELD}: Twemoji given Noto", _PARTS, _paired)
emoji_unpaired = DataSet(f"{_HELD}, without pairs", _PARTS, _unpaired)
