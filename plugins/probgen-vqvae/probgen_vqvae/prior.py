"""p(z): a PixelCNN over the codes of each level, given those above and what x is conditioned on (Razavi et al. 2019, section 3.2).

p(z | c) = prod_l p(z_l | z_1, .., z_{l-1}, c)
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from probgen.distributions import Autoregressive, Categorical
from probgen.inference.svi import Objective
from probgen.models.pixelcnn import PixelCNNConditioner
from probgen.pair import one_hot
from probgen_vqvae.hierarchy import Hierarchy
from probgen_vqvae.networks import beside, planes


class Prior(Objective):
    """The second stage: the codes stand still."""

    def __init__(self, options: Any, hierarchy: Hierarchy):
        super().__init__()
        self.codes = (hierarchy,)  # in a tuple, so that its parameters are not this stage's
        o, K, D = options.prior, options.codes, options.latent
        self.site = Categorical(K)
        self.nets = nn.ModuleList()
        c = hierarchy.given
        for level, (height, width) in enumerate(hierarchy.sides):
            context: Any = (D * level + c, height, width) if level else c
            kernel = (o.kernel, 3)
            self.nets.append(
                PixelCNNConditioner(
                    self.site,
                    (1, height, width),
                    o.channels,
                    o.layers,
                    o.head,
                    kernel,
                    context,
                    o.dilation,
                    o.dropout,
                )
            )

    def p(self, level: int, above: list[Tensor], c: Tensor | None) -> Autoregressive:
        """p(z_l | those above, c): levels are counted from 0; z (row, height, width)."""
        [hierarchy] = self.codes
        height, width = hierarchy.sides[level]
        context = c
        if level:
            maps = []
            for z, of, (h, w) in zip(above, hierarchy.levels, hierarchy.sides, strict=False):
                e = of.e(z)
                maps.append(e.repeat_interleave(height // h, 2).repeat_interleave(width // w, 3))
            context = beside(*maps, None if c is None else planes(c, height, width))
        return Autoregressive(
            self.nets[level], self.site, (height, width), context=context, context_dim=3 if level else 1
        )

    def log_prob(self, zs: list[Tensor], c: Tensor | None) -> Tensor:
        """log p(z | c) of all levels: (row,)."""
        each = [self.p(level, zs[:level], c).log_prob(z) for level, z in enumerate(zs)]
        return torch.stack(each).sum(0)

    def loss(self, x: Tensor, *, n: int, **given: Tensor) -> dict[str, Tensor]:
        """-log p(z) at z = E(x), nats a row."""
        [hierarchy] = self.codes
        c = one_hot(hierarchy.event, given, hierarchy.dtype)
        with torch.no_grad():
            zs = hierarchy.encode(x, c)[1]
        return {"loss": -self.log_prob(zs, c).mean()}
