"""Images of several sizes in one Dataset.

`size (row, side)` contains the height and width of each image, from the first pixel. The rest of x is
padding, and so is the rest of conditions that are images; their sizes follow from `size`. A hook never
receives padding: all its rows have one size and are cut to that size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import xarray as xr
from torch import Tensor

from probgen.contract.event import Event

# the largest number of values of x in a shard of images of any size, unless one image has more
NUMBERS = 1 << 17


def sizes_of(dataset: xr.Dataset) -> np.ndarray:
    """Return the height and width of each row: (row, 2), int64; without `size`, the height and width of x."""
    if "size" in dataset:
        return dataset["size"].values.astype(np.int64)
    return np.tile(dataset["x"].shape[-2:], (dataset.sizes["row"], 1)).astype(np.int64)


def shards_of(sizes: np.ndarray, channels: int, most: int) -> Iterator[slice]:
    """Yield the slices of rows that a hook receives together; these shards are a rule of the file format.

    Args:
        sizes: The height and width of each row: (row, 2).
        channels: The number of channels.
        most: The largest number of rows in a shard.

    Yields:
        Consecutive rows of one size, with at most 2^17 values of x unless one image has more.
    """
    row, rows, wanted = 0, len(sizes), most
    while row < rows:
        most = min(wanted, max(1, NUMBERS // (channels * int(sizes[row].prod()))))
        same = (sizes[row : row + most] == sizes[row]).all(1)
        end = row + (len(same) if same.all() else int(same.argmin()))
        yield slice(row, end)
        row = end


def cut(tensors: Mapping[str, Tensor], event: Event, size: tuple[int, int]) -> dict[str, Tensor]:
    """Return rows of one size without their padding.

    Args:
        tensors: Tensors by name, as `Rows` reads them.
        event: The description of one datum.
        size: The height and width of x.

    Returns:
        The tensors by name, cut to the size.
    """
    out = dict(tensors)
    for name in tensors:
        part = event if name in ("x", "observed", "pair") else event.given.get(name)
        if part is not None and part.any_size:
            height, width = (side // (part.scale or 1) for side in size)
            out[name] = tensors[name][..., :height, :width]
    return out
