"""Two kinds of images without pairs for a fit, but with known pairs, `pair (row, ...)`, for comparison with translations.

- fashion-ink: clothing in gray, and in two inks on paper; one-to-one
- fashion-tint: clothing in one color per image, and in gray without any trace of the color

Kind 0 and kind 1 of `train` are different rows of Fashion-MNIST (Xiao et al. 2017), padded to 32 x 32. `valid` and `test` have each row in both
kinds. `attribute` has the class, and for fashion-tint the cosine and sine of the hue (NaN for gray images).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import xarray as xr

from probgen.datasets.base import DataSet
from probgen.datasets.mnist import fashion_mnist
from probgen.readers.base import joined

BORDER = ((0, 0), (2, 2), (2, 2))
PAPER, INK = np.array([0.96, 0.90, 0.72]), np.array([0.10, 0.16, 0.45])
ROWS = {"train": 10_000, "valid": 500, "test": 1_000}  # rows per kind
Kinds = tuple[
    np.ndarray, np.ndarray, np.ndarray | None
]  # both kinds (row, 3, 32, 32) in 0 .. 1, and the hue (row,)


def _ink(g: np.ndarray, rng: np.random.Generator) -> Kinds:
    paper, ink = PAPER[:, None, None], INK[:, None, None]
    return np.repeat(g[:, None], 3, 1), paper * (1 - g[:, None]) + ink * g[:, None], None


def _tint(g: np.ndarray, rng: np.random.Generator) -> Kinds:
    hue = rng.random(len(g)) * 6
    color = np.stack([np.clip(np.abs((hue + shift) % 6 - 3) - 1, 0, 1) for shift in (0, 4, 2)], 1)
    return g[:, None] * (0.25 + 0.75 * color)[:, :, None, None], np.repeat(g[:, None], 3, 1), hue


def _read(
    style: Callable[[np.ndarray, np.random.Generator], Kinds], split: str | None, folder: Path | None
) -> xr.Dataset:
    parts = {}
    for i, (part, n) in enumerate(ROWS.items()):
        if split not in (None, part):
            continue
        clothing = fashion_mnist.load(part, folder)
        twice = part == "train"  # the kinds have different rows
        g = np.pad(clothing["x"].values[: n * (1 + twice)], BORDER) / 255
        label = clothing["label"].values[: len(g)]
        first, second, hue = style(g, np.random.Generator(np.random.PCG64(i)))
        halves = (slice(0, n), slice(n, 2 * n)) if twice else (slice(None), slice(None))
        kinds = [np.rint(255 * kind).astype(np.uint8) for kind in (first, second)]
        names = ["class"] if hue is None else ["class", "hue_cos", "hue_sin"]
        known = np.full((2 * n, len(names)), np.nan, np.float32)
        known[:, 0] = np.concatenate([label[half] for half in halves])
        if hue is not None:
            angle = hue[halves[0]] * (np.pi / 3)
            known[:n, 1:] = np.stack([np.cos(angle), np.sin(angle)], 1)
        dims, attrs = ("row", "channel", "height", "width"), {"support": "integer", "levels": 256}
        variables = {
            "x": (dims, np.concatenate([kinds[0][halves[0]], kinds[1][halves[1]]]), attrs),
            "label": ("row", np.repeat([0, 1], n), {"levels": 2}),
            "attribute": (("row", "factor"), known, {"levels": [10, 0, 0][: len(names)]}),
        }
        if not twice:
            variables["pair"] = (dims, np.concatenate(kinds[::-1]), attrs)
        parts[part] = xr.Dataset(variables, {"factor": names})
    return (
        joined(parts, split)
        if len(parts) == 1
        else joined({k: v.drop_vars("pair", errors="ignore") for k, v in parts.items()}, split)
    )


_HELD = "23,000 pictures of clothing, 3 x 32 x 32, 0..255, of two kinds without pairs"
fashion_ink = DataSet(f"{_HELD}: in gray, and in two inks", tuple(ROWS), lambda s, f: _read(_ink, s, f))
fashion_tint = DataSet(
    f"{_HELD}: in one color each, and in gray", tuple(ROWS), lambda s, f: _read(_tint, s, f)
)
