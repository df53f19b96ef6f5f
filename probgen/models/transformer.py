"""A small causal transformer over symbols (Vaswani et al. 2017, decoder only; layer norms first, as in Radford et al. 2019).

    h = W_e e_t + P_{t - s},    h = h + attention(norm(h)),    h = h + W_2 gelu(W_1 norm(h)),    p(x_t | x_<t) = softmax(W_o norm(h))

What is seen of x are the symbols of a window of `window` steps that begins at s: the first at s = 0, and where one is full the next
begins at its second half. So x_t is told at least half a window, from the start of the text on all of it, and the same whether a
text is scored, read as a prompt, or drawn symbol by symbol.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import BaseModel, Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from probgen.distributions.autoregressive import State, check_context
from probgen.distributions.sites import Site
from probgen.models.sequences import SequenceOptions, SequencePair


class Block(nn.Module):
    """Attention of each step to those before it, then a hidden layer: (row, step, width) to the same."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.QKV, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.hidden = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width), nn.Dropout(dropout)
        )

    def forward(self, h: Tensor, past: Tensor | None = None, known: int = 0) -> Tensor:
        """past (row, 2, heads, window, width / heads): keys and values, of `known` steps before these; those of these are added."""
        q, k, v = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in self.QKV(self.norm(h)).chunk(3, 2)
        )
        if past is not None:
            end = known + h.shape[1]
            past[:, 0, :, known:end], past[:, 1, :, known:end] = k, v
            k, v = past[:, 0, :, :end], past[:, 1, :, :end]
        mask = None
        if known and h.shape[1] > 1:
            mask = torch.ones(h.shape[1], known + h.shape[1], dtype=torch.bool, device=h.device).tril(known)
        dropout = self.dropout if self.training else 0.0
        y = F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, dropout_p=dropout, is_causal=mask is None and h.shape[1] > 1
        )
        h = h + F.dropout(self.out(y.transpose(1, 2).flatten(2)), self.dropout, self.training)
        return h + self.hidden(self.norm_2(h))


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
    ):
        super().__init__()
        self.site, self.context, self.window, self.heads = site, context, window, heads
        self.e = nn.Linear(site.features + context, width, bias=False)
        self.P = nn.Parameter(0.02 * torch.randn(window, width))
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, site.size, bias=False)
        self.dropped = nn.Dropout(dropout)
        for name, part in self.named_parameters():
            if part.dim() == 2:
                residual = name.endswith(("out.weight", "hidden.2.weight")) and name.startswith("blocks")
                nn.init.normal_(part, std=0.02 / (2 * layers) ** 0.5 if residual else 0.02)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """(row, site), (row, context) -> (row, site, size)."""
        return self.scan(x, self.start(len(x), context))

    def start(self, rows: int, context: Tensor | None) -> State:
        """Before the first site, which is told nothing."""
        check_context(context, self.context)
        state: State = {"last": self.P.new_zeros(rows, self.site.features)}
        return state if context is None else {**state, "context": context}

    def scan(self, x: Tensor, state: State) -> Tensor:
        """Numbers of the sites that follow, of which the values are x, window by window; in the state they are told."""
        e = self.site.encode(x, self.P.dtype)
        told = torch.cat([state["last"][:, None], e[:, :-1]], 1)
        state["last"] = e[:, -1]
        if "context" in state:
            told = torch.cat([told, state["context"][:, None].expand(-1, told.shape[1], -1)], 2)
        found, begin = [], 0
        while begin < told.shape[1]:
            seen = self._seen(state)
            some = told[:, begin : begin + self.window - seen.shape[1]]
            begin += some.shape[1]
            state["told"] = torch.cat([seen, some], 1)
            found.append(self._numbers(state["told"])[:, seen.shape[1] :])
        state.pop("past", None)
        return torch.cat(found, 1)

    def step(self, state: State, i: int, previous: Tensor | None) -> Tensor:
        """The last value told, and the next site asked for: (row,) -> (row, size)."""
        if previous is not None:
            state["last"] = self.site.encode(previous, self.P.dtype)
        told = state["last"] if "context" not in state else torch.cat([state["last"], state["context"]], 1)
        seen = self._seen(state)
        known = seen.shape[1]
        if "past" not in state or known != state["known"][0]:
            rows, width = len(told), self.P.shape[1]
            size = (rows, len(self.blocks), 2, self.heads, self.window, width // self.heads)
            state["past"] = told.new_zeros(size)
            if known:
                self._features(seen, state["past"], 0)
        state["told"] = torch.cat([seen, told[:, None]], 1)
        h = self._features(told[:, None], state["past"], known)
        state["known"] = (known + 1,)
        return self.out(self.norm(h[:, 0]))

    def _seen(self, state: State) -> Tensor:
        """What was told in this window; of a full one its second half, where the next one begins."""
        seen: Tensor | None = state.get("told")
        if seen is None:
            return self.P.new_zeros(len(state["last"]), 0, self.site.features + self.context)
        return seen if seen.shape[1] < self.window else seen[:, self.window - self.window // 2 :]

    def _numbers(self, told: Tensor) -> Tensor:
        return self.out(self.norm(self._features(told, None, 0)))

    def _features(self, told: Tensor, past: Tensor | None, known: int) -> Tensor:
        h = self.dropped(self.e(told) + self.P[known : known + told.shape[1]])
        for i, block in enumerate(self.blocks):
            h = block(h, None if past is None else past[:, i], known)
        return h


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
