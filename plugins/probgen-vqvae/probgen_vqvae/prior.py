"""The prior p(z): a PixelCNN for each level, given the coarser levels and the conditions of x (Razavi et al. 2019, section 3.2).

p(z | c) = prod_l p(z_l | z_1, .., z_{l-1}, c)

The coarser levels pass through a few convolutions without masks, because all of their codes are already sampled.
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
    """The second stage. Its data are the codes of the first stage, which no longer change: all codes of a row are one x."""

    def __init__(self, options: Any, hierarchy: Hierarchy):
        super().__init__()
        self.codes = (hierarchy,)  # the tuple hides the first stage's parameters from this module
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
        """Return the distribution of a level's codes, given the coarser levels and the conditions.

        The distribution is p(z_l | z_1, .., z_{l-1}, c).

        Args:
            level: Number of the level, from 0.
            above: Codes of the coarser levels, (row, height, width) each.
            c: Conditions, (row, context), or None.

        Returns:
            A distribution of codes, (row, height, width).
        """
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
        """Compute log p(z | c) of all levels.

        Args:
            zs: Codes of each level, (row, height, width) each.
            c: Conditions, (row, context), or None.

        Returns:
            The sum over levels in nats, (row,).
        """
        each = [self.p(level, zs[:level], c).log_prob(z) for level, z in enumerate(zs)]
        return torch.stack(each).sum(0)

    def loss(self, x: Tensor, *, n: int, **given: Tensor) -> dict[str, Tensor]:
        """Compute the mean of -log p(z), in nats per row.

        Args:
            x: Codes of all levels, concatenated, (row, code).
            n: Number of rows.
            **given: Conditions by name, (row, ...).

        Returns:
            The mean as `loss`.
        """
        [hierarchy] = self.codes
        parts = x.split([height * width for height, width in self.sides], 1)
        zs = [z.reshape(-1, *sides) for z, sides in zip(parts, self.sides, strict=True)]
        return {"loss": -self.log_prob(zs, context_of(self.event, given, hierarchy.dtype)).mean()}

    @property
    def at_once(self) -> int:
        """The number of rows whose features of one layer fill 64 MiB."""
        most = max(height * width * max(4 * self.width, self.site.levels) for height, width in self.sides)
        return max(1, AT_ONCE // most)

    def rows(self, data: Rows, run: Run) -> Rows:
        """Encode data as rows of the second stage.

        Args:
            data: Rows of the first stage, with validation rows or without.
            run: The run of the fit.

        Returns:
            The codes of all rows in the same order, x (row, code), with the conditions of the data.
        """
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
