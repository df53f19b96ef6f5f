"""Normalizing flows of vectors (Dinh et al. 2017; Papamakarios et al. 2017; Durkan et al. 2019).

z_i = f(y_i; theta_i),    theta_i = net(y_j for the parents j of i, c),    log p(y) = sum_i log Normal(z_i; 0, 1) + log f'(y_i)

y is v in the deviations of the data. This is one transform; `depth` of them follow each other.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import BaseModel, Field, model_validator
from torch import Tensor, nn

from probgen import Event
from probgen.contract.options import LAYERS, Sizes, layer_sizes
from probgen.contract.rows import Moments
from probgen.distributions import Standardization
from probgen.errors import InputError
from probgen_flow.dequantization import NOISE_VARIANCE, Variational
from probgen_flow.model import FlowPair, FlowPairOptions
from probgen_flow.vectors import BijectionOptions, VectorBijection

USUAL = 2  # hidden layers


class FlowOptions(FlowPairOptions, BijectionOptions):
    """The options of `flow`."""

    depth: int = Field(4, ge=1, le=100, description="number of transforms, one after the other")
    hidden: Sizes = Field(
        64, description="units of each hidden layer of a transform's network: one number for all, or a list"
    )
    layers: int = Field(
        USUAL, ge=1, le=LAYERS, description="hidden layers of a transform's network, if hidden is a number"
    )

    @model_validator(mode="after")
    def _sizes(self) -> FlowOptions:
        if not self.sizes:
            raise ValueError("hidden = []: at least one hidden layer is needed. Give its number of units.")
        return self

    @property
    def sizes(self) -> tuple[int, ...]:
        """The units of each hidden layer."""
        return layer_sizes(self.hidden, self.layers, USUAL)


class Flow(FlowPair):
    """A normalizing flow of a vector, or of the columns of a table.

    Args:
        options: The options of the family.
        event: The event that x is.
    """

    Options: ClassVar[type[BaseModel]] = FlowOptions

    def __init__(self, options: Any, event: Event):
        if options.structure == "coupling" and event.size < 2:
            raise InputError(
                "structure = 'coupling': x has one value, and a coupling needs two. Use structure = 'autoregressive'."
            )
        super().__init__(options, event)
        self.standard = Standardization(self.shape)

    def make_bijection(self) -> nn.Module:
        """Return the transforms."""
        return self._vectors(self.context_size, self.options.depth)

    def make_noise(self) -> nn.Module:
        """Return noise by transforms of the same kind, given x."""
        context = self.event.size + self.context_size
        return Variational(self._vectors(context, self.options.noise_depth), _joined)

    def _vectors(self, context: int, depth: int) -> VectorBijection:
        o = self.options
        return VectorBijection(self.event.size, context, o.structure, depth, o.sizes, o.spline_bins)

    def units(self, seen: Moments) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of each value of v."""
        if not self.event.discrete:
            return seen.mean, seen.scale
        return seen.mean + 0.5, (seen.variance + NOISE_VARIANCE).sqrt()


def _joined(y: Tensor, c: Tensor | None) -> Tensor:
    return y.flatten(1) if c is None else torch.cat([y.flatten(1), c], 1)
