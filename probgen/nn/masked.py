"""Masked convolutions, which depend only on the pixels before a pixel in raster order.

The pixels before a pixel form two rectangles: the rows above it, and the part of its own row to the left. Two stacks of
convolutions, a vertical one and a horizontal one, together see all of them (van den Oord et al. 2016b, section 2.2). One
stack with masked square kernels would have a blind spot to the right of the pixel. The mask determines the visible colors
of the pixel itself (van den Oord et al. 2016a, section 3.4). With mask A, these are the colors before the predicted color.
With mask B, the predicted color is visible, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from probgen.errors import InputError

Mask = Literal["A", "B"]


def check_kernel(side: int) -> None:
    """Check that a kernel leaves no blind spot.

    An even side hides the pixels on one side. A side of 1 hides all earlier pixels.

    Args:
        side: Side of the kernel, in pixels.

    Raises:
        InputError: When the side is even or below 3.
    """
    if side < 3 or side % 2 == 0:
        raise InputError(
            f"kernel = {side}: some earlier pixels would be invisible to every layer (a blind spot). "
            "Use an odd size of at least 3."
        )


def check_dilation(reach: int, dilation: Sequence[int], kernel: int) -> None:
    """Check that dilated layers leave no blind spot.

    Args:
        reach: Reach of the first layer, in pixels: it sees the pixels 1 .. reach before a pixel.
        dilation: Dilation of each further layer, in pixels.
        kernel: Side of the kernel of these layers, in pixels.

    Raises:
        InputError: When a dilation is below 1 or above the reach of the layers with smaller dilations.
    """
    for d in sorted(dilation):
        if not 1 <= d <= reach:
            raise InputError(
                f"dilation = {d}: the other layers reach only {reach} pixels to each side, so some earlier pixels would be "
                f"invisible (a blind spot). Use numbers from 1 to {reach}."
            )
        reach += d * (kernel // 2)


def colors_of(channels: int, colors: int) -> Tensor:
    """Return the color of each channel, (channel,), in nearly equal blocks of channels."""
    return torch.arange(channels) * colors // channels


class Vertical(nn.Conv2d):
    """A convolution over the rows above each pixel, within half the kernel; with mask B, also over its whole own row.

    It maps (row, inputs, height, width) to (row, outputs, height, width).

    Args:
        inputs: Number of input channels.
        outputs: Number of output channels.
        kernel: Side of the kernel, in pixels.
        mask: "A" or "B".
        dilation: Distance between the visible pixels, in pixels; for mask B only.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, mask: Mask, dilation: int = 1):
        self.reach, self.own = kernel // 2 * dilation, mask == "B"
        super().__init__(inputs, outputs, (kernel // 2 + self.own, kernel), dilation=dilation)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the convolution to the rows that it may see, with zeros around them.

        Args:
            x: Maps, (row, inputs, height, width).

        Returns:
            Maps, (row, outputs, height, width).
        """
        sides = (self.reach, self.reach, self.reach, self.own - 1)  # -1: without the last row
        return super().forward(nn.functional.pad(x, sides))

    def last(self, x: Tensor) -> Tensor:
        """Return only the last row of the output.

        Args:
            x: The input rows on which it depends, (row, inputs, kernel height, width).

        Returns:
            Maps, (row, outputs, 1, width).
        """
        return nn.functional.conv2d(
            x, self.weight, self.bias, padding=(0, self.reach), dilation=self.dilation
        )


class Horizontal(nn.Conv2d):
    """A convolution over the pixels to the left, within half the kernel, and the unmasked colors of the pixel itself.

    It maps (row, inputs, height, width) to (row, outputs, height, width).

    Args:
        seen: Color of each input channel, (inputs,); -1 for no color.
        colors: Color of each output channel, (outputs,); -1 for no color.
        kernel: Side of the kernel, in pixels.
        mask: "A" or "B".
        dilation: Distance between the visible pixels, in pixels.
        bias: Whether the convolution has a bias.
    """

    mask: Tensor

    def __init__(
        self, seen: Tensor, colors: Tensor, kernel: int, mask: Mask, dilation: int = 1, *, bias: bool = True
    ):
        taps, self.reach = kernel // 2 + 1, kernel // 2 * dilation
        super().__init__(len(seen), len(colors), (1, taps), dilation=(1, dilation), bias=bias)
        self.sight = self.reach, dilation
        through = torch.ones(self.weight.shape, dtype=torch.bool)
        here = colors[:, None] > seen if mask == "A" else colors[:, None] >= seen
        through[:, :, 0, -1] = here
        self.register_buffer("mask", through, persistent=False)  # it follows from the arguments
        self.whole = bool(here.all())

    def weights(self) -> Tensor:
        """Return the weights, (outputs, inputs, 1, taps), with 0 for masked ones."""
        return self.weight if self.whole else self.weight * self.mask

    def flat(self) -> Tensor:
        """Return the weights as a matrix, (taps * inputs, outputs), with the leftmost pixel first."""
        return self.weights()[:, :, 0].permute(2, 1, 0).flatten(0, 1).contiguous()

    def forward(self, x: Tensor) -> Tensor:
        """Apply the convolution, with zeros to the left of the image.

        Args:
            x: Maps, (row, inputs, height, width).

        Returns:
            Maps, (row, outputs, height, width).
        """
        if self.reach:
            x = nn.functional.pad(x, (self.reach, 0))
        return nn.functional.conv2d(x, self.weights(), self.bias, dilation=self.dilation)
