"""Moves of codes that change one attribute and leave others unchanged.

Moves are measured in deviations: a move of 1 changes n . c by its standard deviation over samples. Codes and
moves with layers are flattened, or have the same dimensions.
"""

from __future__ import annotations

import numpy as np

from probgen.errors import InputError

# a direction is 0 if its length, relative to the length before the projection, is below this
DETERMINED = 1e-9


def project(normal: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Return the unit vector along a normal after its part in the span of other normals is removed.

    This is eq. 5 of Shen et al. 2020, for any number of fixed normals.

    Args:
        normal: Normal of the attribute, (code,).
        held: Normals of the fixed attributes, (factor, code).

    Returns:
        A unit vector, (code,).

    Raises:
        InputError: When nothing is left of the normal.
    """
    held = np.atleast_2d(held) if np.size(held) else np.zeros((0, len(normal)))
    _, sizes, axes = np.linalg.svd(held, full_matrices=False)
    axes = axes[sizes > 1e-12 * sizes.max(initial=0)]
    left = normal - axes.T @ (axes @ normal)
    left -= axes.T @ (axes @ left)  # a second time, against rounding errors
    return _unit(left, normal)


def gentle(normal: np.ndarray, held: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Return the unit vector along the shortest move that changes n . c and leaves each fixed n_j . c unchanged.

        d = S n - S H (H' S H)^-1 H' S n,   S the covariance of codes, H the fixed normals

    The length is the Mahalanobis length of samples. The move is the expected difference of two samples that
    differ in n . c and agree in all n_j . c.

    Args:
        normal: Normal of the attribute, (code,).
        held: Normals of the fixed attributes, (factor, code).
        covariance: Covariance of codes, (code, code).

    Returns:
        A unit vector, (code,).

    Raises:
        InputError: When nothing is left of the move.
    """
    d = covariance @ normal
    if not np.size(held):
        return _unit(d, d)
    H = np.atleast_2d(held).T
    size = np.sqrt(np.einsum("ik,ij,jk->k", H, covariance, H))
    H = H[:, size > 0] / size[size > 0]  # each of deviation 1; otherwise lstsq would drop small ones
    return _unit(d - covariance @ H @ np.linalg.lstsq(H.T @ covariance @ H, H.T @ d, rcond=1e-9)[0], d)


def step(normal: np.ndarray, deviation: float, direction: np.ndarray) -> np.ndarray:
    """Return the move along a direction that changes n . c by one standard deviation.

    Args:
        normal: Normal of the attribute, (code,).
        deviation: Standard deviation of n . c over samples.
        direction: The direction, (code,).

    Returns:
        The move, (code,).

    Raises:
        InputError: When the direction does not change n . c.
    """
    slope = float(normal @ direction)
    if abs(slope) < DETERMINED * np.linalg.norm(direction):
        raise InputError("direction: it does not change the attribute. Use another direction.")
    return direction * (deviation / slope)


def edit(
    codes: np.ndarray, move: np.ndarray, by: float | np.ndarray, layers: slice | None = None
) -> np.ndarray:
    """Move codes, in all of their layers or in some.

    Args:
        codes: Codes, (row, *dims).
        move: Move of one deviation, as returned by `step`: (*dims), flattened or not.
        by: Number of deviations: one number, or one per row.
        layers: Layers to move, along the first dimension of a code; None for all.

    Returns:
        Moved codes, (row, *dims).

    Raises:
        InputError: When the codes do not have these layers, or a moved code overflows.
    """
    shape = codes.shape[1:]
    whole = np.asarray(move, dtype=np.float64).reshape(shape)
    if layers is not None:
        whole = np.where(_mask(shape, layers), whole, 0)
    much = np.broadcast_to(np.asarray(by, dtype=np.float64), len(codes))
    moved = codes + much.reshape(-1, *[1] * len(shape)) * whole
    if not (np.abs(moved) <= np.finfo(codes.dtype).max).all():
        raise InputError("by: moved codes are too large for their type. Use a smaller value.")
    return np.asarray(moved.astype(codes.dtype))


def mix(first: np.ndarray, second: np.ndarray, layers: slice) -> np.ndarray:
    """Replace some layers of codes by layers of other codes (style mixing: Karras et al. 2019, section 3.1).

    Args:
        first: Codes, (row, layer, ...).
        second: Codes that provide the layers, (row, layer, ...).
        layers: Layers to replace.

    Returns:
        Mixed codes, (row, layer, ...).

    Raises:
        InputError: When the codes do not have these layers.
    """
    return np.where(_mask(first.shape[1:], layers), second, first)


def _mask(shape: tuple[int, ...], layers: slice) -> np.ndarray:
    if len(shape) < 2:
        raise InputError("layers: these codes have no layers. Leave layers out.")
    kept = np.zeros((shape[0], *[1] * (len(shape) - 1)), dtype=bool)
    kept[layers] = True
    if not kept.any() or (layers.stop or 0) > shape[0]:
        raise InputError(f"layers: these codes have {shape[0]} layers. Use layers from 0 to {shape[0] - 1}.")
    return kept


def _unit(left: np.ndarray, whole: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(left)
    if not length > DETERMINED * np.linalg.norm(whole):
        raise InputError(
            "held: no direction changes the attribute and leaves the held attributes fixed. Hold fewer attributes."
        )
    return np.asarray(left / length)
