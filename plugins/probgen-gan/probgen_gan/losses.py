"""What discriminator and generator minimize, of D(x) and D(G(z)), the outputs of the discriminator before any sigmoid.

Each loss is two functions of `real` and `fake`, which have one shape and whose values are paired in the order that they
stand in; that matters to the relativistic loss alone. Their means are what is minimized.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor
from torch.nn.functional import relu, softplus


class Loss(NamedTuple):
    """discriminator, generator: of `real` and `fake`. `paired`: whether the generator's looks at `real`."""

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor, Tensor], Tensor]
    paired: bool = False


def cross_entropy(real: Tensor, fake: Tensor) -> Tensor:
    """-V(G, D) = -log D(x) - log(1 - D(G(z))) with D a sigmoid (Goodfellow et al. 2014, eq. 1)."""
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
