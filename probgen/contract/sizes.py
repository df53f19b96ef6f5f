"""Images of several sizes in one Dataset.

`size (row, side)` says how much of height and width counts, from the first pixel; the rest of x is padding, and so is the rest of
conditions that are images, whose sizes follow from it. A hook never sees padding: it gets rows of one size, cut to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import xarray as xr
from torch import Tensor

from probgen.contract.event import Event

NUMBERS = 1 << 17  # of x, that a shard of images of any size holds; one image if that is larger


def sizes_of(dataset: xr.Dataset) -> np.ndarray:
    """Height and width of each row: (row, 2), int64; those of x where nothing says otherwise."""
    if "size" in dataset:
        return dataset["size"].values.astype(np.int64)
    return np.tile(dataset["x"].shape[-2:], (dataset.sizes["row"], 1)).astype(np.int64)


def shards_of(sizes: np.ndarray, channels: int, most: int) -> Iterator[slice]:
    """Rows that a hook gets together: of one size, at most so many, and no more than have 2^17 numbers; a rule of the format."""
    row, rows, wanted = 0, len(sizes), most
    while row < rows:
        most = min(wanted, max(1, NUMBERS // (channels * int(sizes[row].prod()))))
        same = (sizes[row : row + most] == sizes[row]).all(1)
        end = row + (len(same) if same.all() else int(same.argmin()))
        yield slice(row, end)
        row = end


def cut(tensors: Mapping[str, Tensor], event: Event, size: tuple[int, int]) -> dict[str, Tensor]:
    """Rows of one size without their padding. tensors: by name, as `Rows` reads them."""
    out = dict(tensors)
    for name in tensors:
        part = event if name in ("x", "observed", "pair") else event.given.get(name)
        if part is not None and part.any_size:
            height, width = (side // (part.scale or 1) for side in size)
            out[name] = tensors[name][..., :height, :width]
    return out
