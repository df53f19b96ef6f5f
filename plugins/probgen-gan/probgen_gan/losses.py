"""Losses of discriminator and generator, as functions of the discriminator's outputs before any sigmoid.

Each loss has two functions of `real` = D(x) and `fake` = D(G(z)). The game minimizes the means of their results. `real` and
`fake` have the same shape. The relativistic loss compares them pair by pair; the other losses do not depend on the order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor
from torch.nn.functional import relu, softplus


class Loss(NamedTuple):
    """The losses of both players, as functions of `real` and `fake`.

    Attributes:
        discriminator: Loss of the discriminator, with the shape of `real`.
        generator: Loss of the generator, with the shape of `fake`.
        paired: Whether the generator's loss depends on `real`.
    """

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor, Tensor], Tensor]
    paired: bool = False


def cross_entropy(real: Tensor, fake: Tensor) -> Tensor:
    """Compute -V(G, D) = -log D(x) - log(1 - D(G(z))) with D a sigmoid (Goodfellow et al. 2014, eq. 1)."""
    return softplus(-real) + softplus(fake)


LOSSES = {
    # Goodfellow et al. 2014, eq. 1 and the end of section 3
    "minimax": Loss(cross_entropy, lambda real, fake: -softplus(fake)),
    "nonsaturating": Loss(cross_entropy, lambda real, fake: softplus(-fake)),
    # Mao et al. 2017, eq. 9
    "least_squares": Loss(
        lambda real, fake: 0.5 * ((real - 1).square() + fake.square()),
        lambda real, fake: 0.5 * (fake - 1).square(),
    ),
    # Arjovsky et al. 2017, eq. 2
    "wasserstein": Loss(lambda real, fake: fake - real, lambda real, fake: -fake),
    # Lim & Ye 2017; Miyato et al. 2018, eq. 16 and 17
    "hinge": Loss(lambda real, fake: relu(1 - real) + relu(1 + fake), lambda real, fake: -fake),
    # Jolicoeur-Martineau 2019; Huang et al. 2024, eq. 2
    "relativistic": Loss(
        lambda real, fake: softplus(fake - real), lambda real, fake: softplus(real - fake), paired=True
    ),
}
