"""Gated PixelCNN (van den Oord, Kalchbrenner, Vinyals, Espeholt, Graves & Kavukcuoglu, NIPS 2016).

    y = tanh(W_f * x + V_f s) . sigmoid(W_g * x + V_g s)               eq. 2 to 4; s is the condition of x

Each layer has two stacks (figure 2). The vertical stack sees the rows above. The horizontal stack sees the
pixels to the left, and receives the output of the vertical stack. The first layer has mask A, and the others
have mask B. The horizontal stack is residual. There are two additions to the paper: dilated layers, as in
WaveNet (van den Oord et al. 2016), and dropout of gated features (Salimans, Karpathy, Chen & Kingma, ICLR
2017, section 2.5).

If `given` names an image, s is a map that a residual network computes from the image (Dahl, Norouzi & Shlens,
ICCV 2017).

When an image is sampled pixel by pixel, the vertical stack is computed once per row, and the horizontal stack
for the new pixel only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import cycle, islice
from typing import Any, ClassVar

import torch
from pydantic import BaseModel, Field, model_validator
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle

from probgen.contract.conditions import centered
from probgen.contract.event import Event
from probgen.distributions.autoregressive import State
from probgen.distributions.sites import Site
from probgen.errors import InputError
from probgen.models.bases.pixels import Context, PixelConditioner, PixelOptions, PixelPair, row_of
from probgen.models.bases.scaling import enlarged
from probgen.nn.masked import Horizontal, Mask, Vertical, check_dilation, check_kernel, colors_of
from probgen.nn.residual import Residual

BLOCKS = 2  # blocks of the network that computes maps from a given image


class GatedLayer(nn.Module):
    """One gated layer of both stacks.

    Args:
        seen: The color of each input channel, (channel,).
        width: Features of the layer.
        colors: Number of colors.
        kernel: Side of the kernel; odd.
        mask: "A" in the first layer, "B" in the others.
        given: Channels of the context s.
        dilation: Distance between the pixels that the layer reads.
        dropout: Share of the gated features that the horizontal stack drops while training.
    """

    def __init__(
        self,
        seen: Tensor,
        width: int,
        colors: int,
        kernel: int,
        mask: Mask,
        given: int,
        dilation: int = 1,
        dropout: float = 0.0,
    ):
        super().__init__()
        mine = colors_of(width, colors)
        gates = torch.cat([mine, mine])
        self.residual = mask == "B"
        self.vertical = Vertical(len(seen), 2 * width, kernel, mask, dilation)
        self.across = nn.Conv2d(2 * width, 2 * width, 1)
        self.horizontal = Horizontal(seen, gates, kernel, mask, dilation, bias=False)
        self.dropped = nn.Dropout(dropout)
        self.out = Horizontal(mine, mine, 1, "B")
        self.V = nn.Conv2d(given, 4 * width, 1, bias=False) if given else None
        for part, gain in ((self.vertical, 2), (self.across, 2), (self.horizontal, 2), (self.out, 1)):
            # the gain compensates for the gates, which shrink their input
            nn.init.normal_(part.weight, std=gain / math.sqrt(part.weight[0].numel()))

    def forward(self, v: Tensor, h: Tensor, s: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the outputs of both stacks.

        Args:
            v: Input of the vertical stack, (row, feature, height, width); the image in the first layer.
            h: Input of the horizontal stack, (row, feature, height, width); the image in the first layer.
            s: The context as a map, or None.

        Returns:
            v and h, each (row, feature, height, width).
        """
        a = self.vertical(v)
        b = self.horizontal(h) + self.across(a)
        if self.V is not None and s is not None:
            of_v, of_h = self.V(s).chunk(2, 1)
            a, b = a + of_v, b + of_h
        g = self.out(self.dropped(gated(b, 1)))
        return gated(a, 1), h + g if self.residual else g


def gated(a: Tensor, dim: int) -> Tensor:
    """Return tanh of the first half of `a` along `dim`, times sigmoid of the second half."""
    f, g = (half.clone() for half in a.chunk(2, dim))  # contiguous: tanh and sigmoid of views are slow
    return f.tanh() * g.sigmoid()


