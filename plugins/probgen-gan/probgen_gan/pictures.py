"""Figures of a game: losses and distances by step, samples by step with the data, D over the plane, samples with their nearest rows."""

from __future__ import annotations

import math
from typing import Any

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
SHOWN = 1000  # samples of a member
LINES = 6  # lines of a figure of images by step
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
    found = {"game": game(fitted, data)}
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


def game(fitted: Fitted, data: xr.Dataset) -> Figure:
    """Plot both losses by step, and how near samples and rows are to each other at several moments of the fit.

    If D is a probability, its loss is log 4 when it cannot tell rows from samples. Rows of the data among themselves are
    the measure of the distances: samples that are farther from the rows are poor, and rows that are farther from the
    samples are left out.
    """
    assert isinstance(fitted.options, DuelOptions)
    history = fitted.history
    step = np.arange(1, history.sizes["step"] + 1)
    figure, grid = common.sheet(2, 1, width=7, height=5.6, sharex=True)
    above, below = grid[:, 0]
    losses = {}
    for i, name in enumerate(("D", "G")):
        values, color = history[f"{name.lower()}_loss"].values, common.PALETTE[i]
        above.plot(step, values, lw=0.4, alpha=0.3, color=color)
        at, mean = common.stretches(step, values)
        losses[name] = above.plot(at, mean, lw=1.6, color=color)[0]
    if "value" in history:
        losses["log 4"] = above.axhline(math.log(4), color=common.PALETTE[0], lw=1, ls="--")
    common.name_lines(above, losses)
    common.labeled(above, y=f"{fitted.options.loss} loss, nats per pair")
    moments, distances = apart(fitted, data)
    lines = {
        name: below.plot(moments, values, color=common.PALETTE[2 + i], marker="os"[i])[0]
        for i, (name, values) in enumerate(distances.items())
        if name != "rows"
    }
    lines["rows to rows"] = below.axhline(distances["rows"][0], color="0.5", lw=1, ls="--")
    below.set_ylim(0, None)
    common.name_lines(below, lines)
    common.labeled(below, "step of the generator", "distance, in units of x")
    common.whole_ticks(below.xaxis)
    return common.titled(figure, common.of_model(fitted, "Losses of the game, and samples by step"))


