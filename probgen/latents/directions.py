"""Directions without labels: directions along which codes, or decoded data, vary most."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from probgen.errors import InputError
from probgen.latents.whitening import Whitened

STEP = 1e-2  # step of a derivative, in standard deviations of codes


def principal(codes: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return principal components of codes (GANSpace: Harkonen et al., NeurIPS 2020).

    Args:
        codes: Codes, (row, ...); they are flattened.
        k: Number of directions.

    Returns:
        Unit vectors (k, code), and the standard deviations of codes along them (k,).

    Raises:
        InputError: When k is greater than the number of dimensions in which codes vary.
    """
    space = Whitened(codes)
    _enough(k, len(space.axes))
    return space.axes[:k], space.deviations[:k]


def factorized(weights: Sequence[np.ndarray], k: int) -> np.ndarray:
    """Return the directions that the first layers scale up most (SeFa: Shen & Zhou, CVPR 2021, eq. 4).

    They are eigenvectors of A'A.

    Args:
        weights: Weights of the linear layers that read a code, (out, code) each. Their rows are scaled to
            length 1, as in the code of the paper.
        k: Number of directions.

    Returns:
        Unit vectors, (k, code).

    Raises:
        InputError: When k is greater than the length of a code.
    """
    A = np.concatenate([w / np.linalg.norm(w, axis=1, keepdims=True) for w in weights])
    _enough(k, A.shape[1])
    return np.linalg.eigh(A.T @ A)[1][:, ::-1][:, :k].T


def sensitive(
    made: Callable[[np.ndarray], np.ndarray], codes: np.ndarray, k: int, *, among: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the directions along which decoded data change most.

    They are eigenvectors of E J'J, with J by central differences. For a linear layer these are the directions
    of `factorized`, computed without its weights.

    Args:
        made: Function from codes (row, *dims) to data (row, ...); it is called at codes near `codes`.
        codes: Codes at which J is computed, (row, *dims).
        k: Number of directions.
        among: Codes whose span contains the directions, more than their dimensions; default: `codes`.

    Returns:
        Unit vectors (k, code), and the root mean square change for a step of 1 along them (k,).

    Raises:
        InputError: When k is greater than the number of dimensions in which codes vary.
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


def predictive(codes: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the directions along which a linear prediction of data from codes varies most.

    The prediction is x = A c + b by least squares, in whitened coordinates of the codes: directions are singular
    vectors of A. One pass over drawn data suffices, whatever their generator is. Only the principal components of
    codes that a quarter of the rows determines are used.

    Args:
        codes: Codes, (row, ...); they are flattened.
        x: The data that they decode to, (row, ...); they are flattened.

    Returns:
        Moves of one standard deviation of the codes, (direction, code), the most important first, and the share of
        each in the variance of the prediction, (direction,).
    """
    space = Whitened(codes)
    used = space.white(codes)[:, : max(1, len(codes) // 4)]
    flat = x.reshape(len(x), -1).astype(np.float64)
    slope = np.linalg.lstsq(used, flat - flat.mean(0), rcond=None)[0]
    ways, sizes, _ = np.linalg.svd(slope, full_matrices=used.shape[1] > flat.shape[1])
    found = np.zeros((ways.shape[1], len(space.axes)))
    found[:, : used.shape[1]] = ways.T
    shares = np.zeros(len(found))
    shares[: len(sizes)] = sizes**2 / max(float((sizes**2).sum()), 1e-300)
    return space.moves(found), shares


def _enough(k: int, there: int) -> None:
    if not 1 <= k <= there:
        raise InputError(f"k = {k}: codes vary in {there} dimensions. Use k from 1 to {there}.")
