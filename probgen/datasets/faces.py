"""Faces: procedural images with known factors, painted from the background to the glasses.

- yaw, -1 .. 1: direction of the head
- smile, -1 .. 1: curvature of the mouth, which opens with a smile
- glasses, 0 or 1: presence of glasses
- age, 0 .. 1: gray and receding hair, and wrinkles
- hair, 0 .. 1: length of the hair
- beard, 0 .. 1: density of the beard; 0 for more than half of all faces
- skin, 0 .. 1: skin color, from light to dark
- shade, 0 .. 1: hair color, from dark to fair
- ground, 0 .. 1: color of the background and the shirt

The joint distribution of the factors is a Gaussian copula with the correlations of `CORRELATED`. In `faces-uncorrelated`, each factor has the same
marginal distribution and is independent of the others; edits of single factors are compared with these images. The label distinguishes four modes:
with or without glasses, and hair longer than half or not.

`faces-two` has two people. The factors of `PEOPLE` are the same in all images of a person; yaw, smile and ground are uniform and independent, with the
same distribution for both. The label is the person.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import ndtr

from probgen.datasets.canvas import Canvas, column, ellipse, mixed, polygon, rectangle
from probgen.datasets.scenes import Factors, Scene, data_set

LEVELS = {
    "yaw": 0,
    "smile": 0,
    "glasses": 2,
    "age": 0,
    "hair": 0,
    "beard": 0,
    "skin": 0,
    "shade": 0,
    "ground": 0,
}
CORRELATED = {
    ("glasses", "age"): 0.6,
    ("hair", "beard"): -0.6,
    ("age", "hair"): -0.3,
    ("smile", "age"): -0.25,
}
PEOPLE = {
    "glasses": (0, 1),
    "age": (0.1, 0.7),
    "hair": (0.45, 0.2),
    "beard": (0.0, 0.0),  # a beard would be behind the mouth, and change how a smile looks
    "skin": (0.25, 0.1),
    "shade": (0.1, 0.4),
}
EYES, BLACK = 0.46, (0.06, 0.06, 0.08)


def drawn_with(correlated: dict[tuple[str, str], float]) -> Callable[[int, np.random.Generator], Factors]:
    """Return a sampler of factors (row,) from a Gaussian copula with these correlations."""
    names = list(LEVELS)
    R = np.eye(len(names))
    for (a, b), r in correlated.items():
        i, j = names.index(a), names.index(b)
        R[i, j] = R[j, i] = r
    L = np.linalg.cholesky(R)

    def draw(n: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        g = rng.standard_normal((n, len(names)))
        u = dict(zip(names, ndtr((g[:, None] * L).sum(2)).astype(np.float32).T, strict=True))
        return u | {
            "yaw": 2 * u["yaw"] - 1,
            "smile": 2 * u["smile"] - 1,
            "glasses": np.float32(u["glasses"] > 0.6),
            "beard": np.clip((u["beard"] - 0.55) / 0.45, 0, 1),
        }

    return draw


def label(f: Factors) -> np.ndarray:
    """Return the label (row,), which combines glasses and long hair."""
    return 2 * f["glasses"] + (f["hair"] > 0.5)


def of_two(n: int, rng: np.random.Generator) -> Factors:
    """Sample the factors of images of one of two people, (n,) each."""
    person = rng.integers(0, 2, n)
    yaw, smile, ground = rng.random((3, n), dtype=np.float32)
    fixed = {name: np.asarray(values, np.float32)[person] for name, values in PEOPLE.items()}
    return {**fixed, "yaw": 2 * yaw - 1, "smile": 2 * smile - 1, "ground": ground}


def person(f: Factors) -> np.ndarray:
    """Return the person (row,), 0 or 1, of the images of two people."""
    return f["glasses"]


def paint(f: Factors, side: int) -> np.ndarray:
    """Return images of factors, (row,) each: (row, 3, side, side) in 0 .. 1."""
    f = {name: np.asarray(values, np.float32) for name, values in f.items()}
    canvas = Canvas(mixed((0.35, 0.50, 0.70), (0.85, 0.80, 0.60), f["ground"]), side)
    skin = mixed((0.98, 0.82, 0.70), (0.42, 0.27, 0.18), f["skin"])
    shade = mixed((0.12, 0.08, 0.06), (0.85, 0.62, 0.25), f["shade"])
    hair = mixed(shade, (0.82, 0.82, 0.82), np.clip(1.6 * f["age"] - 0.6, 0, 1))
    _behind(canvas, f, skin, hair)
    _head(canvas, f, skin, hair)
    middle = 0.5 + 0.155 * f["yaw"]  # middle of the face
    # the eye on the far side is nearer to the middle
    eyes = (middle - (0.115 - 0.035 * f["yaw"]), middle + (0.115 + 0.035 * f["yaw"]))
    _features(canvas, f, skin, hair, middle, eyes)
    _lines(canvas, f["age"], skin, middle)
    rows = np.flatnonzero(f["glasses"] > 0)
    if len(rows):
        _glasses(canvas, rows, middle[rows], (eyes[0][rows], eyes[1][rows]))
    return np.clip(canvas.x, 0, 1, out=canvas.x)


def _behind(canvas: Canvas, f: Factors, skin: np.ndarray, hair: np.ndarray) -> None:
    """Paint long hair, neck and shirt."""
    x = 0.5 + 0.02 * f["yaw"]
    box = (x - 0.31, x + 0.31, 0.25, 0.42 + 0.48 * f["hair"])
    canvas.paint(rectangle(*box, 0.10), 0.85 * hair, box)
    neck = (0.40, 0.60, 0.70, 0.95)
    canvas.paint(rectangle(*neck), 0.80 * skin, neck)
    shirt = mixed((0.30, 0.25, 0.45), (0.60, 0.25, 0.25), f["ground"])
    canvas.paint(ellipse(0.5, 1.08, 0.40, 0.20), shirt, (0.1, 0.9, 0.88, 1))


def _head(canvas: Canvas, f: Factors, skin: np.ndarray, hair: np.ndarray) -> None:
    """Paint the head, lit from the near side, with a beard and hair on top."""
    cx = 0.5 + 0.03 * f["yaw"]

    def lit(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.asarray(1 - 0.22 / 0.28 * column(f["yaw"]) * (x - np.float32(0.5)) + 0 * y)

    canvas.paint(ellipse(cx, 0.50, 0.265, 0.335), skin, (cx - 0.265, cx + 0.265, 0.165, 0.835), shade=lit)
    chin, scalp, line = (
        ellipse(cx, 0.50, 0.262, 0.330),
        ellipse(cx, 0.47, 0.285, 0.345),
        0.31 - 0.13 * np.clip(1.3 * f["age"] - 0.3, 0, 1),
    )

    def beard(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.asarray(np.maximum(chin(x, y), np.float32(0.60) + np.float32(0.02) * np.sin(x * 9) - y))

    def top(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        edge = column(line) + np.float32(0.05) * np.cos((x - column(cx)) * 7)
        return np.asarray(np.maximum(scalp(x, y), y - edge))

    canvas.paint(beard, 0.9 * hair, (cx - 0.262, cx + 0.262, 0.58, 0.83), alpha=0.95 * f["beard"])
    canvas.paint(top, hair, (cx - 0.285, cx + 0.285, 0.125, line + 0.05))


def _features(
    canvas: Canvas,
    f: Factors,
    skin: np.ndarray,
    hair: np.ndarray,
    middle: np.ndarray,
    eyes: tuple[np.ndarray, np.ndarray],
) -> None:
    """Paint eyes with brows, nose and mouth."""
    for x in eyes:
        canvas.paint(
            ellipse(x, EYES, 0.052, 0.034), (1, 1, 1), (x - 0.052, x + 0.052, EYES - 0.034, EYES + 0.034)
        )
        p = x + 0.018 * f["yaw"]
        pupil = (p - 0.024, p + 0.024, EYES - 0.028, EYES + 0.028)
        canvas.paint(ellipse(p, EYES, 0.024, 0.028), (0.10, 0.12, 0.20), pupil)
        brow = (x - 0.055, x + 0.055, EYES - 0.085, EYES - 0.062)
        canvas.paint(rectangle(*brow, 0.008), 0.8 * hair, brow)
    m, foot = middle, middle - 0.04 + 0.02 * f["yaw"]
    nose = polygon((m - 0.012, 0.50), (m + 0.012, 0.50), (m + 0.04, 0.60), (foot, 0.60))
    canvas.paint(nose, 0.78 * skin, (m - 0.06, m + 0.04, 0.50, 0.60))
    smile, thick = column(f["smile"]), column(0.018 + 0.016 * np.clip(f["smile"], 0, 1))

    def mouth(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the distance to a band around a parabola."""
        t = (x - column(m)) / np.float32(0.125)
        curve = np.float32(0.70) + 0.075 * smile * (1 - t * t) - 0.04 * smile
        return np.asarray(np.maximum(np.abs(y - curve) - thick, 0.125 * np.abs(t) - 0.125))

    canvas.paint(mouth, (0.62, 0.16, 0.18), (m - 0.125, m + 0.125, 0.60, 0.80))