class PixelCNNConditioner(PixelConditioner):
    """Gated PixelCNN as a conditioner of images.

    Args:
        site: The site of one color of a pixel.
        image: Shape of an image, (color, height, width).
        width: Features of each layer.
        layers: Number of gated layers.
        hidden: Features of the last hidden layer.
        kernel: Side of the first layer's kernel, and of the other kernels; odd.
        context: Number of context numbers of each image, or the shape (channel, height, width) of a context
            map.
        dilation: Dilations of the layers after the first, repeated in turn.
        dropout: Share of the gated features that are dropped while training.
    """

    def __init__(
        self,
        site: Site,
        image: tuple[int, int, int],
        width: int = 32,
        layers: int = 7,
        hidden: int = 64,
        kernel: tuple[int, int] = (7, 3),
        context: Context = 0,
        dilation: Sequence[int] = (1, 2, 4),
        dropout: float = 0.0,
    ):
        if layers < 1:
            raise InputError(
                f"layers = {layers}: at least one masked layer is needed. Use layers = 1 or more."
            )
        super().__init__(site, image, width, hidden, kernel[0] // 2, context)
        colors = image[0]
        self.layers = nn.ModuleList()
        for i, d in enumerate(dilations(layers, kernel, dilation)):
            seen = colors_of(width, colors) if i else self.seen
            mask: Mask = "B" if i else "A"
            self.layers.append(GatedLayer(seen, width, colors, kernel[i > 0], mask, self.given, d, dropout))

    @property
    def _gated(self) -> list[GatedLayer]:
        return [layer for layer in self.layers if isinstance(layer, GatedLayer)]

    def features(self, e: Tensor, s: Tensor | None) -> Tensor:
        """Return the features of the horizontal stack: (row, feature, height, width)."""
        v = h = e
        for layer in self._gated:
            v, h = layer(v, h, s)
        return h

    def begin(self, state: State) -> None:
        """Add the caches of each layer to the state: rows of v, and features of the current row in h."""
        rows, columns, width = len(state["e"]), self.columns, self.width
        state["weights"] = tuple(
            (layer.horizontal.flat(), layer.out.flat(), layer.out.bias, layer.horizontal.sight)
            for layer in self._gated
        )
        for i, layer in enumerate(self._gated):
            if i:
                reach = layer.horizontal.reach
                state[f"v{i}"] = state["e"].new_zeros(rows, reach, columns, width)
                state[f"h{i}"] = state["e"].new_zeros(rows, columns + reach, width)

    def begin_row(self, state: State, row: int) -> None:
        """Compute the vertical stack for a row, and its contribution u to the horizontal stack."""
        s = row_of(state, row)
        window = state["e"][:, row : row + self.reach, self.reach :]
        for i, layer in enumerate(self._gated):
            a = layer.vertical.last(window.movedim(3, 1))
            u = layer.across(a)
            if layer.V is not None and s is not None:
                of_v, of_h = layer.V(s).chunk(2, 1)
                a, u = a + of_v, u + of_h
            state[f"u{i}"] = u.movedim(1, 3)[:, 0].contiguous()
            if i + 1 < len(self.layers):
                window = torch.cat([state[f"v{i + 1}"], gated(a, 1).movedim(1, 3)], 1)
                state[f"v{i + 1}"] = window[:, 1:]

    def pixel(self, state: State, row: int, column: int) -> Tensor:
        """Return the features of a pixel after the horizontal stack: (row, feature)."""
        taps = state["e"][:, row + self.reach, column : column + self.reach + 1].flatten(1)
        h = taps
        for i, (W, out, b, (reach, apart)) in enumerate(state["weights"]):
            if i:
                told = state[f"h{i}"]
                told[:, column + reach] = h
                taps = told[:, column : column + reach + 1 : apart].flatten(1)
            g = torch.addmm(b, gated(torch.addmm(state[f"u{i}"][:, column], taps, W), 1), out)
            h = h + g if i else g
        return h


def dilations(layers: int, kernel: tuple[int, int], dilation: Sequence[int]) -> list[int]:
    """Return the dilation of each layer.

    Args:
        layers: Number of layers.
        kernel: Side of the first layer's kernel, and of the other kernels.
        dilation: Dilations of the layers after the first, repeated in turn.

    Returns:
        One dilation per layer; 1 for the first.

    Raises:
        InputError: When a kernel or the dilations would leave earlier pixels invisible.
    """
    for side in kernel:
        check_kernel(side)
    others = list(islice(cycle(dilation), layers - 1))
    check_dilation(kernel[0] // 2, others, kernel[1])
    return [1, *others]


class PixelCNNOptions(PixelOptions):
    """Options of `pixelcnn`."""

    channels: int = Field(32, ge=1, description="features of each layer")
    layers: int = Field(7, ge=1, le=100, description="number of gated layers")
    kernel: tuple[int, int] = Field(
        (7, 3), description="sides of the first layer's kernel and of the other kernels; odd"
    )
    dilation: tuple[int, ...] = Field(
        (1, 2, 4),
        min_length=1,
        description="dilations of the layers after the first, repeated in turn; the paper uses [1]",
    )
    dropout: float = Field(
        0.0, ge=0, lt=1, description="share of each layer's features that are dropped while training"
    )

    @model_validator(mode="after")
    def _no_blind_spot(self) -> PixelCNNOptions:
        dilations(self.layers, self.kernel, self.dilation)
        return self


class PixelCNN(PixelPair):
    """Gated PixelCNN: masked convolutions over images, optionally conditional on labels or on an image.

    Args:
        options: The options of the family.
        event: The event that x is: images.
    """

    Options: ClassVar[type[BaseModel]] = PixelCNNOptions

    def __init__(self, options: Any, event: Event):
        super().__init__(options, event)
        o = options
        self.maps = ImageMaps(event, self.image, o.channels) if any_image(event) else None
        self.conditioner = PixelCNNConditioner(
            self.site,
            self.image,
            o.channels,
            o.layers,
            o.head,
            o.kernel,
            self.context_size if self.maps is None else self.maps.shape,
            o.dilation,
            o.dropout,
        )

    def context(self, given: Mapping[str, Tensor]) -> Tensor | None:
        """Return the context: a vector of labels, or with a given image a map (Dahl, Norouzi & Shlens 2017).

        Args:
            given: The conditions by name.

        Returns:
            The context, (row, context) or (row, channel, height, width), or None.
        """
        return super().context(given) if self.maps is None else self.maps(given)


def any_image(event: Event) -> bool:
    """Return whether x is conditional on an image.

    Args:
        event: The event that x is.

    Returns:
        True when a condition is an image.
    """
    return any(part.is_image for part in event.given.values())


class ImageMaps(nn.Module):
    """The conditions of x as maps of the size of x.

    An image is enlarged to the size of x if it is smaller, and then passed through a residual network. A
    label becomes constant one-hot channels.

    Args:
        event: The event that x is, with its conditions.
        image: Shape of x, (color, height, width).
        width: Channels of the map of an image.
        blocks: Blocks of the residual network.

    Attributes:
        shape: Shape of the maps, (channel, height, width).
    """

    def __init__(self, event: Event, image: tuple[int, int, int], width: int, blocks: int = BLOCKS):
        super().__init__()
        _, self.height, self.columns = image
        self.event, self.scales = event, dict[str, int]()
        for name, part in event.given.items():
            if not part.is_image:
                continue
            height, columns = part.fixed_shape[-2:]
            scale = self.height // height
            if (scale * height, scale * columns) != (self.height, self.columns):
                raise InputError(
                    f"given {name!r} is {height} x {columns}, but x is {self.height} x {self.columns}. "
                    f"Both sides of x must be the same integer multiple of the sides of {name!r}."
                )
            self.scales[name] = scale
        self.nets = nn.ModuleDict(
            {name: Residual(event.given[name].channels, width, blocks) for name in self.scales}
        )
        labels = [part.levels or 1 for name, part in event.given.items() if name not in self.scales]
        self.shape = (width * len(self.scales) + sum(labels), self.height, self.columns)

    def forward(self, given: Mapping[str, Tensor]) -> Tensor:
        """Return the maps of the conditions.

        Args:
            given: The conditions by name.

        Returns:
            Maps, (row, channel, height, width).
        """
        parts, dtype = [], next(self.parameters()).dtype
        for name, part in self.event.given.items():
            if name not in self.scales:
                label = nn.functional.one_hot(given[name].long(), part.levels or 1).to(dtype)
                parts.append(label[:, :, None, None].expand(-1, -1, self.height, self.columns))
                continue
            x, scale = centered(given[name], part, dtype), self.scales[name]
            x = x if x.dim() == 4 else x[:, None]
            parts.append(self.nets[name](pixel_shuffle(enlarged(x, scale), scale)))
        return torch.cat(parts, 1)
