"""The results that a recipe stores for every model, in addition to analyses: curves of the fit, and samples."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from probgen.codecs.sounds import from_mu_law, write_wav
from probgen.contract.definition import Gaussian
from probgen.contract.event import Event
from probgen.contract.fitted import Fitted
from probgen.contract.rows import evenly
from probgen.data.describe import symbols_of
from probgen.data.intake import prepare
from probgen.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REAL = 1000  # most rows of the data beside samples
COLUMNS = 12  # most conditions that have a column of images each


def history(fitted: Fitted, title: str) -> dict[str, Figure]:
    """Return the figures of the history of a fit, by name.

    A fit of one stage has the figure `history`: the loss and its parts by epoch, or by step. A fit of several stages has
    the figures `history-STAGE` by step.
    """
    from probgen import figures  # imports Matplotlib, which only figures need

    whole, size = fitted.history, fitted.options.model_dump().get("batch_size")
    rows, stages = fitted.provenance["data"]["rows"], dict.fromkeys(whole["stage"].values.tolist())
    wanted = {}
    for stage in stages:
        part = whole.isel(step=whole["stage"].values == stage)
        metrics = {str(k): v.values for k, v in part.data_vars.items() if np.isfinite(v).any()}
        x, xlabel, name, shows = part["step"].values + 1, "step", f"history-{stage}", f"Fit, stage {stage}"
        if len(stages) == 1:
            name, shows = "history", "Fit"
            # a text is one row, so an epoch may be meaningless for texts
            if size and None not in fitted.event.shape:
                x, xlabel = x * min(size, rows) / rows, "epoch"
        told = fitted.provenance
        said = figures.heading(
            shows, title, f"{rows} rows", figures.source(told["data"]), f"seed {told['seed']}"
        )
        wanted[name] = partial(figures.curves, metrics, x, xlabel, said, unit_of(fitted.event))
    return figures.suiting(wanted)


def unit_of(event: Event) -> str:
    """Return the unit of the losses of a fit."""
    if "time" in event.dims:
        return "nats per time step"
    return "nats per number of x" if event.dims and None in event.shape else "nats per row"


def real_rows(fitted: Fitted, data: xr.Dataset) -> np.ndarray | None:
    """Return rows of data as the model receives them, NaN if missing: a line of images, or up to 1,000 other rows.

    The result is None for rows of several lengths, and for rows that the model does not accept.
    """
    if None in fitted.event.shape:
        return None
    how: dict[str, Any] = {"event": fitted.event, "without": ("weight",), "dtype": fitted.dtype}
    n = COLUMNS if fitted.event.dims[-1:] == ("width",) else REAL
    try:
        rows = prepare(evenly(data, n), fitted.definition, **how).dataset
    except InputError:
        return None
    x = rows["x"].values
    return np.where(rows["observed"].values == 1, x, np.nan) if "observed" in rows else x


def names_of(given: dict[str, Any], data: xr.Dataset) -> list[str]:
    """Return a text for each combination of conditions: ["label 3, speaker theo", ...]."""
    words = []
    for name, values in given.items():
        names = symbols_of(data[name]) if name in data else ()
        words.append([v if isinstance(v, str) else f"{name} {names[v] if names else v}" for v in values])
    return [", ".join(each) for each in zip(*words, strict=True)]


def write_sounds(folder: Path, x: np.ndarray, rate: int) -> list[Path]:
    """Write samples of sounds to the files `samples-000.wav`, ...

    Args:
        folder: The folder of the files.
        x: The samples (sample, time) in levels of the mu-law.
        rate: The sampling rate in hertz.

    Returns:
        The paths of the files.

    Raises:
        RunError: When a file cannot be written.
    """
    files = [folder / f"samples-{i:03d}.wav" for i in range(len(x))]
    for file, row in zip(files, x, strict=True):
        write_wav(file, from_mu_law(row), rate)
    return files


def picture_of(
    fitted: Fitted,
    draws: xr.Dataset,
    title: str = "",
    names: list[str] | None = None,
    real: np.ndarray | None = None,
) -> Any:
    """Return a figure of samples, with the ellipses of the Gaussians if the model has Gaussians.

    Args:
        fitted: The fitted model.
        draws: The samples of the model.
        title: The title of the figure.
        names: The names of the features, or of the conditions of the samples, or None.
        real: Rows of the data, (row, *event), beside the samples, or None.

    Returns:
        A Matplotlib figure.

    Raises:
        InputError: When there is no figure for this event.
    """
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
        real=real,
    )
