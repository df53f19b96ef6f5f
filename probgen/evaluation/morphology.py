"""Attributes computed from pixels: the shape of strokes and of pieces of clothing.

Images are (row, height, width), with ink from 0 to 1 on a background of 0. Lengths are in pixels. The
attributes of strokes are defined in Morpho-MNIST (Castro, Tan, Kainz, Konukoglu & Glocker, JMLR 2019); each has
its own closed form.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import distance_transform_edt, zoom

from probgen.errors import InputError

FINER = 4  # grid points per pixel side, for distances
OUTSIDE = 0.02  # share of the ink outside each end of width and height
EMPTY = 1e-9
FAINT = 0.05  # pixels below this share of the strongest pixel are background


def morphology(x: np.ndarray) -> dict[str, np.ndarray]:
    """Compute attributes of strokes.

    Args:
        x: Gray images, (row, height, width), ink from 0 to 1.

    Returns:
        Attributes by name, (row,) each; NaN for an image without ink:

        - area: ink, in pixels.
        - thickness: width of the stroke at half of the greatest ink. In a stroke of width t the mean distance
          to its edge is t / 4.
        - length: length of the stroke, area / thickness.
        - slant: how far the top leans to the right, as a slope: minus the covariance of both directions over
          the vertical variance.
        - width: horizontal extent of the ink, and
        - height: vertical extent, without the outermost 2 % on either side, with ink spread evenly within
          pixels.

    Raises:
        InputError: When the images are not gray.
    """
    _check_gray(x)
    area = x.sum((1, 2))
    thickness = np.array([_thickness(image) for image in x])
    slant, width, height = _extents(x)
    with np.errstate(divide="ignore", invalid="ignore"):
        length = area / thickness
    found = {
        "area": area, "thickness": thickness, "length": length, "slant": slant, "width": width, "height": height
    }  # fmt: skip
    return {name: np.where(area > EMPTY, values, np.nan) for name, values in found.items()}


def clothing(x: np.ndarray) -> dict[str, np.ndarray]:
    """Compute attributes of pieces of clothing.

    Args:
        x: Gray images, (row, height, width), ink from 0 to 1.

    Returns:
        Attributes by name, (row,) each; NaN for an image without ink:

        - area: ink, in pixels.
        - width, height: extent of the ink, as for strokes.
        - aspect: height / width.
        - intensity: mean of the pixels with ink.
        - symmetry: correlation of the image with its mirror image, left to right.
        - texture: root mean square difference between neighbors with ink, divided by the intensity.

    Raises:
        InputError: When the images are not gray.
    """
    _check_gray(x)
    area = x.sum((1, 2))
    _, width, height = _extents(x)
    on = x > FAINT * x.max((1, 2), keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        intensity = (x * on).sum((1, 2)) / on.sum((1, 2))
        squares = pairs = np.zeros(len(x))
        for a, b in ((np.s_[:, 1:], np.s_[:, :-1]), (np.s_[:, :, 1:], np.s_[:, :, :-1])):
            both = on[a] & on[b]
            squares = squares + (np.square(x[a] - x[b]) * both).sum((1, 2))
            pairs = pairs + both.sum((1, 2))
        texture = np.sqrt(squares / pairs) / intensity
        flat = (x - x.mean((1, 2), keepdims=True)).reshape(len(x), -1)
        mirrored = flat.reshape(x.shape)[:, :, ::-1].reshape(len(x), -1)
        symmetry = (flat * mirrored).sum(1) / np.square(flat).sum(1)
        aspect = height / width
    found = {
        "area": area, "width": width, "height": height, "aspect": aspect, "intensity": intensity,
        "symmetry": symmetry, "texture": texture,
    }  # fmt: skip
    return {name: np.where(area > EMPTY, values, np.nan) for name, values in found.items()}


def _check_gray(x: np.ndarray) -> None:
    if x.ndim != 3:
        raise InputError(
            f"x has {x.ndim} dimensions: attributes of pixels need gray images. Use the shape (row, height, width)."
        )


def _thickness(image: np.ndarray) -> float:
    """Return four times the mean distance to the edge, on a finer grid."""
    padded = np.maximum(np.pad(image.astype(np.float64), 1), 0)
    fine = zoom(padded, FINER, order=1, grid_mode=True, mode="grid-constant")
    inside = fine > 0.5 * padded.max()
    if not inside.any():
        return np.nan
    distance = (
        distance_transform_edt(inside)[inside] - 0.5
    )  # to the edge, not to the center of the next pixel
    return float(4 * distance.mean() / FINER)


def _extents(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return slant, width and height."""
    ink = np.maximum(x.sum((1, 2)), EMPTY)
    across, down = x.sum(1), x.sum(2)
    i, j = np.arange(x.shape[1]) + 0.5, np.arange(x.shape[2]) + 0.5
    middle = (down @ i / ink)[:, None], (across @ j / ink)[:, None]
    dy, dx = i - middle[0], j - middle[1]
    both = np.einsum("rij,ri,rj->r", x, dy, dx)
    variance = np.maximum((down * dy**2).sum(1), EMPTY)
    return -both / variance, _extent(across), _extent(down)


def _extent(marginal: np.ndarray) -> np.ndarray:
    """Return the distance between two quantiles of ink, spread evenly within pixels: (row, place) -> (row,)."""
    total = np.cumsum(marginal, 1)
    edges = np.arange(marginal.shape[1] + 1, dtype=float)
    ends = []
    for row in np.concatenate([np.zeros((len(marginal), 1)), total], 1):
        wanted = np.array([OUTSIDE, 1 - OUTSIDE]) * row[-1]
        ends.append(np.interp(wanted, row, edges) if row[-1] > 0 else [0.0, 0.0])
    low, high = np.array(ends).reshape(-1, 2).T
    return np.asarray((high - low) / (1 - 2 * OUTSIDE))
