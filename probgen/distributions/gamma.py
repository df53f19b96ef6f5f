"""Differences of log Gamma that keep their precision for large arguments."""

from __future__ import annotations

import torch
from torch import Tensor

LARGE = 1e4  # above it, three terms of Stirling's series are exact in float64


def lgamma_difference(a: Tensor, d: Tensor) -> Tensor:
    """Return log Gamma(a + d) - log Gamma(a), for a > 0 and a + d > 0.

    If both arguments are large, Stirling's series is used (Abramowitz & Stegun 1964, 6.1.40).
    """
    a, d = torch.broadcast_tensors(a, d)
    b = a + d
    large = (a > LARGE) & (b > LARGE)
    safe = torch.where(large, a, LARGE + 1)
    shift = torch.where(large, d, torch.zeros_like(d))
    series = (
        (safe + shift - 0.5) * torch.log1p(shift / safe)
        + shift * safe.log()
        - shift
        + (1 / (safe + shift) - 1 / safe) / 12
    )
    plain = torch.lgamma(torch.where(large, 1.0, b)) - torch.lgamma(torch.where(large, 1.0, a))
    return torch.where(large, series, plain)


def log_negative_binomial(x: Tensor, log_m: Tensor, log_r: Tensor) -> Tensor:
    """Return log p(x) of a negative binomial of mean m, size r and variance m + m^2 / r, in nats.

    All arguments are float64 and are broadcast. log Gamma(x + r) - log Gamma(r) - log Gamma(x + 1) is computed from the
    larger of x and r.
    """
    x, log_m, log_r = torch.broadcast_tensors(x, log_m, log_r)
    r = log_r.exp()
    from_r = lgamma_difference(r, x) - torch.lgamma(x + 1)
    from_x = lgamma_difference(x + 1, r - 1) - torch.lgamma(r)
    choose = torch.where(r > x, from_r, from_x)
    return choose - r * torch.log1p((log_m - log_r).exp()) - x * torch.log1p((log_r - log_m).exp())
