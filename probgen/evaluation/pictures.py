"""How near a picture is to another, and what plain means make of a damaged one."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array, eye_array
from scipy.sparse.linalg import splu

MOST = 120.0  # dB, of what is as good as equal


def psnr(x: np.ndarray, truth: np.ndarray, peak: float) -> np.ndarray:
    """Peak signal-to-noise ratio, 10 log10(peak^2 / mean square of the error), in dB, of each row: (row,), at most 120.

    x, truth  (row, ...)
    """
    error = np.square(x - truth.astype(np.float64)).reshape(len(x), -1).mean(1)
    return np.asarray(10 * np.log10(peak**2 / np.maximum(error, peak**2 * 10 ** (-MOST / 10))))


def harmonic(x: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Hidden pixels by the mean of their neighbours, which they are then equal to: (row, ..., height, width), known (..., height, width)."""
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
