"""Attention and transformer blocks (Vaswani et al. 2017), with layer norms first (Radford et al. 2019).

attention(Q, K, V) = softmax(Q K^T / sqrt(d)) V                                        eq. 1
h = h + attention(norm(h)),    h = h + W_2 gelu(W_1 norm(h))
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Block(nn.Module):
    """A transformer block: self-attention, optional attention to a source, then a hidden layer.

    Inputs and outputs have the shape (row, step, width). By default, a step attends to itself and to earlier steps.

    Args:
        width: Number of features of a step.
        heads: Number of attention heads; it divides `width`.
        dropout: Dropout probability.
        source: Whether the block attends to a source, as the decoder of a translation does.
    """

    def __init__(self, width: int, heads: int, dropout: float, source: bool = False):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.QKV, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.source = SourceAttention(width, heads, dropout) if source else None
        self.hidden = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width), nn.Dropout(dropout)
        )

    def forward(
        self,
        h: Tensor,
        past: Tensor | None = None,
        known: int = 0,
        there: Tensor | None = None,
        source: tuple[Tensor, Tensor] | None = None,
        maps: list[Tensor] | None = None,
    ) -> Tensor:
        """Apply the block.

        Args:
            h: Features, (row, step, width).
            past: Cache of keys and values, (row, 2, heads, window, width / heads); None for no cache. The first `known`
                steps of the window are earlier steps. The keys and values of `h` are written after them.
            known: Number of earlier steps in the cache.
            there: Mask of the steps that exist, (row, step), bool. Each step then attends to all of these steps, also later
                ones. None for causal attention.
            source: Keys and values of the source, and the mask of its steps; see `SourceAttention`.
            maps: A list to which the attention weights over the source are appended.

        Returns:
            Features, (row, step, width).
        """
        q, k, v = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in self.QKV(self.norm(h)).chunk(3, 2)
        )
        if past is not None:
            end = known + h.shape[1]
            past[:, 0, :, known:end], past[:, 1, :, known:end] = k, v
            k, v = past[:, 0, :, :end], past[:, 1, :, :end]
        mask = None if there is None else there[:, None, None, :]
        if known and h.shape[1] > 1:
            mask = torch.ones(h.shape[1], known + h.shape[1], dtype=torch.bool, device=h.device).tril(known)
        y = F.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=mask,
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=mask is None and h.shape[1] > 1,
        )
        h = h + F.dropout(self.out(y.transpose(1, 2).flatten(2)), self.dropout, self.training)
        if self.source is not None and source is not None:
            seen, weights = self.source(h, *source)
            h = h + seen
            if maps is not None:
                maps.append(weights)
        return h + self.hidden(self.norm_2(h))


class SourceAttention(nn.Module):
    """Attention of each step to all steps of a source.

    Args:
        width: Number of features of a step.
        heads: Number of attention heads; it divides `width`.
        dropout: Dropout probability.
    """

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm = nn.LayerNorm(width)
        self.Q, self.KV, self.out = (nn.Linear(width, n) for n in (width, 2 * width, width))

    def keys(self, source: Tensor) -> Tensor:
        """Return the keys and values of a source.

        Args:
            source: Features of the source, (row, step, width).

        Returns:
            Keys and values, (row, 2, heads, step, width / heads).
        """
        return self.KV(source).unflatten(2, (2, self.heads, -1)).permute(0, 2, 3, 1, 4)

    def forward(self, h: Tensor, keys: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
        """Return the term to add to h, and the attention weights.

        Args:
            h: Features, (row, step, width).
            keys: Keys and values of the source, from `keys`.
            there: Mask of the source steps that exist, (row, source step), bool.

        Returns:
            The term, (row, step, width), and the weights, (row, heads, step, source step).
        """
        q = self.Q(self.norm(h)).unflatten(2, (self.heads, -1)).transpose(1, 2)
        a = q @ keys[:, 0].mT / q.shape[-1] ** 0.5
        weights = a.masked_fill(~there[:, None, None, :], -torch.inf).softmax(-1)
        y = F.dropout(weights, self.dropout, self.training) @ keys[:, 1]
        return F.dropout(self.out(y.transpose(1, 2).flatten(2)), self.dropout, self.training), weights
