"""GANs that are given an image: what `srgan` and `pix2pix` share.

A generator is a function of the image (and of z, where it has one). What it makes has no density; under a declared noise it has:

    x ~ DiscretizedNormal(G(image), s),     s the most likely one of the rows to choose by

so that it stands in one table with exact families: 6.02 dB are one bit.
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

FLOOR = 0.01  # of the learning rate


class ScoreOptions(Options):
    """What is said of a row."""

    estimator: Literal["critic", "normal"] = Field(
        "critic",
        description="the discriminator's output; log p of x as a normal around what is made, its deviation that of validation rows",
    )


def check_levels(what: str, part: Event) -> None:
    """Errors: `InputError` for what are no images in levels."""
    if not part.is_image or part.support != "integer" or (part.levels or 0) < 3:
        raise InputError(f"{what} must be images in levels, as 0 .. 255, not {part}")


def check_images(event: Event, name: str) -> Event:
    """The image that is given. Errors: `InputError` for what are no images in levels."""
    given = event.given[name]
    check_levels("x", event)
    check_levels(f"given {name!r}", given)
    return given


def standardized(x: Tensor, levels: int | None, dtype: torch.dtype) -> Tensor:
    """Levels as numbers from -1 to 1: (row, [channel,] height, width) -> (row, channel, height, width)."""
    y = x.to(dtype) * (2 / ((levels or 2) - 1)) - 1
    return y if y.dim() == 4 else y[:, None]


def original(y: Tensor, event: Event) -> Tensor:
    """The inverse, kept within the levels and not rounded."""
    x = ((y + 1) * (((event.levels or 2) - 1) / 2)).clamp(0, (event.levels or 2) - 1)
    return x if len(event.dims) == 3 else x[:, 0]


def under_noise(x: Tensor, mean: Tensor, s: Tensor, event: Event) -> xr.Dataset:
    """`log_prob` of rows under the declared noise, of deviation s in levels."""
    p = DiscretizedNormal(mean, s.to(mean), event.levels or 2, validate_args=False)
    found = log_prob(
        p.log_prob(x.to(mean)).flatten(1).sum(1), kind="exact", estimator="normal", measure="counting"
    )
    found["log_prob"].attrs["noise"] = float(s)
    return found


def critic(said: Tensor, loss: str) -> xr.Dataset:
    """What D says of rows on average over patches: (row, 1, h, w)."""
    attrs: dict[str, Any] = {
        "kind": "surrogate",
        "estimator": loss,
        "long_name": "mean output of the discriminator over patches",
    }
    return xr.Dataset({"critic": ("row", said.flatten(1).mean(1).cpu().numpy(), attrs)})


def rows_of_noise(data: Rows, run: Run) -> Rows:
    """The rows that the deviation is of: those to choose by; with a note, if there are none, those of the fit."""
    if data.valid is None:
        run.notes.append(
            "the deviation around the image is that of the rows of the fit; give rows to choose by for one that holds for others"
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
    """D and G as players, by Adam, with a learning rate that falls linearly after `hold`; G has an average.

    module  with `D`, `G` and `average`, and the options `d_rate`, `hold` and `average`
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
    """The root mean square of errors, over parts."""

    def __init__(self) -> None:
        self.total, self.numbers = 0.0, 0

    def add(self, error: Tensor) -> None:
        """Errors in levels."""
        self.total += float(error.double().square().sum())
        self.numbers += error.numel()

    @property
    def log(self) -> float:
        """Its logarithm."""
        return 0.5 * math.log(max(self.total / self.numbers, 1e-12))
