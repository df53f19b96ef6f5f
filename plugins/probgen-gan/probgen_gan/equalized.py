"""Layers of the progressive GAN (Karras, Aila, Laine & Lehtinen, ICLR 2018) and of its successors."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d, leaky_relu, linear, pad

from probgen_gan.layers import beside

GAIN = math.sqrt(2)  # gain of a layer before a leaky ReLU (He et al. 2015)


class Equalized(nn.Module):
    """A layer with weights that start as Normal(0, 1) and are scaled at each use (section 4.1).

    Adam thus moves the weights of all layers at the same relative speed.

        y = W x gain rate / sqrt(inputs) + b rate

    Args:
        shape: Shape of the weights. The outputs come first.
        gain: Gain of the layer.
        bias: Initial bias.
        rate: Factor of the layer's learning rate.
    """

    def __init__(self, shape: tuple[int, ...], gain: float = GAIN, bias: float = 0.0, rate: float = 1.0):
        super().__init__()
        self.rate, self.scale = rate, gain * rate / math.sqrt(math.prod(shape[1:]))
        self.weight = nn.Parameter(torch.randn(shape) / rate)
        self.bias = nn.Parameter(torch.full((shape[0],), bias / rate))

    @property
    def W(self) -> Tensor:
        """The scaled weights."""
        return self.weight * self.scale


class EqualizedLinear(Equalized):
    """A linear layer with an equalized learning rate: (row, n) -> (row, out)."""

    def __init__(self, n: int, out: int, gain: float = GAIN, bias: float = 0.0, rate: float = 1.0):
        super().__init__((out, n), gain, bias, rate)

    def forward(self, x: Tensor) -> Tensor:
        """Compute W x + b."""
        return linear(x, self.W, self.bias * self.rate)


class EqualizedConv(Equalized):
    """A convolution with an equalized learning rate: (row, n, height, width) -> (row, out, height / stride, width / stride).

    With `up`, the pixels of the input are repeated first, which doubles height and width.
    """

    def __init__(self, n: int, out: int, size: int, stride: int = 1, gain: float = GAIN, *, up: bool = False):
        super().__init__((out, n, size, size), gain)
        self.stride, self.padding, self.up = stride, (size - 1) // 2, up

    def forward(self, x: Tensor) -> Tensor:
        """Compute W * x + b."""
        if self.up:
            return conv_transpose2d(x, doubling(self.W), self.bias, stride=2, padding=1)
        return conv2d(x, self.W, self.bias, stride=self.stride, padding=self.padding)


class MinibatchDeviation(nn.Module):
    """A layer that adds the standard deviation within a group of images as a map (section 3): (row, n, ...) -> (row, n + 1, ...).

    In evaluation mode, a row has no group. The map is then the moving average over the batches of the fit.
    """

    usual: Tensor

    def __init__(self, group: int = 4):
        super().__init__()
        self.group = group
        self.register_buffer("usual", torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        """Add the standard deviation over the group, averaged over features and pixels."""
        n, _, height, width = x.shape
        if self.training:
            # groups of four, three or two; for another batch size its smallest divisor
            size = next(
                (g for g in (*range(self.group, 1, -1), *range(self.group + 1, n + 1)) if n % g == 0), 1
            )
            groups = x.to(torch.promote_types(x.dtype, torch.float32)).unflatten(0, (size, n // size))
            variance = (groups - groups.mean(0)).square().mean(0)  # `torch.var` takes ten times as long
            s = (variance + 1e-8).sqrt().mean((1, 2, 3)).repeat(size)
            with torch.no_grad():
                self.usual.lerp_(s.mean(), 0.01)
        else:
            s = self.usual.expand(n)
        return torch.cat([x, s.to(x.dtype)[:, None, None, None].expand(n, 1, height, width)], 1)


def doubling(W: Tensor) -> Tensor:
    """Return the kernel of a transposed convolution that equals a convolution by W of maps with repeated pixels.

    The transposed convolution needs less than half of the products.

    W (out, n, 3, 3) -> (n, out, 4, 4): conv2d(up(x), W, padding=1) = conv_transpose2d(x, doubling(W), stride=2, padding=1)
    """
    W = W.flip(2, 3).transpose(0, 1)
    W = pad(W, (0, 1, 0, 0)) + pad(W, (1, 0, 0, 0))
    return pad(W, (0, 0, 0, 1)) + pad(W, (0, 0, 1, 0))


def pixel_norm(x: Tensor) -> Tensor:
    """Scale the features of each pixel, or of a vector, to a mean square of 1 (section 4.2): (row, n, ...)."""
    return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-8)


def normalized(z: Tensor, c: Tensor | None, embedding: nn.Module | None) -> Tensor:
    """Concatenate z (row, latent) and the embedding of the conditions c (row, context), each scaled to a mean square of 1."""
    return beside(pixel_norm(z), None if c is None or embedding is None else pixel_norm(embedding(c)))


def leaky(x: Tensor) -> Tensor:
    """Apply leaky ReLU with slope 0.2."""
    return leaky_relu(x, 0.2)
