"""Classifiers and regressions that judge generated images; they are trained during the analysis.

They distinguish generated from real images, find the class of an image, and predict a number from images.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from scipy.ndimage import uniform_filter
from sklearn.linear_model import Ridge

from probgen.api.attributing import attributes
from probgen.api.fitting import fit
from probgen.contract.seeds import key

# classifier: side of a patch, and most patches of a kind
PATCH, PATCHES = 32, 2000
# classifier: training steps, and the factor of its second channel, the differences from neighbors
STEPS, FINE = 800, 8.0
# regression: penalty, and pixels per side of its grid
RIDGE, POINTS = 10.0, 12


class Kinds(NamedTuple):
    """Luma of generated and of real images.

    Attributes:
        made: Generated images, (height, width) each.
        real: Real images, (height, width) each.
    """

    made: Sequence[np.ndarray]
    real: Sequence[np.ndarray]


def told_apart(asked: Kinds, learned: Kinds | None, seed: int) -> float | None:
    """Return the accuracy of a classifier of generated and real patches (Lopez-Paz & Oquab 2017).

    Args:
        asked: Images whose patches are classified.
        learned: Images for training. None: train on one half of `asked`, test on the other, and the reverse.
        seed: Seed of the classifier.

    Returns:
        A share, 1/2 is best. None for images smaller than 8 x 8 and for too few images.
    """
    if learned is not None:
        turns = [(learned, asked)]
    elif min(len(asked.made), len(asked.real)) > 1:
        first, second = (Kinds(asked.made[i::2], asked.real[i::2]) for i in (0, 1))
        turns = [(first, second), (second, first)]
    else:
        return None
    right = []
    for known, new in turns:
        train, test = _patches(known, seed), _patches(new, seed)
        if train is None or test is None:
            return None
        judge = fit("attributes", train, seed=seed, steps=STEPS)
        right.append(attributes(judge, test[["x"]]).values[:, 0] == test["label"].values)
    return float(np.concatenate(right).mean())


def _patches(kinds: Kinds, seed: int) -> xr.Dataset | None:
    """Return equally many patches of generated (label 0) and real images (label 1); None for images below 8 x 8."""
    side = min(PATCH, *(min(x.shape) for kind in kinds for x in kind))
    if side < 8:
        return None
    cells = [np.concatenate([_cells(x, side) for x in kind]) for kind in kinds]
    rng = np.random.default_rng(key(seed, "patches", len(cells[0])))
    n = min(PATCHES, *(len(kind) for kind in cells))
    x = np.concatenate([kind[rng.permutation(len(kind))[:n]] for kind in cells]).astype(np.float32)
    x = np.stack([x, FINE * (x - uniform_filter(x, (0, 3, 3)))], 1)  # the grain of an image is faint
    return xr.Dataset(
        {
            "x": (("row", "channel", "height", "width"), x),
            "label": ("row", np.repeat([0, 1], n), {"levels": 2}),
        }
    )


def _cells(x: np.ndarray, side: int) -> np.ndarray:
    height, width = (length // side for length in x.shape)
    return (
        x[: height * side, : width * side]
        .reshape(height, side, width, side)
        .swapaxes(1, 2)
        .reshape(-1, side, side)
    )


def class_found(learned: xr.Dataset, images: Sequence[np.ndarray], classes: np.ndarray, seed: int) -> float:
    """Return the accuracy of a trained classifier on images of known class.

    Args:
        learned: Training data with `x` and `label`.
        images: Images to classify, (channel, height, width) each.
        classes: Their classes, (image,).
        seed: Seed of the classifier.

    Returns:
        A share of the images.
    """
    teller = fit("attributes", learned, seed=seed)
    x = np.stack(images).reshape(len(images), *learned["x"].shape[1:])
    told = attributes(teller, xr.Dataset({"x": (learned["x"].dims, x, learned["x"].attrs)})).values[:, 0]
    return float((told == classes).mean())


def readable(images: Sequence[np.ndarray], number: np.ndarray) -> float:
    """Return R^2 of a number predicted from images by ridge regression.

    The regression is fitted to the first half of the images and tested on the second half. Its standardized
    features are pixels on a grid, channel differences, and channel means and deviations.

    Args:
        images: Images, (channel, height, width) each.
        number: The number to predict, (image,).

    Returns:
        R^2 on the second half.
    """
    x = np.stack(images).astype(np.float64)
    step = -(-x.shape[-1] // POINTS)
    grid = x[..., ::step, ::step]
    parts = [
        grid.reshape(len(x), -1),
        (grid - grid[:, :1]).reshape(len(x), -1),
        x.mean((2, 3)),
        x.std((2, 3)),
    ]
    f, half = np.concatenate(parts, 1), len(x) // 2
    deviation = f[:half].std(0)
    f = (f - f[:half].mean(0)) / np.where(deviation > 1e-9, deviation, np.inf)
    told = Ridge(RIDGE * f.shape[1] ** 0.5).fit(f[:half], number[:half]).predict(f[half:])
    return float(
        1 - np.square(told - number[half:]).sum() / np.square(number[half:] - number[half:].mean()).sum()
    )
