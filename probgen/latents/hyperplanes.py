"""Directions in latent space along which an attribute changes.

They are normals of hyperplanes n . c = offset between codes with more and codes with less of the attribute.
Codes with layers are flattened. If codes lie in a subspace, the normals lie in it, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

from probgen.errors import InputError
from probgen.latents.whitening import Whitened

Method = Literal["least-squares", "logistic", "svm"]
# share of the scores at each end; Shen et al. 2020 use 2 %
SHARES = {"logistic": 0.1, "svm": 0.02}
EXTREMES = 0.1  # share of the held-out scores at each end, for `accuracy_extremes`
CHANCE = 0.01  # false-alarm rate of "better than chance"


@dataclass(frozen=True)
class Boundaries:
    """One hyperplane per attribute, fitted to all codes.

    The accuracies are measured on held-out codes with a second hyperplane, which is fitted to the other
    codes.

    Attributes:
        normal: Unit vectors, (factor, code).
        offset: The value of n . c at the boundary, (factor,). As many codes lie above it as scores above
            their split.
        deviation: Standard deviation of n . c over all codes, the unit of edits, (factor,).
        accuracy: Balanced accuracy on all held-out codes: the mean of the accuracies of both sides,
            (factor,).
        accuracy_extremes: The same for the tenths of the scores at both ends, (factor,).
        accuracy_middle: The same for the scores between these tenths, (factor,).
        r2: R^2 of held-out scores, by a line in n . c, (factor,).
        chance: True if the accuracy is not significantly above 1/2 (1 % level), or is unknown, (factor,).
    """

    normal: np.ndarray
    offset: np.ndarray
    deviation: np.ndarray
    accuracy: np.ndarray
    accuracy_extremes: np.ndarray
    accuracy_middle: np.ndarray
    r2: np.ndarray
    chance: np.ndarray


def boundaries(
    codes: np.ndarray,
    scores: np.ndarray,
    *,
    method: Method = "least-squares",
    share: float | None = None,
    middle: np.ndarray | None = None,
    held_out: float = 0.3,
    names: Sequence[str] = (),
    seed: int = 0,
) -> Boundaries:
    """Find boundaries of attributes, and measure their accuracy on held-out codes.

    Args:
        codes: Codes, (row, code), or with more dimensions, for example (row, layer, style).
        scores: Scores of each row in any unit, (row, factor).
        method: "least-squares": regression of all scores on codes. "logistic": logistic regression between
            the two extremes. "svm": the same with a support vector machine, as in InterFaceGAN (Shen, Gu,
            Tang & Zhou, CVPR 2020).
        share: Share of the scores at each end, for logistic (default 0.1) and svm (default 0.02).
        middle: Scores that split the two sides, (factor,). NaN, or None: the median.
        held_out: Share of the rows that are held out.
        names: Names of the attributes, for error messages.
        seed: Seed of the split and of the methods.

    Returns:
        The boundaries and their accuracies.

    Raises:
        InputError: When there are too few codes for the dimensions in which they vary, an attribute is
            constant, or an argument is out of range.
    """
    c, y = _checked(codes, scores, names)
    if method not in ("least-squares", *SHARES):
        raise InputError(f"method = {method!r}: there is no such method. Use least-squares, logistic or svm.")
    if share is not None and (method not in SHARES or not 0 < share <= 0.5):
        raise InputError(
            f"share = {share}: methods logistic and svm need a share of the scores above 0, up to 0.5. Change it, or leave it out."
        )
    if not 0 < held_out < 1:
        raise InputError(
            f"held_out = {held_out}: this is not a share of the rows. Use a number between 0 and 1."
        )
    order = np.random.default_rng(seed).permutation(len(c))
    judges, fitted = np.split(order, [max(2, round(held_out * len(c)))])
    space = Whitened(c[fitted])
    mean, axes = space.mean, space.axes
    if len(axes) == 0:
        raise InputError("codes: all codes are equal. Use different codes.")
    if len(fitted) <= len(axes) + 1:
        raise InputError(
            f"{len(c)} codes ({len(fitted)} without the held-out ones) are too few: they have {codes[0].size} numbers and vary "
            f"in at least {len(axes)} dimensions. Use more codes."
        )
    inside = (c - mean) @ axes.T
    split = np.median(y, axis=0)
    most = y.max(0)
    for k in range(y.shape[1]):
        if split[k] == most[k]:  # more than half have the greatest score: only they lie above the split
            split[k] = y[y[:, k] < most[k], k].max()
    if middle is not None:
        split = np.where(np.isnan(middle), split, middle)
    ends = share or SHARES.get(method, 0.5)
    normals, offsets, judged = [], [], []
    for k in range(y.shape[1]):
        n, offset = _boundary(inside, y[:, k], split[k], method, ends, seed)
        normals.append(n @ axes)
        offsets.append(offset + mean @ normals[-1])
        n, offset = _boundary(inside[fitted], y[fitted, k], split[k], method, ends, seed)
        slope, shift = np.polyfit(inside[fitted] @ n, y[fitted, k], 1)
        along = inside[judges] @ n
        judged.append(_judged(along > offset, y[judges, k], split[k], slope * along + shift))
    normal = np.array(normals)
    columns = [np.array(column) for column in zip(*judged, strict=True)]
    return Boundaries(normal, np.array(offsets), (c @ normal.T).std(0), *columns)


def _checked(
    codes: np.ndarray, scores: np.ndarray, names: Sequence[str] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """Return flattened codes and scores in float64."""
    c = np.asarray(codes, dtype=np.float64).reshape(len(codes), -1)
    y = np.asarray(scores, dtype=np.float64)
    if y.ndim != 2 or len(y) != len(c):
        raise InputError(f"scores: shape {y.shape} for {len(c)} codes. Use the shape (row, factor).")
    if len(c) < 4:
        raise InputError(f"{len(c)} codes are too few. Use at least 4, and more than they have dimensions.")
    if not (np.isfinite(c).all() and np.isfinite(y).all()):
        raise InputError("codes, scores: some values are not finite. Remove these rows.")
    for k in np.flatnonzero(np.ptp(y, axis=0) == 0):
        name = repr(names[int(k)]) if len(names) else k
        raise InputError(
            f"attribute {name}: it is {y[0, k]:.4g} for every sample, and no direction changes it. Leave it out of the scores."
        )
    return c, y


def _boundary(
    c: np.ndarray, y: np.ndarray, split: float, method: Method, share: float, seed: int
) -> tuple[np.ndarray, float]:
    """Return the unit normal, and the offset with as many codes above it as scores above the split."""
    normal = _normal(c, y, method, share, seed)
    normal = normal / np.linalg.norm(normal)
    return normal, float(np.quantile(c @ normal, (y <= split).mean()))


def _normal(c: np.ndarray, y: np.ndarray, method: Method, share: float, seed: int) -> np.ndarray:
    if method == "least-squares":
        return np.linalg.lstsq(c - c.mean(0), y - y.mean(), rcond=None)[0]
    count = max(1, round(share * len(y)))
    order = np.argsort(y, kind="stable")
    ends = np.r_[order[:count], order[-count:]]
    side = np.repeat([0, 1], count)
    if method == "svm":
        return np.asarray(SVC(kernel="linear", random_state=seed).fit(c[ends], side).coef_[0])
    scale = c[ends].std(0) + 1e-12
    return np.asarray(LogisticRegression(C=0.1, max_iter=500).fit(c[ends] / scale, side).coef_[0] / scale)


def _judged(
    said: np.ndarray, y: np.ndarray, split: float, line: np.ndarray
) -> tuple[float, float, float, float, bool]:
    """Return accuracy, accuracy_extremes, accuracy_middle, r2 and chance of held-out codes."""
    known, order, count = y > split, np.argsort(y, kind="stable"), max(1, round(EXTREMES * len(y)))
    ends, between = np.r_[order[:count], order[-count:]], order[count:-count]
    accuracy, error = _balanced(said, known)
    variance = y.var()
    return (
        accuracy,
        _balanced(said[ends], known[ends])[0],
        _balanced(said[between], known[between])[0],
        1 - np.square(y - line).mean() / variance if variance > 0 else np.nan,
        not accuracy > 0.5 + norm.isf(CHANCE) * error,
    )


def _balanced(said: np.ndarray, known: np.ndarray) -> tuple[float, float]:
    """Return the mean of the accuracies of both sides, and its standard deviation by chance.

    Both are NaN if there is only one side.
    """
    sides = [said[known == side] == side for side in (False, True)]
    if not all(map(len, sides)):
        return np.nan, np.nan
    accuracy = float(np.mean([side.mean() for side in sides]))
    return accuracy, float(np.sqrt(sum(0.25 / len(side) for side in sides)) / 2)
