"""Draws at some moments of a fit, from the same z, of the first member."""

from __future__ import annotations

from typing import Any

import torch
import xarray as xr
from torch import Tensor

from probgen_gan.adversarial import Adversarial

MOMENTS = 8
NUMBERS = 20_000  # of a moment, about


class Snapshots:
    """At moments that double: 1/128, 1/64, ... of the steps. A part of what a fit keeps.

    z, c  of as many rows as a batch has: (*member, row, latent), (*member, row, context)
    """

    def __init__(self, module: Adversarial, steps: int, z: Tensor, c: Tensor | None):
        n = min(max(12, min(500, NUMBERS // module.event.size)), z.shape[-2])
        self.module, self.z, self.c = module, z[..., :n, :], None if c is None else c[..., :n, :]
        self.moments = sorted({max(1, steps >> i) for i in range(MOMENTS)})
        self.x: list[Tensor] = []

    def due(self, step: int) -> bool:
        """Whether this is a moment."""
        return step in self.moments

    @torch.no_grad()
    def take(self) -> None:
        """The draws as they are."""
        module = self.module
        y = module.generate(module.average, self.z, self.c)
        y = y[0] if module.members > 1 else y
        self.x.append(module.rounded(module.original(y)))

    def dataset(self) -> xr.Dataset:
        """x (moment, sample, *event); the moments are numbers of steps."""
        dims = ("moment", "sample", *self.module.event.dims)
        return xr.Dataset({"x": (dims, torch.stack(self.x).cpu().numpy())}, {"moment": self.moments})

    def state_dict(self) -> dict[str, Any]:
        """What was taken."""
        return {"x": list(self.x)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """As it was."""
        self.x = [x.to(self.z.device) for x in state["x"]]
