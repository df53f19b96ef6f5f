"""Moves of codes that change one attribute and leave others as they are.

Moves are measured in deviations: a move of 1 changes n . c by its standard deviation over draws. Codes and moves are flattened where
they have layers, or have the same dimensions.
"""

from __future__ import annotations

import numpy as np

from probgen.errors import InputError

DETERMINED = 1e-9  # of what a direction is made of, below which the held ones leave nothing of it


def project(normal: np.ndarray, held: np.ndarray) -> np.ndarray:
    """The unit vector along what is left of a normal without its part in the span of others (Shen et al. 2020, eq. 5, of any number of them).

    normal (code,), held (factor, code). Errors: `InputError` where nothing is left.
    """
    held = np.atleast_2d(held) if np.size(held) else np.zeros((0, len(normal)))
    _, sizes, axes = np.linalg.svd(held, full_matrices=False)
    axes = axes[sizes > 1e-12 * sizes.max(initial=0)]
    left = normal - axes.T @ (axes @ normal)
    left -= axes.T @ (axes @ left)  # once more, for the digits
    return _unit(left, normal)


def gentle(normal: np.ndarray, held: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """The unit vector along the shortest move that changes n . c and leaves each held n_j . c, in Mahalanobis length of draws.

        d = S n - S H (H' S H)^-1 H' S n,   S the covariance of codes, H the held normals

    It is the difference of two draws that one would expect where n . c differs and all n_j . c do not.

    normal (code,), held (factor, code), covariance (code, code). Errors: `InputError` where nothing is left.
    """
    d = covariance @ normal
    if not np.size(held):
        return _unit(d, d)
    H = np.atleast_2d(held).T
    size = np.sqrt(np.einsum("ik,ij,jk->k", H, covariance, H))
    H = H[:, size > 0] / size[size > 0]  # each of deviation 1, or small ones would be taken for none
    return _unit(d - covariance @ H @ np.linalg.lstsq(H.T @ covariance @ H, H.T @ d, rcond=1e-9)[0], d)


def step(normal: np.ndarray, deviation: float, direction: np.ndarray) -> np.ndarray:
    """The move along a direction that changes n . c by one deviation. Errors: `InputError` for one that does not change it."""
    slope = float(normal @ direction)
    if abs(slope) < DETERMINED * np.linalg.norm(direction):
        raise InputError("the direction leaves the attribute as it is")
    return direction * (deviation / slope)


def edit(
    codes: np.ndarray, move: np.ndarray, by: float | np.ndarray, layers: slice | None = None
) -> np.ndarray:
    """Codes moved by so many deviations, in all of their layers or in some.

    codes   (row, *dims)
    move    of one deviation, as `step` gives it: (*dims), flattened or not
    by      a number, or one a row
    layers  of the first dimension of a code

    Errors: `InputError` for layers that codes do not have.
    """
    shape = codes.shape[1:]
    whole = np.asarray(move, dtype=np.float64).reshape(shape)
    if layers is not None:
        whole = np.where(_mask(shape, layers), whole, 0)
    much = np.broadcast_to(np.asarray(by, dtype=np.float64), len(codes))
    moved = codes + much.reshape(-1, *[1] * len(shape)) * whole
    if not (np.abs(moved) <= np.finfo(codes.dtype).max).all():
        raise InputError("codes are moved beyond all numbers: take less")
    return np.asarray(moved.astype(codes.dtype))


def mix(first: np.ndarray, second: np.ndarray, layers: slice) -> np.ndarray:
    """Style mixing (Karras et al. 2019, section 3.1): codes with some layers of others, (row, layer, ...) each.

    Errors: `InputError` for layers that codes do not have.
    """
    return np.where(_mask(first.shape[1:], layers), second, first)


def _mask(shape: tuple[int, ...], layers: slice) -> np.ndarray:
    if len(shape) < 2:
        raise InputError("layers: these codes have none")
    kept = np.zeros((shape[0], *[1] * (len(shape) - 1)), dtype=bool)
    kept[layers] = True
    if not kept.any() or (layers.stop or 0) > shape[0]:
        raise InputError(f"layers: there are {shape[0]}, from 0 to {shape[0] - 1}")
    return kept


def _unit(left: np.ndarray, whole: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(left)
    if not length > DETERMINED * np.linalg.norm(whole):
        raise InputError("what is held leaves no way to change the attribute: hold fewer")
    return np.asarray(left / length)
