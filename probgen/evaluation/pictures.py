"""Similarity of images, and baselines that restore a damaged image."""

from __future__ import annotations

import numpy as np
from scipy.fft import dctn
from scipy.ndimage import correlate1d
from scipy.sparse import coo_array, eye_array
from scipy.sparse.linalg import splu

from probgen.errors import InputError

WINDOW = 11  # pixels per side of the SSIM window
MOST = 120.0  # dB, for images that are equal up to rounding


def psnr(x: np.ndarray, truth: np.ndarray, peak: float) -> np.ndarray:
    """Return the peak signal-to-noise ratio of each row, 10 log10(peak^2 / mean square of the error), in dB.

    Args:
        x: Images, (row, ...).
        truth: Reference images, (row, ...).
        peak: Range of the values.

    Returns:
        Ratios, (row,), at most 120 dB.
    """
    error = np.square(x - truth.astype(np.float64)).reshape(len(x), -1).mean(1)
    return np.asarray(10 * np.log10(peak**2 / np.maximum(error, peak**2 * 10 ** (-MOST / 10))))


def harmonic(x: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Fill hidden pixels harmonically: each hidden pixel becomes the mean of its neighbors.

    Args:
        x: Images, (row, ..., height, width).
        known: True for visible pixels, (..., height, width).

    Returns:
        Filled images, (row, ..., height, width).
    """
    planes, masks = x.reshape(len(x), -1, *x.shape[-2:]), known.reshape(-1, *known.shape[-2:])
    filled = planes.copy()
    for c, mask in enumerate(masks):
        height, width = mask.shape
        at = np.arange(height * width).reshape(height, width)
        pairs = np.concatenate(
            [np.stack([at[1:].ravel(), at[:-1].ravel()]), np.stack([at[:, 1:].ravel(), at[:, :-1].ravel()])],
            1,
        )
        both = np.concatenate([pairs, pairs[::-1]], 1)
        near = coo_array((np.ones(both.shape[1]), (both[0], both[1])), shape=(at.size, at.size)).tocsr()
        laplacian = eye_array(at.size).multiply(near.sum(1)[:, None]).tocsr() - near
        hidden, seen = np.flatnonzero(~mask.ravel()), np.flatnonzero(mask.ravel())
        if not len(hidden) or not len(seen):
            continue
        values = planes[:, c].reshape(len(x), -1)
        b = -laplacian[hidden][:, seen] @ values[:, seen].T
        solved = splu(laplacian[hidden][:, hidden].tocsc()).solve(b)
        filled[:, c].reshape(len(x), -1)[:, hidden] = solved.T
    return filled.reshape(x.shape)


def ssim(x: np.ndarray, truth: np.ndarray, peak: float) -> np.ndarray:
    """Return the structural similarity of each row (Wang et al. 2004, eq. 13), averaged over its map and all planes.

    The window is a Gaussian of 11 x 11 pixels with standard deviation 1.5, at all positions inside the image.
    K1 = 0.01, K2 = 0.03.

    Args:
        x: Images, (row, ..., height, width), at least 11 x 11 pixels.
        truth: Reference images, of the same shape.
        peak: Range of the values.

    Returns:
        Similarities, (row,).

    Raises:
        InputError: When the images are smaller than the window.
    """
    if min(x.shape[-2:]) < WINDOW:
        raise InputError(
            f"images of {x.shape[-2]} x {x.shape[-1]}: SSIM needs at least {WINDOW} x {WINDOW} pixels. Use larger images."
        )
    at = np.arange(WINDOW) - WINDOW // 2
    kernel = np.exp(-0.5 * (at / 1.5) ** 2)
    kernel /= kernel.sum()
    edge = WINDOW // 2

    def mean(y: np.ndarray) -> np.ndarray:
        y = correlate1d(correlate1d(y, kernel, -1), kernel, -2)
        return y[..., edge:-edge, edge:-edge]

    a, b = x.astype(np.float64), truth.astype(np.float64)
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    mu_a, mu_b = mean(a), mean(b)
    aa, bb, ab = mean(a * a) - mu_a**2, mean(b * b) - mu_b**2, mean(a * b) - mu_a * mu_b
    maps = (2 * mu_a * mu_b + c1) * (2 * ab + c2) / ((mu_a**2 + mu_b**2 + c1) * (aa + bb + c2))
    return np.asarray(maps.reshape(len(x), -1).mean(1))


def bands(x: np.ndarray) -> np.ndarray:
    """Return the mean energy of each band of the cosine transform of 8 x 8 pixels.

    Args:
        x: Images, (row, height, width).

    Returns:
        Energies, (8, 8); [0, 0] is the energy of block means.

    Raises:
        InputError: When the images are smaller than 8 x 8 pixels.
    """
    height, width = (side // 8 * 8 for side in x.shape[-2:])
    if not height or not width:
        raise InputError(
            f"images of {x.shape[-2]} x {x.shape[-1]}: bands need at least 8 x 8 pixels. Use larger images."
        )
    blocks = x[..., :height, :width].astype(np.float64).reshape(-1, height // 8, 8, width // 8, 8)
    return np.asarray(np.square(dctn(blocks, axes=(2, 4), norm="ortho")).mean((0, 1, 3)))


def band_ratios(x: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return log2 of the energy ratio of each band, without the band of block means.

    Args:
        x: Energies of generated images, from `bands`.
        truth: Energies of real images, from `bands`.

    Returns:
        Logarithms, (63,).
    """
    tiny = 1e-6  # squared levels, far below rounding errors
    return np.log2((x.ravel()[1:] + tiny) / (truth.ravel()[1:] + tiny))
