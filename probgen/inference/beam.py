"""Beam search: the most probable sequence, as nearly as so many at a time can find it (Graves 2012; Sutskever et al. 2014)."""

from __future__ import annotations

import torch
from torch import Tensor

from probgen.distributions.autoregressive import Conditioner, Walk
from probgen.distributions.sites import Categorical


def beam(
    conditioner: Conditioner,
    site: Categorical,
    x: Tensor,
    steps: int,
    *,
    beams: int,
    end: int | None = None,
    length_penalty: float = 0.0,
    context: Tensor | None = None,
) -> Tensor:
    """What x (row, site) goes on with: (row, site + steps); after `end` there is nothing but `end`.

    Of what a beam of `beams` has found in the end, the one with the largest log p / length ** length_penalty. With as many beams as there are
    sequences, and no penalty, it is the most probable one.
    """
    rows, begun = x.shape
    each = x.repeat_interleave(beams, 0)
    sources = None if context is None else context.repeat_interleave(beams, 0)
    walk = Walk(conditioner, site, rows * beams, begun + steps, sources, x)
    for i in range(begun):
        walk.numbers(i)
        walk.put(i, each[:, i])
    first = torch.arange(rows, device=x.device)[:, None] * beams
    total = torch.full((rows, beams), -torch.inf, dtype=torch.float64, device=x.device)
    total[:, 0] = 0  # they are all the same as yet
    length = torch.zeros(rows, beams, device=x.device)
    ended = torch.zeros(rows, beams, dtype=torch.bool, device=x.device)
    for i in range(begun, begun + steps):
        log_p = walk.numbers(i).double().log_softmax(1).unflatten(0, (rows, beams))
        if end is not None:
            only = torch.full_like(log_p[0, 0], -torch.inf)
            only[end] = 0
            log_p = torch.where(ended[:, :, None], only, log_p)
        total, best = (total[:, :, None] + log_p).flatten(1).topk(beams, 1)
        came, symbol = best // site.levels, best % site.levels
        walk.take((first + came).flatten())
        walk.put(i, symbol.flatten())
        ended, length = ended.gather(1, came), length.gather(1, came)
        length += ~ended
        if end is not None:
            ended |= symbol == end
            if ended.all():
                walk.x[:, i + 1 :] = end
                break
    chosen = (total / length.clamp(min=1) ** length_penalty).argmax(1)
    return walk.x[first[:, 0] + chosen]
