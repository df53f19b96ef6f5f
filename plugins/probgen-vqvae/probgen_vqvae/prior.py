"""p(z): a PixelCNN over the codes of each level, given those above and what x is conditioned on (Razavi et al. 2019, section 3.2).

p(z | c) = prod_l p(z_l | z_1, .., z_{l-1}, c)

What the levels above say goes through a few convolutions that see it from all sides, as nothing of it is drawn any more.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from probgen import Event, Rows, Run
from probgen.contract.conditions import context_of
from probgen.distributions import Autoregressive, Categorical
from probgen.inference.programs import Objective
from probgen.models.pixelcnn import PixelCNNConditioner
from probgen_vqvae.hierarchy import AT_ONCE, Hierarchy
from probgen_vqvae.networks import beside, larger, planes, seen_from_all_sides


class Prior(Objective):
    """The second stage. Codes stand still, so they are its data: those of a row are one x, level by level."""

    def __init__(self, options: Any, hierarchy: Hierarchy):
        super().__init__()
        self.codes = (hierarchy,)  # in a tuple, so that its parameters are not this stage's
        o, K, D, c = options.prior, options.codes, options.latent, hierarchy.given
        self.site, self.sides, self.event = Categorical(K), hierarchy.sides, hierarchy.event
        self.width, self.nets, self.above = o.channels, nn.ModuleList(), nn.ModuleList()
        for level, (height, width) in enumerate(self.sides):
            if level:
                self.above.append(seen_from_all_sides(level * D, o.channels))
            context: Any = (o.channels + c, height, width) if level else c
            net = PixelCNNConditioner(
                self.site,
                (1, height, width),
                o.channels,
                o.layers,
                o.head,
                o.kernel,
                context,
                o.dilation,
                o.dropout,
            )
            self.nets.append(net)

    def p(self, level: int, above: list[Tensor], c: Tensor | None) -> Autoregressive:
        """p(z_l | those above, c): levels are counted from 0; z (row, height, width)."""
        [hierarchy] = self.codes
        height, width = self.sides[level]
        context = c
        if level:
            sides = self.sides[level - 1]
            maps = [larger(of.e(z), sides) for z, of in zip(above, hierarchy.levels, strict=False)]
            said = larger(self.above[level - 1](beside(*maps)), (height, width))
            context = beside(said, None if c is None else planes(c, height, width))
        return Autoregressive(
            self.nets[level], self.site, (height, width), context=context, context_dim=3 if level else 1
        )

    def log_prob(self, zs: list[Tensor], c: Tensor | None) -> Tensor:
        """log p(z | c) of all levels: (row,)."""
        each = [self.p(level, zs[:level], c).log_prob(z) for level, z in enumerate(zs)]
        return torch.stack(each).sum(0)

    def loss(self, x: Tensor, *, n: int, **given: Tensor) -> dict[str, Tensor]:
        """-log p(z), nats a row; x: (row, code), those of all levels."""
        [hierarchy] = self.codes
        parts = x.split([height * width for height, width in self.sides], 1)
        zs = [z.reshape(-1, *sides) for z, sides in zip(parts, self.sides, strict=True)]
        return {"loss": -self.log_prob(zs, context_of(self.event, given, hierarchy.dtype)).mean()}

    @property
    def at_once(self) -> int:
        """As many rows as have 64 MiB in a layer."""
        most = max(height * width * max(4 * self.width, self.site.levels) for height, width in self.sides)
        return max(1, AT_ONCE // most)

    def rows(self, data: Rows, run: Run) -> Rows:
        """The codes of data, in the order of its rows."""
        [hierarchy] = self.codes
        found = []
        for chunk in data.chunks(hierarchy.at_once):
            with torch.no_grad():
                zs = hierarchy.encode(chunk["x"], context_of(self.event, chunk, hierarchy.dtype))[1]
            found.append(torch.cat([z.flatten(1) for z in zs], 1).cpu().numpy().astype(np.int32))
        variables: dict[str, Any] = {"x": (("row", "code"), np.concatenate(found))}
        codes = xr.Dataset(variables | {name: data.dataset[name] for name in self.event.given})
        size = sum(math.prod(sides) for sides in self.sides)
        event = Event(("code",), (size,), "token", self.site.levels, self.event.given)
        valid = self.rows(data.valid, run) if data.valid is not None else None
        return Rows(codes, event, seed=run.seed, device=run.device, dtype=run.dtype, valid=valid)
