"""Samples of a diffusion, for any eps_hat: ancestral, DDIM and its inverse, and completion of known values.

`gammas` are the values of gamma at the steps, from gamma_1 (noise) to gamma_0 (data): (step + 1,).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from probgen_diffusion.bound import Epsilon
from probgen_diffusion.schedule import alpha_sigma, noised

ROUNDS = 6  # fixed-point iterations of an inverse step: each reduces the error to a sixth or less at 50 steps

Step = Callable[[Epsilon, Tensor, Tensor, Tensor], Tensor]  # from z_t, gamma_t and gamma_s to z_s


def ddim(epsilon: Epsilon, z: Tensor, gamma_t: Tensor, gamma_s: Tensor) -> Tensor:
    """Return z_s of z_t by a step without noise (Song, Meng & Ermon 2021, eq. 12 with sigma = 0)."""
    (alpha_t, sigma_t), (alpha_s, sigma_s) = alpha_sigma(gamma_t), alpha_sigma(gamma_s)
    eps = epsilon(z, gamma_t.expand(len(z)))
    return alpha_s / alpha_t * (z - sigma_t * eps) + sigma_s * eps


def ancestral(epsilon: Epsilon, z: Tensor, gamma_t: Tensor, gamma_s: Tensor) -> Tensor:
    """Sample z_s ~ p(z_s | z_t) (Kingma et al. 2021, appendix A)."""
    (alpha_t, sigma_t), (alpha_s, sigma_s) = alpha_sigma(gamma_t), alpha_sigma(gamma_s)
    c = -torch.expm1(gamma_s - gamma_t)
    eps = epsilon(z, gamma_t.expand(len(z)))
    return alpha_s / alpha_t * (z - sigma_t * c * eps) + sigma_s * c.sqrt() * torch.randn_like(z)


def descend(step: Step, epsilon: Epsilon, z: Tensor, gammas: Tensor) -> Tensor:
    """Return z_0 of the noise z_1, (row, *event), by `ddim` or `ancestral` steps."""
    for gamma_t, gamma_s in pairwise(gammas):
        z = step(epsilon, z, gamma_t, gamma_s)
    return z


def inverse(epsilon: Epsilon, z: Tensor, gammas: Tensor) -> Tensor:
    """Return the noise z_1 from which `ddim` steps lead to z_0.

    Each step solves ddim(z_t) = z_s by fixed-point iterations (Pan et al. 2023), so that decoding returns z_0.

    Args:
        epsilon: The function eps_hat.
        z: z_0, (row, *event).
        gammas: gamma at the steps of DDIM, from noise to data.

    Returns:
        z_1, (row, *event).
    """
    for gamma_s, gamma_t in pairwise(gammas.flip(0)):
        (alpha_t, sigma_t), (alpha_s, sigma_s) = alpha_sigma(gamma_t), alpha_sigma(gamma_s)
        z_s, off = z, sigma_t - alpha_t / alpha_s * sigma_s
        z = alpha_t / alpha_s * z_s
        for _ in range(ROUNDS):
            z = alpha_t / alpha_s * z_s + off * epsilon(z, gamma_t.expand(len(z)))
    return z


def repaint(epsilon: Epsilon, y: Tensor, observed: Tensor, gammas: Tensor, resampling: int) -> Tensor:
    """Complete y by RePaint (Lugmayr et al. 2022, algorithm 1, jumps of one step). This is an approximation of p(y | known).

    Each ancestral step takes known values from q(z_s | y) and unknown values from p(z_s | z_t). Then z_s is noised to z_t again,
    so that unknown values adapt to known ones.

    Args:
        epsilon: The function eps_hat.
        y: Data, (row, *event). Unknown values are not used.
        observed: Known values, (row, *event), bool.
        gammas: gamma at the steps, from noise to data.
        resampling: How often each step is done.

    Returns:
        z_0, (row, *event).
    """
    y = torch.where(observed, y, torch.zeros_like(y))
    z = torch.randn_like(y)
    for gamma_t, gamma_s in pairwise(gammas):
        for again in reversed(range(resampling)):
            known = noised(y, gamma_s, torch.randn_like(y))
            z = torch.where(observed, known, ancestral(epsilon, z, gamma_t, gamma_s))
            if again:  # q(z_t | z_s), VDM, appendix A
                (alpha_t, sigma_t), (alpha_s, sigma_s) = alpha_sigma(gamma_t), alpha_sigma(gamma_s)
                ratio = alpha_t / alpha_s
                z = ratio * z + (sigma_t**2 - ratio**2 * sigma_s**2).sqrt() * torch.randn_like(z)
    return z
