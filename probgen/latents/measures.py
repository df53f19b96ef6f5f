"""How a space of codes is laid out, as seen through what is made of them: functions of arrays and of callables."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.stats import norm
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LassoCV, LogisticRegression

from probgen.errors import InputError

STEP = 1e-2  # of the way, over which a path is measured
KEPT = 0.5  # of the rows, those that are surest of an attribute
TOLD = 0.01  # false-alarm rate of "a factor is told", over all factors together
LEAST = 20  # codes that are fitted to and judged on
BINS = 20  # of equal counts, of a number whose information is wanted


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
    if spherical and a.shape[1] < 2:
        raise InputError("codes of one dimension lie on no circle: take straight paths")
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


class DCI(NamedTuple):
    """Each from 0 to 1.

    disentanglement  whether a dimension of the code goes with one factor alone
    completeness     whether a factor goes with one dimension alone
    informativeness  R^2 of factors by a line in the code, of rows that it was not fitted to
    """

    disentanglement: float
    completeness: float
    informativeness: float


def dci(codes: np.ndarray, factors: np.ndarray, *, seed: int = 0) -> DCI:
    """Disentanglement, completeness, informativeness by weights of the lasso (Eastwood & Williams, ICLR 2018, section 2 and 4.1).

    Half of the rows are fitted to, and the other half are predicted. A factor that is not predicted better than chance (1 % over all factors)
    gets no weights, because the entropy does not depend on the size of weights.

    codes (row, code), factors (row, factor)
    """
    if len(codes) < LEAST:
        raise InputError(f"{len(codes)} codes: {LEAST} are needed at least")
    x, y = _standard(codes), _standard(factors)
    a, b = np.array_split(np.random.default_rng(seed).permutation(len(x)), 2)
    R, told = np.zeros((x.shape[1], y.shape[1])), np.zeros(y.shape[1])
    for k in range(y.shape[1]):
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", ConvergenceWarning
            )  # of the weakest penalties, which are not chosen
            lasso = LassoCV(cv=3, max_iter=3000, random_state=seed).fit(x[a], y[a, k])
        said = lasso.predict(x[b])
        told[k] = max(0.0, 1 - np.square(y[b, k] - said).mean() / max(y[b, k].var(), 1e-12))
        together = float(_standard(said) @ _standard(y[b, k])) / len(b)
        R[:, k] = np.abs(lasso.coef_) * (together > norm.isf(TOLD / y.shape[1]) / np.sqrt(len(b)))
    if not R.any():
        return DCI(0.0, 0.0, float(told.mean()))
    weight = R.sum(1) / R.sum()
    D = float((weight * _peaked(R)).sum())
    return DCI(D, float(_peaked(R.T).mean()), float(told.mean()))


def mig(codes: np.ndarray, factors: np.ndarray) -> float:
    """Mutual information gap (Chen et al., NeurIPS 2018, eq. 6): of each factor the information of the two best dimensions, as a share of H.

    codes (row, code), factors (row, factor); both in 20 bins of equal counts, a factor of fewer values in as many as it has.
    """
    parts = [_binned(c) for c in codes.T]
    gaps = []
    for factor in factors.T:
        known = _binned(factor)
        most = sorted([_information(part, known) for part in parts] + [0.0])
        gaps.append((most[-1] - most[-2]) / max(_information(known, known), 1e-12))
    return float(np.mean(gaps))


def sap(codes: np.ndarray, factors: np.ndarray) -> float:
    """Separated attribute predictability (Kumar, Sattigeri & Balakrishnan, ICLR 2018, section 3): the gap of R^2 of the two best dimensions.

    codes (row, code), factors (row, factor)
    """
    r2 = np.square(_standard(codes).T @ _standard(factors) / len(codes))
    most = np.sort(np.concatenate([r2, np.zeros((1, r2.shape[1]))]), axis=0)
    return float((most[-1] - most[-2]).mean())


def _standard(x: np.ndarray) -> np.ndarray:
    x = np.asarray(x, dtype=np.float64)
    return np.asarray((x - x.mean(0)) / np.maximum(x.std(0), 1e-12))


def _peaked(R: np.ndarray) -> np.ndarray:
    """1 less the entropy of each row as a share of the largest there can be; 0 of a row of zeros: (row,)."""
    if R.shape[1] == 1:
        return np.asarray((R[:, 0] > 0).astype(float))
    total = R.sum(1, keepdims=True)
    p = np.where(total > 0, R / np.where(total > 0, total, 1), 1 / R.shape[1])
    logs = np.where(p > 0, np.log(np.where(p > 0, p, 1)), 0)
    return np.asarray(1 + (p * logs).sum(1) / np.log(R.shape[1]))


def _binned(x: np.ndarray) -> np.ndarray:
    values, which = np.unique(x, return_inverse=True)
    if len(values) <= BINS:
        return which
    return np.digitize(x, np.quantile(x, np.linspace(0, 1, BINS + 1)[1:-1]))


def _information(a: np.ndarray, b: np.ndarray) -> float:
    """Of two variables of whole numbers, in nats."""
    p = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(p, (a, b), 1 / len(a))
    apart = p.sum(1, keepdims=True) * p.sum(0, keepdims=True)
    there = p > 0
    return float((p[there] * np.log(p[there] / apart[there])).sum())


def _line(a: np.ndarray, b: np.ndarray, t: np.ndarray) -> np.ndarray:
    return a + (b - a) * t


def _great_circle(a: np.ndarray, b: np.ndarray, t: np.ndarray) -> np.ndarray:
    u, v = (c / np.linalg.norm(c, axis=1, keepdims=True) for c in (a, b))
    angle = np.arccos(np.clip((u * v).sum(1, keepdims=True), -1, 1))
    way = (np.sin((1 - t) * angle) * u + np.sin(t * angle) * v) / np.maximum(np.sin(angle), 1e-12)
    return np.asarray(way * np.sqrt(a.shape[1]))
