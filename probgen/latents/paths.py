"""Paths in a latent space: interpolations, random walks and grids."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri


def interpolate(a: np.ndarray, b: np.ndarray, steps: int, *, spherical: bool = False) -> np.ndarray:
    """Interpolate from codes a to codes b, with both ends.

    Args:
        a: First codes, (row, latent).
        b: Last codes, (row, latent).
        steps: Number of codes on a path.
        spherical: Follow great circles (Shoemake 1985), with lengths between the lengths of the ends. In many
            dimensions, a straight line between samples of a Gaussian passes nearer to its center than any
            sample lies.

    Returns:
        Paths, (row, step, latent).
    """
    t = np.linspace(0, 1, steps)[None, :, None]
    a, b = np.asarray(a)[:, None], np.asarray(b)[:, None]
    if not spherical:
        return (1 - t) * a + t * b
    lengths = [np.linalg.norm(x, axis=-1, keepdims=True) for x in (a, b)]
    u, v = (x / np.maximum(length, 1e-12) for x, length in zip((a, b), lengths, strict=True))
    angle = np.arccos(np.clip((u * v).sum(-1, keepdims=True), -1, 1))
    small = np.sin(angle) < 1e-6  # on one line through 0: interpolate linearly
    sine = np.where(small, 1, np.sin(angle))
    direction = np.where(
        small, (1 - t) * u + t * v, (np.sin((1 - t) * angle) * u + np.sin(t * angle) * v) / sine
    )
    return ((1 - t) * lengths[0] + t * lengths[1]) * direction


def random_walk(z: np.ndarray, steps: int, size: float, rng: np.random.Generator) -> np.ndarray:
    """Return a random walk from each code that leaves the standard normal distribution invariant.

    z' = sqrt(1 - size^2) z + size e

    Args:
        z: Starts, (row, latent).
        steps: Number of codes on a walk.
        size: Step size, from 0 to 1.
        rng: Random generator of the steps.

    Returns:
        Walks, (row, step, latent).
    """
    walk = [np.asarray(z)]
    for _ in range(steps - 1):
        noise = rng.standard_normal(walk[-1].shape)
        walk.append(np.sqrt(1 - size**2) * walk[-1] + size * noise)
    return np.stack(walk, 1)


def grid(side: int, tail: float = 0.02) -> np.ndarray:
    """Return a square grid of codes in two dimensions, at quantiles of a standard normal.

    The order is line by line; the second coordinate decreases from line to line.

    Args:
        side: Number of codes per side.
        tail: Probability below the first quantile, and above the last one.

    Returns:
        Codes, (side^2, 2).
    """
    q = ndtri(np.linspace(tail, 1 - tail, side))
    first, second = np.meshgrid(q, q[::-1])
    return np.stack([first.ravel(), second.ravel()], 1)
