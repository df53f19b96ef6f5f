"""Directions that nobody asked for: those in which codes, or what is made of them, vary most."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from probgen.errors import InputError
from probgen.latents.whitening import Whitened

STEP = 1e-2  # of a deviation of codes, over which a derivative is taken


def principal(codes: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Principal components (GANSpace: Harkonen et al., NeurIPS 2020): unit vectors (k, code), and the deviations along them (k,).

    codes (row, ...), flattened. Errors: `InputError` for more directions than codes vary in.
    """
    space = Whitened(codes)
    _enough(k, len(space.axes))
    return space.axes[:k], space.deviations[:k]


def factorized(weights: Sequence[np.ndarray], k: int) -> np.ndarray:
    """Directions that the first layers scale up most: eigenvectors of A'A (SeFa: Shen & Zhou, CVPR 2021, eq. 4).

    weights  of the linear layers that read a code, (out, code) each, brought to rows of length 1 as the paper's code does
    """
    A = np.concatenate([w / np.linalg.norm(w, axis=1, keepdims=True) for w in weights])
    _enough(k, A.shape[1])
    return np.linalg.eigh(A.T @ A)[1][:, ::-1][:, :k].T


def sensitive(
    made: Callable[[np.ndarray], np.ndarray], codes: np.ndarray, k: int, *, among: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Directions along which what is made of codes changes most: eigenvectors of E J'J, J in central differences.

    Of a linear layer these are the factorized weights without a look at them.

    made   (row, *dims) -> (row, ...), of codes in the neighborhood of `codes`
    codes  where J is taken: (row, *dims)
    among  codes whose span has the directions, more of them than it has dimensions; `codes`, if they are left out

    Returns unit vectors (k, code), and the root mean square change for a step of 1 along them (k,). Errors: `InputError`.
    """
    space = Whitened(codes if among is None else among)
    axes, width = space.axes, STEP * float(space.deviations.mean())
    _enough(k, len(axes))
    total = np.zeros((len(axes), len(axes)))
    for code in codes.reshape(len(codes), -1).astype(np.float64):
        ends = np.concatenate([code + width * axes, code - width * axes])
        x = np.asarray(made(ends.reshape(-1, *codes.shape[1:]).astype(codes.dtype)))
        up, down = x.reshape(2, len(axes), -1).astype(np.float64)
        J = (up - down) / (2 * width)
        total += J @ J.T
    values, vectors = np.linalg.eigh(total / len(codes))
    return vectors[:, ::-1][:, :k].T @ axes, np.sqrt(np.maximum(values[::-1][:k], 0))


def _enough(k: int, there: int) -> None:
    if not 1 <= k <= there:
        raise InputError(f"{k} directions: codes vary in {there}")
