"""A small causal transformer over symbols: the decoder of Vaswani et al. 2017.

The layer norms come first, as in Radford et al. 2019:

    h = W_e e_t + P_{t - s},    h = h + attention(norm(h)),    h = h + W_2 gelu(W_1 norm(h))
    p(x_t | x_<t) = softmax(W_o norm(h))

The network sees the symbols of a window of `window` steps that starts at s. The first window starts at s = 0.
When a window is full, the next one starts at its second half. Therefore x_t depends on at least the last half
window, or on the whole text if it is shorter. Scoring, reading a prompt and sampling use the same windows.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from pydantic import BaseModel, Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from probgen.distributions.autoregressive import State, check_context
from probgen.distributions.sites import Site
from probgen.models.bases.sequences import SequenceOptions, SequencePair
from probgen.nn.attention import Block

ROOM = 16  # initial capacity of the cache of keys and values, in steps


class Encoder(nn.Module):
    """A transformer encoder of a source sequence: every step attends to all steps.

    Args:
        levels: Number of symbols of the source.
        width: Features of each step.
        layers: Number of blocks.
        heads: Number of attention heads.
        dropout: Share of features and attention weights that is dropped while training.
    """

    def __init__(self, levels: int, width: int, layers: int, heads: int, dropout: float):
        super().__init__()
        self.e = nn.Embedding(levels, width)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.dropped = nn.Dropout(dropout)

    def forward(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features of the source.

        Args:
            source: Symbols, (row, step), -1 past the end of a row.

        Returns:
            Features (row, step, width), and whether each step exists (row, step).
        """
        there = source >= 0
        e = self.e(source.clamp(min=0)) * self.e.embedding_dim**0.5  # section 3.4
        h = self.dropped(e + positions(e))
        for block in self.blocks:
            h = block(h, there=there)
        return self.norm(h), there


def positions(e: Tensor) -> Tensor:
    """Return the sinusoidal position encoding (Vaswani et al. 2017, section 3.5).

    Args:
        e: Embeddings, (..., step, width), which give the shape and dtype.

    Returns:
        Encodings of the steps from 0 on, (step, width).
    """
    steps, width = e.shape[-2:]
    rate = torch.exp(torch.arange(0, width, 2, device=e.device, dtype=e.dtype) * (-math.log(10000.0) / width))
    angle = torch.arange(steps, device=e.device, dtype=e.dtype)[:, None] * rate
    return torch.stack([angle.sin(), angle.cos()], 2).flatten(1)[:, :width]


