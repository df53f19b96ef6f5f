"""Data of mean 0 and deviation 1, and back, without the loss of a digit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from pyro.distributions.transforms import Transform
from torch import Tensor, nn
from torch.distributions import constraints


class Standardization(nn.Module):
    """y = (x - loc) / scale, in float64 whatever the dtype of the model: an offset of 1e9 deviations costs y no digits.

    Its buffers stay float64 where a module that holds it is cast.

    shape  of loc
    each   whether scale has that shape too, or is one number
    """

    loc: Tensor
    scale: Tensor

    def __init__(self, shape: tuple[int, ...] = (), each: bool = True):
        super().__init__()
        self.register_buffer("loc", torch.zeros(shape, dtype=torch.float64))
        self.register_buffer("scale", torch.ones(shape if each else (), dtype=torch.float64))

    def learn(self, loc: Tensor, scale: Tensor) -> None:
        """Take these values, of the same numbers of elements."""
        self.loc.copy_(loc.reshape(self.loc.shape))
        self.scale.copy_(scale.reshape(self.scale.shape))

    def forward(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """y of x: (..., *shape), in the dtype of a network."""
        return ((x.double() - self.loc) / self.scale).to(dtype)

    def inverse(self, y: Tensor) -> Tensor:
        """x of y: (..., *shape), in float64."""
        return self.loc + self.scale * y.double()

    def transform(self, dtype: torch.dtype) -> Transform:
        """From y, in the dtype of a network, to x: of distributions over events of this shape."""
        return _ToData(self, dtype)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Standardization:
        before = dict(self._buffers)
        super()._apply(fn, recurse)
        for name, kept in before.items():
            moved = self._buffers[name]
            assert kept is not None
            assert moved is not None
            self._buffers[name] = kept.to(moved.device)
        return self


class _ToData(Transform):
    bijective = True

    def __init__(self, standard: Standardization, dtype: torch.dtype):
        super().__init__()
        self.standard, self.dtype = standard, dtype
        self.domain = self.codomain = constraints.independent(constraints.real, standard.loc.ndim)

    def _call(self, y: Tensor) -> Tensor:
        return self.standard.inverse(y)

    def _inverse(self, x: Tensor) -> Tensor:
        y: Tensor = self.standard(x, self.dtype)
        return y

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Tensor:
        """Sum of log scale: ()."""
        return self.standard.scale.log().expand(self.standard.loc.shape).sum()
