"""Can importance weights be trusted? The shape of their tail (Vehtari, Simpson, Gelman, Yao & Gabry, JMLR 2024).

The largest weights are held against a generalized Pareto distribution. Its shape k says how many moments they have: below
0.5 their mean has a finite variance, above 0.7 it is of no practical use, however many draws there are.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

ENOUGH = 25  # draws; the tail of fewer says nothing
FEW = 5  # weights of a tail; fewer have no shape
TIED = 1e-12  # weights that differ by less are equal; the largest is 1


def pareto_k(log_w: Tensor) -> Tensor:
    """The shape k of the tail of each row's weights: (draw, row) -> (row,). Below 0 the tail is bounded.

    The tail is what is strictly above the (M + 1)-th largest weight: tied weights are no tail. Where fewer than five are, k is 0;
    but 1, which is that of a tail without a mean, where the weights are worth fewer than five draws: (sum w)^2 / sum w^2 (Kong 1992). NaN where a weight is infinite or no
    number, or all are 0.
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
    w = ordered.exp()
    worth = w.sum(0) ** 2 / w.square().sum(0)  # draws; NaN where the weights are no numbers
    k = torch.where(worth.isnan(), torch.nan, (worth < FEW).to(w.dtype))
    tails = (excess > TIED * (1 + threshold)).sum(0)
    for size in tails.unique().tolist():  # as a rule of one size
        if size < FEW:
            continue
        rows = tails == size
        shape, sigma = generalized_pareto(excess[-size:, rows])
        p = (torch.arange(size, dtype=shape.dtype, device=shape.device)[:, None] + 0.5) / size
        # the quantiles of the Pareto distribution, none above the largest weight
        expected = threshold[rows] + sigma * torch.special.expm1(-shape * torch.log1p(-p)) / shape
        ordered[-size:, rows] = expected.log().clamp(max=0)
        k[rows] = shape
    return torch.empty_like(log_w).scatter_(0, order, ordered.to(log_w.dtype)), k.to(log_w.dtype)


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
