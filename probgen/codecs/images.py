"""Images as numbers: bicubic resizing, luma and chroma, and levels.

Resizing uses the kernel of MATLAB's `imresize`: Keys 1981, a = -1/2. The kernel is widened when an image
becomes smaller, so that nothing aliases. The border is mirrored, including its own pixel. Published results
of super-resolution use this kernel. torch's own kernel differs (a = -3/4, not widened).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from probgen.errors import InputError

# ITU-R BT.601, from 0 .. 255 to 16 .. 235 and 16 .. 240
LUMA = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]])
OFFSET = np.array([16.0, 128.0, 128.0])


@lru_cache(maxsize=16)
def resize_matrix(n: int, m: int) -> np.ndarray:
    """Return the linear map from n pixels of a side to m pixels.

    Args:
        n: The number of pixels before.
        m: The number of pixels after.

    Returns:
        The map: (m, n), float64; every row has sum 1.

    Raises:
        InputError: When a number of pixels is below 1.
    """
    if min(n, m) < 1:
        raise InputError(f"a side of {n} pixels cannot be resized to {m} pixels. Use at least 1 pixel.")
    scale = m / n
    shrinking = min(scale, 1.0)
    center = (np.arange(1, m + 1)) / scale + 0.5 * (1 - 1 / scale)  # in pixels, counted from 1
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
    """Return the values of Keys' kernel with a = -1/2."""
    x = np.abs(x)
    inner = (1.5 * x - 2.5) * x * x + 1
    outer = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.asarray(np.where(x <= 1, inner, np.where(x <= 2, outer, 0.0)))


def resized(x: np.ndarray, height: int, width: int, rows: slice = slice(None)) -> np.ndarray:
    """Return images resized by the bicubic kernel, not rounded.

    Args:
        x: The images: (..., h, w).
        height: The new height.
        width: The new width.
        rows: The rows of pixels of the result to compute.

    Returns:
        The resized images: (..., height, width), or the selected rows, float64.
    """
    down, across = resize_matrix(x.shape[-2], height)[rows], resize_matrix(x.shape[-1], width)
    return np.asarray((down @ x.astype(np.float64)) @ across.T)


def rounded(x: np.ndarray, levels: int = 256) -> np.ndarray:
    """Return the nearest of the levels 0 .. levels - 1; halves are rounded up.

    Args:
        x: Numbers of any shape.
        levels: The number of levels.

    Returns:
        The levels in the same shape, in the smallest unsigned dtype.
    """
    kind = np.min_scalar_type(levels - 1)
    return np.asarray(np.clip(np.floor(x + 0.5), 0, levels - 1).astype(kind))


def ycbcr(rgb: np.ndarray) -> np.ndarray:
    """Return luma and chroma of colors (BT.601; Y is 16 .. 235), not rounded.

    Args:
        rgb: Colors in 0 .. 255: (..., 3, height, width).

    Returns:
        Y, Cb and Cr: (..., 3, height, width), float64.
    """
    mixed = np.einsum("ij,...jhw->...ihw", LUMA / 255, rgb.astype(np.float64))
    return np.asarray(mixed + OFFSET[:, None, None])


def rgb_of(ycbcr: np.ndarray) -> np.ndarray:
    """Return the colors of luma and chroma, neither rounded nor clipped to 0 .. 255.

    Args:
        ycbcr: Y, Cb and Cr: (..., 3, height, width).

    Returns:
        Red, green and blue: (..., 3, height, width), float64.
    """
    return np.einsum("ij,...jhw->...ihw", np.linalg.inv(LUMA / 255), ycbcr - OFFSET[:, None, None])


def luma(x: np.ndarray, like: np.ndarray | None = None) -> np.ndarray:
    """Return the luma by which images are compared: Y of colors, or the levels of a gray image.

    An image with three equal channels is gray: its levels remain unchanged and are not scaled to 16 .. 235.

    Args:
        x: An image: (3, height, width), (1, height, width) or (height, width).
        like: The image to compare with, which determines whether both images are gray; by default x.

    Returns:
        The luma: (height, width), float64.
    """
    if x.ndim < 3:
        return x.astype(np.float64)
    if len(x) == 3 and not is_gray(x if like is None else like):
        return ycbcr(x)[0]
    return np.asarray(x.mean(0, dtype=np.float64))


def is_gray(rgb: np.ndarray) -> bool:
    """Return whether all channels of an image are equal.

    Args:
        rgb: An image: (channel, height, width).

    Returns:
        True if all channels are equal.
    """
    return bool((rgb == rgb[:1]).all())
