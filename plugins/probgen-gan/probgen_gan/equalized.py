"""Layers of the progressive GAN (Karras, Aila, Laine & Lehtinen, ICLR 2018) and of those that came from it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d, leaky_relu, linear, pad

from probgen_gan.layers import beside

GAIN = math.sqrt(2)  # of a layer before a leaky ReLU (He et al. 2015)


class Equalized(nn.Module):
    """Weights that are Normal(0, 1) at the start and scaled when they are used, so that Adam moves all layers alike (section 4.1).

        y = W x gain rate / sqrt(inputs) + b rate

    rate  a factor of the layer's learning rate
    """

    def __init__(self, shape: tuple[int, ...], gain: float = GAIN, bias: float = 0.0, rate: float = 1.0):
        super().__init__()
        self.rate, self.scale = rate, gain * rate / math.sqrt(math.prod(shape[1:]))
        self.weight = nn.Parameter(torch.randn(shape) / rate)
        self.bias = nn.Parameter(torch.full((shape[0],), bias / rate))

    @property
    def W(self) -> Tensor:
        """The weights as they are used."""
        return self.weight * self.scale


class EqualizedLinear(Equalized):
    """(row, n) -> (row, out)."""

    def __init__(self, n: int, out: int, gain: float = GAIN, bias: float = 0.0, rate: float = 1.0):
        super().__init__((out, n), gain, bias, rate)

    def forward(self, x: Tensor) -> Tensor:
        """W x + b."""
        return linear(x, self.W, self.bias * self.rate)


class EqualizedConv(Equalized):
    """(row, n, height, width) -> (row, out, height / stride, width / stride); of maps whose pixels are repeated first, with `up`."""

    def __init__(self, n: int, out: int, size: int, stride: int = 1, gain: float = GAIN, *, up: bool = False):
        super().__init__((out, n, size, size), gain)
        self.stride, self.padding, self.up = stride, (size - 1) // 2, up

    def forward(self, x: Tensor) -> Tensor:
        """W * x + b."""
        if self.up:
            return conv_transpose2d(x, doubling(self.W), self.bias, stride=2, padding=1)
        return conv2d(x, self.W, self.bias, stride=self.stride, padding=self.padding)


class MinibatchDeviation(nn.Module):
    """How much a group of images differs, as one more map (section 3): (row, n, ...) -> (row, n + 1, ...).

    In evaluation a row is alone, and is told what real and drawn rows of the fit differed by.
    """

    usual: Tensor

    def __init__(self, group: int = 4):
        super().__init__()
        self.group = group
        self.register_buffer("usual", torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        """The deviation of each feature over its group, averaged."""
        n, _, height, width = x.shape
        if self.training:
            # groups of four, three or two; of a batch that does not divide so the least that does
            size = next(
                (g for g in (*range(self.group, 1, -1), *range(self.group + 1, n + 1)) if n % g == 0), 1
            )
            groups = x.to(torch.promote_types(x.dtype, torch.float32)).unflatten(0, (size, n // size))
            variance = (groups - groups.mean(0)).square().mean(0)  # torch's own `var` takes ten times as long
            s = (variance + 1e-8).sqrt().mean((1, 2, 3)).repeat(size)
            with torch.no_grad():
                self.usual.lerp_(s.mean(), 0.01)
        else:
            s = self.usual.expand(n)
        return torch.cat([x, s.to(x.dtype)[:, None, None, None].expand(n, 1, height, width)], 1)


def doubling(W: Tensor) -> Tensor:
    """The kernel of a transposed convolution of stride 2 that is W on maps whose pixels were repeated, with less than half of its products.

    W (out, n, 3, 3) -> (n, out, 4, 4): conv2d(up(x), W, padding=1) = conv_transpose2d(x, doubling(W), stride=2, padding=1)
    """
    W = W.flip(2, 3).transpose(0, 1)
    W = pad(W, (0, 1, 0, 0)) + pad(W, (1, 0, 0, 0))
    return pad(W, (0, 0, 0, 1)) + pad(W, (0, 0, 1, 0))


def pixel_norm(x: Tensor) -> Tensor:
    """Features of each pixel, or of a vector, brought to a mean square of 1 (section 4.2): (row, n, ...)."""
    return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-8)


def normalized(z: Tensor, c: Tensor | None, embedding: nn.Module | None) -> Tensor:
    """z, and beside it the embedding of its conditions, each of a mean square of 1: (row, latent), (row, context)."""
    return beside(pixel_norm(z), None if c is None or embedding is None else pixel_norm(embedding(c)))


def leaky(x: Tensor) -> Tensor:
    """Leaky ReLU of slope 0.2."""
    return leaky_relu(x, 0.2)
