"""Rooms: procedural images with known factors, painted from the back wall to the light. All factors are independent and uniform.

- view, -1 .. 1: direction of view; the vanishing point and the furniture move with it
- depth, 0 .. 1: distance of the back wall
- category, 0, 1 or 2: furniture of a bedroom, dining room or living room
- light, 0 .. 1: brightness, with a warm cast from above
- wood, 0 .. 1: from carpet and painted furniture to planks and wooden furniture
- foliage, 0 .. 1: height of leaves in the window
- clutter, 0 .. 1: number of things on the floor, up to eight
- color, 0 .. 1: walls from warm to cool; cloth has the opposite color

The label distinguishes six modes: the category, and light above or below 1/2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from probgen.datasets.canvas import Canvas, column, ellipse, mixed, polygon, rectangle
from probgen.datasets.scenes import Factors, Scene, data_set

LEVELS = {
    "view": 0,
    "depth": 0,
    "category": 3,
    "light": 0,
    "wood": 0,
    "foliage": 0,
    "clutter": 0,
    "color": 0,
}
THINGS = (  # positions and colors of things on the floor
    (0.12, 0.86, (0.8, 0.2, 0.2)),
    (0.84, 0.90, (0.2, 0.3, 0.7)),
    (0.30, 0.95, (0.9, 0.8, 0.2)),
    (0.68, 0.97, (0.2, 0.6, 0.3)),
    (0.07, 0.97, (0.6, 0.2, 0.6)),
    (0.93, 0.80, (0.9, 0.5, 0.1)),
    (0.50, 0.96, (0.1, 0.1, 0.1)),
    (0.20, 0.78, (0.9, 0.9, 0.9)),
)
DARK = (0.2, 0.2, 0.2)


def draw(n: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Sample factors: (row,) each."""
    u = dict(zip(LEVELS, rng.random((n, len(LEVELS)), dtype=np.float32).T, strict=True))
    return u | {"view": 2 * u["view"] - 1, "category": np.floor(3 * u["category"])}


def label(f: Factors) -> np.ndarray:
    """Return the label (row,), which combines category and light."""
    return 2 * f["category"] + (f["light"] > 0.5)


class _Room:
    """Position and colors of the back wall in each row, and functions that paint the furniture."""

    def __init__(self, f: Factors):
        self.half = 0.34 - 0.08 * f["depth"]  # half the width of the back wall
        self.cx = 0.5 + 0.16 * f["view"]
        self.left, self.right = self.cx - self.half, self.cx + self.half
        self.top, self.bottom = 0.5 - 0.95 * self.half, 0.5 + 0.62 * self.half
        self.foot, self.scale = 0.5 + 0.18 * f["view"], self.half / 0.30
        self.frame = mixed((0.95, 0.95, 0.95), (0.45, 0.26, 0.12), f["wood"])
        self.wood = mixed((0.82, 0.80, 0.78), (0.48, 0.26, 0.10), f["wood"])
        self.cloth = mixed((0.25, 0.42, 0.66), (0.74, 0.30, 0.24), f["color"])
        self.lamp = mixed((0.35, 0.33, 0.30), (1, 0.95, 0.6), f["light"])

    def box(self, canvas: Canvas, rows: np.ndarray, box: tuple[float, ...], color: Any, r: float = 0) -> None:
        """Paint a rectangle x0, x1, y0, y1, in units of the room, from the middle of the wall's lower edge."""
        x0, x1, y0, y1 = box
        x, y, s = self.foot, self.bottom, self.scale
        edges = (x + x0 * s, x + x1 * s, y + y0 * s, y + y1 * s)
        canvas.paint(rectangle(*edges, r), color, edges, rows=rows)

    def top_of(
        self,
        canvas: Canvas,
        rows: np.ndarray,
        halves: tuple[float, float],
        ys: tuple[float, float],
        color: Any,
    ) -> None:
        """Paint a flat surface, narrower at the back."""
        x, (h0, h1), (y0, y1) = (
            self.foot,
            (h * self.scale for h in halves),
            (self.bottom + y * self.scale for y in ys),
        )
        shape = polygon((x - h0, y0), (x + h0, y0), (x + h1, y1), (x - h1, y1))
        canvas.paint(shape, color, (x - h1, x + h1, y0, y1), rows=rows)


def paint(f: Factors, side: int) -> np.ndarray:
    """Return images of factors, (row,) each: (row, 3, side, side) in 0 .. 1."""
    f = {name: np.asarray(values, np.float32) for name, values in f.items()}
    room = _Room(f)
    wall = mixed((0.86, 0.66, 0.52), (0.50, 0.66, 0.86), f["color"])
    canvas = Canvas(wall, side)
    _walls(canvas, room, f, wall)
    _window(canvas, room, f["foliage"])
    for number, furnish in enumerate(FURNITURE):
        rows = np.flatnonzero(f["category"] == number)
        if len(rows):
            furnish(canvas, rows, _Room({name: values[rows] for name, values in f.items()}))
    for i, (x, y, tint) in enumerate(THINGS):
        box = (x - 0.035, x + 0.035, y - 0.028, y + 0.028)
        canvas.paint(rectangle(*box, 0.01), tint, box, alpha=np.clip(f["clutter"] * len(THINGS) - i, 0, 1))
    light = column(f["light"])
    gain = (0.28 + 0.80 * light) * (1 + 0.25 * light * (0.5 - canvas.grid[None, :, None]))
    canvas.x *= gain[:, None]
    canvas.x[:, 2] *= 1.12 - 0.17 * light
    return np.clip(canvas.x, 0, 1, out=canvas.x)


