"""Figures of a game: losses by step, samples by step with the data, D over the plane, samples with their nearest rows."""

from __future__ import annotations

import math
from typing import Any

import matplotlib
import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from sklearn.neighbors import NearestNeighbors

import probgen
from probgen import Fitted
from probgen import figures as common
from probgen.contract.rows import evenly
from probgen_gan.adversarial import DuelOptions, adversarial
from probgen_gan.implicit import member

ROWS = 2000  # rows of the data in a figure
NEAREST = 10  # samples that are shown with their nearest rows
SIDE = 200  # points along each side of the surface


def pictures(fitted: Fitted, data: xr.Dataset, **again: Any) -> dict[str, Figure]:
    """Plot the figures of a fitted GAN.

    Args:
        fitted: The fitted GAN.
        data: Rows of the data.
        **again: Seed and device for samples and scores.

    Returns:
        Figures by name: `game` for every GAN, `draws_by_step` for vectors and images, `nearest` for images, and
        `surface` and `members` for real data in the plane.
    """
    found = {"game": game(fitted)}
    if fitted.event.dims[-2:] == ("height", "width"):
        return found | {
            "draws_by_step": draws_by_step(fitted, data),
            "nearest": nearest(fitted, data, **again),
        }
    if len(fitted.event.shape) == 1 and fitted.event.size > 1:
        found["draws_by_step"] = draws_by_step(fitted, data)
    if fitted.event.shape == (2,) and not fitted.event.discrete and not fitted.event.given:
        found["surface"] = surface(member(fitted, 0), data, **again)
        if adversarial(fitted).members > 1:
            found["members"] = members(fitted, data, **again)
    return found


def game(fitted: Fitted) -> Figure:
    """Plot both losses by step, and V(G, D) if D is a probability. V is -log 4 if D cannot distinguish rows and samples."""
    assert isinstance(fitted.options, DuelOptions)
    history = fitted.history
    step = np.arange(1, history.sizes["step"] + 1)
    figure = Figure(figsize=(7, 5.5), layout="constrained")
    valued = "value" in history
    panels: Any = figure.subplots(2 if valued else 1, 1, sharex=True, squeeze=False)[:, 0]
    shown: list[tuple[str, ...]] = [("d_loss", "g_loss")]
    if valued:
        shown.insert(0, ("value",))
        panels[0].axhline(-math.log(4), color="0.6", lw=1, ls="--", label="-log 4")
        panels[0].set_ylabel("nats per pair")
    for axes, names in zip(panels, shown, strict=True):
        for name in names:
            at, mean = common.stretches(step, history[name].values)
            axes.plot(at, mean, lw=1.2, label={"value": "V(G, D)", "d_loss": "D", "g_loss": "G"}[name])
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    panels[-1].set_ylabel(f"loss ({fitted.options.loss})")
    panels[-1].set_xlabel("step of the generator")
    return figure


def draws_by_step(fitted: Fitted, data: xr.Dataset) -> Figure:
    """Plot samples of the first member from the same z, at several moments of the fit."""
    kept = fitted.groups["draws"]
    steps, x = kept["moment"].values, kept["x"].values
    if fitted.event.dims[-2:] == ("height", "width"):
        figure = common.strips(np.moveaxis(x[:, :12], 1, 0), fitted.event)
        figure.suptitle(f"the same z at steps {', '.join(map(str, steps))}", fontsize=9)
        return figure
    across = math.ceil(len(steps) / 2)
    figure = Figure(figsize=(2.6 * across, 5.4), layout="constrained")
    grid: Any = figure.subplots(2, across, sharex=True, sharey=True)
    for axes, step, draws in zip(grid.flat, steps, x, strict=False):
        _over(axes, data, draws)
        axes.set_title(f"step {step}", fontsize=8)
    return figure


def members(fitted: Fitted, data: xr.Dataset, **again: Any) -> Figure:
    """Plot samples of each member at the end of the fit."""
    n = adversarial(fitted).members
    across = math.ceil(math.sqrt(2.5 * n))
    down = math.ceil(n / across)
    figure = Figure(figsize=(2.4 * across, 2.5 * down), layout="constrained")
    grid: Any = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    for i, axes in enumerate(grid.flat):
        if i >= n:
            axes.set_axis_off()
            continue
        _over(axes, data, probgen.sample(fitted, 1000, given={"member": i}, **again)["x"].values)
        axes.set_title(f"member {i}", fontsize=8)
    return figure


def surface(fitted: Fitted, data: xr.Dataset, **again: Any) -> Figure:
    """Plot log p_data / p_G by the calibrated discriminator over the plane, with rows and samples."""
    middle, half = _middle(data)
    axis = np.linspace(-half, half, SIDE)
    points = np.stack(np.meshgrid(axis + middle[0], axis + middle[1]), -1)
    ratio = probgen.score(fitted, points.reshape(-1, 2), estimator="ratio", **again)["log_ratio"].values
    top = max(1.0, float(np.quantile(np.abs(ratio), 0.9)))
    figure = Figure(figsize=(7, 6), layout="constrained")
    axes = figure.add_subplot()
    shown = axes.imshow(
        ratio.reshape(SIDE, SIDE),
        extent=(middle[0] - half, middle[0] + half, middle[1] - half, middle[1] + half),
        origin="lower",
        cmap="RdBu",
        vmin=-top,
        vmax=top,
    )
    _over(axes, data, probgen.sample(fitted, 500, **again)["x"].values)
    figure.colorbar(shown, ax=axes, label="log p_data / p_G, nats, by the calibrated D")
    return figure


def nearest(fitted: Fitted, data: xr.Dataset, **again: Any) -> Figure:
    """Plot samples above their nearest rows of the data, by Euclidean distance."""
    given = {name: data[name].values[:NEAREST] for name in fitted.event.given}
    x = data["x"].values
    draws = probgen.sample(fitted, 1 if given else NEAREST, given=given, **again)["x"].values
    draws = draws.reshape(-1, *x.shape[1:])
    flat = x.reshape(len(x), -1).astype(np.float32)
    found = NearestNeighbors(n_neighbors=2).fit(flat).kneighbors(draws.reshape(len(draws), -1))[1]
    both = np.stack([draws, x[found[:, 0]], x[found[:, 1]]])
    figure = common.strips(both, fitted.event)
    figure.suptitle("samples, and below each sample its two nearest training rows", fontsize=9)
    return figure


def _over(axes: Any, data: xr.Dataset, draws: np.ndarray) -> None:
    rows = evenly(data, ROWS)["x"].values.astype(float)
    axes.scatter(rows[:, 0], rows[:, 1], s=3, color="0.75", linewidths=0)
    axes.scatter(
        draws[:, 0], draws[:, 1], s=3, color=matplotlib.colormaps["tab10"](3), alpha=0.5, linewidths=0
    )
    middle, half = _middle(data)
    axes.set(
        xlim=(middle[0] - half, middle[0] + half), ylim=(middle[1] - half, middle[1] + half), aspect="equal"
    )


def _middle(data: xr.Dataset) -> tuple[np.ndarray, float]:
    """Return the center of the square in a figure, and half of its side."""
    rows = evenly(data, ROWS)["x"].values.astype(float)
    return rows.mean(0), 1.3 * float(np.abs(rows - rows.mean(0)).max())