def _lines(canvas: Canvas, age: np.ndarray, skin: np.ndarray, middle: np.ndarray) -> None:
    """Paint wrinkles in the forehead and next to the mouth."""
    alpha, m = np.clip(1.5 * age - 0.5, 0, 1), column(middle)
    for height in (0.300, 0.345):

        def forehead(x: np.ndarray, y: np.ndarray, height: float = height) -> np.ndarray:
            wave = np.float32(height) + np.float32(0.01) * np.cos((x - m) * 14)
            return np.asarray(
                np.maximum(np.abs(y - wave) - np.float32(0.006), np.abs(x - m) - np.float32(0.13))
            )

        box = (middle - 0.13, middle + 0.13, height - 0.016, height + 0.016)
        canvas.paint(forehead, 0.60 * skin, box, alpha=alpha)
    for sign in (-1, 1):

        def cheek(x: np.ndarray, y: np.ndarray, sign: int = sign) -> np.ndarray:
            line = np.float32(sign) * (np.float32(0.15) + (y - np.float32(0.62)) * np.float32(0.25))
            return np.asarray(
                np.maximum(
                    np.abs(x - m - line) - np.float32(0.006), np.abs(y - np.float32(0.64)) - np.float32(0.055)
                )
            )

        x = middle + 0.155 * sign
        canvas.paint(cheek, 0.60 * skin, (x - 0.03, x + 0.03, 0.585, 0.695), alpha=alpha)


