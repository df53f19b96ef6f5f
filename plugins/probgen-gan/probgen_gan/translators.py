"""Networks from images to images of any size, and discriminators of patches.

The residual translator of CycleGAN is by Johnson et al. (ECCV 2016). The U-net and the patch discriminator are from pix2pix
(Isola et al., CVPR 2017, section 3.2). Doublings repeat pixels and apply a convolution, to avoid checkerboard artifacts
(Odena et al. 2016).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, leaky_relu, pad

from probgen.errors import InputError
from probgen.nn.residual import SMALL, conv

Norm = Literal["instance", "none"]
SLOPE = 0.2


class Instance(nn.InstanceNorm2d):
    """Instance normalization (Ulyanov et al. 2016). Maps of one pixel raise `InputError`, because all values would become 0."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalize each map of each row separately."""
        if x.shape[-2:].numel() == 1:
            raise InputError(
                "norm = 'instance' needs maps larger than 1 x 1. Use larger images, fewer halvings, fewer d_channels, or norm = 'none'."
            )
        return super().forward(x)


class Adapted(nn.Module):
    """Optional normalization, then a gain and a bias that are linear in z, if there is a z: (row, n, h, w), (row, latent)."""

    def __init__(self, n: int, norm: Norm, latent: int):
        super().__init__()
        self.norm = Instance(n, affine=True) if norm == "instance" else nn.Identity()
        self.style = nn.Linear(latent, 2 * n) if latent else None

    def forward(self, x: Tensor, z: Tensor | None) -> Tensor:
        """Compute (1 + gain(z)) norm(x) + bias(z)."""
        y: Tensor = self.norm(x)
        if self.style is None:
            return y
        if z is None:
            raise InputError("z = None: this network depends on z. Give z.")
        gain, bias = self.style(z)[:, :, None, None].chunk(2, 1)
        return y * (1 + gain) + bias


class Layer(nn.Module):
    """A convolution, which may halve the maps, and a normalization that depends on z: (row, n, h, w) -> (row, out, h, w)."""

    def __init__(self, n: int, out: int, norm: Norm, latent: int, *, halves: bool = False):
        super().__init__()
        self.conv = nn.Conv2d(n, out, 4, 2, 1) if halves else conv(n, out)
        self.adapted = Adapted(out, norm, latent)

    def forward(self, x: Tensor, z: Tensor | None) -> Tensor:
        """Compute leaky_relu(adapted(conv(x)))."""
        return leaky_relu(self.adapted(self.conv(x), z), SLOPE)


class Block(nn.Module):
    """A residual block x + f(x) with two layers. The last layer has no nonlinearity."""

    def __init__(self, n: int, norm: Norm, latent: int):
        super().__init__()
        self.first = Layer(n, n, norm, latent)
        self.second = conv(n, n, 1.0 if norm == "instance" else SMALL)
        self.adapted = Adapted(n, norm, latent)

    def forward(self, x: Tensor, z: Tensor | None) -> Tensor:
        """Compute x + f(x), with the shape of x."""
        y: Tensor = x + self.adapted(self.second(self.first(x, z)), z)
        return y


class Translator(nn.Module):
    """Halvings, residual blocks and doublings, from images in -1 .. 1 to images: (row, n, h, w), (row, latent) -> (row, out, h, w)."""

    def __init__(self, n: int, out: int, width: int, blocks: int, halvings: int, norm: Norm, latent: int = 0):
        super().__init__()
        self.times = 2**halvings
        widths = [width * 2**i for i in range(halvings + 1)]
        self.layers = nn.ModuleList([Layer(n, width, norm, latent)])
        self.layers += [Layer(a, b, norm, latent, halves=True) for a, b in pairwise(widths)]
        self.layers += [Block(widths[-1], norm, latent) for _ in range(blocks)]
        self.doublings = nn.ModuleList(Layer(a, b, norm, latent) for a, b in pairwise(widths[::-1]))
        self.out = conv(width, out)

    def forward(self, x: Tensor, z: Tensor | None = None) -> Tensor:
        """Compute the image, with tanh after the last convolution."""
        h = whole(x, self.times)
        for layer in self.layers:
            h = layer(h, z)
        for layer in self.doublings:
            h = layer(interpolate(h, scale_factor=2.0), z)
        y: Tensor = self.out(h).tanh()
        return y[..., : x.shape[-2], : x.shape[-1]]


