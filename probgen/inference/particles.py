"""Drawing the unknown sites of an autoregressive x given the known ones.

Where the known sites come first in the ordering, the rest is drawn from the conditionals: exact. Any other mask is
completed by sequential importance resampling (Gordon, Salmond & Smith 1993; Doucet & Johansen 2009, section 4): K
particles walk through the ordering together; at an unknown site each draws from p(x_i | x_<i), at a known one it is
weighted by it. When the weights have become uneven the particles are resampled. One particle, chosen by the weights, is
the draw; draws are independent of each other, each having particles of its own, and have the right distribution as K
grows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from probgen.distributions import Autoregressive
from probgen.distributions.autoregressive import Walk
from probgen.errors import InputError

BYTES = 1 << 28  # of what the particles that go together keep of their walk: 256 MiB


def complete(
    parts: Sequence[Autoregressive],
    x: Tensor,
    observed: Tensor,
    particles: int,
    *,
    end: int | None = None,
) -> tuple[Tensor, Tensor]:
    """A draw for each row of x, with x kept where observed, and its effective sample size.

    parts      distributions of batch shape (row,) or (), of which p(x) has equal parts
    x          (row, *event); observed: the same, bool
    particles  K, of each draw and in all parts together (at least one in each)
    end        a symbol after which there is nothing but it: none is drawn before a known symbol that is another

    The effective sample size (row,) says from how many of the K first particles the draw was chosen: 1 / sum_a w_a^2,
    where w_a is the weight of all that descend from particle a. It is K where the draw is exact, the known sites coming
    first in the orderings of all parts, and near 1 where the known sites leave almost nothing of what had been drawn
    before them: use more particles.
    """
    flat, known = x.flatten(1), observed.flatten(1)
    exact = torch.stack([_is_prefix(part.in_order(known)) for part in parts]).all(0)
    drawn, ess = flat.clone(), torch.full((len(x),), float(particles), dtype=torch.float64, device=x.device)
    each = max(1, particles // len(parts))
    at_once = BYTES // sum(part.walk(torch.Size((len(x),)), torch.zeros(1).long()).bytes for part in parts)
    for chosen, k in ((exact, 1), (~exact, each)):  # of parts that are exact one is chosen by its p(x_known)
        index = chosen.nonzero()[:, 0]
        for rows in index.split(max(1, at_once // k)) if len(index) else ():
            walks = [_walk(part, flat[rows], known[rows], rows, len(x), k, end) for part in parts]
            values, log_w, ancestors = (torch.cat(found, 1) for found in zip(*walks, strict=True))
            if (log_w.amax(1) == -math.inf).any():
                raise InputError("given 'x': what is known has probability 0 under the model")
            w = log_w.softmax(1)
            pick = torch.multinomial(w, 1)[:, 0]
            drawn[rows] = values[torch.arange(len(rows)), pick].to(drawn.dtype)
            if chosen is not exact:
                numbered = ancestors + each * torch.arange(len(parts), device=x.device).repeat_interleave(
                    each
                )
                families = torch.zeros_like(w).scatter_add_(1, numbered, w)
                ess[rows] = (1 / families.double().square().sum(1)).clamp(max=particles)
    return drawn.reshape(x.shape), ess


def log_evidence(
    parts: Sequence[Autoregressive], x: Tensor, observed: Tensor, particles: int, repeats: int = 4
) -> tuple[Tensor, Tensor]:
    """log of an estimate of p(x_known) and its standard error, (row,) each: its mean is without bias, so that its logarithm is low on average.

    parts, x, observed: as of `complete`. The error is by `repeats` estimates of so many particles each.
    """
    flat, known = x.flatten(1), observed.flatten(1)
    found = []
    for _ in range(repeats):
        each = []
        for part in parts:
            state = part.walk(torch.Size((len(x),)), torch.zeros(1).long()).bytes
            size = max(1, BYTES // (max(1, state) * particles))
            log_w = [
                _walk(part, flat[rows], known[rows], rows, len(x), particles, None)[1]
                for rows in torch.arange(len(x), device=x.device).split(size)
            ]
            each.append(torch.cat(log_w).double().logsumexp(1) - math.log(particles))
        found.append(torch.stack(each).logsumexp(0) - math.log(len(parts)))
    log_p = torch.stack(found)
    mean = log_p.logsumexp(0) - math.log(repeats)
    error = (log_p - mean).exp().std(0) / math.sqrt(repeats)
    return mean, error


def _is_prefix(known: Tensor) -> Tensor:
    """Whether no known site comes after an unknown one: (row, site) -> (row,)."""
    return (known.cummin(1).values == known).all(1)


def _walk(
    p: Autoregressive, x: Tensor, known: Tensor, rows: Tensor, n: int, k: int, end: int | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Values as they lie (row, k, site), log-weights (row, k) and first ancestors (row, k) of k particles a row.

    The weights carry the evidence: their mean estimates p(x_known) without bias.
    """
    size = len(rows)
    x, known = p.in_order(x), p.in_order(known)
    walk = p.walk(torch.Size((n,)), rows.repeat(k))
    log_w = torch.zeros(k, size, device=x.device)
    ancestors = torch.arange(k, device=x.device)[:, None].expand(k, size)
    # where a later symbol is known to be another
    goes_on = (known & (x != end)).flip(1).cumsum(1).flip(1) > 0 if end is not None else None
    last = int(known.any(0).nonzero().max()) if known.any() else -1  # after it the weights stand still
    for i in range(walk.sites):
        numbers, given = walk.numbers(i), known[:, i].repeat(k)
        if goes_on is not None:
            here = goes_on[:, i].repeat(k) & ~given
            left = numbers.index_fill(1, torch.tensor([end], device=x.device), -torch.inf)
            lost = left.logsumexp(1) - numbers.logsumexp(1)  # the probability that it goes on
            log_w = log_w + torch.where(here, lost, 0).reshape(k, size)
            numbers = torch.where((here & (lost > -torch.inf))[:, None], left, numbers)
        site = p.site_at(i).p(numbers)
        value = site.sample()
        if known[:, i].any():
            here = x[:, i].repeat(k).to(value.dtype)
            value = torch.where(given, here, value)
            log_w = log_w + torch.where(given, site.log_prob(value), 0).reshape(k, size)
        walk.put(i, value)
        if k > 1 and i < last:
            log_w, ancestors = _resampled(walk, log_w, ancestors)
    values = p.as_it_lies(walk.x).reshape(k, size, -1)
    return values.transpose(0, 1), log_w.T, ancestors.T


def _resampled(walk: Walk, log_w: Tensor, ancestors: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of which fewer than half of the particles are effective begin anew with as many of equal weight."""
    k, size = log_w.shape
    w = log_w.softmax(0)
    uneven = 1 / w.square().sum(0) < k / 2
    if not uneven.any():
        return log_w, ancestors
    # systematic resampling (Kitagawa 1996): one uniform number a row
    points = (
        torch.arange(k, device=w.device)[:, None] + torch.rand(size, dtype=w.dtype, device=w.device)
    ) / k
    chosen = (
        torch.searchsorted(w.cumsum(0).T.contiguous(), points.T.contiguous(), right=True).clamp(max=k - 1).T
    )
    chosen = torch.where(uneven, chosen, torch.arange(k, device=w.device)[:, None])
    walk.take((chosen * size + torch.arange(size, device=w.device)).flatten())
    mean = log_w.logsumexp(0) - math.log(k)
    return torch.where(uneven, mean, log_w), ancestors.gather(0, chosen)
