"""Samples of the first member at several moments of a fit, from the same z."""

from __future__ import annotations

from typing import Any

import torch
import xarray as xr
from torch import Tensor

from probgen_gan.adversarial import Adversarial

MOMENTS = 8
NUMBERS = 20_000  # approximate limit on the numbers in the samples of one moment


class Snapshots:
    """Samples at 1/128, 1/64, ... of the steps. Checkpoints contain this state.

    Args:
        module: The GAN.
        steps: Number of steps of the game.
        z: Latent codes of the rows of a batch, (*member, row, latent).
        c: Conditions of these rows, (*member, row, context), or None.
    """

    def __init__(self, module: Adversarial, steps: int, z: Tensor, c: Tensor | None):
        n = min(max(12, min(500, NUMBERS // module.event.size)), z.shape[-2])
        self.module, self.z, self.c = module, z[..., :n, :], None if c is None else c[..., :n, :]
        self.moments = sorted({max(1, steps >> i) for i in range(MOMENTS)})
        self.x: list[Tensor] = []

    def due(self, step: int) -> bool:
        """Return whether samples are stored after this step."""
        return step in self.moments

    @torch.no_grad()
    def take(self) -> None:
        """Store samples of the current average."""
        module = self.module
        y = module.generate(module.average, self.z, self.c)
        y = y[0] if module.members > 1 else y
        self.x.append(module.rounded(module.original(y)))

    def dataset(self) -> xr.Dataset:
        """Return x (moment, sample, *event), where `moment` is the number of completed steps."""
        dims = ("moment", "sample", *self.module.event.dims)
        return xr.Dataset({"x": (dims, torch.stack(self.x).cpu().numpy())}, {"moment": self.moments})

    def state_dict(self) -> dict[str, Any]:
        """Return the stored samples."""
        return {"x": list(self.x)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the stored samples."""
        self.x = [x.to(self.z.device) for x in state["x"]]
