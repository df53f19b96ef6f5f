"""Can importance weights be trusted? The shape of their tail (Vehtari, Simpson, Gelman, Yao & Gabry, JMLR 2024).

The largest weights are held against a generalized Pareto distribution. Its shape k says how many moments they have: below
0.5 their mean has a finite variance, above 0.7 it is of no practical use, however many draws there are.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

ENOUGH = 25  # draws; the tail of fewer says nothing


def pareto_k(log_w: Tensor) -> Tensor:
    """The shape k of the tail of each row's weights, 0 where the largest are all equal: (draw, row) -> (row,).

    Errors: `ValueError` for fewer than 25 draws.
    """
    return psis(log_w)[1]


def psis(log_w: Tensor) -> tuple[Tensor, Tensor]:
    """Weights whose tail is replaced by what a Pareto distribution expects there, and its shape: (draw, row), (row,)."""
    S = len(log_w)
    if S < ENOUGH:
        raise ValueError(f"{S} draws: at least {ENOUGH} are needed to tell how their weights are spread")
    M = math.ceil(min(0.2 * S, 3 * math.sqrt(S)))
    log_w = log_w - log_w.amax(0)
    ordered, order = log_w.double().sort(0)
    threshold = ordered[-M - 1].exp()
    excess = ordered[-M:].exp() - threshold
    k, sigma = generalized_pareto(excess)
    p = (torch.arange(M, dtype=k.dtype, device=k.device)[:, None] + 0.5) / M
    # the quantiles of the Pareto distribution, none above the largest weight
    tail = (threshold + sigma * torch.special.expm1(-k * torch.log1p(-p)) / k).log().clamp(max=0)
    equal = excess[-1] <= 1e-12
    ordered[-M:] = torch.where(equal, ordered[-M:], tail)
    smoothed = torch.empty_like(log_w).scatter_(0, order, ordered.to(log_w.dtype))
    return smoothed, torch.where(equal, 0, k).to(log_w.dtype)


def generalized_pareto(x: Tensor) -> tuple[Tensor, Tensor]:
    """Shape k and scale sigma of exceedances in ascending order: (draw, row) -> (row,), (row,).

    The posterior mean of theta = k / sigma under a weak prior (Zhang & Stephens 2009), and k drawn a little to 1/2, as if
    by ten more exceedances (Vehtari et al., appendix G).
    """
    n = len(x)
    x = x.clamp(min=1e-300)
    grid = 30 + int(math.sqrt(n))
    j = torch.arange(1, grid + 1, dtype=x.dtype, device=x.device)[:, None]
    theta = 1 / x[-1] + (1 - (grid / (j - 0.5)).sqrt()) / (3 * x[int(n / 4 + 0.5) - 1])
    k = torch.log1p(-theta[:, None] * x).mean(1)
    log_likelihood = n * (torch.log(-theta / k) - k - 1)
    best = (log_likelihood.softmax(0) * theta).sum(0)
    k = torch.log1p(-best * x).mean(0)
    return (n * k + 5) / (n + 10), -k / best
