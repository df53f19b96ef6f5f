"""Square patches of images of any size, as the batches of `svi` or of a game."""

from __future__ import annotations

import numpy as np
import xarray as xr
from torch import Tensor

from probgen.contract.rows import Rows, as_tensor
from probgen.contract.seeds import key
from probgen.contract.sizes import sizes_of
from probgen.errors import InputError


class Patches:
    """Patches of x and, at the same position, of the conditions that are images.

    All patches have the same probability. Batches have the form of `Rows`. Images that are smaller than a
    patch are left out.

    Args:
        data: The rows.
        patch: The side of a patch, in pixels of x.
        turned: Whether each patch is rotated and mirrored at random, in one of eight ways.

    Attributes:
        n: The number of patches with as many pixels as the images together.
        valid: The complete validation rows, or None.

    Raises:
        InputError: When all images are smaller than a patch, or when a patch would contain fractions of
            pixels of a condition.
    """

    def __init__(self, data: Rows, patch: int, *, turned: bool):
        self.data, self.patch, self.turned, self.valid = data, patch, turned, data.valid
        event = data.event
        parts = {"x": event, **event.given}
        self._grids = {name: part.scale or 1 for name, part in parts.items() if part.is_image}
        self.step = int(np.lcm.reduce([part.scale or 1 for part in event.given.values()] or [1]))
        if patch % self.step:
            raise InputError(
                f"patch = {patch}: the side must be a multiple of {self.step}, the scale of the conditions. Choose a multiple of {self.step}."
            )
        sizes = sizes_of(data.dataset)
        self._free = (sizes - patch) // self.step + 1
        places = np.where((self._free > 0).all(1), self._free.prod(1), 0)
        if not places.any():
            height, width = sizes[sizes.prod(1).argmax()]
            raise InputError(
                f"patch = {patch}: no image is as large, the largest is {height} x {width}. Choose a smaller patch."
            )
        self._ends = np.cumsum(places)
        self.n = max(1, int(sizes[places > 0].prod(1).sum()) // patch**2)

    def batch(self, t: int, size: int, stage: str = "fit") -> dict[str, Tensor]:
        """Return batch number t of `size` patches, a function of (seed, stage, t) alone.

        Args:
            t: The number of the batch, from 0.
            size: The number of patches in the batch.
            stage: The stage of the fit; each stage has its own order.

        Returns:
            The tensors of the batch by name: (row, ...).
        """
        rng = np.random.default_rng(key(self.data.seed, "patches", stage, t))
        chosen = rng.integers(self._ends[-1], size=size)
        rows = np.searchsorted(self._ends, chosen, side="right")
        ways = rng.integers(8, size=size) if self.turned else np.zeros(size, int)
        corners = np.stack([rng.integers(self._free[row]) for row in rows]) * self.step
        found: dict[str, np.ndarray] = {}
        for name in ("x", *self.data.event.given):
            variable = self.data.dataset[name].variable  # it may be in a file
            if name not in self._grids:
                found[name] = variable[rows].values
                continue
            pairs = zip(rows, corners // self._grids[name], ways, strict=True)
            side = self.patch // self._grids[name]
            found[name] = np.stack(
                [_turned(_cut(variable, row, corner, side), way) for row, corner, way in pairs]
            )
        return self.data.ready({name: as_tensor(values) for name, values in found.items()})


def _cut(variable: xr.Variable, row: int, corner: np.ndarray, side: int) -> np.ndarray:
    top, left = map(int, corner)
    return np.asarray(variable[row, ..., top : top + side, left : left + side].values)


def _turned(image: np.ndarray, way: int) -> np.ndarray:
    """Return the image rotated by `way` quarter turns; the last four of the eight ways mirror it as well."""
    turned = np.rot90(image, way % 4, (-2, -1))
    return turned[..., ::-1] if way >= 4 else turned
