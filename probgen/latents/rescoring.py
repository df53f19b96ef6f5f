"""Which layer of a generator decides an attribute? Codes are moved in one layer alone, and what is made of them is scored again.

HiGAN (Yang, Shen & Zhou, IJCV 2021, eq. 3) takes the mean of max(change, 0), which noise makes large as well. Here changes are means of pairs
with their errors, held against random directions whose pairs have the same scores to begin with; where no layer stands out, none is named.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from probgen.errors import InputError
from probgen.latents.edits import edit

LEVEL = 0.05  # of the tests of an attribute, over all of its layers together


@dataclass(frozen=True)
class Rescored:
    """Changes of scores in their deviations over the codes.

    effect     mean change of each attribute by each direction in each layer alone: (direction, layer, factor)
    error      its standard error
    random     the same of random directions: (random, layer, factor)
    rectified  HiGAN's statistic, the mean of max(change, 0): (direction, layer, factor)
    p          of a paired t-test of a direction's own attribute, two-sided: (direction, layer)
    called     whether that stands out: p below 5 % over all layers, and the change above that of every random direction
               in every layer: (direction, layer)
    layer      the layer of the largest change where that is called, else -1: (direction,)
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
    seed: int = 0,
) -> Rescored:
    """Effects of directions by layer on all attributes, and which layers stand out.

    seen    scores of what is made of codes: (row, layer, ...) -> (row, factor)
    codes   draws: (row, layer, ...)
    moves   of one deviation, that of attribute k in place k, flattened or not: (factor, layer, ...)
    by      deviations
    random  directions, distributed as codes are, and as long in deviations of their own. With 39 a false alarm has a rate of 2.5 % at most

    Errors: `InputError` for codes without layers, and for a score that is constant over them.
    """
    if codes.ndim < 3:
        raise InputError("codes have no layers that could be moved alone: (row, layer, style) is needed")
    if len(codes) < 2 or random < 1:
        raise InputError("two codes and one random direction at least")
    base = np.asarray(seen(codes), dtype=np.float64)
    if not np.isfinite(base).all():
        raise InputError("a score is not known of some codes: take others")
    deviation = base.std(0)
    if not (deviation > 0).all():
        raise InputError(f"score {int(np.argmin(deviation > 0))} is the same of every code")
    layers = codes.shape[1]

    def changes(move: np.ndarray, layer: int) -> np.ndarray:
        return np.asarray(
            (seen(edit(codes, move, by, slice(layer, layer + 1))) - base) / deviation, dtype=np.float64
        )

    found = [[changes(move, layer) for layer in range(layers)] for move in moves]
    each = np.array([[[c.mean(0), c.std(0, ddof=1), np.maximum(c, 0).mean(0)] for c in row] for row in found])
    effect, error, rectified = each[:, :, 0], each[:, :, 1] / np.sqrt(len(codes)), each[:, :, 2]
    directions = _directions(codes, random, np.random.default_rng(seed))
    others = np.array([[changes(move, i).mean(0) for i in range(layers)] for move in directions])
    own = np.arange(len(moves))
    mean, spread = effect[own, :, own], error[own, :, own]
    with np.errstate(divide="ignore", invalid="ignore"):
        p = np.where(mean == 0, 1.0, 2 * student.sf(np.abs(mean / spread), len(codes) - 1))
    largest = np.abs(others).max((0, 1))[own]
    called = (p < LEVEL / layers) & (np.abs(mean) > largest[:, None])
    best = np.abs(mean).argmax(1)
    layer = np.where(called[own, best], best, -1)
    return Rescored(effect, error, others, rectified, p, called, layer)


def _directions(codes: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Random directions with the covariance of codes, of one deviation each: (n, *dims)."""
    flat = codes.reshape(len(codes), -1).astype(np.float64)
    centred = flat - flat.mean(0)
    ways = rng.standard_normal((n, len(codes))) @ centred
    ways /= np.linalg.norm(ways, axis=1, keepdims=True)
    return np.asarray((ways * (centred @ ways.T).std(0)[:, None]).reshape(n, *codes.shape[1:]))
