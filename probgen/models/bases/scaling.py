"""Bicubic enlargement and reduction of images of any size, as differentiable functions.

The kernel is the one in `codecs.images`.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv2d

from probgen.codecs.images import resize_matrix
from probgen.contract.event import Event
from probgen.errors import InputError

ENLARGING = 2  # neighbors on each side that the enlargement of a pixel depends on
_SEEN = 9  # side of the small image whose middle pixel gives the kernel


def check_channels(name: str, low: Event, x: Event) -> None:
    """Refuse a conditioning image whose number of channels is neither 1 nor that of x.

    Args:
        name: Name of the condition.
        low: Event of the conditioning image.
        x: Event of x.

    Raises:
        InputError: When the number of channels does not fit.
    """
    if low.channels not in (1, x.channels):
        raise InputError(
            f"given {name!r} has {low.channels} channels, but x has {x.channels}. "
            f"Give {name!r} with 1 channel, or with as many as x."
        )


def enlarged(low: Tensor, scale: int) -> Tensor:
    """Enlarge images by bicubic interpolation, with the result laid out by phases.

    Each pixel of `low` becomes a cell of scale x scale pixels. Phase i of a channel holds row i // scale,
    column i % scale of every cell. `torch.nn.functional.pixel_shuffle` turns the phases into an image.

    Args:
        low: Images, (row, channel, h, w).
        scale: Factor of the enlargement.

    Returns:
        The phases, (row, channel * scale^2, h, w).
    """
    channels = low.shape[1]
    kernel = torch.as_tensor(_enlarging(scale), dtype=low.dtype, device=low.device).repeat(channels, 1, 1, 1)
    return conv2d(mirrored(low, ENLARGING), kernel, groups=channels)


def reduced(x: Tensor, scale: int) -> Tensor:
    """Reduce images by antialiased bicubic interpolation.

    Args:
        x: Images, (row, channel, h * scale, w * scale).
        scale: Factor of the reduction.

    Returns:
        The reduced images, (row, channel, h, w).
    """
    taps = torch.as_tensor(_reducing(scale), dtype=x.dtype, device=x.device)
    border = (len(taps) - scale) // 2
    planes = mirrored(x.flatten(0, 1)[:, None], border)
    rows = conv2d(planes, taps[None, None, :, None], stride=(scale, 1))
    return conv2d(rows, taps[None, None, None, :], stride=(1, scale)).unflatten(0, x.shape[:2])[:, :, 0]


def mirrored(x: Tensor, border: int) -> Tensor:
    """Pad images with their mirror image; the edge pixel is repeated.

    Args:
        x: Images, (..., h, w).
        border: Width of the border, in pixels.

    Returns:
        The padded images, (..., h + 2 border, w + 2 border).
    """
    for dim in (-2, -1):
        n = x.shape[dim]
        at = torch.arange(-border, n + border, device=x.device) % (2 * n)
        x = x.index_select(dim, torch.where(at < n, at, 2 * n - 1 - at))
    return x


@lru_cache(maxsize=16)
def _enlarging(scale: int) -> np.ndarray:
    """Return the enlarging kernel, one filter per phase: (scale^2, 1, 5, 5)."""
    middle = _SEEN // 2
    rows = resize_matrix(_SEEN, _SEEN * scale)[middle * scale : (middle + 1) * scale]
    taps = rows[:, middle - ENLARGING : middle + ENLARGING + 1]
    kernel = taps[:, None, :, None] * taps[None, :, None, :]
    return np.asarray(kernel.reshape(scale**2, 1, *kernel.shape[2:]))


@lru_cache(maxsize=16)
def _reducing(scale: int) -> np.ndarray:
    """Return the reducing kernel of one axis, with equally many taps before and after the cell."""
    middle = _SEEN // 2
    border = -(-3 * scale // 2)
    return resize_matrix(_SEEN * scale, _SEEN)[
        middle, middle * scale - border : (middle + 1) * scale + border
    ].copy()
