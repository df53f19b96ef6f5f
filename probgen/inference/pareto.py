"""A diagnostic of importance weights: the shape of their tail (Vehtari, Simpson, Gelman, Yao & Gabry, JMLR 2024).

A generalized Pareto distribution is fitted to the largest weights. Its shape k determines the number of finite moments.
Below 0.5, the mean of the weights has a finite variance. Above 0.7, the mean has no practical use for any number of
samples.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

ENOUGH = 25  # least samples for an estimate of the tail
FEW = 5  # least weights of a tail for an estimate of its shape
TIED = 1e-12  # weights that differ by less count as equal; the largest weight is 1


def pareto_k(log_w: Tensor) -> Tensor:
    """Return the Pareto shape k of the tail of each row's weights.

    The tail consists of the weights strictly above the (M + 1)-th largest weight. For k below 0, the tail is bounded. If
    the tail has fewer than five weights, no distribution is fitted, and k is 0. But k is then 1 (a tail without a mean)
    if the effective sample size (sum w)^2 / sum w^2 (Kong 1992) is below five.

    Args:
        log_w: Log-weights, (sample, row).

    Returns:
        Shapes, (row,). k is NaN if a weight is infinite or NaN, or all weights are 0.

    Raises:
        ValueError: When there are fewer than 25 samples.
    """
    return psis(log_w)[1]


def psis(log_w: Tensor) -> tuple[Tensor, Tensor]:
    """Return Pareto-smoothed weights and the shapes of their tails.

    The tail of the weights is replaced by quantiles of the fitted Pareto distribution.

    Args:
        log_w: Log-weights, (sample, row).

    Returns:
        Smoothed log-weights relative to the largest weight, (sample, row), and shapes k, (row,); see `pareto_k`.

    Raises:
        ValueError: When there are fewer than 25 samples.
    """
    S = len(log_w)
    if S < ENOUGH:
        raise ValueError(
            f"{S} draws are too few for a diagnostic of the weights. Use at least {ENOUGH} draws."
        )
    M = math.ceil(min(0.2 * S, 3 * math.sqrt(S)))
    log_w = log_w - log_w.amax(0)
    ordered, order = log_w.double().sort(0)
    threshold = ordered[-M - 1].exp()
    excess = ordered[-M:].exp() - threshold
    w = ordered.exp()
    worth = w.sum(0) ** 2 / w.square().sum(0)  # effective samples; NaN if a weight is NaN
    k = torch.where(worth.isnan(), torch.nan, (worth < FEW).to(w.dtype))
    tails = (excess > TIED * (1 + threshold)).sum(0)
    for size in tails.unique().tolist():  # usually all rows have one size
        if size < FEW:
            continue
        rows = tails == size
        shape, sigma = generalized_pareto(excess[-size:, rows])
        p = (torch.arange(size, dtype=shape.dtype, device=shape.device)[:, None] + 0.5) / size
        # quantiles of the Pareto distribution, limited by the largest weight
        expected = threshold[rows] + sigma * torch.special.expm1(-shape * torch.log1p(-p)) / shape
        ordered[-size:, rows] = expected.log().clamp(max=0)
        k[rows] = shape
    return torch.empty_like(log_w).scatter_(0, order, ordered.to(log_w.dtype)), k.to(log_w.dtype)


def generalized_pareto(x: Tensor) -> tuple[Tensor, Tensor]:
    """Fit generalized Pareto distributions to exceedances.

    The fit uses the posterior mean of theta = k / sigma under a weak prior (Zhang & Stephens 2009). k is shrunk toward
    1/2, as if by ten further exceedances (Vehtari et al., appendix G).

    Args:
        x: Exceedances in ascending order, (sample, row).

    Returns:
        Shapes k and scales sigma, both (row,).
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
