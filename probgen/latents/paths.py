"""Ways through a latent space."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri


def interpolate(a: np.ndarray, b: np.ndarray, steps: int, *, spherical: bool = False) -> np.ndarray:
    """From codes a to codes b, ends included: two of (row, latent) -> (row, step, latent).

    spherical  along great circles (Shoemake 1985), with lengths between those of the ends: in many dimensions a straight
               way passes nearer to the middle of a Gaussian than any of its draws lies
    """
    t = np.linspace(0, 1, steps)[None, :, None]
    a, b = np.asarray(a)[:, None], np.asarray(b)[:, None]
    if not spherical:
        return (1 - t) * a + t * b
    lengths = [np.linalg.norm(x, axis=-1, keepdims=True) for x in (a, b)]
    u, v = (x / np.maximum(length, 1e-12) for x, length in zip((a, b), lengths, strict=True))
    angle = np.arccos(np.clip((u * v).sum(-1, keepdims=True), -1, 1))
    small = np.sin(angle) < 1e-6  # along one line: straight on
    sine = np.where(small, 1, np.sin(angle))
    direction = np.where(
        small, (1 - t) * u + t * v, (np.sin((1 - t) * angle) * u + np.sin(t * angle) * v) / sine
    )
    return ((1 - t) * lengths[0] + t * lengths[1]) * direction


def random_walk(z: np.ndarray, steps: int, size: float, rng: np.random.Generator) -> np.ndarray:
    """A walk that a standard normal is invariant under, from each code: (row, latent) -> (row, step, latent).

    z' = sqrt(1 - size^2) z + size e: it neither leaves where codes lie nor settles. `size` is from 0 to 1.
    """
    walk = [np.asarray(z)]
    for _ in range(steps - 1):
        noise = rng.standard_normal(walk[-1].shape)
        walk.append(np.sqrt(1 - size**2) * walk[-1] + size * noise)
    return np.stack(walk, 1)


def grid(side: int, tail: float = 0.02) -> np.ndarray:
    """A square of codes in two dimensions, at quantiles of a standard normal from `tail` to 1 - tail: (side^2, 2).

    Rows of the square come one after the other, the second coordinate going down.
    """
    q = ndtri(np.linspace(tail, 1 - tail, side))
    first, second = np.meshgrid(q, q[::-1])
    return np.stack([first.ravel(), second.ravel()], 1)
