"""Which layer of a generator decides an attribute? Codes are moved in one layer alone, and what is made of them is scored again.

HiGAN (Yang, Shen & Zhou, IJCV 2021, eq. 3) takes the mean of max(change, 0), which noise makes large as well. Here changes are means of pairs
with their errors, held against random directions whose pairs have the same scores to begin with; where no layer stands out, none is named.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from probgen.errors import InputError
from probgen.latents.edits import edit
from probgen.latents.whitening import Whitened

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
    among: np.ndarray | None = None,
    names: Sequence[str] = (),
    seed: int = 0,
) -> Rescored:
    """Effects of directions by layer on all attributes, and which layers stand out.

    seen    scores of what is made of codes: (row, layer, ...) -> (row, factor)
    codes   draws: (row, layer, ...)
    moves   of any length, that of attribute k in place k, flattened or not: (factor, layer, ...)
    by      the length that all moves are brought to, in deviations of codes, and then taken in one layer alone
    random  directions of the same length. With 39 a false alarm has a rate of 2.5 % at most
    names   of the attributes, for messages
    among   codes whose covariance says what is long, more of them than they have dimensions; `codes`, if they are left out

    Errors: `InputError` for codes without layers, for a score that is constant over them or not known of one.
    """
    if codes.ndim < 3:
        raise InputError("codes have no layers that could be moved alone: (row, layer, style) is needed")
    if len(codes) < 2 or random < 1:
        raise InputError("two codes and one random direction at least")
    base = _scores(seen, codes, names)
    deviation = base.std(0)
    if not (deviation > 0).all():
        raise InputError(f"score {_name(names, deviation > 0)} is the same of every code")
    layers, space = codes.shape[1], Whitened(codes if among is None else among)

    def changes(move: np.ndarray, layer: int) -> np.ndarray:
        moved = edit(codes, move, by, slice(layer, layer + 1))
        return np.asarray((_scores(seen, moved, names) - base) / deviation)

    lengths = space.lengths(moves)
    if not (lengths > 0).all():
        raise InputError(f"move {int(np.argmin(lengths > 0))} leaves codes as they are")
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
            f"score {_name(names, np.atleast_1d(np.isfinite(scores).all(0)))} is not known of some codes"
        )
    return scores


def _name(names: Sequence[str], good: np.ndarray) -> str:
    """Of the first that is not good."""
    k = int(np.argmin(good))
    return repr(names[k]) if len(names) else str(k)
