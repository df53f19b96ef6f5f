"""Active latent dimensions (Burda, Grosse & Salakhutdinov 2016, section 5.2) and components in use.

The module also writes the notes about inactive dimensions and unused components.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

THRESHOLD = 0.01  # variance in the paper


def active_units(mean: Tensor, threshold: float = THRESHOLD) -> Tensor:
    """Return whether A_u = Var_x[E_q(z_u | x)] is above a threshold, for each latent dimension u.

    Args:
        mean: Posterior means E_q(z | x), (row, latent).
        threshold: The variance above which a dimension is active.

    Returns:
        A bool per dimension, (latent,).
    """
    return mean.var(0, unbiased=False) > threshold


def say_inactive(active: int, threshold: float = THRESHOLD) -> list[str]:
    """Return a note if no latent dimension is active.

    Args:
        active: Number of active dimensions.
        threshold: The variance above which a dimension is active.

    Returns:
        A list with one sentence, or an empty list if a dimension is active.
    """
    said = (
        f"no dimension of z is active: Var_x E_q[z | x] is at most {threshold} in each dimension, so x does not depend on z. "
        "Try another beta, warm_up or free_bits, or more steps."
    )
    return [] if active else [said]


FEW = 4  # a component with fewer rows may be an outlier


def say_unused(pi: np.ndarray, rows: float) -> list[str]:
    """Return a note about components of a mixture that hold less than one row, or fewer than `FEW` rows.

    Args:
        pi: Weights of the components, (component,).
        rows: Number of training rows.

    Returns:
        A list with one note, or an empty list if all components hold enough rows.
    """
    unused = int((pi * rows < 1 - 1e-9).sum())  # the margin is for rounding errors
    if not unused:
        few = int((pi * rows < FEW).sum()) if rows > 20 * FEW else 0
        return (
            [
                f"{few} of {len(pi)} components {'holds' if few == 1 else 'hold'} fewer than {FEW} rows, which may be outliers. A row with a component of its own has a high likelihood under the fit."
            ]
            if few
            else []
        )
    hold = "holds" if unused == 1 else "hold"
    return [
        f"{unused} of {len(pi)} components {hold} less than one row: the data may have fewer clusters. Use fewer components."
    ]
