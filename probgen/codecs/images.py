"""Images as numbers: their sides by the field's bicubic kernel, luma and chroma, levels.

The kernel is that of MATLAB's `imresize`: Keys 1981, a = -1/2, widened where an image becomes smaller so that nothing aliases, the
border mirrored with its own pixel. Published figures of super-resolution are by it. torch's own (a = -3/4, not widened) is another.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from probgen.errors import InputError

LUMA = np.array(
    [[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]]
)  # ITU-R BT.601, from 0 .. 255 to 16 .. 235 and 16 .. 240
OFFSET = np.array([16.0, 128.0, 128.0])


@lru_cache(maxsize=16)
def resize_matrix(n: int, m: int) -> np.ndarray:
    """The linear map of n pixels of a side to m: (m, n), float64, rows of sum 1."""
    if min(n, m) < 1:
        raise InputError(f"a side of {n} pixels cannot be brought to {m}: at least 1 is needed")
    scale = m / n
    shrinking = min(scale, 1.0)
    center = (np.arange(1, m + 1)) / scale + 0.5 * (1 - 1 / scale)  # in pixels from 1
    width = 4 / shrinking
    first = np.floor(center - width / 2)
    at = first[:, None] + np.arange(int(np.ceil(width)) + 2)
    weight = shrinking * _cubic(shrinking * (center[:, None] - at))
    weight /= weight.sum(1, keepdims=True)
    mirrored = np.concatenate([np.arange(n), np.arange(n)[::-1]])
    column = mirrored[(at.astype(int) - 1) % (2 * n)]
    matrix = np.zeros((m, n))
    np.add.at(matrix, (np.repeat(np.arange(m), at.shape[1]), column.ravel()), weight.ravel())
    matrix.setflags(write=False)
    return matrix


def _cubic(x: np.ndarray) -> np.ndarray:
    """Keys' kernel with a = -1/2."""
    x = np.abs(x)
    inner = (1.5 * x - 2.5) * x * x + 1
    outer = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.asarray(np.where(x <= 1, inner, np.where(x <= 2, outer, 0.0)))


def resized(x: np.ndarray, height: int, width: int, rows: slice = slice(None)) -> np.ndarray:
    """Images of other sides, bicubic: (..., h, w) -> (..., height, width), or some of the rows of it, float64, not rounded."""
    down, across = resize_matrix(x.shape[-2], height)[rows], resize_matrix(x.shape[-1], width)
    return np.asarray((down @ x.astype(np.float64)) @ across.T)


def rounded(x: np.ndarray, levels: int = 256) -> np.ndarray:
    """The nearest of the levels 0 .. levels - 1, halves upwards."""
    kind = np.min_scalar_type(levels - 1)
    return np.asarray(np.clip(np.floor(x + 0.5), 0, levels - 1).astype(kind))


def ycbcr(rgb: np.ndarray) -> np.ndarray:
    """Luma and chroma of colors in 0 .. 255: (..., 3, height, width), float64, not rounded (BT.601; Y is 16 .. 235)."""
    mixed = np.einsum("ij,...jhw->...ihw", LUMA / 255, rgb.astype(np.float64))
    return np.asarray(mixed + OFFSET[:, None, None])


def rgb_of(ycbcr: np.ndarray) -> np.ndarray:
    """The inverse of `ycbcr`: (..., 3, height, width), float64, neither rounded nor cut to 0 .. 255."""
    return np.einsum("ij,...jhw->...ihw", np.linalg.inv(LUMA / 255), ycbcr - OFFSET[:, None, None])


def luma(x: np.ndarray, like: np.ndarray | None = None) -> np.ndarray:
    """What an image is compared by: Y of colors, (3, height, width) -> (height, width), float64; of a gray image its levels.

    like  the image that it is compared with, which says whether both are gray

    An image whose three channels are equal is gray: its levels are left as they are and not squeezed into 16 .. 235.
    """
    if x.ndim < 3:
        return x.astype(np.float64)
    if len(x) == 3 and not is_gray(x if like is None else like):
        return ycbcr(x)[0]
    return np.asarray(x.mean(0, dtype=np.float64))


def is_gray(rgb: np.ndarray) -> bool:
    """Whether all channels are equal: (channel, height, width)."""
    return bool((rgb == rgb[:1]).all())
