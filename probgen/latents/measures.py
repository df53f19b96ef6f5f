"""How a space of codes is laid out, as seen through what is made of them: functions of arrays and of callables."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sklearn.linear_model import LogisticRegression

STEP = 1e-2  # of the way, over which a path is measured
KEPT = 0.5  # of the rows, those that are surest of an attribute


def path_length(
    seen: Callable[[np.ndarray], np.ndarray],
    a: np.ndarray,
    b: np.ndarray,
    *,
    spherical: bool = False,
    seed: int = 0,
) -> float:
    """Perceptual path length: E |f(g(c(t))) - f(g(c(t + e)))|^2 / e^2, t uniform in 0 .. 1 (Karras et al. 2019, section 4.1).

    seen       f(g(.)): features of what is made of codes, (row, code) -> (row, feature)
    a, b       ends of paths: (row, code)
    spherical  paths along great circles, of norm sqrt(code), as for normal z; straight lines if not
    """
    t = np.random.default_rng(seed).random((len(a), 1)) * (1 - STEP)
    way = _great_circle if spherical else _line
    steps = seen(way(a, b, t)) - seen(way(a, b, t + STEP))
    return float((np.square(steps).sum(1) / STEP**2).mean())


def separability(codes: np.ndarray, attributes: np.ndarray, *, seed: int = 0) -> float:
    """2^(sum of H(Y | what a hyperplane says)), in bits: 1 where hyperplanes tell all attributes (Karras et al. 2019, section 4.2).

    Of each attribute the half of the rows that is furthest from its median is kept. Hyperplanes are fitted to one half of these and judged
    on the other, where the paper judges them on rows that they were fitted to.

    codes (row, code), attributes (row, attribute)
    """
    scaled = (codes - codes.mean(0)) / np.maximum(codes.std(0), 1e-12)
    bits = 0.0
    for k in range(attributes.shape[1]):
        distance = attributes[:, k] - np.median(attributes[:, k])
        sure = np.argsort(-np.abs(distance), kind="stable")[: int(len(codes) * KEPT)]
        order = np.random.default_rng(seed).permutation(sure)
        y, c, half = distance[order] > 0, scaled[order], len(order) // 2
        if len(set(y[:half])) < 2:
            continue  # all on one side: there is nothing to tell
        said = LogisticRegression(C=0.1, max_iter=300).fit(c[:half], y[:half]).predict(c[half:])
        for side in (False, True):
            at = said == side
            if at.any():
                p = float(y[half:][at].mean())
                bits -= at.mean() * sum(q * np.log2(q) for q in (p, 1 - p) if q > 0)
    return float(2**bits)


def _line(a: np.ndarray, b: np.ndarray, t: np.ndarray) -> np.ndarray:
    return a + (b - a) * t


def _great_circle(a: np.ndarray, b: np.ndarray, t: np.ndarray) -> np.ndarray:
    u, v = (c / np.linalg.norm(c, axis=1, keepdims=True) for c in (a, b))
    angle = np.arccos(np.clip((u * v).sum(1, keepdims=True), -1, 1))
    way = (np.sin((1 - t) * angle) * u + np.sin(t * angle) * v) / np.maximum(np.sin(angle), 1e-12)
    return np.asarray(way * np.sqrt(a.shape[1]))
