"""The style-based generator (Karras, Laine & Aila, CVPR 2019) with modulated convolutions (Karras et al., CVPR 2020).

    z ~ Normal(0, 1),   w = f(z),   styles_l = w for each layer l,   x = g(styles, noise)

A layer scales its input by a style of w, and its output back to unit variance (2020, eq. 1 and 3). This normalizes the expected
output of a layer, whereas AdaIN normalizes the maps of each image. A layer also adds noise with a learned weight. In training,
some images use the w of one z in their first layers and the w of another z in the rest (2019, section 3.1). Samples can be
truncated,

    w' = c + psi (w - c),                                                         (2019, appendix B)

towards a center c: the mean of all w, the mean for the same class, or the nearest of several clusters. If the data have
categories, the mean of all w lies between the categories, where there are no data.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Literal

import torch
import xarray as xr
from matplotlib.figure import Figure
from pydantic import Field, model_validator
from sklearn.cluster import KMeans
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d

from probgen import Event, Fitted, Run
from probgen.contract.options import MeanOptions, only
from probgen.contract.places import At, Step
from probgen.errors import InputError
from probgen_gan.adversarial import Some
from probgen_gan.equalized import (
    GAIN,
    EqualizedConv,
    EqualizedLinear,
    MinibatchDeviation,
    doubling,
    leaky,
    normalized,
)
from probgen_gan.fitting import fit
from probgen_gan.implicit import ScoreOptions, score
from probgen_gan.layered import HalvingOptions, Layered, Projection, sample
from probgen_gan.layered_pictures import classes, mixing, truncation
from probgen_gan.pictures import pictures as of_game
from probgen_gan.searching import SearchOptions

__all__ = [
    "Options",
    "SampleOptions",
    "ScoreOptions",
    "StyleGAN",
    "build",
    "fit",
    "pictures",
    "sample",
    "score",
    "x_dtype",
]

x_dtype = "float64"
WS = 10_000  # samples of w whose means are centers of truncation
MAPPING_RATE = 0.01  # factor of the mapping network's learning rate (2019, appendix C)


class Options(HalvingOptions):
    """The options of `stylegan`. The defaults suit images of 32 x 32 and one thread."""

    style: int = Field(64, ge=1, description="dimensions of w")
    mapping: int = Field(4, ge=1, description="number of layers from z to w")
    learning_rate: float = Field(3e-3, gt=0, description="Adam's learning rate, for both networks")
    r1: float = Field(0.1, ge=0, description="weight of the penalty |grad D|^2 / 2 at real rows")
    r1_every: int = Field(
        8, ge=1, description="D steps between r1 penalties; the weight of r1 is multiplied by it"
    )
    mixing: float = Field(0.5, ge=0, le=1, description="share of training images with styles from two z")
    clusters: int = Field(10, ge=1, le=1000, description="number of clusters of w, as centers of truncation")

    @model_validator(mode="after")
    def _mixes(self) -> Options:
        if len(self.channels) == 1 and self.mixing != 0.5:
            raise ValueError(f"mixing = {self.mixing} has no effect with one layer of channels. Omit mixing.")
        return self


class SampleOptions(SearchOptions, MeanOptions):
    """The options of `sample` of `stylegan`."""

    mean: bool = Field(
        False, description="omit the noise that layers add", json_schema_extra=only(x="nothing")
    )
    truncation: float = Field(
        1.0,
        ge=0,
        description="psi, factor of the distance of w from the center of truncation",
        json_schema_extra=only(x="nothing"),
    )
    towards: Literal["mean", "class", "cluster"] = Field(
        "mean", description="center of truncation: mean of all w, mean of the class, or nearest cluster"
    )

    @model_validator(mode="after")
    def _truncated(self) -> SampleOptions:
        if self.towards != "mean" and self.truncation == 1:
            raise ValueError(
                f"towards = {self.towards!r} has no effect without truncation. Set truncation, or omit towards."
            )
        return self


class StyledConv(nn.Module):
    """A layer with modulation, convolution, demodulation and noise: (row, n, height, width), (row, style) -> (row, out, ...).

    With `up`, height and width are doubled first.
    """

    def __init__(self, n: int, out: int, style: int, up: bool):
        super().__init__()
        self.up = up
        self.conv = EqualizedConv(n, out, 3, gain=1.0)
        self.style = EqualizedLinear(style, n, gain=1.0, bias=1.0)
        self.noise = nn.Parameter(torch.zeros(out))

    def forward(self, x: Tensor, w: Tensor, noise: bool) -> Tensor:
        """Compute the convolutions with the weights W s d of each row, at the cost of one convolution for all rows."""
        W = self.conv.W
        s = self.style(w).to(W.dtype)
        d = torch.rsqrt(s.square() @ W.square().sum((2, 3)).T + 1e-8)  # 2020, eq. 3
        x = x * s.to(x.dtype)[:, :, None, None]
        x = conv_transpose2d(x, doubling(W), stride=2, padding=1) if self.up else conv2d(x, W, padding=1)
        # leaky(sqrt(2) x) = sqrt(2) leaky(x): the gain multiplies the small tensors
        x = x * (GAIN * d).to(x.dtype)[:, :, None, None]
        shift = GAIN * self.conv.bias[:, None, None]
        if noise:
            shift = shift + GAIN * self.noise[:, None, None] * torch.randn_like(x[:, :1], dtype=W.dtype)
        return leaky(x + shift.to(x.dtype))


class Generator(nn.Module):
    """The mapping network f and the synthesis network g: a constant, one styled convolution, and two for each doubling."""

    def __init__(self, o: Options, image: tuple[int, int, int], smallest: tuple[int, int], context: int):
        super().__init__()
        self.mixing = o.mixing
        self.embedding = EqualizedLinear(context, o.latent, gain=1.0) if context else None
        sizes = [(2 if context else 1) * o.latent, *[o.style] * o.mapping]
        self.mapping = nn.ModuleList(EqualizedLinear(n, out, rate=MAPPING_RATE) for n, out in pairwise(sizes))
        first = o.channels[0]
        self.constant = nn.Parameter(torch.randn(1, first, *smallest))
        blocks = [nn.ModuleList([StyledConv(first, first, o.style, up=False)])]
        for n, out in pairwise(o.channels):
            blocks.append(
                nn.ModuleList([StyledConv(n, out, o.style, up=True), StyledConv(out, out, o.style, up=False)])
            )
        self.blocks = nn.ModuleList(blocks)
        self.colors = EqualizedConv(o.channels[-1], image[0], 1, gain=1.0)
        self.layers = sum(len(block) for block in blocks)

    def w(self, z: Tensor, c: Tensor | None) -> Tensor:
        """Compute w = f(z): (row, latent), (row, context) -> (row, style)."""
        x = normalized(z, c, self.embedding)
        for layer in self.mapping:
            x = leaky(layer(x))
        return x

    def block(self, i: int, x: Tensor | None, styles: Tensor, noise: bool) -> Tensor:
        """Compute the i-th maps from the maps before, or from the constant, with styles (row, layer, style)."""
        first = 2 * i - 1 if i else 0  # number of the block's first layer
        if x is None:
            kind = torch.get_autocast_dtype(styles.device.type)
            on = torch.is_autocast_enabled(styles.device.type)
            x = self.constant.expand(len(styles), -1, -1, -1).to(kind if on else self.constant.dtype)
            x = x.contiguous(memory_format=torch.channels_last)
        for j, layer in enumerate(self.blocks[i].children()):
            x = layer(x, styles[:, first + j], noise)
        return x

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """Generate images with the styles of z: (row, channel, height, width). Training adds noise, and mixes two z."""
        styles = self.w(z, c)[:, None].expand(-1, self.layers, -1)
        if self.training and self.mixing:
            other = self.w(torch.randn_like(z), c)[:, None]
            cut = torch.randint(1, self.layers + 1, (len(z), 1), device=z.device)
            mixed = torch.rand(len(z), 1, device=z.device) < self.mixing
            second = mixed & (torch.arange(self.layers, device=z.device) >= cut)
            styles = torch.where(second[..., None], other, styles)
        x = None
        for i in range(len(self.blocks)):
            x = self.block(i, x, styles, self.training)
        assert x is not None
        return self.colors(x)


class Discriminator(nn.Module):
    """A discriminator of images: (row, channel, height, width), (row, context) -> (row,)."""

    def __init__(self, o: Options, image: tuple[int, int, int], context: int):
        super().__init__()
        depth, height, width = image
        n, scale = o.d_channels[-1], 2 ** len(o.d_channels)
        sizes = (depth, *o.d_channels)
        self.body = nn.ModuleList(
            EqualizedConv(a, b, 4, stride=2) for a, b in zip(sizes, o.d_channels, strict=False)
        )
        self.deviation = MinibatchDeviation()
        self.conv = EqualizedConv(n + 1, n, 3)
        self.features = EqualizedLinear(n * (height // scale) * (width // scale), n)
        embedding = EqualizedLinear(context, n, gain=1.0) if context else None
        self.last = Projection(EqualizedLinear(n, 1, gain=1.0), embedding, n**-0.5)

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        """Compute the outputs for images. Each image also has the standard deviation of its group."""
        for layer in self.body:
            x = leaky(layer(x))
        x = leaky(self.conv(self.deviation(x)))
        return self.last(leaky(self.features(x.flatten(1))), c)


class StyleGAN(Layered):
    """A GAN with a style-based generator.

    Args:
        options: The options of the networks and of the game.
        event: The event of the data.

    Attributes:
        w_mean: Mean of w, (style,).
        w_cluster: Centers of the k-means clusters of w, (cluster, style).
    """

    options: Options
    G: Generator
    average: Generator
    w_mean: Tensor
    w_cluster: Tensor

    def __init__(self, options: Options, event: Event):
        event.image(len(options.d_channels), "d_channels")
        super().__init__(options, event)
        self.latents = {"z": ("latent",), "w": ("style",), "styles": ("layer", "style")}
        self.register_buffer("w_mean", torch.zeros(options.style))
        self.register_buffer("w_cluster", torch.zeros(options.clusters, options.style))
        self.dims |= {"w_mean": ("style",), "w_cluster": ("cluster", "style")}

    def discriminator(self) -> nn.Module:
        """Build D, which halves the image once per layer."""
        return Discriminator(self.options, self.image, self.context)

    def generator(self) -> nn.Module:
        """Build G, which doubles its constant."""
        return Generator(self.options, self.image, self.sides[0], self.context)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of one sample at each place, with w and styles."""
        style = self.options.style
        return super().shapes() | {"w": (style,), "styles": (self.G.layers, style)}

    def way(self, noise: bool = False) -> dict[str, Step]:
        """Return the steps z -> w -> styles -> maps -> x."""
        G = self.average

        def maps(i: int) -> Step:
            return lambda at: G.block(i, at[self.maps[i - 1]] if i else None, at["styles"], noise)

        return {
            "w": lambda at: G.w(at["z"], self.condition(at)),
            "styles": lambda at: at["w"][:, None].expand(-1, G.layers, -1),
            **{name: maps(i) for i, name in enumerate(self.maps)},
            "x": lambda at: self.finished(G.colors(at[self.maps[-1]])),
        }

    def latents_of(
        self, n: int, given: Mapping[str, Tensor], options: SampleOptions, run: Run
    ) -> dict[str, Tensor]:
        """Compute the latents, with the truncated w as the style of all layers. From given styles, z and w are not computed."""
        known = given.keys() & self.latents.keys()
        if options.truncation != 1 and {"w", "styles"} & known:
            raise InputError(
                f"truncation = {options.truncation}: truncation needs sampled w, but w or styles are given. Omit one of the two."
            )
        start = dict(given) if known else {**given, "z": self.normal(n, run)}
        at = At(self.way(), start, "a sample")
        if options.truncation != 1:
            middle = self._middle(at["w"], self.condition(given), options.towards)
            at = At(self.way(), {**start, "w": middle + options.truncation * (at["w"] - middle)}, "a sample")
        names = [*self.latents]  # latents before the first given one cannot be computed
        return {name: at[name] for name in names[min(names.index(name) for name in names if name in start) :]}

    def _middle(self, w: Tensor, c: Tensor | None, towards: str) -> Tensor:
        """Return the center of truncation of each w, (row, style)."""
        if towards == "cluster":
            return self.w_cluster[torch.cdist(w, self.w_cluster).argmin(1)]
        if towards == "class":
            if c is None:
                raise InputError("towards = 'class': x is conditioned on nothing. Use towards = 'cluster'.")
            classes, which = c.unique(dim=0, return_inverse=True)
            generator = torch.Generator(w.device).manual_seed(0)  # the same z for every class and call
            z = torch.randn(WS, self.options.latent, generator=generator, device=w.device, dtype=w.dtype)
            means = [self.average.w(z, one.expand(WS, -1)).mean(0) for one in classes]
            return torch.stack(means)[which]
        return self.w_mean.expand_as(w)

    @torch.no_grad()
    def settle(self, some: Some, run: Run) -> None:
        """Compute the mean and the clusters of w."""
        z, c = some(WS)
        w = self.average.w(z, c)
        self.w_mean.copy_(w.mean(0))
        found = KMeans(self.options.clusters, n_init=3, random_state=run.key("clusters"))
        centers = found.fit(w.double().cpu().numpy()).cluster_centers_
        self.w_cluster.copy_(torch.from_numpy(centers))


def pictures(fitted: Fitted, data: xr.Dataset, **again: Any) -> dict[str, Figure]:
    """Plot the figures of every game, of truncation towards the mean and the clusters, of mixed styles, and of the classes.

    Args:
        fitted: The fitted GAN.
        data: Rows of the data.
        **again: Seed and device for samples and scores.

    Returns:
        Figures by name, with `truncation`, `truncation_cluster`, `mixing`, and `classes` if x has conditions.
    """
    found = of_game(fitted, data, **again) | {
        "truncation": truncation(fitted, "mean", **again),
        "truncation_cluster": truncation(fitted, "cluster", **again),
        "mixing": mixing(fitted, **again),
    }
    return found | ({"classes": classes(fitted, **again)} if fitted.event.given else {})


def build(options: Options, event: Event) -> StyleGAN:
    """Build the module in its initial state.

    Args:
        options: The options of the networks and of the game.
        event: The event of the data.

    Returns:
        The module, which `fit` then trains in place.
    """
    return StyleGAN(options, event)
