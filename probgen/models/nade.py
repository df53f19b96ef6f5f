"""The neural autoregressive distribution estimator (Larochelle & Murray, AISTATS 2011).

    h_i = sigmoid(c + sum_{j<i} W_j x_j)               eq. 3; the columns of W are shared by all sites
    p(x_i = 1 | x_<i) = sigmoid(b_i + V_i h_i)         eq. 4

For categorical sites, a softmax replaces the last sigmoid, and W_j acts on one-hot x_j. For real sites, the
parameters of a mixture of normals replace the last sigmoid (RNADE: Uria, Murray & Larochelle, NIPS 2013). A
context s adds s U to c and s T to b.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from probgen.contract.event import Event
from probgen.contract.options import Sizes, one_size
from probgen.distributions.autoregressive import check_context, check_inputs
from probgen.distributions.sites import Site
from probgen.models.bases.dense import DenseOptions, DensePair
from probgen.nn.running_sigmoid import running_sigmoid


class NADEConditioner(nn.Module):
    """NADE as a conditioner: see `probgen.distributions.Autoregressive`.

    Args:
        site: The site of each dimension of x.
        sites: Number of sites.
        hidden: Number of hidden units.
        context: Number of context numbers per row.
    """

    def __init__(self, site: Site, sites: int, hidden: int, context: int = 0):
        super().__init__()
        self.site, self.sites, self.context = site, sites, context
        self.W = nn.Parameter(torch.randn(sites, site.features, hidden) / math.sqrt(sites))
        self.c = nn.Parameter(torch.zeros(hidden))
        self.V = nn.Parameter(torch.randn(sites, site.size, hidden) / math.sqrt(hidden))
        self.b = nn.Parameter(torch.zeros(sites, site.size))
        if context:
            self.U = nn.Parameter(torch.zeros(context, hidden))
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
        e = self.site.encode(x, self.W.dtype)
        y = running_sigmoid(e, self._a(len(x), context), self.W, self.V) + self.b
        return y if context is None else y + torch.tensordot(context, self.T, 1)

    def start(self, rows: int, context: Tensor | None) -> dict[str, Tensor]:
        """Return the state before the first site: the activation, and the contribution of the context."""
        check_context(context, self.context)
        state = {"a": self._a(rows, context).clone()}
        return state if context is None else {**state, "t": torch.tensordot(context, self.T, 1)}

    def step(self, state: dict[str, Tensor], i: int, previous: Tensor | None) -> Tensor:
        """Return the parameters of site i (row, size), given the value of site i - 1 (row,)."""
        if previous is not None:
            state["a"].addmm_(self.site.encode(previous, self.W.dtype), self.W[i - 1])
        y = torch.addmm(self.b[i], state["a"].sigmoid(), self.V[i].mT)
        return y + state["t"][:, i] if "t" in state else y

    def _a(self, rows: int, context: Tensor | None) -> Tensor:
        return self.c.expand(rows, -1) if context is None else self.c + context @ self.U


class NADEOptions(DenseOptions):
    """Options of `nade`."""

    hidden: Sizes = Field(500, description="number of hidden units")

    @model_validator(mode="after")
    def _one_layer(self) -> NADEOptions:
        one_size(self.hidden)
        return self


class NADE(DensePair):
    """A neural autoregressive distribution estimator (NADE): one hidden layer whose weights all sites share.

    Args:
        options: The options of the family.
        event: The event that x is.
    """

    Options = NADEOptions

    def __init__(self, options: Any, event: Event):
        super().__init__(options, event)
        self.ordering = self.draw_ordering()
        self.conditioner = NADEConditioner(self.site, event.size, one_size(options.hidden), self.context_size)

    def weights(self) -> list[Tensor]:
        """Return W and V."""
        return [self.conditioner.W, self.conditioner.V]
