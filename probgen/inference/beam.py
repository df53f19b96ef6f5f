"""Beam search: an approximation of the most probable sequence (Graves 2012; Sutskever et al. 2014)."""

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
    """Continue each row of x with the best sequence of a beam search.

    The best sequence is the one of the last beam with the largest log p / length ** length_penalty. If there are as many
    beams as possible sequences, and no penalty, it is the most probable sequence.

    Args:
        conditioner: The network; see `Conditioner`.
        site: Distribution of one symbol.
        x: First symbols of each row, (row, site).
        steps: Number of symbols to append.
        beams: Number of sequences per row that are kept at each step.
        end: Symbol that ends a sequence; None if no symbol does. After `end`, a row has only `end`.
        length_penalty: Exponent of the length in the score.
        context: Context of each row, (row, *context), or None.

    Returns:
        The rows with their continuations, (row, site + steps).

    Raises:
        InputError: When the network returns another shape.
    """
    rows, begun = x.shape
    each = x.repeat_interleave(beams, 0)
    sources = None if context is None else context.repeat_interleave(beams, 0)
    walk = Walk(conditioner, site, rows * beams, begun + steps, sources, x)
    for i in range(begun):
        walk.numbers(i)
        walk.put(i, each[:, i])
    found = torch.full((rows, begun + steps), end or 0, dtype=walk.x.dtype, device=x.device)
    row = torch.arange(rows, device=x.device)  # rows with a beam that has not ended
    total = torch.full((rows, beams), -torch.inf, dtype=torch.float64, device=x.device)
    total[:, 0] = 0  # all beams of a row are equal at the start, so only one counts
    length = torch.zeros(rows, beams, device=x.device)
    over = torch.zeros(rows, dtype=torch.bool, device=x.device) if end is None else (x == end).any(1)
    ended = over[:, None].repeat(1, beams)
    for i in range(begun, begun + steps):
        log_p = walk.numbers(i).double().log_softmax(1).unflatten(0, (len(row), beams))
        if end is not None:
            only = torch.full_like(log_p[0, 0], -torch.inf)
            only[end] = 0
            log_p = torch.where(ended[:, :, None], only, log_p)
        total, best = (total[:, :, None] + log_p).flatten(1).topk(beams, 1)
        came, symbol = best // site.levels, best % site.levels
        ended, length = ended.gather(1, came), length.gather(1, came)
        length += ~ended
        ended |= symbol == (-1 if end is None else end)
        done = ended.all(1) | (i == begun + steps - 1)
        came += beams * torch.arange(len(row), device=x.device)[:, None]
        if done.any():
            chosen = (total / length**length_penalty).argmax(1, keepdim=True)[done]
            place = came[done].gather(1, chosen)[:, 0]
            found[row[done], :i] = walk.x[place, :i]
            found[row[done], i] = symbol[done].gather(1, chosen)[:, 0]
            row, total, length, ended, came, symbol = (
                part[~done] for part in (row, total, length, ended, came, symbol)
            )
            if not len(row):
                break
        walk.take(came.flatten())
        walk.put(i, symbol.flatten())
    return found