def apart(fitted: Fitted, data: xr.Dataset) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return mean distances to the nearest neighbor at the moments of the stored samples.

    Args:
        fitted: The fitted GAN.
        data: Rows of the data.

    Returns:
        The moments (steps), and distances from samples to rows, from rows to samples and between rows, (moment,) each.
    """
    kept = fitted.groups["draws"]
    draws = kept["x"].values.reshape(kept.sizes["moment"], kept.sizes["sample"], -1).astype(np.float32)
    rows = evenly(data, 2 * draws.shape[1])["x"].values
    rows = rows.reshape(len(rows), -1).astype(np.float32)
    # as many neighbors to choose from each time, because the nearest of many is nearer
    rows, others = rows[::2], rows[1::2]

    def distance(points: np.ndarray, neighbors: np.ndarray) -> float:
        return float(NearestNeighbors(n_neighbors=1).fit(neighbors).kneighbors(points)[0].mean())

    return kept["moment"].values, {
        "samples to rows": np.array([distance(x, rows) for x in draws]),
        "rows to samples": np.array([distance(rows, x) for x in draws]),
        "rows": np.full(len(draws), distance(rows, others)),
    }


def draws_by_step(fitted: Fitted, data: xr.Dataset) -> Figure:
    """Plot samples of the first member from the same z, at several moments of the fit."""
    kept = fitted.groups["draws"]
    steps, x = kept["moment"].values, kept["x"].values
    if fitted.event.dims[-2:] == ("height", "width"):
        named = [f"step {steps[0]}", *map(str, steps[1:])]
        title = common.of_model(fitted, "Samples by step, from the same z in each line")
        return common.strips(np.moveaxis(x[:, :LINES], 1, 0), fitted.event, title, above=named)
    title = common.of_model(fitted, "Samples by step, from the same z")
    panels = {f"step {step}": draws for step, draws in zip(steps, x, strict=True)}
    return _planes(panels, data, math.ceil(len(steps) / 2), title)


def members(fitted: Fitted, data: xr.Dataset, **again: Any) -> Figure:
    """Plot samples of each member at the end of the fit."""
    n = adversarial(fitted).members
    panels = {
        f"member {i}": probgen.sample(fitted, SHOWN, given={"member": i}, **again)["x"].values
        for i in range(n)
    }
    title = common.of_model(fitted, "Samples of each member", f"{SHOWN} samples each")
    return _planes(panels, data, math.ceil(math.sqrt(2.5 * n)), title)


def surface(fitted: Fitted, data: xr.Dataset, **again: Any) -> Figure:
    """Plot log p_data / p_G by the calibrated discriminator over the plane, with rows and samples."""
    middle, half = _middle(data)
    axis = np.linspace(-half, half, SIDE)
    points = np.stack(np.meshgrid(axis + middle[0], axis + middle[1]), -1)
    ratio = probgen.score(fitted, points.reshape(-1, 2), estimator="ratio", **again)["log_ratio"].values
    top = max(1.0, float(np.quantile(np.abs(ratio), 0.9)))
    figure, grid = common.sheet(width=7, height=6.4)
    axes = grid[0, 0]
    shown = axes.imshow(
        ratio.reshape(SIDE, SIDE),
        extent=(middle[0] - half, middle[0] + half, middle[1] - half, middle[1] + half),
        origin="lower",
        cmap="RdBu_r",
        vmin=-top,
        vmax=top,
    )
    _over(axes, data, probgen.sample(fitted, 500, **again)["x"].values)
    common.labeled(axes, *_names(data))
    common.legend(axes, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, markerscale=3)
    common.color_bar(figure, shown, axes, "log p_data / p_G by the calibrated D, in nats", shrink=0.8)
    return common.titled(
        figure, common.of_model(fitted, "Where the discriminator misses samples", "500 samples")
    )


def nearest(fitted: Fitted, data: xr.Dataset, **again: Any) -> Figure:
    """Plot samples above their nearest rows of the data, by Euclidean distance."""
    given = {name: data[name].values[:NEAREST] for name in fitted.event.given}
    x = data["x"].values
    draws = probgen.sample(fitted, 1 if given else NEAREST, given=given, **again)["x"].values
    draws = draws.reshape(-1, *x.shape[1:])
    flat = x.reshape(len(x), -1).astype(np.float32)
    apart, found = NearestNeighbors(n_neighbors=2).fit(flat).kneighbors(draws.reshape(len(draws), -1))
    usual = NearestNeighbors(n_neighbors=1).fit(flat).kneighbors()[0].mean()
    both = np.stack([draws, x[found[:, 0]], x[found[:, 1]]])
    title = common.of_model(
        fitted,
        "Samples and their nearest rows",
        f"distances in units of x; between neighboring rows {usual:.3g}",
    )
    told = [f"{d:.3g}" for d in apart[:, 0]]
    return common.strips(both, fitted.event, title, above=told, beside=["sample", "nearest", "second"])


def _planes(panels: dict[str, np.ndarray], data: xr.Dataset, across: int, title: str) -> Figure:
    """Plot samples over rows of the data in the plane of the first two features, one panel each."""
    down = math.ceil(len(panels) / across)
    figure, grid = common.sheet(
        down, across, width=2.2 * across, height=2.3 * down + 0.8, sharex=True, sharey=True
    )
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    names = _names(data)
    for i, (axes, (name, draws)) in enumerate(zip(grid.flat, panels.items(), strict=False)):
        _over(axes, data, draws)
        last = i + across >= len(panels)
        common.labeled(axes, names[0] if last else "", names[1] if i % across == 0 else "", name)
        axes.tick_params(labelbottom=last)
    common.legend(grid[0, 0], loc="lower left", bbox_to_anchor=(0, 1.1), ncols=2, markerscale=3)
    return common.titled(figure, title)


def _names(data: xr.Dataset) -> list[str]:
    """Return names of the first two features."""
    x = data["x"]
    feature = x.dims[1]
    return [str(x[feature].values[i]) if feature in x.coords else f"{feature} {i}" for i in (0, 1)]


def _over(axes: Any, data: xr.Dataset, draws: np.ndarray) -> None:
    rows = evenly(data, ROWS)["x"].values.astype(float)
    axes.scatter(rows[:, 0], rows[:, 1], s=3, color="0.7", linewidths=0, label="data")
    axes.scatter(
        draws[:, 0],
        draws[:, 1],
        s=5,
        marker="^",
        color=common.PALETTE[1],
        alpha=0.6,
        linewidths=0,
        label="samples",
    )
    middle, half = _middle(data)
    axes.set(
        xlim=(middle[0] - half, middle[0] + half), ylim=(middle[1] - half, middle[1] + half), aspect="equal"
    )


def _middle(data: xr.Dataset) -> tuple[np.ndarray, float]:
    """Return the center of the square in a figure, and half of its side."""
    rows = evenly(data, ROWS)["x"].values.astype(float)
    return rows.mean(0), 1.3 * float(np.abs(rows - rows.mean(0)).max())
