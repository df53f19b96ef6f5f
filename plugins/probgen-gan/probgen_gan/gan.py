"""Generative adversarial networks for vectors, with MLPs for G and D (Goodfellow et al., NeurIPS 2014).

    min_G max_D V(G, D) = E log D(x) + E log(1 - D(G(z))),    z ~ Normal(0, 1)

For the optimal D = p_data / (p_data + p_G), the cost of G is -log 4 + 2 JSD(p_data || p_G). Several members are several
GANs, trained together by batched matrix products. Each member equals a separate fit with its own seed.
"""

from __future__ import annotations

from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from probgen import Event
from probgen.contract.options import Sizes, layer_sizes
from probgen_gan.adversarial import Adversarial, GameOptions
from probgen_gan.fitting import fit
from probgen_gan.implicit import ScoreOptions, sample, score
from probgen_gan.layers import MinibatchDiscrimination, beside, linear
from probgen_gan.pictures import pictures
from probgen_gan.searching import SearchOptions

__all__ = [
    "GAN",
    "Options",
    "SampleOptions",
    "ScoreOptions",
    "build",
    "fit",
    "pictures",
    "sample",
    "score",
    "x_dtype",
]

x_dtype = "float64"
SampleOptions = SearchOptions


class Options(GameOptions):
    """The options of `gan`."""

    hidden: Sizes = Field((128, 128, 128), description="units of each hidden layer, for both networks")
    members: int = Field(
        1, ge=1, description="number of GANs fitted together, with seeds seed, seed + 1, ..."
    )

    @model_validator(mode="after")
    def _sizes(self) -> Options:
        if self.members > 1 and self.spectral:
            raise ValueError(
                f"members = {self.members}: spectral normalization supports one member only. Fit the GANs one by one."
            )
        return self


class MLP(nn.Sequential):
    """An MLP for each member, with leaky ReLU and a linear last layer: (*member, row, n) -> (*member, row, out)."""

    def __init__(self, members: int, n: int, hidden: tuple[int, ...], out: int, kernels: int = 0):
        layers: list[nn.Module] = []
        for inputs, units in zip((n, *hidden), hidden, strict=False):
            layers += [linear(members, inputs, units), nn.LeakyReLU(0.2)]
        last = (n, *hidden)[-1]
        if kernels:
            layers.append(MinibatchDiscrimination(members, last, kernels))
        super().__init__(*layers, linear(members, last + kernels, out))

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        """Apply the layers to x and its conditions, concatenated."""
        return super().forward(beside(x, c))


class Packed(nn.Module):
    """A network with one output for each pack of rows: (*member, row, n) -> (*member, pack) (PacGAN, Lin et al. 2018)."""

    def __init__(self, packing: int, net: nn.Module):
        super().__init__()
        self.packing, self.net = packing, net

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        """Apply the network to packs of consecutive rows, each row with its conditions."""
        packs = x.shape[-2] // self.packing
        return self.net(beside(x, c).reshape(*x.shape[:-2], packs, -1)).squeeze(-1)


class GAN(Adversarial):
    """A GAN for vectors, with two MLPs for each member.

    Args:
        options: The options of the networks and of the game.
        event: The event of the data.
    """

    options: Options

    def __init__(self, options: Options, event: Event):
        super().__init__(options, event, (event.size,), options.members)
        self.alone = not options.minibatch

    def discriminator(self) -> nn.Module:
        """Build D, with minibatch discrimination before its last layer if the option is set."""
        o = self.options
        n = o.packing * (self.event.size + self.context)
        net = MLP(o.members, n, layer_sizes(o.hidden), 1, o.minibatch)
        if o.spectral:
            for layer in net:
                if isinstance(layer, nn.Linear):
                    spectral_norm(layer)
        return Packed(o.packing, net)

    def generator(self) -> nn.Module:
        """Build G, with the hidden sizes of D."""
        o = self.options
        return MLP(o.members, o.latent + self.context, layer_sizes(o.hidden), self.event.size)

    def single(self) -> GAN:
        """Return the same networks for one member, as at the start of a separate fit."""
        return GAN(self.options.model_copy(update={"members": 1}), self.event)


def build(options: Options, event: Event) -> GAN:
    """Build the module in its initial state.

    Args:
        options: The options of the networks and of the game.
        event: The event of the data.

    Returns:
        The module, which `fit` then trains in place.
    """
    return GAN(options, event)
