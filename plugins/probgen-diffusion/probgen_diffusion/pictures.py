"""Figures of a diffusion: the loss by noise level, and the way of samples from noise to data."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import xarray as xr
from matplotlib.figure import Figure

from probgen import Fitted, Rows
from probgen import figures as common
from probgen.contract.rows import evenly
from probgen_diffusion.sampling import ddim, descend
from probgen_diffusion.schedule import alpha_sigma, noised

ROWS, POINTS, SHOWN, MOMENTS = 128, 40, 6, 10


def pictures(fitted: Fitted, data: xr.Dataset, *, seed: int, device: Any) -> dict[str, Figure]:
    """Plot the figures of a fit.

    Args:
        fitted: The fitted model.
        data: Rows of the data.
        seed: Seed of the noise.
        device: Device of the computation.

    Returns:
        Figures by name: `noise`, the loss by noise level, and for images `path`, samples on their way from noise.
    """
    generator = torch.Generator().manual_seed(seed)
    found = {"noise": noise(fitted, evenly(data, ROWS), generator)}
    if fitted.event.is_image:
        found["path"] = path(fitted, evenly(data, SHOWN), generator)
    return found


@torch.no_grad()
def noise(fitted: Fitted, rows: xr.Dataset, generator: torch.Generator) -> Figure:
    """Plot the diffusion loss per unit of gamma, 1/2 E|eps - eps_hat|^2: the area below it is the loss."""
    module: Any = fitted.module
    [batch] = Rows(rows, fitted.event, dtype=fitted.dtype).chunks()
    y = module.values.encode(batch["x"], fitted.dtype)
    epsilon = module.epsilon({name: batch[name] for name in fitted.event.given})
    gammas, found = torch.linspace(module.gamma_0, module.gamma_1, POINTS, dtype=fitted.dtype), []
    for gamma in gammas:
        eps = torch.randn(y.shape, generator=generator, dtype=y.dtype)
        each = gamma.expand(len(y))
        square = (eps - epsilon(noised(y, each, eps), each)).square()
        found.append(float(0.5 * square.flatten(1).sum(1).mean()))
    figure, grid = common.sheet(width=6, height=3.4)
    grid[0, 0].plot(gammas.numpy(), found, lw=1.6)
    grid[0, 0].set_ylim(bottom=0)
    common.labeled(
        grid[0, 0], "gamma (negative log signal-to-noise ratio)", "loss per unit of gamma, in nats"
    )
    title = common.of_model(fitted, "Diffusion loss by noise level", f"{len(y)} rows")
    return common.titled(figure, title)


@torch.no_grad()
def path(fitted: Fitted, rows: xr.Dataset, generator: torch.Generator) -> Figure:
    """Plot the estimates x_hat of samples on their way from noise to x, under the conditions of rows."""
    module: Any = fitted.module
    [batch] = Rows(rows, fitted.event, dtype=fitted.dtype).chunks()
    epsilon = module.epsilon({name: batch[name] for name in fitted.event.given})
    z = torch.randn((len(batch["x"]), *fitted.event.fixed_shape), generator=generator, dtype=fitted.dtype)
    gammas, moments = module.schedule.times(5 * MOMENTS, z), []
    for i in range(0, len(gammas) - 1, 5):
        alpha, sigma = alpha_sigma(gammas[i])
        moments.append((z - sigma * epsilon(z, gammas[i].expand(len(z)))) / alpha)
        z = descend(ddim, epsilon, z, gammas[i : i + 6])
    shown = [module.values.mean(alpha_sigma(gammas[-1])[0] * y, module.gamma_0).numpy() for y in moments]
    above = [f"{float(gamma):.1f}" for gamma in gammas[:-1:5]]
    title = common.of_model(fitted, "Estimates of x on the way from noise, by gamma", f"{len(z)} samples")
    return common.strips(np.stack(shown, 1), fitted.event, title, above=above)
