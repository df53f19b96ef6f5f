"""A GAN with two networks of your own; fit, samples and scores are those of probgen-gan (Goodfellow et al. 2014).

    min_G max_D V(G, D) = E log D(x) + E log(1 - D(G(z))),    z ~ Normal(0, 1)

The option `loss` selects another game, and the penalty `r1` smooths D.
"""

from __future__ import annotations

from probgen_gan.adversarial import Adversarial, DuelOptions
from probgen_gan.fitting import fit
from probgen_gan.implicit import ScoreOptions, sample, score
from probgen_gan.searching import SearchOptions
from pydantic import Field
from torch import Tensor

from probgen import Event
from probgen.nn.networks import MLP

__all__ = ["Options", "SampleOptions", "ScoreOptions", "build", "fit", "sample", "score", "x_dtype"]

x_dtype = "float64"  # x is standardized in float64
SampleOptions = SearchOptions


class Options(DuelOptions):
    """The options of the family, in addition to the options of the game."""

    units: int = Field(64, ge=1, description="units of the hidden layers, for both networks")
    steps: int = Field(100, ge=1, description="training steps; a check of the family needs a small default")


class Discriminator(MLP):
    """D(x, c), one number for each row."""

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the output before any sigmoid, (row,)."""
        return super().forward(x, context).squeeze(1)


class MiniGAN(Adversarial):
    """The two networks, for vectors."""

    options: Options

    def __init__(self, options: Options, event: Event):
        super().__init__(options, event, (event.size,))

    def discriminator(self) -> Discriminator:
        """Build D: x (row, feature) and c (row, context) -> (row,)."""
        units = self.options.units
        return Discriminator(self.event.size, (units, units), 1, "silu", self.context)

    def generator(self) -> MLP:
        """Build G: z (row, latent) and c (row, context) -> (row, feature)."""
        units = self.options.units
        return MLP(self.options.latent, (units, units), self.event.size, "silu", self.context)


def build(options: Options, event: Event) -> MiniGAN:
    """Build the module in its initial state."""
    return MiniGAN(options, event)
