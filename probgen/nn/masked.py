"""Convolutions of an image that see what comes before a pixel in raster order, and no more.

What is before a pixel are two rectangles, the rows above it and its own row to the left of it, so two stacks of
convolutions see all of it: a vertical one and a horizontal one (van den Oord et al. 2016b, section 2.2). One stack with
masked square kernels would leave a blind spot to the right of the pixel. At the pixel itself the mask decides which
of its colors are seen (van den Oord et al. 2016a, section 3.4): with mask A those before the color that is predicted, with
mask B that color, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from probgen.errors import InputError

Mask = Literal["A", "B"]


def check_kernel(side: int) -> None:
    """Errors: `InputError` for a side that leaves pixels unseen: an even one those to one side, 1 all of them."""
    if side < 3 or side % 2 == 0:
        raise InputError(
            f"kernel: a side of {side} leaves a blind spot, pixels before this one that no layer sees; use odd sides from 3 on"
        )


def check_dilation(reach: int, dilation: Sequence[int], kernel: int) -> None:
    """Errors: `InputError` where layers that see every so many pixels leave some out that are before this one.

    reach     of the first layer: it sees the pixels 1 .. reach before this one
    dilation  of the layers, each with this kernel
    """
    for d in sorted(dilation):
        if not 1 <= d <= reach:
            raise InputError(
                f"dilation: {d} beside layers that see {reach} pixels to each side leaves a blind spot; use numbers "
                f"from 1 to {reach} there"
            )
        reach += d * (kernel // 2)


def colors_of(channels: int, colors: int) -> Tensor:
    """The color that each of the channels is about, in equal blocks: (channel,)."""
    return torch.arange(channels) * colors // channels


class Vertical(nn.Conv2d):
    """The rows above each pixel as far as half the kernel reaches, and with mask B the whole of its own row.

    (row, inputs, height, width) -> (row, outputs, height, width)

    dilation  of mask B: pixels that are seen are so far apart
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, mask: Mask, dilation: int = 1):
        self.reach = reach = kernel // 2 * dilation
        sides = (kernel // 2 + (mask == "B"), kernel)
        super().__init__(inputs, outputs, sides, padding=reach, dilation=dilation)

    def forward(self, x: Tensor) -> Tensor:
        """A plain convolution of which the lowest rows, which see too much, are left out."""
        return super().forward(x)[:, :, : x.shape[2]]

    def last(self, x: Tensor) -> Tensor:
        """The last row alone, of the rows that it sees: (row, inputs, kernel height, width) -> (row, outputs, 1, width)."""
        return nn.functional.conv2d(
            x, self.weight, self.bias, padding=(0, self.reach), dilation=self.dilation
        )


class Horizontal(nn.Conv2d):
    """Each pixel and those left of it as far as half the kernel reaches; at the pixel itself the colors that the mask lets through.

    (row, inputs, height, width) -> (row, outputs, height, width)

    seen, colors  of the inputs and of the outputs, the color that each is about: (inputs,), (outputs,); -1 is about none
    dilation       pixels that are seen are so far apart
    """

    mask: Tensor

    def __init__(
        self, seen: Tensor, colors: Tensor, kernel: int, mask: Mask, dilation: int = 1, *, bias: bool = True
    ):
        taps, self.reach = kernel // 2 + 1, kernel // 2 * dilation
        super().__init__(
            len(seen), len(colors), (1, taps), padding=(0, self.reach), dilation=(1, dilation), bias=bias
        )
        self.sight = self.reach, dilation
        through = torch.ones(self.weight.shape, dtype=torch.bool)
        here = colors[:, None] > seen if mask == "A" else colors[:, None] >= seen
        through[:, :, 0, -1] = here
        self.register_buffer("mask", through, persistent=False)  # follows from the options
        self.whole = bool(here.all())

    def weights(self) -> Tensor:
        """Those that are not masked; the others 0: (outputs, inputs, 1, taps)."""
        return self.weight if self.whole else self.weight * self.mask

    def flat(self) -> Tensor:
        """For the pixels side by side, the leftmost first: (taps * inputs, outputs)."""
        return self.weights()[:, :, 0].permute(2, 1, 0).flatten(0, 1).contiguous()

    def forward(self, x: Tensor) -> Tensor:
        """A plain convolution of which the columns beyond the right border are left out."""
        y = nn.functional.conv2d(
            x, self.weights(), self.bias, padding=(0, self.reach), dilation=self.dilation
        )
        return y[..., : x.shape[3]]
