"""Recurrent networks over symbols (Graves 2013; Karpathy 2015).

    h_t = tanh(W_hh h_{t-1} + W_xh x_{t-1}),    p(x_t | x_<t) = softmax(W_hy h_t)

A GRU or an LSTM may replace the first equation. At the first step, the network receives zeros.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import BaseModel, Field, model_validator
from torch import Tensor, nn

from probgen.contract.options import LAYERS, Sizes, equal_sizes
from probgen.distributions.autoregressive import State, check_context
from probgen.distributions.sites import Categorical, Site
from probgen.models.bases.sequences import SequenceOptions, SequencePair
from probgen.nn.recurrent import Cell, Recurrent


class RecurrentConditioner(nn.Module):
    """A recurrent network as a conditioner of sequences of any length.

    Args:
        site: The site of one step.
        hidden: Units of each layer.
        layers: Number of layers.
        cell: Kind of cell: "rnn", "gru" or "lstm".
        context: Number of context numbers per row.
        dropout: Share of the outputs between layers that is dropped while training.
    """

    def __init__(
        self,
        site: Site,
        hidden: int = 256,
        layers: int = 1,
        cell: Cell = "lstm",
        context: int = 0,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.site, self.context = site, context
        self.net = Recurrent(cell, site.features + context, hidden, layers, dropout)
        self.out = nn.Linear(hidden, site.size)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the site parameters of all steps.

        Args:
            x: The rows, (row, step).
            context: The context, (row, context), or None.

        Returns:
            Site parameters, (row, step, size).
        """
        return self.scan(x, self.start(len(x), context))

    def start(self, rows: int, context: Tensor | None) -> State:
        """Return the state before the first step."""
        check_context(context, self.context)
        h = self.net.start(rows)
        state: State = {"h": h, "last": h.new_zeros(rows, self.site.features)}
        return state if context is None else {**state, "context": context}

    def scan(self, x: Tensor, state: State) -> Tensor:
        """Return the site parameters of the next steps, with values x (row, step); add x to the state."""
        e = self.site.encode(x, self.out.weight.dtype)
        told = torch.cat([state["last"][:, None], e], 1)
        if "context" in state:
            told = torch.cat([told, state["context"][:, None].expand(-1, told.shape[1], -1)], 2)
        y, state["h"] = self.net(told[:, :-1], state["h"])
        state["last"] = e[:, -1]
        return self.out(y)

    def step(self, state: State, i: int, previous: Tensor | None) -> Tensor:
        """Return the site parameters of the next step (row, size), given the previous value (row,)."""
        if "weights" not in state:
            state["weights"] = (
                self.net.laid_out(),
                self.out.weight.detach().mT.contiguous(),
                self.out.bias.detach(),
            )
            state["h"] = state["h"].clone()
        layers, V, c = state["weights"]
        W, _, b, _ = layers[0]
        n = self.site.features
        if previous is not None and isinstance(self.site, Categorical) and n == self.site.levels:
            a = W[previous] + b  # one-hot
        else:
            e = state["last"] if previous is None else self.site.encode(previous, W.dtype)
            a = torch.addmm(b, e, W[:n])
        if "context" in state:
            a = torch.addmm(a, state["context"], W[n:])
        return torch.addmm(c, self.net.step(a, state["h"], layers), V)


class CharRNNOptions(SequenceOptions):
    """Options of `char-rnn`."""

    cell: Cell = Field("lstm", description="kind of cell: rnn (Elman), gru or lstm")
    hidden: Sizes = Field(
        256, description="units of each layer: one number for all, or a list of equal numbers"
    )
    layers: int = Field(1, ge=1, le=LAYERS, description="number of layers, if hidden is a number")
    dropout: float = Field(
        0.0, ge=0, lt=1, description="share of the values between layers that are dropped while training"
    )

    @model_validator(mode="after")
    def _sizes(self) -> CharRNNOptions:
        _, layers = equal_sizes(self.hidden, self.layers)
        if self.dropout and layers == 1:
            raise ValueError(
                f"dropout = {self.dropout}: it applies between layers, but there is one layer. "
                "Use more layers, or leave dropout out."
            )
        return self


class CharRNN(SequencePair):
    """A recurrent network over symbols: an RNN, GRU or LSTM.

    Args:
        options: The options of the family.
        event: The event that x is: sequences of symbols.
    """

    Options: ClassVar[type[BaseModel]] = CharRNNOptions

    def make_conditioner(self) -> RecurrentConditioner:
        """Return the conditioner, by the options."""
        o = self.options
        units, layers = equal_sizes(o.hidden, o.layers)
        return RecurrentConditioner(self.site, units, layers, o.cell, self.context_size, o.dropout)
