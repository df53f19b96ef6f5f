"""Latent dimensions that are in use (Burda, Grosse & Salakhutdinov 2016, section 5.2)."""

from __future__ import annotations

from torch import Tensor

THRESHOLD = 0.01  # of the paper


def active_units(mean: Tensor, threshold: float = THRESHOLD) -> Tensor:
    """Whether A_u = Var_x[E_q(z_u | x)] is above a threshold: posterior means (row, latent) -> (latent,), bool."""
    return mean.var(0, unbiased=False) > threshold
