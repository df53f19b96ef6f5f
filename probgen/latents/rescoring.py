"""Layers of a generator that decide an attribute: codes are moved in one layer, and decoded data are scored again.

HiGAN (Yang, Shen & Zhou, IJCV 2021, eq. 3) uses the mean of max(change, 0), which noise also makes large.
This module uses means of paired changes with their errors, and compares them with random directions for the
same codes. If no layer stands out, no layer is named.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from probgen.errors import InputError
from probgen.latents.edits import edit
from probgen.latents.whitening import Whitened

LEVEL = 0.05  # of the tests of one attribute, over all of its layers


@dataclass(frozen=True)
class Rescored:
    """Changes of scores, in standard deviations of the scores over the codes.

    Attributes:
        effect: Mean change of each attribute by each direction in each single layer: (direction, layer,
            factor).
        error: Standard error of `effect`.
        random: Mean changes by random directions: (random, layer, factor).
        rectified: HiGAN's statistic, the mean of max(change, 0): (direction, layer, factor).
        p: p-value of a two-sided paired t-test of a direction's own attribute: (direction, layer).
        called: True if the layer stands out: p is below 5 % over all layers, and the change exceeds the
            change by every random direction in every layer: (direction, layer).
        layer: The layer of the largest change if it stands out, else -1: (direction,).
    """

    effect: np.ndarray
    error: np.ndarray
    random: np.ndarray
    rectified: np.ndarray
    p: np.ndarray
    called: np.ndarray
    layer: np.ndarray


def rescore(
    seen: Callable[[np.ndarray], np.ndarray],
    codes: np.ndarray,
    moves: np.ndarray,
    *,
    by: float = 2.0,
    random: int = 39,
    among: np.ndarray | None = None,
    names: Sequence[str] = (),
    seed: int = 0,
) -> Rescored:
    """Measure effects of directions on all attributes by layer, and find the layers that stand out.

    Args:
        seen: Scores of data decoded from codes: (row, layer, ...) -> (row, factor).
        codes: Sampled codes, (row, layer, ...).
        moves: Move of attribute k at index k, of any length, flattened or not: (factor, layer, ...).
        by: Common length of all moves, in deviations of codes. A move then changes one layer at a time.
        random: Number of random directions of the same length; with 39, the false-alarm rate is at most 2.5
            %.
        among: Codes whose covariance defines the length, more than their dimensions; default: `codes`.
        names: Names of the attributes, for error messages.
        seed: Seed of the random directions.

    Returns:
        Effects, tests and layers.

    Raises:
        InputError: When codes have no layers, a score is constant or missing, or there are too few codes.
    """
    if codes.ndim < 3:
        raise InputError("codes: they have no layers. Use the shape (row, layer, style).")
    if len(codes) < 2 or random < 1:
        raise InputError(
            f"{len(codes)} codes, random = {random}: too few. Use at least two codes and one random direction."
        )
    base = _scores(seen, codes, names)
    deviation = base.std(0)
    if not (deviation > 0).all():
        raise InputError(f"score {_name(names, deviation > 0)} is the same for every code. Leave it out.")
    layers, space = codes.shape[1], Whitened(codes if among is None else among)

    def changes(move: np.ndarray, layer: int) -> np.ndarray:
        moved = edit(codes, move, by, slice(layer, layer + 1))
        return np.asarray((_scores(seen, moved, names) - base) / deviation)

    lengths = space.lengths(moves)
    if not (lengths > 0).all():
        raise InputError(f"move {int(np.argmin(lengths > 0))} does not change codes. Leave it out.")
    flat = moves.reshape(len(moves), -1) / lengths[:, None]
    found = [[changes(move, layer) for layer in range(layers)] for move in flat]
    each = np.array([[[c.mean(0), c.std(0, ddof=1), np.maximum(c, 0).mean(0)] for c in row] for row in found])
    effect, error, rectified = each[:, :, 0], each[:, :, 1] / np.sqrt(len(codes)), each[:, :, 2]
    ways = space.random(random, np.random.default_rng(seed))
    others = np.array([[changes(way, i).mean(0) for i in range(layers)] for way in ways])
    own = np.arange(len(moves))
    mean, spread = effect[own, :, own], error[own, :, own]
    with np.errstate(divide="ignore", invalid="ignore"):
        p = np.where(mean == 0, 1.0, 2 * student.sf(np.abs(mean / spread), len(codes) - 1))
    largest = np.abs(others).max((0, 1))[own]
    called = (p < LEVEL / layers) & (np.abs(mean) > largest[:, None])
    best = np.abs(mean).argmax(1)
    layer = np.where(called[own, best], best, -1)
    return Rescored(effect, error, others, rectified, p, called, layer)


def _scores(seen: Callable[[np.ndarray], np.ndarray], codes: np.ndarray, names: Sequence[str]) -> np.ndarray:
    scores = np.asarray(seen(codes), dtype=np.float64)
    if not np.isfinite(scores).all():
        raise InputError(
            f"score {_name(names, np.atleast_1d(np.isfinite(scores).all(0)))} is missing for some codes. Leave these codes out."
        )
    return scores


def _name(names: Sequence[str], good: np.ndarray) -> str:
    """Return the name of the first attribute that is not good."""
    k = int(np.argmin(good))
    return repr(names[k]) if len(names) else str(k)
