"""Antialiased shapes painted over images, all rows at once. A shape is a signed distance d, and its coverage is clip(1/2 - d / pixel, 0, 1).

Lengths are in units of the image's side, y points down, and colors are in 0 .. 1. Each number of a shape is one number for all rows, or one number per row:
(row,).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

Distance = Callable[[np.ndarray, np.ndarray], np.ndarray]  # arguments x and y: (row or 1, height, width) each


class Canvas:
    """Images x, (row, 3, side, side), float32, with a background color.

    Args:
        background: Color of the background of each row (row, 3).
        side: Side of the images, in pixels.
    """

    def __init__(self, background: np.ndarray, side: int):
        self.side = side
        self.x = np.empty((len(background), 3, side, side), np.float32)
        self.x[:] = background[:, :, None, None]
        self.grid = (np.arange(side, dtype=np.float32) + np.float32(0.5)) / np.float32(side)

    def paint(
        self,
        distance: Distance,
        color: Any,
        box: tuple[Any, Any, Any, Any],
        *,
        rows: np.ndarray | None = None,
        alpha: Any = None,
        shade: Distance | None = None,
    ) -> None:
        """Paint a shape over the images.

        Args:
            distance: Signed distance to the shape, below 0 inside. It is called with the coordinates of pixels.
            color: Color of the shape, (3,) or (row, 3).
            box: Left, right, top and bottom of a box around the shape. Only pixels in this box change.
            rows: Numbers of the rows with the shape. The other arguments have one value per row in `rows`. None: all rows.
            alpha: Opacity, 0 .. 1: (row,).
            shade: Factor of the color at each pixel.
        """
        left, right = (self._pixel(edge, least) for edge, least in ((box[0], True), (box[1], False)))
        top, bottom = (self._pixel(edge, least) for edge, least in ((box[2], True), (box[3], False)))
        if left >= right or top >= bottom:
            return
        x, y = self.grid[None, None, left:right], self.grid[None, top:bottom, None]
        cover = distance(x, y) * np.float32(-self.side)
        cover += np.float32(0.5)
        np.clip(cover, 0, 1, out=cover)
        if alpha is not None:
            cover = cover * column(alpha)
        where = slice(None) if rows is None else rows
        part = self.x[where, :, top:bottom, left:right]
        told = np.asarray(color, np.float32).reshape(-1, 3, 1, 1)
        if shade is not None:
            told = told * shade(x, y)[:, None]
        part += cover[:, None] * (told - part)
        if rows is not None:
            self.x[rows, :, top:bottom, left:right] = part

    def _pixel(self, edge: Any, least: bool) -> int:
        value = float(np.min(edge) if least else np.max(edge)) * self.side
        return int(min(max(np.floor(value) - 1 if least else np.ceil(value) + 1, 0), self.side))


def column(value: Any) -> np.ndarray:
    """Return one number, or one number per row, in the shape (row or 1, 1, 1) for use with pixels."""
    return np.asarray(value, np.float32).reshape(-1, 1, 1)


def mixed(a: Any, b: Any, t: np.ndarray) -> np.ndarray:
    """Return colors (row, 3) between a and b, (3,) or (row, 3) each, at the fraction t (row,)."""
    a, b, t = np.asarray(a, np.float32), np.asarray(b, np.float32), t[:, None]
    return np.asarray(a * (1 - t) + b * t)


def rectangle(x0: Any, x1: Any, y0: Any, y1: Any, r: float = 0.0) -> Distance:
    """Return the distance to a rectangle with corners of radius r."""
    r32 = np.float32(r)
    x0, x1, y0, y1 = (column(v) for v in (x0, x1, y0, y1))
    cx, cy, hx, hy = (x0 + x1) / 2, (y0 + y1) / 2, (x1 - x0) / 2 - r32, (y1 - y0) / 2 - r32

    def distance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        qx, qy = np.abs(x - cx) - hx, np.abs(y - cy) - hy
        further = np.maximum(qx, qy)
        if not r:  # outside a sharp corner this is less than the distance, but the coverage differs by less than a pixel
            return np.asarray(further)
        corner = np.sqrt(np.square(np.maximum(qx, 0)) + np.square(np.maximum(qy, 0)))
        return np.asarray(corner + np.minimum(further, 0) - r32)

    return distance


def ellipse(cx: Any, cy: Any, rx: Any, ry: Any) -> Distance:
    """Return the distance to an ellipse, to first order, because there is no closed form."""
    cx, cy, rx, ry = (column(v) for v in (cx, cy, rx, ry))

    def distance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        u, v = (x - cx) / rx, (y - cy) / ry
        k = np.sqrt(u * u + v * v)
        slope = np.sqrt(u * u / (rx * rx) + v * v / (ry * ry))
        # at the center k / slope is undefined, and the distance to the edge is the shorter radius
        ratio = np.where(k > 0, k / np.maximum(slope, np.float32(1e-6)), np.minimum(rx, ry))
        return np.asarray((k - 1) * ratio)

    return distance


def polygon(*corners: tuple[Any, Any]) -> Distance:
    """Return the distance to a convex polygon, with corners (x, y) clockwise on the screen."""
    edges = []
    for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
        x0, y0, x1, y1 = (column(v) for v in (x0, y0, x1, y1))
        a, b = y1 - y0, x0 - x1
        length = np.sqrt(a * a + b * b) + np.float32(1e-9)
        a, b = a / length, b / length
        edges.append((a, b, a * x0 + b * y0))

    def distance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return functools.reduce(np.maximum, (a * x + (b * y - c) for a, b, c in edges))

    return distance
