"""Measures of a latent space, from codes, attributes and decoded data: functions of arrays and of callables."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.stats import norm
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LassoCV, LogisticRegression

from probgen.errors import InputError

STEP = 1e-2  # length of a step, as a share of a path
KEPT = 0.5  # share of the rows, furthest from the median of an attribute
TOLD = 0.01  # false-alarm rate of "a factor is predicted", over all factors
LEAST = 20  # fewest codes, fitted and tested together
BINS = 20  # bins of equal counts, for mutual information


def path_length(
    seen: Callable[[np.ndarray], np.ndarray],
    a: np.ndarray,
    b: np.ndarray,
    *,
    spherical: bool = False,
    seed: int = 0,
) -> float:
    """Return the perceptual path length (Karras et al. 2019, section 4.1).

        E |f(g(c(t))) - f(g(c(t + e)))|^2 / e^2,   t uniform in 0 .. 1

    Args:
        seen: f(g(.)): features of data decoded from codes, (row, code) -> (row, feature).
        a: Starts of paths, (row, code).
        b: Ends of paths, (row, code).
        spherical: True: paths along great circles of norm sqrt(code), for normal z. False: straight lines.
        seed: Seed of t.

    Returns:
        The path length, in squared units of the features.

    Raises:
        InputError: When spherical paths are requested for codes of one dimension.
    """
    if spherical and a.shape[1] < 2:
        raise InputError(
            "spherical = True: codes of one dimension have no great circles. Use spherical = False."
        )
    t = np.random.default_rng(seed).random((len(a), 1)) * (1 - STEP)
    way = _great_circle if spherical else _line
    steps = seen(way(a, b, t)) - seen(way(a, b, t + STEP))
    return float((np.square(steps).sum(1) / STEP**2).mean())


def separability(codes: np.ndarray, attributes: np.ndarray, *, seed: int = 0) -> float:
    """Return the linear separability of attributes (Karras et al. 2019, section 4.2).

    It is 2^(sum of H(Y | side of a hyperplane)), with entropies in bits, and 1 if hyperplanes separate all
    attributes. For each attribute, the half of the rows furthest from its median is used. Hyperplanes are
    fitted to one half of these rows and tested on the other; the paper tests on the fitted rows.

    Args:
        codes: Codes, (row, code).
        attributes: Attributes, (row, attribute).
        seed: Seed of the split.

    Returns:
        The separability, at least 1.
    """
    scaled = (codes - codes.mean(0)) / np.maximum(codes.std(0), 1e-12)
    bits = 0.0
    for k in range(attributes.shape[1]):
        distance = attributes[:, k] - np.median(attributes[:, k])
        sure = np.argsort(-np.abs(distance), kind="stable")[: int(len(codes) * KEPT)]
        order = np.random.default_rng(seed).permutation(sure)
        y, c, half = distance[order] > 0, scaled[order], len(order) // 2
        if len(set(y[:half])) < 2:
            continue  # all rows are on one side: the entropy is 0
        said = LogisticRegression(C=0.1, max_iter=300).fit(c[:half], y[:half]).predict(c[half:])
        for side in (False, True):
            at = said == side
            if at.any():
                p = float(y[half:][at].mean())
                bits -= at.mean() * sum(q * np.log2(q) for q in (p, 1 - p) if q > 0)
    return float(2**bits)


class DCI(NamedTuple):
    """Disentanglement, completeness and informativeness, each from 0 to 1.

    Attributes:
        disentanglement: How far each dimension of the code depends on one factor only.
        completeness: How far each factor depends on one dimension only.
        informativeness: R^2 of factors by a line in the code, on rows outside the fit.
    """

    disentanglement: float
    completeness: float
    informativeness: float


def dci(codes: np.ndarray, factors: np.ndarray, *, seed: int = 0) -> DCI:
    """Return disentanglement, completeness and informativeness (Eastwood & Williams, ICLR 2018, sections 2 and 4.1).

    The weights are coefficients of the lasso, fitted to one half of the rows; the other half is predicted. A
    factor that is not predicted better than chance (1 % over all factors) has no weights, because the entropy
    does not depend on the size of weights.

    Args:
        codes: Codes, (row, code).
        factors: Factors, (row, factor).
        seed: Seed of the split.

    Returns:
        The three measures.

    Raises:
        InputError: When there are fewer than 20 codes.
    """
    if len(codes) < LEAST:
        raise InputError(f"{len(codes)} codes are too few. Use at least {LEAST}.")
    x, y = _standard(codes), _standard(factors)
    a, b = np.array_split(np.random.default_rng(seed).permutation(len(x)), 2)
    R, told = np.zeros((x.shape[1], y.shape[1])), np.zeros(y.shape[1])
    for k in range(y.shape[1]):
        with warnings.catch_warnings():
            # the weakest penalties may not converge, and are not chosen
            warnings.simplefilter("ignore", ConvergenceWarning)
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
    """Return the mutual information gap (Chen et al., NeurIPS 2018, eq. 6).

    For each factor it is the gap between the information of the two best dimensions, divided by the entropy H
    of the factor. Both are put into 20 bins of equal counts; a factor with fewer values has one bin per
    value.

    Args:
        codes: Codes, (row, code).
        factors: Factors, (row, factor).

    Returns:
        The mean over factors, from 0 to 1.
    """
    parts = [_binned(c) for c in codes.T]
    gaps = []
    for factor in factors.T:
        known = _binned(factor)
        most = sorted([_information(part, known) for part in parts] + [0.0])
        gaps.append((most[-1] - most[-2]) / max(_information(known, known), 1e-12))
    return float(np.mean(gaps))


def sap(codes: np.ndarray, factors: np.ndarray) -> float:
    """Return the separated attribute predictability (Kumar, Sattigeri & Balakrishnan, ICLR 2018, section 3).

    It is the gap between R^2 of the two best dimensions.

    Args:
        codes: Codes, (row, code).
        factors: Factors, (row, factor).

    Returns:
        The mean over factors, from 0 to 1.
    """
    r2 = np.square(_standard(codes).T @ _standard(factors) / len(codes))
    most = np.sort(np.concatenate([r2, np.zeros((1, r2.shape[1]))]), axis=0)
    return float((most[-1] - most[-2]).mean())


def _standard(x: np.ndarray) -> np.ndarray:
    x = np.asarray(x, dtype=np.float64)
    return np.asarray((x - x.mean(0)) / np.maximum(x.std(0), 1e-12))


def _peaked(R: np.ndarray) -> np.ndarray:
    """Return 1 - entropy / greatest possible entropy of each row, 0 for a row of zeros: (row,)."""
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
    """Return the mutual information of two variables of whole numbers, in nats."""
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
