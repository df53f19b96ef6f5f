"""Recurrent layers, for a sequence in one call, or for one step at a time with prepared weights.

rnn    h_t = tanh(W_xh x_t + W_hh h_{t-1} + b)                                  Elman 1990; Karpathy 2015
gru    r, z = sigmoid(..), n = tanh(W_xn x_t + b + r (W_hn h_{t-1} + b')), h_t = (1 - z) n + z h_{t-1}      Cho et al. 2014
lstm   i, f, o = sigmoid(..), g = tanh(..), c_t = f c_{t-1} + i g, h_t = o tanh(c_t)     Hochreiter & Schmidhuber 1997
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

Cell = Literal["rnn", "gru", "lstm"]
GATES = {"rnn": 1, "gru": 3, "lstm": 4}
_LAYERS: dict[str, Callable[..., nn.RNNBase]] = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


class Recurrent(nn.Module):
    """A stack of recurrent layers with one type of cell.

    It maps (row, time, inputs) and a state to (row, time, hidden) and the next state. A state has the shape
    (row, layer, hidden). For an LSTM, it has the shape (row, layer, 2 * hidden), with h first and c second.

    Args:
        cell: Type of cell: "rnn", "gru" or "lstm".
        inputs: Number of input features.
        hidden: Hidden units per layer.
        layers: Number of layers.
        dropout: Dropout probability between layers.
    """

    def __init__(self, cell: Cell, inputs: int, hidden: int, layers: int, dropout: float = 0.0):
        super().__init__()
        self.cell, self.hidden, self.layers = cell, hidden, layers
        self.net = _LAYERS[cell](
            inputs, hidden, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0
        )
        self.width = hidden * (2 if cell == "lstm" else 1)

    def start(self, rows: int) -> Tensor:
        """Return the initial state for a number of rows: zeros, (row, layer, width)."""
        return next(self.parameters()).new_zeros(rows, self.layers, self.width)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Process a sequence, without autocast, because a state in bfloat16 trains badly.

        Args:
            x: Inputs, (row, time, inputs).
            state: State before the sequence, (row, layer, width).

        Returns:
            Outputs of the last layer, (row, time, hidden), and the state after the sequence, (row, layer, width).
        """
        parts = tuple(part.transpose(0, 1).contiguous() for part in state.split(self.hidden, 2))
        with torch.autocast(x.device.type, enabled=False):
            if self.cell == "lstm":
                y, (h, c) = self.net(x, parts)
                return y, torch.cat([h, c], 2).transpose(0, 1)
            y, h = self.net(x, parts[0])
            return y, h.transpose(0, 1)

    def laid_out(self) -> tuple[tuple[Tensor, ...], ...]:
        """Return the weights for `step`: for each layer W_x and W_h (transposed) and their biases."""
        names = ("weight_ih_l{}", "weight_hh_l{}", "bias_ih_l{}", "bias_hh_l{}")
        found = []
        for layer in range(self.layers):
            W_x, W_h, b, d = (getattr(self.net, name.format(layer)).detach() for name in names)
            if self.cell != "gru":
                b, d = b + d, torch.zeros_like(d)
            found.append((W_x.mT.contiguous(), W_h.mT.contiguous(), b, d))
        return tuple(found)

    def step(self, a: Tensor, state: Tensor, weights: tuple[tuple[Tensor, ...], ...]) -> Tensor:
        """Process one step and update the state in place.

        Args:
            a: W_x x_t + b of the first layer, (row, gates).
            state: State, (row, layer, width), which is updated.
            weights: Weights from `laid_out`.

        Returns:
            Output of the last layer, (row, hidden).
        """
        n, h = self.hidden, a
        for layer, (W_x, W_h, b, d) in enumerate(weights):
            if layer:
                a = torch.addmm(b, h, W_x)
            before = state[:, layer, :n]
            if self.cell == "rnn":
                h = torch.addmm(a, before, W_h).tanh_()
            elif self.cell == "gru":
                own = torch.addmm(d, before, W_h)
                r, z = (a[:, : 2 * n] + own[:, : 2 * n]).sigmoid_().chunk(2, 1)
                new = torch.addcmul(a[:, 2 * n :], r, own[:, 2 * n :]).tanh_()
                h = torch.lerp(new, before, z)
            else:
                gates = torch.addmm(a, before, W_h)
                g = gates[:, 2 * n : 3 * n].tanh()
                i, f, _, o = gates.sigmoid_().chunk(4, 1)
                c = state[:, layer, n:]
                c.mul_(f).addcmul_(i, g)
                h = c.tanh().mul_(o)
            state[:, layer, :n] = h
        return h
