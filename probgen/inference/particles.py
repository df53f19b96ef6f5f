"""Sampling of the missing sites of an autoregressive x given the observed sites.

If the observed sites come first in the ordering, the other sites are sampled from the conditionals, which is exact. For
any other mask, sequential importance resampling is used (Gordon, Salmond & Smith 1993; Doucet & Johansen 2009, section 4).
K particles move through the ordering together. At a missing site, each particle samples from p(x_i | x_<i). At an observed
site, each particle is weighted by p(x_i | x_<i). Particles with uneven weights are resampled. The result is one particle,
chosen by its weight. Each sample has its own particles, so samples are independent. Their distribution is exact as K grows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from probgen.distributions import Autoregressive
from probgen.distributions.autoregressive import Walk
from probgen.errors import InputError

BYTES = 1 << 28  # memory for the sampling states of particles: 256 MiB


def complete(
    parts: Sequence[Autoregressive],
    x: Tensor,
    observed: Tensor,
    particles: int,
    *,
    end: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Sample the missing sites of each row of x given the observed sites.

    The effective sample size is 1 / sum_a w_a^2, where w_a is the total weight of the descendants of particle a. It counts
    the first particles that could have become the sample. It is K if the sample is exact: the observed sites come first in
    the orderings of all parts. It is near 1 if the observed sites rule out almost all particles. Use more particles then.

    Args:
        parts: Distributions of batch shape (row,) or (). p(x) is their mixture with equal weights.
        x: Rows, (row, *event); values at missing sites are ignored.
        observed: Mask of the observed sites, (row, *event), bool.
        particles: Number of particles K per sample, over all parts; each part has at least one.
        end: Symbol that ends a sequence; None if no symbol does. It is never sampled before an observed symbol that differs.

    Returns:
        Completed rows, (row, *event), and effective sample sizes, (row,), from 1 to K.

    Raises:
        InputError: When the observed sites of a row have probability 0.
    """
    flat, known = x.flatten(1), observed.flatten(1)
    exact = torch.stack([_is_prefix(part.in_order(known)) for part in parts]).all(0)
    drawn, ess = flat.clone(), torch.full((len(x),), float(particles), dtype=torch.float64, device=x.device)
    each = max(1, particles // len(parts))
    at_once = BYTES // sum(part.walk(torch.Size((len(x),)), torch.zeros(1).long()).bytes for part in parts)
    for chosen, k in ((exact, 1), (~exact, each)):  # exact rows: one part is chosen by its p(x_known)
        index = chosen.nonzero()[:, 0]
        for rows in index.split(max(1, at_once // k)) if len(index) else ():
            walks = [_walk(part, flat[rows], known[rows], rows, len(x), k, end) for part in parts]
            values, log_w, ancestors = (torch.cat(found, 1) for found in zip(*walks, strict=True))
            if (log_w.amax(1) == -math.inf).any():
                raise InputError(
                    "given 'x': the observed values have probability 0 under the model. Correct the observed values."
                )
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
    """Estimate log p(x_known), the log-probability of the observed sites, and its standard error.

    The estimate of p(x_known) is unbiased, so that its logarithm is too low on average.

    Args:
        parts: Distributions of batch shape (row,) or (). p(x) is their mixture with equal weights.
        x: Rows, (row, *event); values at missing sites are ignored.
        observed: Mask of the observed sites, (row, *event), bool.
        particles: Number of particles per estimate and part.
        repeats: Number of estimates, for the standard error.

    Returns:
        Log-probabilities and their standard errors, both (row,), in nats.
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
    """Return whether no known site comes after an unknown one, (row,), for a mask (row, site)."""
    return (known.cummin(1).values == known).all(1)


def _walk(
    p: Autoregressive, x: Tensor, known: Tensor, rows: Tensor, n: int, k: int, end: int | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the values (row, k, site), log-weights (row, k) and first ancestors (row, k) of k particles per row.

    Values are in the order of the flattened event. The mean weight is an unbiased estimate of p(x_known).
    """
    size = len(rows)
    x, known = p.in_order(x), p.in_order(known)
    walk = p.walk(torch.Size((n,)), rows.repeat(k))
    log_w = torch.zeros(k, size, device=x.device)
    ancestors = torch.arange(k, device=x.device)[:, None].expand(k, size)
    # sites before an observed symbol other than `end`
    goes_on = (known & (x != end)).flip(1).cumsum(1).flip(1) > 0 if end is not None else None
    last = (
        int(known.any(0).nonzero().max()) if known.any() else -1
    )  # the weights are constant after this site
    for i in range(walk.sites):
        numbers, given = walk.numbers(i), known[:, i].repeat(k)
        if goes_on is not None:
            here = goes_on[:, i].repeat(k) & ~given
            left = numbers.index_fill(1, torch.tensor([end], device=x.device), -torch.inf)
            lost = left.logsumexp(1) - numbers.logsumexp(1)  # log-probability that the sequence continues
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
    """Resample the particles of rows with an effective sample size below k / 2; all get the mean weight."""
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
