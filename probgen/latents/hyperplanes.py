"""Which way in a space of codes does an attribute change? Hyperplanes n . c = offset between codes that have more of it and codes that have less.

Codes are flattened where they have layers, and may lie in a subspace: normals then lie in it, too.
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
SHARES = {"logistic": 0.1, "svm": 0.02}  # of the scores at each end; Shen et al. 2020 take 2 %
EXTREMES = 0.1  # of the held-out scores at each end, that one accuracy is of
CHANCE = 0.01  # false-alarm rate of "better than chance"


@dataclass(frozen=True)
class Boundaries:
    """One hyperplane per attribute, fitted to all codes. The accuracies are those of a second one, fitted without the held-out codes.

    normal     unit vectors: (factor, code)
    offset     n . c at the boundary, in which as many codes lie above as scores do: (factor,)
    deviation  of n . c over all codes, the unit of edits: (factor,)
    accuracy   of held-out codes of all scores, the mean of the shares on either side that are told right: (factor,)
    accuracy_extremes, accuracy_middle   the same of the tenths of the scores at the ends, and of those between them
    r2         of held-out scores, by a line in n . c: (factor,)
    chance     True where the accuracy is not significantly above 1/2 (1 % level), or is not known
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
    """Boundaries of attributes, judged on codes that are held out.

    codes     (row, code), or (row, layer, style) and the like
    scores    of each row, any units: (row, factor)
    method    "least-squares": the regression of all scores on codes. "logistic": between the two extremes. "svm": the same by a support
              vector machine, as InterFaceGAN has it (Shen, Gu, Tang & Zhou, CVPR 2020)
    share     of the scores at each end, of logistic (0.1) and svm (0.02)
    middle    scores between the two sides, NaN or left out: the median
    held_out  share of the rows that judge
    names     of the attributes, for messages

    Errors: `InputError` for fewer codes than dimensions that they vary in, and for an attribute that is constant over them.
    """
    c, y = _checked(codes, scores, names)
    if method not in ("least-squares", *SHARES):
        raise InputError(f"method = {method!r}: least-squares, logistic or svm")
    if share is not None and (method not in SHARES or not 0 < share <= 0.5):
        raise InputError(
            f"share = {share}: of the scores at each end, above 0 to 0.5, of methods logistic and svm"
        )
    if not 0 < held_out < 1:
        raise InputError(f"held_out = {held_out}: a share of the rows, between 0 and 1")
    order = np.random.default_rng(seed).permutation(len(c))
    judges, fitted = np.split(order, [max(2, round(held_out * len(c)))])
    space = Whitened(c[fitted])
    mean, axes = space.mean, space.axes
    if len(axes) == 0:
        raise InputError("all codes are the same")
    if len(fitted) <= len(axes) + 1:
        raise InputError(
            f"{len(c)} codes, of which {len(fitted)} are fitted to, are too few: they are of {codes[0].size} numbers and vary in "
            f"{len(axes)} dimensions at least; draw more"
        )
    inside = (c - mean) @ axes.T
    split = np.median(y, axis=0)
    most = y.max(0)
    for k in range(y.shape[1]):
        if split[k] == most[k]:  # of more than half: these are above, and all others are not
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
    """Both in float64, codes flattened."""
    c = np.asarray(codes, dtype=np.float64).reshape(len(codes), -1)
    y = np.asarray(scores, dtype=np.float64)
    if y.ndim != 2 or len(y) != len(c):
        raise InputError(f"scores of shape {y.shape} of {len(c)} codes: (row, factor) is needed")
    if len(c) < 4:
        raise InputError(f"{len(c)} codes: 4 are needed at least, and more than they have dimensions")
    if not (np.isfinite(c).all() and np.isfinite(y).all()):
        raise InputError("codes and scores must be finite numbers")
    for k in np.flatnonzero(np.ptp(y, axis=0) == 0):
        name = repr(names[int(k)]) if len(names) else k
        raise InputError(
            f"attribute {name} is {y[0, k]:.4g} of every draw: there is no way along which it changes"
        )
    return c, y


def _boundary(
    c: np.ndarray, y: np.ndarray, split: float, method: Method, share: float, seed: int
) -> tuple[np.ndarray, float]:
    """Unit normal and offset, in which as many codes lie above as scores above the split."""
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
    """accuracy, accuracy_extremes, accuracy_middle, r2, chance, of codes that are held out."""
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
    """The mean of the shares of either side that are told right, and the deviation of that by chance; NaN of one side alone."""
    sides = [said[known == side] == side for side in (False, True)]
    if not all(map(len, sides)):
        return np.nan, np.nan
    accuracy = float(np.mean([side.mean() for side in sides]))
    return accuracy, float(np.sqrt(sum(0.25 / len(side) for side in sides)) / 2)