class UNet(nn.Module):
    """Halvings and doublings with skip connections between maps of equal size. Shapes and z are as in `Translator`."""

    def __init__(self, n: int, out: int, width: int, halvings: int, norm: Norm, latent: int, dropout: float):
        super().__init__()
        self.times = 2**halvings
        widths = [width * min(4, 2**i) for i in range(halvings + 1)]
        self.first = Layer(n, width, "none", latent)
        pairs = list(pairwise(widths))
        self.down = nn.ModuleList(Layer(a, b, norm, latent, halves=True) for a, b in pairs)
        self.middle = Layer(widths[-1], widths[-1], norm, latent)
        self.dropout = nn.Dropout2d(dropout)
        self.up = nn.ModuleList(Layer(2 * b, a, norm, latent) for a, b in reversed(pairs))
        self.out = conv(2 * width, out)

    def forward(self, x: Tensor, z: Tensor | None = None) -> Tensor:
        """Compute the image, with tanh after the last convolution."""
        seen = [self.first(whole(x, self.times), z)]
        for layer in self.down:
            seen.append(layer(seen[-1], z))
        h = self.dropout(self.middle(seen[-1], z))
        for layer in self.up:
            h = interpolate(layer(torch.cat([h, seen.pop()], 1), z), scale_factor=2.0)
        y: Tensor = self.out(torch.cat([h, seen.pop()], 1)).tanh()
        return y[..., : x.shape[-2], : x.shape[-1]]


class PatchDiscriminator(nn.Module):
    """A discriminator with one output for each patch: (row, n, h, w) -> (row, 1, h', w').

    Args:
        n: Channels of the images.
        channels: Channels of the layers. Each layer halves the maps.
        norm: Normalization of the layers after the first.
        full: Channels of a first layer that does not halve the maps; 0 omits this layer.
        spectral: Whether layers have spectral normalization (Miyato et al. 2018).
        bias: Whether the output has a bias. A bias has no effect on a loss of differences.
    """

    def __init__(
        self,
        n: int,
        channels: Sequence[int],
        norm: Norm = "none",
        *,
        full: int = 0,
        spectral: bool = False,
        bias: bool = True,
    ):
        super().__init__()
        self.layers = nn.ModuleList([_Seen(n, full, "none", spectral, halves=False)] if full else [])
        for i, (a, b) in enumerate(pairwise((full or n, *channels))):
            self.layers.append(_Seen(a, b, "none" if i == 0 else norm, spectral, halves=True))
        self.out = _spectral(nn.Conv2d(channels[-1], 1, 3, padding=1, bias=bias), spectral)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the output for each patch."""
        return self.said(x)[0]

    def said(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Compute the output for each patch, and the features of each layer."""
        features = []
        for layer in self.layers:
            if min(x.shape[-2:]) < 2:
                raise InputError(
                    f"d_channels: {len(self.layers)} layers: the discriminator halves images of this size too often. Use fewer layers."
                )
            x = layer(x)
            features.append(x)
        return self.out(x), features


class _Seen(nn.Module):
    def __init__(self, n: int, out: int, norm: Norm, spectral: bool, *, halves: bool):
        super().__init__()
        self.conv = _spectral(nn.Conv2d(n, out, 4, 2, 1) if halves else conv(n, out), spectral)
        self.norm = Instance(out, affine=True) if norm == "instance" else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.conv(x))
        return leaky_relu(y, SLOPE)


def _spectral(layer: nn.Module, wanted: bool) -> nn.Module:
    return nn.utils.parametrizations.spectral_norm(layer) if wanted else layer


def whole(x: Tensor, times: int) -> Tensor:
    """Repeat the last row and column of x until `times` divides both sides."""
    height, width = x.shape[-2:]
    more = (0, -width % times, 0, -height % times)
    return pad(x, more, mode="replicate") if any(more) else x
