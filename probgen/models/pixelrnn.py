"""PixelRNN: LSTMs that run over an image (van den Oord, Kalchbrenner & Kavukcuoglu, ICML 2016).

    o, f, i, g = K_ss * h_before + K_is * x + V s,    sigmoid of o, f and i, tanh of g             eq. 3
    c = f . c_before + i . g,    h = o . tanh(c)

The option `cell` chooses the direction of the LSTMs:

    row       Row by row from above. h_before are three pixels of the row above. Together, the layers see a
              triangle of pixels (section 3.1).
    diagonal  Along the diagonals from both upper corners. h_before are the pixel to the side and the pixel
              above. The output of the LSTM from the right is shifted down by one row. Together, both LSTMs
              see all earlier pixels (section 3.2).

Unlike in the paper, an empty column is added at the right of the image, where the LSTM from the right starts.
Without it, this LSTM would pass the last pixel of a row only to the pixels directly below it, because the
features of a pixel contain only earlier pixels.

The first layer is a convolution with mask A, and K_is has mask B; layers are residual. When an image is
sampled pixel by pixel, the contribution of the row above is computed once per row, and each pixel computes
one cell.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from pydantic import BaseModel, Field, model_validator
from torch import Tensor, nn

from probgen.contract.event import Event
from probgen.contract.options import LAYERS, Sizes, equal_sizes
from probgen.distributions.autoregressive import State
from probgen.distributions.sites import Site
from probgen.models.bases.pixels import Context, PixelConditioner, PixelOptions, PixelPair, row_of
from probgen.nn.masked import Horizontal, Vertical, check_kernel, colors_of


def cell(a: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Return h and c of an LSTM cell.

    Args:
        a: Inputs of the gates, (..., 4 hidden).
        c: The previous c, (..., hidden).

    Returns:
        h and c, each (..., hidden).
    """
    o, f, i, g = a.chunk(4, -1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


class RowLSTM(nn.Module):
    """A row LSTM, which runs over an image from above: (row, 2 hidden, height, width) to the same shape.

    Args:
        hidden: Units of the LSTM.
        colors: Number of colors.
        given: Channels of the context s.
    """

    def __init__(self, hidden: int, colors: int, given: int):
        super().__init__()
        mine, twice = colors_of(hidden, colors), colors_of(2 * hidden, colors)
        self.hidden = hidden
        self.K_is = Horizontal(twice, mine.repeat(4), 3, "B")
        self.K_ss = nn.Conv1d(hidden, 4 * hidden, 3, padding=1, bias=False)
        self.V = nn.Conv2d(given, 4 * hidden, 1, bias=False) if given else None
        self.up = Horizontal(mine, twice, 1, "B")

    def forward(self, x: Tensor, s: Tensor | None) -> Tensor:
        """Return the output of the layer, computed one row of the image at a time.

        Args:
            x: The input, (row, 2 hidden, height, width).
            s: The context as a map, or None.

        Returns:
            The output, in the shape of the input.
        """
        a = self.K_is(x)
        a = (a if self.V is None or s is None else a + self.V(s)).permute(
            2, 0, 3, 1
        )  # (height, row, width, gates)
        h = c = a.new_zeros(*a.shape[1:3], self.hidden)
        hs = []
        for row in a:
            h, c = cell(row + self._from_above(h), c)
            hs.append(h)
        return x + self.up(torch.stack(hs).permute(1, 3, 0, 2))

    def _from_above(self, h: Tensor) -> Tensor:
        return self.K_ss(h.mT).mT

    # one pixel at a time

    def begin(self, x: Tensor) -> State:
        """Return the state before the first row: x (row, width + 1, 2 hidden) with a border, h and c."""
        zeros = x.new_zeros(len(x), x.shape[1], self.hidden)
        state = {"h": zeros, "c": zeros.clone(), "x": x.new_zeros(len(x), x.shape[1] + 1, x.shape[2])}
        return {**state, "weights": (self.K_is.flat(), self.K_is.bias, self.up.flat(), self.up.bias)}

    def begin_row(self, state: State, s: Tensor | None, s_above: Tensor | None) -> None:
        """Update the state before a row of the image.

        Args:
            state: The state; updated in place.
            s: The context of this row, or None.
            s_above: The context of the row above, or None.
        """
        state["a"] = self._from_above(state["h"]) + state["weights"][1] + said(self.V, s)
        state["before"], state["c"] = state["c"], torch.zeros_like(state["c"])
        state["h"] = torch.zeros_like(state["h"])

    def pixel(self, state: State, x: Tensor, column: int) -> Tensor:
        """Return the output of the layer at one pixel.

        Args:
            state: The state; updated in place.
            x: The input, (row, 2 hidden).
            column: Column of the pixel.

        Returns:
            The output, (row, 2 hidden).
        """
        K, _, up, bias = state["weights"]
        state["x"][:, column + 1] = x
        a = torch.addmm(state["a"][:, column], state["x"][:, column : column + 2].flatten(1), K)
        h, state["c"][:, column] = cell(a, state["before"][:, column])
        state["h"][:, column] = h
        return x + torch.addmm(bias, h, up)


class Sideways(nn.Module):
    """An LSTM along the diagonals, from the upper left, with `hidden` units.

    Args:
        hidden: Units of the LSTM.
        colors: Number of colors.
        given: Channels of the context s.
    """

    def __init__(self, hidden: int, colors: int, given: int):
        super().__init__()
        mine = colors_of(hidden, colors)
        self.hidden = hidden
        self.K_is = Horizontal(colors_of(2 * hidden, colors), mine.repeat(4), 1, "B")
        # inputs: h of the pixel above and of the pixel to the left
        self.K_ss = nn.Linear(2 * hidden, 4 * hidden, bias=False)
        self.V = nn.Conv2d(given, 4 * hidden, 1, bias=False) if given else None

    def forward(self, x: Tensor, s: Tensor | None) -> Tensor:
        """Return h of all pixels, computed one diagonal at a time.

        Row i is shifted by i pixels, so that a diagonal becomes a column (figure 3).

        Args:
            x: The input, (row, 2 hidden, height, width).
            s: The context as a map, or None.

        Returns:
            h, (row, hidden, height, width).
        """
        a = self.K_is(x)
        a = a if self.V is None or s is None else a + self.V(s)
        width = a.shape[3]
        a = _skewed(a).permute(3, 0, 2, 1)  # (diagonal, row, height, gates)
        h = c = a.new_zeros(*a.shape[1:3], self.hidden)
        hs = []
        for diagonal in a:
            above = nn.functional.pad(h, (0, 0, 1, 0))[:, :-1]
            h, c = cell(diagonal + self.K_ss(torch.cat([above, h], 2)), c)
            hs.append(h)
        return _straight(torch.stack(hs).permute(1, 3, 2, 0), width)


class DiagonalLSTM(nn.Module):
    """Two diagonal LSTMs, from both upper corners: (row, 2 hidden, height, width) to the same shape.

    Args:
        hidden: Units of each LSTM.
        colors: Number of colors.
        given: Channels of the context s.
    """

    def __init__(self, hidden: int, colors: int, given: int):
        super().__init__()
        mine, twice = colors_of(hidden, colors), colors_of(2 * hidden, colors)
        self.left, self.right = Sideways(hidden, colors, given), Sideways(hidden, colors, given)
        self.up = Horizontal(mine, twice, 1, "B")
        self.up_right = Horizontal(mine, twice, 1, "B", bias=False)

    def forward(self, x: Tensor, s: Tensor | None) -> Tensor:
        """Return the output of the layer; the LSTM from the right is shifted down by one row.

        Args:
            x: The input, (row, 2 hidden, height, width).
            s: The context as a map, or None.

        Returns:
            The output, in the shape of the input.
        """
        mirrored = None if s is None else s.flip(3)
        right = self.right(x.flip(3), mirrored).flip(3)
        return x + self.up(self.left(x, s)) + nn.functional.pad(self.up_right(right), (0, 0, 1, 0))[:, :, :-1]

    # one pixel at a time

    def begin(self, x: Tensor) -> State:
        """Return the state before the first row: x (row, width, 2 hidden), c, and h with a border pixel."""
        n, width = x.shape[:2]
        hidden = self.left.hidden
        border = x.new_zeros(n, width + 1, hidden)
        state: State = {"x": x.new_zeros(x.shape), "h": border, "right": border.clone()}
        state["c"] = x.new_zeros(n, width, hidden)
        weights = [(way.K_is.flat(), way.K_is.bias, way.K_ss.weight.mT) for way in (self.left, self.right)]
        return {**state, "weights": (*weights, self.up.flat(), self.up.bias, self.up_right.flat())}

    def begin_row(self, state: State, s: Tensor | None, s_above: Tensor | None) -> None:
        """Run the LSTM from the right over the row above, which is complete, and update the state for a row.

        Args:
            state: The state; updated in place.
            s: The context of this row, or None.
            s_above: The context of the row above, or None.
        """
        state["above"] = state["h"]
        state["h"], state["c"] = torch.zeros_like(state["h"]), torch.zeros_like(state["c"])
        state["a"] = state["weights"][0][1].expand(len(state["x"]), 1, -1) + said(self.left.V, s)
        if "told" not in state:  # no row is above the first row
            state["told"] = torch.zeros_like(state["x"])
        else:
            K_is, bias, K_ss = state["weights"][1]
            a = state["x"] @ K_is + bias + said(self.right.V, s_above)
            above, h = state["right"], torch.zeros_like(state["right"])
            c = h[:, 0]
            for j in reversed(range(a.shape[1])):
                h[:, j], c = cell(torch.addmm(a[:, j], torch.cat([above[:, j], h[:, j + 1]], 1), K_ss), c)
            state["right"] = h
            state["told"] = h[:, :-1] @ state["weights"][4]

    def pixel(self, state: State, x: Tensor, column: int) -> Tensor:
        """Return the output of the layer at one pixel.

        Args:
            state: The state; updated in place.
            x: The input, (row, 2 hidden).
            column: Column of the pixel.

        Returns:
            The output, (row, 2 hidden).
        """
        (K_is, _, K_ss), _, up, bias, _ = state["weights"]
        state["x"][:, column] = x
        a = torch.addmm(state["a"][:, min(column, state["a"].shape[1] - 1)], x, K_is)
        a = a.addmm(torch.cat([state["above"][:, column + 1], state["h"][:, column]], 1), K_ss)
        before = state["c"][:, column - 1] if column else torch.zeros_like(state["c"][:, 0])
        h, state["c"][:, column] = cell(a, before)
        state["h"][:, column + 1] = h
        return x + torch.addmm(bias, h, up) + state["told"][:, column]


def said(V: nn.Conv2d | None, s: Tensor | None) -> Tensor | float:
    """Return the contribution of the context to the gates of one row of the image.

    Args:
        V: The convolution of the context, or None.
        s: The context of the row, (row, given, 1, width or 1), or None.

    Returns:
        The contribution, (row, width or 1, gates), or 0.
    """
    return 0.0 if V is None or s is None else V(s).movedim(1, 3)[:, 0]


def _skewed(x: Tensor) -> Tensor:
    """Shift row i of an image right by i: (..., height, width) -> (..., height, height + width - 1)."""
    height, width = x.shape[-2:]
    wide = nn.functional.pad(x, (0, height)).flatten(-2)
    return wide[..., : height * (height + width - 1)].unflatten(-1, (height, height + width - 1))


def _straight(x: Tensor, width: int) -> Tensor:
    """Return the image from its skewed form, as the inverse of `_skewed`."""
    height = x.shape[-2]
    wide = nn.functional.pad(x.flatten(-2), (0, height))
    return wide.unflatten(-1, (height, height + width))[..., :width]


CELLS = {"row": RowLSTM, "diagonal": DiagonalLSTM}


class PixelRNNConditioner(PixelConditioner):
    """PixelRNN as a conditioner of images: a masked convolution, then LSTMs.

    Args:
        site: The site of one color of a pixel.
        image: Shape of an image, (color, height, width).
        units: Units of each LSTM.
        layers: Number of LSTMs.
        hidden: Features of the last hidden layer.
        cell: Direction of the LSTMs: "row" or "diagonal".
        kernel: Side of the kernel of the convolution; odd.
        context: Number of context numbers of each image, or the shape (channel, height, width) of a context
            map.
    """

    def __init__(
        self,
        site: Site,
        image: tuple[int, int, int],
        units: int = 16,
        layers: int = 7,
        hidden: int = 32,
        cell: Literal["row", "diagonal"] = "diagonal",
        kernel: int = 7,
        context: Context = 0,
    ):
        check_kernel(kernel)
        super().__init__(site, image, 2 * units, hidden, kernel // 2, context, int(cell == "diagonal"))
        colors = image[0]
        self.vertical = Vertical(len(self.seen), self.width, kernel, "A")
        self.horizontal = Horizontal(self.seen, colors_of(self.width, colors), kernel, "A", bias=False)
        self.layers = nn.ModuleList(CELLS[cell](units, colors, self.given) for _ in range(layers))

    @property
    def _lstms(self) -> list[RowLSTM | DiagonalLSTM]:
        return [layer for layer in self.layers if isinstance(layer, RowLSTM | DiagonalLSTM)]

    def features(self, e: Tensor, s: Tensor | None) -> Tensor:
        """Return the features of the last LSTM: (row, feature, height, width)."""
        x = self.vertical(e) + self.horizontal(e)
        for layer in self._lstms:
            x = layer(x, s)
        return x

    def begin(self, state: State) -> None:
        """Add the initial state of each layer to the state."""
        state["first"] = (self.horizontal.flat(),)
        x = state["e"].new_zeros(len(state["e"]), self.columns, self.width)
        state["layers"] = {i: layer.begin(x) for i, layer in enumerate(self._lstms)}

    def begin_row(self, state: State, row: int) -> None:
        """Complete the row above with its added column, and update the state of each layer for a row."""
        for column in range(self.columns - self.extra, self.columns) if row else ():
            self.pixel(state, row - 1, column)
        window = state["e"][:, row : row + self.reach, self.reach :].movedim(3, 1)
        state["u"] = self.vertical.last(window).movedim(1, 3)[:, 0]
        for i, layer in enumerate(self._lstms):
            layer.begin_row(state["layers"][i], row_of(state, row), row_of(state, max(0, row - 1)))

    def pixel(self, state: State, row: int, column: int) -> Tensor:
        """Return the features of a pixel after all layers: (row, feature)."""
        taps = state["e"][:, row + self.reach, column : column + self.reach + 1].flatten(1)
        x = torch.addmm(state["u"][:, column], taps, *state["first"])
        for i, layer in enumerate(self._lstms):
            x = layer.pixel(state["layers"][i], x, column)
        return x


class PixelRNNOptions(PixelOptions):
    """Options of `pixelrnn`."""

    cell: Literal["row", "diagonal"] = Field("diagonal", description="direction of the LSTMs over the image")
    hidden: Sizes = Field(
        16, description="units of each LSTM: one number for all, or a list of equal numbers"
    )
    layers: int = Field(7, ge=1, le=LAYERS, description="number of LSTMs, if hidden is a number")
    kernel: int = Field(7, ge=3, description="side of the first layer's kernel; odd")

    @model_validator(mode="after")
    def _known(self) -> PixelRNNOptions:
        check_kernel(self.kernel)
        _ = self.sizes
        return self

    @property
    def sizes(self) -> tuple[int, int]:
        """The units of each LSTM, and the number of LSTMs."""
        return equal_sizes(self.hidden, self.layers, PixelRNNOptions.model_fields["layers"].default)


class PixelRNN(PixelPair):
    """PixelRNN: row or diagonal LSTMs over images.

    Args:
        options: The options of the family.
        event: The event that x is: images.
    """

    Options: ClassVar[type[BaseModel]] = PixelRNNOptions

    def __init__(self, options: Any, event: Event):
        super().__init__(options, event)
        o, (units, layers) = options, options.sizes
        self.conditioner = PixelRNNConditioner(
            self.site, self.image, units, layers, o.head, o.cell, o.kernel, self.context_size
        )
