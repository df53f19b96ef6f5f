"""Figures of a flow: its density in the plane, and the latents of rows against the standard normal distribution."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

import probgen
from probgen import Fitted
from probgen import figures as common
from probgen.contract.conditions import conditions_in
from probgen.contract.rows import evenly
from probgen.figures.style import SEQUENTIAL

ROWS, SHOWN = 2000, 500  # rows of the latents, and beside the density
POINTS = 200  # of the grid, on each side


def pictures(fitted: Fitted, data: xr.Dataset, **again: Any) -> dict[str, Figure]:
    """Plot the density of a plane, and the latents of rows.

    Args:
        fitted: The fitted flow.
        data: The rows of the fit.
        **again: `seed` and `device` of the calls.

    Returns:
        The figures by file name.
    """
    rows = evenly(data, ROWS)
    found = {"latents": latents(fitted, rows, again)}
    if fitted.event.shape == (2,) and not fitted.event.discrete and not fitted.event.given:
        found["density"] = density(fitted, rows, again)
    return found


def latents(fitted: Fitted, rows: xr.Dataset, again: dict[str, Any]) -> Figure:
    """Plot the quantiles of each latent of rows against those of the standard normal distribution."""
    given = {"x": rows["x"].values, **conditions_in(rows, fitted.event)}
    z = np.sort(probgen.sample(fitted, given=given, **again)["z"].values[0], 0)
    share = (np.arange(len(z)) + 0.5) / len(z)
    normal = _quantiles(share)
    figure, grid = common.sheet(width=5, height=5)
    axes = grid[0, 0]
    axes.plot(normal, z, lw=0.8, alpha=max(0.1, min(1.0, 4 / z.shape[1])), color=common.PALETTE[0])
    axes.plot(normal, normal, lw=1, ls="--", color="0.3")
    axes.set_aspect("equal", adjustable="datalim")
    common.labeled(axes, "quantiles of Normal(0, 1)", "quantiles of each z of the rows")
    return common.titled(
        figure, common.of_model(fitted, "Latents of the rows, one line each", f"{len(z)} rows")
    )


def density(fitted: Fitted, rows: xr.Dataset, again: dict[str, Any]) -> Figure:
    """Plot p(x) on a grid that covers the rows, and some of the rows; the color ends at the 99.5 % quantile."""
    x = rows["x"].values
    margin = 0.15 * np.ptp(x, 0)
    (left, low), (right, high) = x.min(0) - margin, x.max(0) + margin
    across, up = np.linspace(left, right, POINTS), np.linspace(low, high, POINTS)
    points = np.stack(np.meshgrid(across, up), -1).reshape(-1, 2)
    grid_rows = xr.Dataset({"x": (("row", *fitted.event.dims), points, rows["x"].attrs)})
    if fitted.event.columns:
        grid_rows = grid_rows.assign_coords({fitted.event.dims[0]: rows[fitted.event.dims[0]]})
    p = np.exp(probgen.score(fitted, grid_rows, **again)["log_prob"].values).reshape(POINTS, POINTS)
    figure, grid = common.sheet(width=6, height=5)
    axes = grid[0, 0]
    shown = axes.imshow(
        p,
        cmap=SEQUENTIAL,
        vmin=0,
        vmax=np.quantile(p, 0.995),
        origin="lower",
        extent=(left, right, low, high),
        aspect="auto",
    )
    axes.plot(*x[:SHOWN].T, ".", ms=2, color=common.PALETTE[1], alpha=0.5)
    figure.colorbar(shown, ax=axes, label="p(x), per unit of area", extend="max")
    names = [column.name for column in fitted.event.columns] or ["feature 0", "feature 1"]
    common.labeled(axes, *names)
    return common.titled(
        figure, common.of_model(fitted, "Density, and rows of the data", f"{len(x[:SHOWN])} rows")
    )


def _quantiles(share: np.ndarray) -> np.ndarray:
    from scipy.special import ndtri  # takes long to import, and few calls draw figures

    return np.asarray(ndtri(share))
