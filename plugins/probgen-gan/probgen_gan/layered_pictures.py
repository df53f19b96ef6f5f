"""Figures of generators with layers: truncated samples, mixed styles, images of each level, and one class per line.

The samples of a figure use the same z wherever they can be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

import probgen
from probgen import Fitted
from probgen import figures as common
from probgen_gan.layered import layered

ACROSS = 10  # samples per line
PSI = (1.0, 0.7, 0.4, 0.0)
LIMITS = (None, 1.0, 0.5, 0.2)


def truncation(fitted: Fitted, towards: str, **again: Any) -> Figure:
    """Plot samples with decreasing psi, one line each, truncated towards the mean of w, the class or the cluster."""
    given = _start(fitted, **again)
    lines = [_drawn(fitted, given, mean=True, **again)]
    for psi in PSI[1:]:
        lines.append(_drawn(fitted, given, mean=True, truncation=psi, towards=towards, **again))
    title = common.of_model(fitted, f"Samples truncated towards the {towards}", "the same z in each column")
    return common.strips(np.stack(lines), fitted.event, title, beside=[f"psi {psi:g}" for psi in PSI])


def limits(fitted: Fitted, **again: Any) -> Figure:
    """Plot samples of z with smaller and smaller limits, one line each."""
    given = _start(fitted, **again)
    given.pop("z")
    lines = [_drawn(fitted, given, truncation=limit, n=1 if given else ACROSS, **again) for limit in LIMITS]
    title = common.of_model(fitted, "Samples of z within a limit")
    names = ["no limit" if limit is None else f"|z| < {limit:g}" for limit in LIMITS]
    return common.strips(np.stack(lines), fitted.event, title, beside=names)


def mixing(fitted: Fitted, **again: Any) -> Figure:
    """Plot a table of mixed styles: the first layers are from the left image, the other layers from the top image."""
    given = _start(fitted, **again)
    layers = probgen.sample(fitted, given=given, mean=True, **again)["styles"].values[0]
    half, n = layers.shape[1] // 2, ACROSS // 2
    rows, columns = layers[:n], layers[n:]
    table = [np.concatenate([rows[i : i + 1], columns]) for i in range(n)]
    for line in table:
        line[1:, :half] = line[0, :half]
    styles = np.concatenate([np.concatenate([rows[:1], columns]), *table])
    conditions = {name: np.resize(value, len(styles)) for name, value in given.items() if name != "z"}
    x = _drawn(fitted, {"styles": styles, **conditions}, mean=True, **again)
    x = x.reshape(n + 1, n + 1, *x.shape[1:])
    x[0, 0] = x.max()  # the corner has no meaning
    title = common.of_model(
        fitted, "Mixed styles", f"layers 1 to {half} from the left image, the others from the top image"
    )
    return common.strips(x, fitted.event, title)


def levels(fitted: Fitted, of_level: Callable[[Mapping[str, Tensor], int], Tensor], **again: Any) -> Figure:
    """Plot the images of each level from the same z, up-sampled, one line each."""
    module = layered(fitted)
    given = {k: torch.as_tensor(v) for k, v in _start(fitted, **again).items()}
    with torch.no_grad():
        lines = [module.finished(of_level(given, i)).numpy() for i in range(len(module.maps))]
    x = np.stack(lines).astype(np.float64)
    title = common.of_model(fitted, "Images of each level", "the same z in each column")
    return common.strips(x, fitted.event, title, beside=list(module.maps))


def classes(fitted: Fitted, **again: Any) -> Figure:
    """Plot samples of each class of the first condition, one line each."""
    name, part = next(iter(fitted.event.given.items()))
    known = np.repeat(np.arange(min(part.levels or 1, 20)), ACROSS)
    rest = {k: np.zeros(len(known), int) for k in fitted.event.given if k != name}
    x = _drawn(fitted, {name: known, **rest}, **again)
    names = part.symbols or [f"{name} {i}" for i in range(part.levels or 1)]
    title = common.of_model(fitted, f"Samples of each {name}")
    lines = x.reshape(-1, ACROSS, *x.shape[1:])
    return common.strips(lines, fitted.event, title, beside=names[: len(lines)])


def _start(fitted: Fitted, *, seed: int, device: Any) -> dict[str, np.ndarray]:
    """Return z and the conditions of a line, with all classes in turn."""
    z = np.random.default_rng(seed).standard_normal((ACROSS, layered(fitted).options.latent))
    return {"z": z} | {
        name: np.arange(ACROSS) % (part.levels or 1) for name, part in fitted.event.given.items()
    }


def _drawn(fitted: Fitted, given: dict[str, Any], *, n: int = 1, **how: Any) -> np.ndarray:
    x = probgen.sample(fitted, n, given=given or None, **how)["x"].values
    return np.asarray(x[0] if given else x)
