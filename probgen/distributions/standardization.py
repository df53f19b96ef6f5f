"""Standardization to mean 0 and standard deviation 1, and its inverse, without loss of precision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from pyro.distributions.transforms import Transform
from torch import Tensor, nn
from torch.distributions import constraints


class Standardization(nn.Module):
    """A module that computes y = (x - loc) / scale in float64, for a model of any dtype.

    Because of float64, y keeps its precision even if loc is 1e9 standard deviations. The buffers stay float64 when a
    module that contains this one is cast. loc starts at 0 and scale at 1.

    Args:
        shape: Shape of `loc`.
        each: Whether `scale` has this shape, too; otherwise it is one number.

    Attributes:
        loc: The location, (*shape), in the units of x.
        scale: The scale, (*shape) or (), in the units of x.
    """

    loc: Tensor
    scale: Tensor

    def __init__(self, shape: tuple[int, ...] = (), each: bool = True):
        super().__init__()
        self.register_buffer("loc", torch.zeros(shape, dtype=torch.float64))
        self.register_buffer("scale", torch.ones(shape if each else (), dtype=torch.float64))

    def learn(self, loc: Tensor, scale: Tensor) -> None:
        """Set the location and the scale.

        Args:
            loc: New location, with as many elements as the buffer `loc`.
            scale: New scale, with as many elements as the buffer `scale`.
        """
        self.loc.copy_(loc.reshape(self.loc.shape))
        self.scale.copy_(scale.reshape(self.scale.shape))

    def forward(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """Return y = (x - loc) / scale.

        Args:
            x: Data, (..., *shape).
            dtype: The dtype of y, usually that of a network.

        Returns:
            Standardized data, (..., *shape).
        """
        return ((x.double() - self.loc) / self.scale).to(dtype)

    def inverse(self, y: Tensor) -> Tensor:
        """Return x = loc + scale y.

        Args:
            y: Standardized data, (..., *shape).

        Returns:
            Data, (..., *shape), in float64.
        """
        return self.loc + self.scale * y.double()

    def transform(self, dtype: torch.dtype) -> Transform:
        """Return the transform from y to x, for a `TransformedDistribution` over events of this shape.

        Args:
            dtype: The dtype of y, usually that of a network.

        Returns:
            A bijective transform.
        """
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
        """Return the sum of log scale over the event, ()."""
        return self.standard.scale.log().expand(self.standard.loc.shape).sum()