def _glasses(
    canvas: Canvas, rows: np.ndarray, middle: np.ndarray, eyes: tuple[np.ndarray, np.ndarray]
) -> None:
    for x in eyes:
        glass = ellipse(x, EYES, 0.085, 0.068)

        def ring(u: np.ndarray, v: np.ndarray, glass: Callable[..., np.ndarray] = glass) -> np.ndarray:
            return np.asarray(np.abs(glass(u, v)) - np.float32(0.012))

        box = (x - 0.105, x + 0.105, EYES - 0.088, EYES + 0.088)
        canvas.paint(glass, (0.75, 0.85, 0.95), box, rows=rows, alpha=np.full(len(rows), 0.25))
        canvas.paint(ring, BLACK, box, rows=rows)
    bridge = (middle - 0.035, middle + 0.035, EYES - 0.008, EYES + 0.008)
    canvas.paint(rectangle(*bridge), BLACK, bridge, rows=rows)


_HELD = "27,000 painted faces, 32 x 32 in color, with nine known factors"
scene = Scene(LEVELS, drawn_with(CORRELATED), paint, label, (2, 2))
uncorrelated = Scene(LEVELS, drawn_with({}), paint, label, (2, 2))
two = Scene(LEVELS, of_two, paint, person, (2,))
faces = data_set(scene, f"{_HELD} that are correlated as in people")
faces_uncorrelated = data_set(uncorrelated, f"{_HELD} that are independent")
faces_two = data_set(
    two, "27,000 painted images of two people, 32 x 32 in color; yaw, smile and background vary"
)
