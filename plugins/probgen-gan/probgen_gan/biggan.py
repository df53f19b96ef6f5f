"""The class-conditional GAN of large-scale training (BigGAN; Brock, Donahue & Simonyan, ICLR 2019), at a small scale.

    z = (z_0, .., z_L),   style_l = (e(class), z_l),   x = g(styles)

All layers share one embedding e. In addition, each layer receives its own chunk of z (section 3, hierarchical latents). The first
layer computes the smallest maps from its style. Each block has batch normalization with a gain and a bias that are linear in its
style. D has spectral normalization and receives the class by projection (Miyato & Koyama 2018). The default loss is the hinge
loss. G is regularized towards orthogonal weights,

    R = beta |W W^T o (1 - I)|^2,                                                  (eq. 3)

which makes truncation possible: values of z beyond a threshold are sampled again (section 3.1). In a fit, batch normalization
makes samples depend on their batch. Afterwards, the statistics of the average are computed again over many samples (standing
statistics, appendix D), so that later samples do not depend on their batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
import xarray as xr
from matplotlib.figure import Figure
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn.functional import conv_transpose2d, interpolate, relu
from torch.nn.utils.parametrizations import spectral_norm

from probgen import Event, Fitted, Run
from probgen.contract.options import only
from probgen.contract.places import At, Step
from probgen.errors import InputError
from probgen_gan.adversarial import Some
from probgen_gan.equalized import doubling, leaky
from probgen_gan.fitting import fit
from probgen_gan.implicit import ScoreOptions, score
from probgen_gan.layered import HalvingOptions, Layered, Projection, sample
from probgen_gan.layered_pictures import classes, limits
from probgen_gan.layers import beside
from probgen_gan.pictures import pictures as of_game
from probgen_gan.searching import SearchOptions

__all__ = [
    "BigGAN",
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
STANDING, TOGETHER = 640, 64  # samples for standing statistics, and samples per batch


class Options(HalvingOptions):
    """The options of `biggan`. The defaults suit images of 32 x 32 and one thread."""

    loss: Literal["minimax", "nonsaturating", "least_squares", "wasserstein", "hinge", "relativistic"] = (
        Field("hinge", description="loss of the generator and the discriminator")
    )
    embedding: int = Field(32, ge=1, description="dimensions of the class embedding (only with `given`)")
    learning_rate: float = Field(4e-4, gt=0, description="Adam's learning rate for G")
    d_rate: float = Field(2.0, gt=0, description="learning rate of D, as a multiple of G's")
    average: float = Field(0.995, ge=0, lt=1, description="decay of the exponential average of G's weights")
    orthogonal: float = Field(1e-4, ge=0, description="beta, the weight of orthogonal regularization of G")

    @model_validator(mode="after")
    def _chunks(self) -> Options:
        if self.latent % len(self.channels):
            raise ValueError(
                f"latent = {self.latent}: each of {len(self.channels)} layers receives an equal chunk of z. "
                f"Use a multiple of {len(self.channels)}."
            )
        if self.embedding != 32 and not self.given:
            raise ValueError(f"embedding = {self.embedding} has no effect without given. Omit embedding.")
        return self


class SampleOptions(SearchOptions):
    """The options of `sample` of `biggan`."""

    truncation: float | None = Field(
        None,
        gt=0,
        description="largest absolute value of z; values beyond it are sampled again",
        json_schema_extra=only(x="nothing"),
    )


class StyledNorm(nn.Module):
    """Batch normalization with a gain and a bias that are linear in a style: (row, n, ...), (row, style) -> (row, n, ...)."""

    def __init__(self, n: int, style: int):
        super().__init__()
        self.norm = nn.BatchNorm2d(n, affine=False)
        self.gain, self.bias = nn.Linear(style, n), nn.Linear(style, n)

    def forward(self, x: Tensor, s: Tensor) -> Tensor:
        """Compute (1 + gain(s)) norm(x) + bias(s)."""
        y = self.norm(x)
        return y * (1 + self.gain(s))[:, :, None, None].to(y.dtype) + self.bias(s)[:, :, None, None].to(
            y.dtype
        )


class Block(nn.Module):
    """A residual block that doubles the maps: (row, n, height, width), (row, style) -> (row, out, 2 height, 2 width)."""

    def __init__(self, n: int, out: int, style: int):
        super().__init__()
        self.norms = nn.ModuleList([StyledNorm(n, style), StyledNorm(out, style)])
        self.first, self.second = (nn.Conv2d(a, out, 3, padding=1) for a in (n, out))
        self.skip = nn.Conv2d(n, out, 1)

    def forward(self, x: Tensor, s: Tensor) -> Tensor:
        """Compute conv(relu(norm(conv(up(relu(norm x)))))) + up(skip(x))."""
        h = relu(self.norms[0](x, s))
        h = conv_transpose2d(h, doubling(self.first.weight), self.first.bias, stride=2, padding=1)
        return self.second(relu(self.norms[1](h, s))) + interpolate(self.skip(x), scale_factor=2.0)


class Generator(nn.Module):
    """A generator from z and a class to styles, and from styles to an image."""

    def __init__(self, o: Options, image: tuple[int, int, int], smallest: tuple[int, int], context: int):
        super().__init__()
        self.chunk = o.latent // len(o.channels)
        self.embedding = nn.Linear(context, o.embedding, bias=False) if context else None
        self.style = self.chunk + (o.embedding if context else 0)
        self.small = (o.channels[0], *smallest)
        self.first = nn.Linear(self.style, self.small[0] * smallest[0] * smallest[1])
        self.blocks = nn.ModuleList(
            Block(n, out, self.style) for n, out in zip(o.channels, o.channels[1:], strict=False)
        )
        self.norm = nn.BatchNorm2d(o.channels[-1])
        self.colors = nn.Conv2d(o.channels[-1], image[0], 3, padding=1)

    def styles(self, z: Tensor, c: Tensor | None) -> Tensor:
        """Compute the styles: (row, latent), (row, context) -> (row, layer, style)."""
        chunks = z.unflatten(1, (-1, self.chunk))
        if c is None or self.embedding is None:
            return chunks
        return beside(self.embedding(c)[:, None].expand(-1, chunks.shape[1], -1), chunks)

    def block(self, i: int, x: Tensor | None, styles: Tensor) -> Tensor:
        """Compute the i-th maps from the maps before."""
        if x is None:
            x = self.first(styles[:, 0]).unflatten(1, self.small)
            return x.contiguous(memory_format=torch.channels_last)
        y: Tensor = self.blocks[i - 1](x, styles[:, i])
        return y

    def image(self, x: Tensor) -> Tensor:
        """Compute images from the last maps."""
        y: Tensor = self.colors(relu(self.norm(x)))
        return y

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """Generate images: (row, channel, height, width)."""
        styles = self.styles(z, c)
        x = self.block(0, None, styles)
        for i in range(1, len(self.blocks) + 1):
            x = self.block(i, x, styles)
        return self.image(x)


class Discriminator(nn.Module):
    """A discriminator of images: (row, channel, height, width), (row, context) -> (row,)."""

    def __init__(self, o: Options, depth: int, context: int):
        super().__init__()
        sizes, n = (depth, *o.d_channels), o.d_channels[-1]
        self.body = nn.ModuleList(
            spectral_norm(nn.Conv2d(a, b, 4, stride=2, padding=1))
            for a, b in zip(sizes, o.d_channels, strict=False)
        )
        self.conv = spectral_norm(nn.Conv2d(n, n, 3, padding=1))
        embedding = spectral_norm(nn.Linear(context, n, bias=False)) if context else None
        self.last = Projection(spectral_norm(nn.Linear(n, 1)), embedding)

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        """Compute the outputs from features that are summed over pixels."""
        for layer in self.body:
            x = leaky(layer(x))
        return self.last(relu(self.conv(x)).sum((2, 3)), c)


class BigGAN(Layered):
    """A GAN with a class-conditional generator.

    Args:
        options: The options of the networks and of the game.
        event: The event of the data.
    """

    options: Options
    alone = True
    G: Generator
    average: Generator

    def __init__(self, options: Options, event: Event):
        event.image(len(options.d_channels), "d_channels")
        super().__init__(options, event)
        self.latents = {"z": ("latent",), "styles": ("layer", "style")}

    def discriminator(self) -> nn.Module:
        """Build D, which halves the image once per layer."""
        return Discriminator(self.options, self.image[0], self.context)

    def generator(self) -> nn.Module:
        """Build G, which doubles its smallest maps."""
        return Generator(self.options, self.image, self.sides[0], self.context)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of one sample at each place, with styles."""
        return super().shapes() | {"styles": (len(self.maps), self.G.style)}

    def extra(self) -> Tensor | None:
        """Compute the orthogonal regularization of all weights of G that are matrices."""
        if not self.options.orthogonal:
            return None
        matrices = [w.flatten(1) for w in self.G.parameters() if w.ndim > 1]
        products = [W @ W.T if len(W) <= W.shape[1] else W.T @ W for W in matrices]
        off = [(P - P.diagonal().diag()).square().sum() for P in products]
        return self.options.orthogonal * torch.stack(off).sum()

    def way(self, noise: bool = False) -> dict[str, Step]:
        """Return the steps z -> styles -> maps -> x."""
        G = self.average

        def maps(i: int) -> Step:
            return lambda at: G.block(i, at[self.maps[i - 1]] if i else None, at["styles"])

        return {
            "styles": lambda at: G.styles(at["z"], self.condition(at)),
            **{name: maps(i) for i, name in enumerate(self.maps)},
            "x": lambda at: self.finished(G.image(at[self.maps[-1]])),
        }

    def latents_of(
        self, n: int, given: Mapping[str, Tensor], options: SampleOptions, run: Run
    ) -> dict[str, Tensor]:
        """Compute z and its styles. From given styles, z is not computed."""
        if given.keys() & self.latents.keys():
            if options.truncation is not None:
                raise InputError(
                    f"truncation = {options.truncation}: truncation needs sampled z, but latents are given. Omit one of the two."
                )
            start = dict(given)
        else:
            start = {
                **given,
                "z": self.normal(n, run)
                if options.truncation is None
                else self._cut(n, options.truncation, run),
            }
        at = At(self.way(), start, "a sample")
        return {name: at[name] for name in self.latents if name in start or name != "z"}

    def _cut(self, n: int, limit: float, run: Run) -> Tensor:
        """Sample z from a truncated normal, the distribution that results if values beyond the limit are sampled again."""
        u = torch.rand(n, self.options.latent, device=run.device, dtype=torch.float64)
        below = torch.special.ndtr(u.new_tensor(-limit))
        return torch.special.ndtri(below + (1 - 2 * below) * u).to(run.dtype)

    @torch.no_grad()
    def stand(self, some: Some) -> None:
        """Compute the standing statistics of the average over many samples."""
        z, c = some(STANDING)
        norms = [part for part in self.average.modules() if isinstance(part, nn.BatchNorm2d)]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum, norm.training = None, True  # None: the mean over all batches
        for rows in torch.arange(STANDING, device=z.device).split(TOGETHER):
            self.average(z[rows], None if c is None else c[rows])
        for norm in norms:
            norm.momentum, norm.training = 0.1, False


def pictures(fitted: Fitted, data: xr.Dataset, **again: Any) -> dict[str, Figure]:
    """Plot the figures of every game, of truncated z, and of the classes.

    Args:
        fitted: The fitted GAN.
        data: Rows of the data.
        **again: Seed and device for samples and scores.

    Returns:
        Figures by name, with `truncation`, and `classes` if x has conditions.
    """
    found = of_game(fitted, data, **again) | {"truncation": limits(fitted, **again)}
    return found | ({"classes": classes(fitted, **again)} if fitted.event.given else {})


def build(options: Options, event: Event) -> BigGAN:
    """Build the module in its initial state.

    Args:
        options: The options of the networks and of the game.
        event: The event of the data.

    Returns:
        The module, which `fit` then trains in place.
    """
    return BigGAN(options, event)