class TransformerConditioner(nn.Module):
    """A causal transformer as a conditioner of sequences of any length.

    Args:
        site: The site of one step.
        width: Features of each step.
        layers: Number of blocks.
        heads: Number of attention heads.
        window: Steps of a window.
        context: Number of context numbers per row.
        dropout: Share of features and attention weights that is dropped while training.
        encoder: An encoder of a source, which is then the context; or None.
    """

    def __init__(
        self,
        site: Site,
        width: int = 128,
        layers: int = 4,
        heads: int = 4,
        window: int = 256,
        context: int = 0,
        dropout: float = 0.0,
        encoder: Encoder | None = None,
    ):
        super().__init__()
        self.site, self.context, self.window, self.heads, self.encoder = site, context, window, heads, encoder
        self.e = nn.Linear(site.features + context, width, bias=False)
        self.P = nn.Parameter(0.02 * torch.randn(window, width))
        self.blocks = nn.ModuleList(Block(width, heads, dropout, encoder is not None) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, site.size, bias=False)
        self.dropped = nn.Dropout(dropout)
        for name, part in self.named_parameters():
            if part.dim() == 2:
                residual = name.endswith(("out.weight", "hidden.2.weight")) and "blocks" in name
                nn.init.normal_(part, std=0.02 / (2 * layers) ** 0.5 if residual else 0.02)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the site parameters of all steps.

        Args:
            x: The rows, (row, step).
            context: The context (row, context), the source (row, source step), or None.

        Returns:
            Site parameters, (row, step, size).
        """
        return self.scan(x, self.start(len(x), context))

    def start(self, rows: int, context: Tensor | None) -> State:
        """Return the state before the first step, which depends on the context or the source only."""
        state: State = {"last": self.P.new_zeros(rows, self.P.shape[1])}
        if self.encoder is not None and context is not None:
            h, state["there"] = self.encoder(context)
            sources = [block.source for block in self.blocks if isinstance(block, Block)]
            state["source"] = torch.stack([source.keys(h) for source in sources if source is not None], 1)
            return state
        check_context(context, self.context)
        if context is not None:
            state["context"] = F.linear(context, self.e.weight[:, self.site.features :])
        return state

    def scan(self, x: Tensor, state: State) -> Tensor:
        """Return the site parameters of the next steps, with values x (row, step); add x to the state."""
        e = self._embedded(x)
        told = torch.cat([state["last"][:, None], e[:, :-1]], 1)
        state["last"] = e[:, -1]
        if "context" in state:
            told = told + state["context"][:, None]
        found, begin = [], 0
        while begin < told.shape[1]:
            seen = self._seen(state)
            some = told[:, begin : begin + self.window - seen.shape[1]]
            begin += some.shape[1]
            state["told"] = torch.cat([seen, some], 1)
            found.append(self.out(self.norm(self._features(state["told"], state)))[:, seen.shape[1] :])
        state.pop("past", None)
        return torch.cat(found, 1)

    def step(self, state: State, i: int, previous: Tensor | None) -> Tensor:
        """Return the site parameters of the next step (row, size), given the previous value (row,)."""
        if previous is not None:
            state["last"] = self._embedded(previous)
        told = state["last"] if "context" not in state else state["last"] + state["context"]
        seen = self._seen(state)
        known = seen.shape[1]
        if "past" not in state or known != state["known"][0]:
            rows, width = told.shape
            room = min(self.window, 2 * max(known, ROOM))
            size = (rows, len(self.blocks), 2, self.heads, room, width // self.heads)
            state["past"] = told.new_zeros(size)
            if known:
                self._features(seen, state, state["past"])
        elif known == state["past"].shape[4]:
            state["past"] = F.pad(state["past"], (0, 0, 0, min(known, self.window - known)))
        state["told"] = torch.cat([seen, told[:, None]], 1)
        h = self._features(told[:, None], state, state["past"], known)
        state["known"] = (known + 1,)
        return self.out(self.norm(h[:, 0]))

    def attention(self, x: Tensor, context: Tensor) -> Tensor:
        """Return the attention of each step to the source, in the last layer, averaged over heads.

        Args:
            x: The rows, (row, step).
            context: The source, (row, source step).

        Returns:
            Attention weights, (row, step, source step), for the first window of x.
        """
        maps: list[Tensor] = []
        state = self.start(len(x), context)
        told = torch.cat([state["last"][:, None], self._embedded(x)[:, :-1]], 1)
        self._features(told[:, : self.window], state, maps=maps)
        return maps[-1].mean(1)

    def _seen(self, state: State) -> Tensor:
        """Return the inputs of the window; of a full window its second half, where the next starts."""
        seen: Tensor | None = state.get("told")
        if seen is None:
            return self.P.new_zeros(len(state["last"]), 0, self.P.shape[1])
        return seen if seen.shape[1] < self.window else seen[:, self.window - self.window // 2 :]

    def _features(
        self,
        told: Tensor,
        state: State,
        past: Tensor | None = None,
        known: int = 0,
        maps: list[Tensor] | None = None,
    ) -> Tensor:
        h = self.dropped(told + self.P[known : known + told.shape[1]])
        for i, block in enumerate(self.blocks):
            source = (state["source"][:, i], state["there"]) if "source" in state else None
            h = block(h, None if past is None else past[:, i], known, None, source, maps)
        return h

    def _embedded(self, x: Tensor) -> Tensor:
        W = self.e.weight[:, : self.site.features]
        if self.site.one_hot:
            return F.embedding(x.long(), W.mT)
        return F.linear(self.site.encode(x, W.dtype), W)


class TransformerOptions(SequenceOptions):
    """Options of `transformer`."""

    window: int = Field(
        256, ge=2, description="most time steps that the network sees; also the steps of a training segment"
    )
    width: int = Field(128, ge=1, description="features of each step")
    layers: int = Field(
        4, ge=1, le=100, description="number of blocks, each with attention and a hidden layer"
    )
    heads: int = Field(4, ge=1, description="attention heads of each block; they must divide the width")
    dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of features and attention weights that are dropped while training",
    )

    @model_validator(mode="after")
    def _even(self) -> TransformerOptions:
        if self.width % self.heads:
            raise ValueError(
                f"width = {self.width}: it must be a multiple of heads = {self.heads}. Change width or heads."
            )
        return self


class Transformer(SequencePair):
    """A causal transformer over symbols.

    Args:
        options: The options of the family.
        event: The event that x is: sequences of symbols.
    """

    Options: ClassVar[type[BaseModel]] = TransformerOptions

    def make_conditioner(self) -> TransformerConditioner:
        """Return the conditioner, by the options."""
        o = self.options
        return TransformerConditioner(
            self.site, o.width, o.layers, o.heads, o.window, self.context_size, o.dropout
        )
