"""Latents that are in use: dimensions (Burda, Grosse & Salakhutdinov 2016, section 5.2), components; and what to say where they are not."""

from __future__ import annotations

import numpy as np
from torch import Tensor

THRESHOLD = 0.01  # of the paper


def active_units(mean: Tensor, threshold: float = THRESHOLD) -> Tensor:
    """Whether A_u = Var_x[E_q(z_u | x)] is above a threshold: posterior means (row, latent) -> (latent,), bool."""
    return mean.var(0, unbiased=False) > threshold


def say_inactive(active: int, threshold: float = THRESHOLD) -> list[str]:
    """What a fit of which no latent dimension is active has to say; nothing where some are."""
    said = (
        f"no dimension of z is active: Var_x E_q[z | x] is at most {threshold} of each, so x does not depend on z; "
        "another beta, warm_up or free_bits, or more steps may help"
    )
    return [] if active else [said]


FEW = 4  # rows of a component, of which more has to be said


def say_unused(pi: np.ndarray, rows: float) -> list[str]:
    """What a mixture of weights pi (component,) of so many rows has to say of components that hold less than one; or else of those that hold fewer than `FEW`."""
    unused = int((pi * rows < 1 - 1e-9).sum())  # a row may be held up to rounding
    if not unused:
        few = int((pi * rows < FEW).sum()) if rows > 20 * FEW else 0
        return (
            [
                f"{few} of {len(pi)} components {'holds' if few == 1 else 'hold'} fewer than {FEW} rows, which may be outliers: a row that has a component of its own is likely under the fit"
            ]
            if few
            else []
        )
    hold = "holds" if unused == 1 else "hold"
    return [
        f"{unused} of {len(pi)} components {hold} less than one row: the data may have fewer; take fewer components"
    ]
