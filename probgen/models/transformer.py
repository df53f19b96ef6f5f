"""A small causal transformer over symbols (Vaswani et al. 2017, decoder only; layer norms first, as in Radford et al. 2019).

    h = W_e e_t + P_{t - s},    h = h + attention(norm(h)),    h = h + W_2 gelu(W_1 norm(h)),    p(x_t | x_<t) = softmax(W_o norm(h))

What is seen of x are the symbols of a window of `window` steps that begins at s: the first at s = 0, and where one is full the next
begins at its second half. So x_t is told at least half a window, from the start of the text on all of it, and the same whether a
text is scored, read as a prompt, or drawn symbol by symbol.
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

ROOM = 16  # steps whose keys and values there is room for at first


class Encoder(nn.Module):
    """What is known of a source, each step of it told all others: (row, step), -1 past its end, to (row, step, width)."""

    def __init__(self, levels: int, width: int, layers: int, heads: int, dropout: float):
        super().__init__()
        self.e = nn.Embedding(levels, width)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.dropped = nn.Dropout(dropout)

    def forward(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """What is known of each step, and which steps there are."""
        there = source >= 0
        e = self.e(source.clamp(min=0)) * self.e.embedding_dim**0.5  # section 3.4
        h = self.dropped(e + positions(e))
        for block in self.blocks:
            h = block(h, there=there)
        return self.norm(h), there


def positions(e: Tensor) -> Tensor:
    """Of steps from 0 on: (.., step, width) -> (step, width). Vaswani et al. 2017, section 3.5."""
    steps, width = e.shape[-2:]
    rate = torch.exp(torch.arange(0, width, 2, device=e.device, dtype=e.dtype) * (-math.log(10000.0) / width))
    angle = torch.arange(steps, device=e.device, dtype=e.dtype)[:, None] * rate
    return torch.stack([angle.sin(), angle.cos()], 2).flatten(1)[:, :width]


class TransformerConditioner(nn.Module):
    """Numbers for each site of a sequence of any length."""

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
        """(row, site), (row, context) -> (row, site, size)."""
        return self.scan(x, self.start(len(x), context))

    def start(self, rows: int, context: Tensor | None) -> State:
        """Before the first site, which is told nothing but the context, or sees nothing but the source."""
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
        """Numbers of the sites that follow, of which the values are x, window by window; in the state they are told."""
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
        """The last value told, and the next site asked for: (row,) -> (row, size)."""
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
        """What each step sees of the source, in the last layer, a mean over heads: (row, site), source -> (row, site, source site)."""
        maps: list[Tensor] = []
        state = self.start(len(x), context)
        told = torch.cat([state["last"][:, None], self._embedded(x)[:, :-1]], 1)
        self._features(told[:, : self.window], state, maps=maps)
        return maps[-1].mean(1)

    def _seen(self, state: State) -> Tensor:
        """What was told in this window; of a full one its second half, where the next one begins."""
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
        256, ge=2, description="steps of time that are seen at most, and in a stretch of a fit"
    )
    width: int = Field(128, ge=1, description="features of each step")
    layers: int = Field(4, ge=1, le=100, description="blocks of attention and a hidden layer")
    heads: int = Field(4, ge=1, description="of each attention; they share the width")
    dropout: float = Field(
        0.0, ge=0, lt=1, description="share of features and attention that is left out in a fit"
    )

    @model_validator(mode="after")
    def _even(self) -> TransformerOptions:
        if self.width % self.heads:
            raise ValueError(f"width = {self.width} cannot be shared by {self.heads} heads: use a multiple")
        return self


class Transformer(SequencePair):
    """A causal transformer behind the hooks."""

    Options: ClassVar[type[BaseModel]] = TransformerOptions

    def make_conditioner(self) -> TransformerConditioner:
        """As the options say."""
        o = self.options
        return TransformerConditioner(
            self.site, o.width, o.layers, o.heads, o.window, self.context_size, o.dropout
        )