def _walls(canvas: Canvas, room: _Room, f: Factors, wall: np.ndarray) -> None:
    left, right, top, bottom = room.left, room.right, room.top, room.bottom
    turned = 0.12 * f["view"][:, None]
    shape = polygon((0, 0), (left, top), (left, bottom), (0, 1))
    canvas.paint(shape, wall * (0.80 - turned), (0, left, 0, 1))
    shape = polygon((right, top), (1, 0), (1, 1), (right, bottom))
    canvas.paint(shape, wall * (0.80 + turned), (right, 1, 0, 1))
    ceiling = 0.8 * np.array((0.95, 0.95, 0.93), np.float32) + 0.2 * wall
    canvas.paint(polygon((0, 0), (1, 0), (right, top), (left, top)), ceiling, (0, 1, 0, top))

    def planks(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        lines = np.sin((x - column(room.cx)) / np.maximum(y - np.float32(0.45), np.float32(0.05)) * 26) > 0.4
        return np.asarray(1 - 0.22 * column(f["wood"]) * lines)

    floor = mixed((0.55, 0.55, 0.58), (0.55, 0.31, 0.13), f["wood"])
    canvas.paint(
        polygon((left, bottom), (right, bottom), (1, 1), (0, 1)), floor, (0, 1, bottom, 1), shade=planks
    )


def _window(canvas: Canvas, room: _Room, foliage: np.ndarray) -> None:
    left, right = room.cx - 0.62 * room.half, room.cx + 0.10 * room.half
    top, bottom, middle = room.top + 0.22 * room.half, room.top + 0.86 * room.half, (left + right) / 2
    around, pane = (left - 0.02, right + 0.02, top - 0.02, bottom + 0.02), (left, right, top, bottom)
    canvas.paint(rectangle(*around), room.frame, around)
    canvas.paint(rectangle(*pane), (0.62, 0.80, 0.95), pane)
    height, within = column(bottom - foliage * (bottom - top)), rectangle(*pane)

    def leaves(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.asarray(np.maximum(within(x, y), height + np.float32(0.012) * np.sin(x * 55) - y))

    canvas.paint(leaves, (0.16, 0.48, 0.16), pane, alpha=np.clip(8 * foliage, 0, 1))
    bar = (middle - 0.006, middle + 0.006, top, bottom)
    canvas.paint(rectangle(*bar), room.frame, bar)


def _bedroom(canvas: Canvas, rows: np.ndarray, room: _Room) -> None:
    room.box(canvas, rows, (-0.20, 0.20, -0.12, 0.12), room.wood, 0.01)
    room.top_of(canvas, rows, (0.19, 0.26), (0.0, 0.30), (0.93, 0.92, 0.90))
    room.top_of(canvas, rows, (0.21, 0.27), (0.10, 0.31), room.cloth)
    for x in (-0.09, 0.09):
        room.box(canvas, rows, (x - 0.07, x + 0.07, -0.01, 0.065), (1, 1, 1), 0.015)


def _dining_room(canvas: Canvas, rows: np.ndarray, room: _Room) -> None:
    for at in (-0.27, 0.27):  # chairs
        room.box(canvas, rows, (at - 0.06, at + 0.06, -0.05, 0.16), room.cloth, 0.01)
        room.box(canvas, rows, (at - 0.05, at - 0.02, 0.14, 0.27), 0.7 * room.wood)
        room.box(canvas, rows, (at + 0.02, at + 0.05, 0.14, 0.27), 0.7 * room.wood)
    for at in (-0.17, 0.14):
        room.box(canvas, rows, (at, at + 0.03, 0.08, 0.32), 0.75 * room.wood)
    room.top_of(canvas, rows, (0.17, 0.22), (0.03, 0.11), room.wood)
    cord = (room.foot - 0.006, room.foot + 0.006, 0, room.top + 0.13)
    canvas.paint(rectangle(*cord), DARK, cord, rows=rows)
    x, y, rx, ry = room.foot, room.top + 0.15, 0.075 * room.scale, 0.045 * room.scale
    canvas.paint(ellipse(x, y, rx, ry), room.lamp, (x - rx, x + rx, y - ry, y + ry), rows=rows)


def _living_room(canvas: Canvas, rows: np.ndarray, room: _Room) -> None:
    room.box(canvas, rows, (-0.27, 0.27, -0.08, 0.14), 0.85 * room.cloth, 0.03)
    room.box(canvas, rows, (-0.25, 0.25, 0.05, 0.19), room.cloth, 0.02)
    for x in (-0.28, 0.28):
        room.box(canvas, rows, (x - 0.035, x + 0.035, -0.01, 0.20), 0.7 * room.cloth, 0.02)
    room.top_of(canvas, rows, (0.12, 0.15), (0.23, 0.30), room.wood)
    left, top, half = room.cx, room.top, room.half
    screen = (left + 0.28 * half, left + 0.86 * half, top + 0.30 * half, top + 0.75 * half)
    canvas.paint(rectangle(*screen, 0.01), (0.08, 0.08, 0.10), screen, rows=rows)


FURNITURE: tuple[Callable[[Canvas, np.ndarray, _Room], None], ...] = (_bedroom, _dining_room, _living_room)
scene = Scene(LEVELS, draw, paint, label, (3, 2))
rooms = data_set(scene, "27,000 painted rooms, 32 x 32 in color, with eight known factors")
