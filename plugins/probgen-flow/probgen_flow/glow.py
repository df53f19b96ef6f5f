"""Glow (Kingma & Dhariwal, NeurIPS 2018), with uniform or variational dequantization (Ho et al., ICML 2019).

A multi-scale flow of images. Each level squeezes, takes `steps` steps of actnorm, 1 x 1 convolution and affine coupling,
and sets half of the channels aside.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import BaseModel, Field, model_validator
from torch import Tensor, nn

from probgen import Event
from probgen.contract.options import Sizes, one_size
from probgen.contract.rows import Moments
from probgen.distributions import Standardization
from probgen_flow.dequantization import NOISE_VARIANCE, Variational
from probgen_flow.model import FlowPair, FlowPairOptions
from probgen_flow.multiscale import ImageBijection, SqueezedSteps, planes


class GlowOptions(FlowPairOptions):
    """The options of `glow`."""

    levels: int = Field(2, ge=1, description="levels; each halves the sides of the maps")
    steps_per_level: int = Field(8, ge=1, le=1000, description="K, steps of the flow in each level")
    hidden: Sizes = Field(64, description="channels of the networks of the couplings")

    @model_validator(mode="after")
    def _one_size(self) -> GlowOptions:
        _ = self.channels
        return self

    @property
    def channels(self) -> int:
        """The channels of the networks of the couplings."""
        return one_size(self.hidden)


class Glow(FlowPair):
    """A multi-scale normalizing flow of images.

    Args:
        options: The options of the family.
        event: The event that x is.
    """

    Options: ClassVar[type[BaseModel]] = GlowOptions

    def __init__(self, options: Any, event: Event):
        self.image = event.image(options.levels, "levels", "family flow")
        super().__init__(options, event)
        self.standard = Standardization(self.shape, each=False)

    def make_bijection(self) -> nn.Module:
        """Return the levels."""
        o = self.options
        return ImageBijection(self.image, self.context_size, o.levels, o.steps_per_level, o.channels)

    def make_noise(self) -> nn.Module:
        """Return noise by steps of the same kind, given the image."""
        o, context = self.options, self.image[0] + self.context_size

        def maps(y: Tensor, c: Tensor | None) -> Tensor:
            y = y.reshape(-1, *self.image)
            at = planes(c, y)
            return y if at is None else torch.cat([y, at], 1)

        return Variational(SqueezedSteps(self.image, context, o.noise_depth, o.channels), maps)

    def units(self, seen: Moments) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of all values of v together."""
        pooled = seen.pooled()
        mean, variance = pooled.mean.expand(self.event.size), pooled.variance
        if not self.event.discrete:
            return mean, variance.sqrt()
        return mean + 0.5, (variance + NOISE_VARIANCE).sqrt()
