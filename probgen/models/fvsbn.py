"""The fully visible sigmoid belief network (Neal 1992; Frey, Hinton & Dayan 1996): logistic regressions.

    p(x_i = 1 | x_<i) = sigmoid(alpha_0i + sum_{j<i} alpha_ij x_j)

For categorical sites, a softmax replaces the sigmoid, and alpha_ij acts on one-hot x_j. For real sites, the
parameters of a mixture of normals replace the sigmoid. A context c adds c T to alpha_0.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from probgen.contract.event import Event
from probgen.distributions.autoregressive import check_context, check_inputs
from probgen.distributions.sites import Site
from probgen.models.bases.dense import DensePair


class FVSBNConditioner(nn.Module):
    """The FVSBN as a conditioner: the parameters of each site are linear in the sites before it.

    See `probgen.distributions.Autoregressive`.

    Args:
        site: The site of each dimension of x.
        sites: Number of sites.
        context: Number of context numbers per row.
    """

    def __init__(self, site: Site, sites: int, context: int = 0):
        super().__init__()
        self.site, self.sites, self.context = site, sites, context
        self.alpha_0 = nn.Parameter(torch.zeros(sites, site.size))
        self.alpha = nn.Parameter(torch.zeros(sites, site.size, sites, site.features))
        if context:
            self.T = nn.Parameter(torch.zeros(context, sites, site.size))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the parameters of all sites.

        Args:
            x: The rows, (row, site).
            context: The context, (row, context), or None.

        Returns:
            Site parameters, (row, site, size).
        """
        check_inputs(x, context, self.sites, self.context)
        e = self.site.encode(x, self.alpha.dtype).flatten(1)
        earlier = torch.ones(self.sites, self.sites, dtype=self.alpha.dtype, device=e.device).tril(-1)
        alpha = (self.alpha * earlier[:, None, :, None]).flatten(2).flatten(0, 1)
        y = (e @ alpha.mT).unflatten(1, (self.sites, self.site.size)) + self.alpha_0
        return y if context is None else y + torch.tensordot(context, self.T, 1)

    def start(self, rows: int, context: Tensor | None) -> dict[str, Tensor]:
        """Return the state before the first site: zero inputs, and the contribution of the context."""
        check_context(context, self.context)
        told = self.alpha.new_zeros(rows, self.sites * self.site.features)
        return {"e": told} if context is None else {"e": told, "t": torch.tensordot(context, self.T, 1)}

    def step(self, state: dict[str, Tensor], i: int, previous: Tensor | None) -> Tensor:
        """Return the parameters of site i (row, size), given the value of site i - 1 (row,)."""
        e, features = state["e"], self.site.features
        if previous is not None:
            e[:, (i - 1) * features : i * features] = self.site.encode(previous, e.dtype)
        y = torch.addmm(self.alpha_0[i], e[:, : i * features], self.alpha[i].flatten(1)[:, : i * features].mT)
        return y + state["t"][:, i] if "t" in state else y


class FVSBN(DensePair):
    """A fully visible sigmoid belief network (FVSBN): one logistic regression per site on earlier sites.

    Args:
        options: The options of the family.
        event: The event that x is.
    """

    def __init__(self, options: Any, event: Event):
        super().__init__(options, event)
        self.ordering = self.draw_ordering()
        self.conditioner = FVSBNConditioner(self.site, event.size, self.context_size)

    def weights(self) -> list[Tensor]:
        """Return alpha, without alpha_0; its entries for j >= i are 0 and stay 0."""
        return [self.conditioner.alpha]
