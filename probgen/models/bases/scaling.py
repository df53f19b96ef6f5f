"""Images made larger and smaller, as differentiable functions of any size: the kernel of `codecs.images`."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv2d

from probgen.codecs.images import resize_matrix
from probgen.contract.event import Event
from probgen.errors import InputError

ENLARGING = 2  # pixels beside one that its enlargement depends on
_SEEN = 9  # pixels of a side, from the middle one of which a kernel is read off


def check_channels(name: str, low: Event, x: Event) -> None:
    """Errors: `InputError` for an image that x is given whose channels are neither as many as those of x nor one."""
    if low.channels not in (1, x.channels):
        raise InputError(
            f"given {name!r} has {low.channels} channels, x has {x.channels}: as many, or 1, are needed"
        )


def enlarged(low: Tensor, scale: int) -> Tensor:
    """Bicubic enlargement by phases: (row, channel, h, w) -> (row, channel * scale^2, h, w), which `pixel_shuffle` makes an image.

    Phase i of a channel is row i // scale, column i % scale of the cell that a pixel of low becomes.
    """
    channels = low.shape[1]
    kernel = torch.as_tensor(_enlarging(scale), dtype=low.dtype, device=low.device).repeat(channels, 1, 1, 1)
    return conv2d(mirrored(low, ENLARGING), kernel, groups=channels)


def reduced(x: Tensor, scale: int) -> Tensor:
    """Bicubic reduction, antialiased: (row, channel, h * scale, w * scale) -> (row, channel, h, w)."""
    taps = torch.as_tensor(_reducing(scale), dtype=x.dtype, device=x.device)
    border = (len(taps) - scale) // 2
    planes = mirrored(x.flatten(0, 1)[:, None], border)
    rows = conv2d(planes, taps[None, None, :, None], stride=(scale, 1))
    return conv2d(rows, taps[None, None, None, :], stride=(1, scale)).unflatten(0, x.shape[:2])[:, :, 0]


def mirrored(x: Tensor, border: int) -> Tensor:
    """With a border in which x is mirrored, its own edge first: (..., h, w) -> (..., h + 2 border, w + 2 border)."""
    for dim in (-2, -1):
        n = x.shape[dim]
        at = torch.arange(-border, n + border, device=x.device) % (2 * n)
        x = x.index_select(dim, torch.where(at < n, at, 2 * n - 1 - at))
    return x


@lru_cache(maxsize=16)
def _enlarging(scale: int) -> np.ndarray:
    """(scale^2, 1, 5, 5)."""
    middle = _SEEN // 2
    rows = resize_matrix(_SEEN, _SEEN * scale)[middle * scale : (middle + 1) * scale]
    taps = rows[:, middle - ENLARGING : middle + ENLARGING + 1]
    kernel = taps[:, None, :, None] * taps[None, :, None, :]
    return np.asarray(kernel.reshape(scale**2, 1, *kernel.shape[2:]))


@lru_cache(maxsize=16)
def _reducing(scale: int) -> np.ndarray:
    """The taps of a side, as many before the cell as after it."""
    middle = _SEEN // 2
    border = -(-3 * scale // 2)
    return resize_matrix(_SEEN * scale, _SEEN)[
        middle, middle * scale - border : (middle + 1) * scale + border
    ].copy()
