"""The base of `srgan` and `pix2pix`: GANs that are conditioned on an image.

A generator is a function of the image (and of z, if it has a z). Its output has no density. With stated noise it has a density:

    x ~ DiscretizedNormal(G(image), s),     s fitted to validation rows by maximum likelihood

The scores can thus be compared with exact families: 6.02 dB are one bit.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
import xarray as xr
from pydantic import Field
from torch import Tensor, nn

from probgen import Event, Options, Rows, Run, log_prob
from probgen.distributions import DiscretizedNormal
from probgen.errors import InputError
from probgen.inference.training import rate
from probgen_gan.game import Average, Loss, Player

FLOOR = 0.01  # final learning rate, as a share of the initial one


class ScoreOptions(Options):
    """The options of `score` of GANs that are conditioned on an image.

    `critic` is the output of D. `normal` is log p of x under a normal around the image of G. The standard deviation is
    from validation rows.
    """

    estimator: Literal["critic", "normal"] = Field(
        "critic",
        description="output of D, or log p of x under a normal around the image of G",
    )


def check_levels(what: str, part: Event) -> None:
    """Check that an event has images of integer levels, at least 3, and raise `InputError` otherwise."""
    if not part.is_image or part.support != "integer" or (part.levels or 0) < 3:
        raise InputError(f"{what} = {part}: images of integer levels are needed, such as 0 .. 255.")


def check_images(event: Event, name: str) -> Event:
    """Return the event of the given image, and raise `InputError` if x or this image has no integer levels."""
    given = event.given[name]
    check_levels("x", event)
    check_levels(f"given {name!r}", given)
    return given


def standardized(x: Tensor, levels: int | None, dtype: torch.dtype) -> Tensor:
    """Scale levels to -1 .. 1: (row, [channel,] height, width) -> (row, channel, height, width)."""
    y = x.to(dtype) * (2 / ((levels or 2) - 1)) - 1
    return y if y.dim() == 4 else y[:, None]


def original(y: Tensor, event: Event) -> Tensor:
    """Convert -1 .. 1 to levels, clamped to their range and not rounded: the inverse of `standardized`."""
    x = ((y + 1) * (((event.levels or 2) - 1) / 2)).clamp(0, (event.levels or 2) - 1)
    return x if len(event.dims) == 3 else x[:, 0]


def under_noise(x: Tensor, mean: Tensor, s: Tensor, event: Event) -> xr.Dataset:
    """Compute `log_prob` of rows in nats, under stated noise with standard deviation s in levels."""
    p = DiscretizedNormal(mean, s.to(mean), event.levels or 2, validate_args=False)
    found = log_prob(
        p.log_prob(x.to(mean)).flatten(1).sum(1), kind="exact", estimator="normal", measure="counting"
    )
    found["log_prob"].attrs["noise"] = float(s)
    return found


def critic(said: Tensor, loss: str) -> xr.Dataset:
    """Return the outputs of D, (row, 1, h, w), averaged over patches."""
    attrs: dict[str, Any] = {
        "kind": "surrogate",
        "estimator": loss,
        "long_name": "mean output of the discriminator over patches",
    }
    return xr.Dataset({"critic": ("row", said.flatten(1).mean(1).cpu().numpy(), attrs)})


def rows_of_noise(data: Rows, run: Run) -> Rows:
    """Return the rows for the deviation: validation rows, or training rows with a note if there are no validation rows."""
    if data.valid is None:
        run.notes.append(
            "the deviation around the image is from rows of the fit; give validation rows for a deviation that holds for new rows"
        )
    return data.valid or data


def d_and_g(
    module: Any,
    d_loss: Loss,
    g_loss: Loss,
    *,
    learning_rate: float,
    betas: tuple[float, float],
) -> dict[str, Player]:
    """Return D and G as players, with Adam and a learning rate that decreases linearly after `hold`. G has an average.

    Args:
        module: Module with `D`, `G`, `average`, and `options` with `d_rate`, `hold` and `average`.
        d_loss: Loss of D.
        g_loss: Loss of G.
        learning_rate: Learning rate of G. The learning rate of D is `d_rate` times larger.
        betas: Adam's beta1 and beta2.

    Returns:
        The players by name, `d` and `g`.
    """
    o = module.options

    def adam(net: nn.Module, factor: float) -> torch.optim.Adam:
        return torch.optim.Adam(net.parameters(), lr=factor * learning_rate, betas=betas, fused=True)

    def factor(gone: float) -> float:
        return rate("linear", gone, o.hold, FLOOR)

    average = Average(module.G, module.average, o.average)
    d, g = adam(module.D, o.d_rate), adam(module.G, 1.0)
    return {
        "d": Player(module.D, d, d_loss, rate=factor, role="the discriminator D"),
        "g": Player(module.G, g, g_loss, rate=factor, average=average, role="the generator G"),
    }


class Deviation:
    """The root mean square of errors that are added in parts."""

    def __init__(self) -> None:
        self.total, self.numbers = 0.0, 0

    def add(self, error: Tensor) -> None:
        """Add errors in levels."""
        self.total += float(error.double().square().sum())
        self.numbers += error.numel()

    @property
    def log(self) -> float:
        """The logarithm of the root mean square error."""
        return 0.5 * math.log(max(self.total / self.numbers, 1e-12))
