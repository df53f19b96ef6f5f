"""Bijections of vectors, composed of zuko's transforms (Dinh et al. 2017; Papamakarios et al. 2017; Durkan et al. 2019).

    z_i = f(y_i; theta_i),    theta_i = net(y_j for the parents j of i, c)

The parents are the values before i in an order (autoregressive), or one half of the values, which stays as it is (coupling).
f is affine, or a monotonic rational-quadratic spline of K bins on [-5, 5].
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Distribution

from probgen import Options
from probgen.contract.options import only


@contextmanager
def _distributions_kept() -> Iterator[None]:
    """Restore what zuko's import changes in every torch distribution: argument checks are off, and their list is empty."""
    kept = {name: vars(Distribution)[name] for name in ("_validate_args", "arg_constraints")}
    yield
    for name, value in kept.items():
        setattr(Distribution, name, value)


with _distributions_kept():
    from zuko.flows.autoregressive import MaskedAutoregressiveTransform
    from zuko.flows.coupling import GeneralCouplingTransform
    from zuko.lazy import LazyComposedTransform
    from zuko.transforms import MonotonicAffineTransform, MonotonicRQSTransform

Structure = Literal["autoregressive", "coupling"]
Transform = Literal["affine", "spline"]
TRANSFORM = "function of one value: affine, or a monotonic rational-quadratic spline"
SLOPE = 1e-3  # least slope of f


class BijectionOptions(Options):
    """The options of the transforms of vectors."""

    transform: Transform = Field("spline", description=TRANSFORM)
    structure: Structure = Field(
        "autoregressive",
        description="values that a network reads: all before it (the inverse is slow), or half of them",
    )
    bins: int = Field(
        8,
        ge=2,
        le=1000,
        description="bins of each spline (transform spline only)",
        json_schema_extra=only(transform="spline"),
    )

    @property
    def spline_bins(self) -> int | None:
        """The bins of each spline; None if transforms are affine."""
        return self.bins if self.transform == "spline" else None


class VectorBijection(nn.Module):
    """A bijection y -> z of vectors that consists of several transforms.

    Two consecutive transforms have opposite orders, or opposite halves. Every other one draws a new order.

    Args:
        features: D, the number of values of y.
        context: Number of conditions c.
        structure: "autoregressive" or "coupling".
        depth: Number of transforms.
        hidden: Units of each hidden layer of the networks.
        bins: K, bins of a spline; None for an affine f.
    """

    def __init__(
        self,
        features: int,
        context: int,
        structure: Structure,
        depth: int,
        hidden: tuple[int, ...],
        bins: int | None,
    ):
        super().__init__()
        univariate, shapes = (
            (partial(MonotonicAffineTransform, slope=SLOPE), [(), ()])
            if bins is None
            else (partial(MonotonicRQSTransform, slope=SLOPE), [(bins,), (bins,), (bins - 1,)])
        )
        f: dict[str, Any] = {"univariate": univariate, "shapes": shapes, "hidden_features": hidden}
        parts, order = [], torch.arange(features)
        for i in range(depth):
            if i and i % 2 == 0:
                order = torch.randperm(features)
            elif i:  # of an odd number of values, both transforms of the pair change the middle one
                order = features - 1 - order
            parts.append(
                MaskedAutoregressiveTransform(features, context, order=order, **f)
                if structure == "autoregressive"
                else GeneralCouplingTransform(features, context, mask=order < features // 2, **f)
            )
        self.transforms = LazyComposedTransform(*parts)

    def forward(self, y: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return z and log |det dz/dy|.

        Args:
            y: Values, (row, *event).
            c: Conditions, (row, context), or None.

        Returns:
            z (row, D), and the log-determinants (row,).
        """
        z, log_det = self.transforms(c).call_and_ladj(y.flatten(1))
        return z, log_det

    def inverse(self, z: Tensor, c: Tensor | None) -> Tensor:
        """Return y.

        Args:
            z: Latents, (row, D).
            c: Conditions, (row, context), or None.

        Returns:
            y (row, D).
        """
        y: Tensor = self.transforms(c).inv(z)
        return y
