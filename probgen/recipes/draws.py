"""What a recipe keeps of every model beside its analyses: curves of the fit, draws, figures that the family brings."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from probgen.codecs.sounds import from_mu_law, write_wav
from probgen.contract.definition import Gaussian
from probgen.contract.fitted import Fitted
from probgen.data.describe import symbols_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def history(fitted: Fitted, title: str) -> dict[str, Figure]:
    """`history`: the loss and its parts by epoch; of several stages each by its steps, `history-STAGE`."""
    from probgen import figures  # Matplotlib: for pictures alone

    whole, size = fitted.history, fitted.options.model_dump().get("batch_size")
    rows, stages = fitted.provenance["data"]["rows"], dict.fromkeys(whole["stage"].values.tolist())
    wanted = {}
    for stage in stages:
        part = whole.isel(step=whole["stage"].values == stage)
        metrics = {str(k): v.values for k, v in part.data_vars.items() if np.isfinite(v).any()}
        x, xlabel, name, said = part["step"].values + 1, "step", f"history-{stage}", f"{title}, {stage}"
        if len(stages) == 1:
            name, said = "history", title
            # a text is a row, of which there may be one
            if size and None not in fitted.event.shape:
                x, xlabel = x * min(size, rows) / rows, "epoch"
        wanted[name] = partial(figures.curves, metrics, x, xlabel, said)
    return figures.suiting(wanted)


def names_of(given: dict[str, Any], data: xr.Dataset) -> list[str]:
    """What each of the conditions is, in words: ["label 3, speaker theo", ...]."""
    words = []
    for name, values in given.items():
        names = symbols_of(data[name]) if name in data else ()
        words.append([v if isinstance(v, str) else f"{name} {names[v] if names else v}" for v in values])
    return [", ".join(each) for each in zip(*words, strict=True)]


def write_sounds(folder: Path, x: np.ndarray, rate: int) -> None:
    """Draws of a sound as `samples-000.wav`, ...: x (sample, time) in levels of the mu-law. Errors: `RunError`."""
    for i, row in enumerate(x):
        write_wav(folder / f"samples-{i:03d}.wav", from_mu_law(row), rate)


def picture_of(fitted: Fitted, draws: xr.Dataset, title: str = "", names: list[str] | None = None) -> Any:
    """The figure of draws of a fitted model, with the ellipses of its Gaussians where it has some."""
    from probgen import figures

    x = draws["x"].values
    x = x.reshape(-1, *x.shape[-len(fitted.event.dims) :])
    module = fitted.module
    return figures.draw(
        x[: 100 if fitted.event.dims[-1] == "width" else 10_000],
        fitted.event,
        title=title,
        names=names or None,
        gaussians=module.gaussians() if isinstance(module, Gaussian) else None,
    )
