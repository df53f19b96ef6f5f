"""The neural autoregressive distribution estimator (Larochelle & Murray, AISTATS 2011).

    h_i = sigmoid(c + sum_{j<i} W_j x_j)               eq. 3; the columns of W are shared by all sites
    p(x_i = 1 | x_<i) = sigmoid(b_i + V_i h_i)         eq. 4

Categorical and real sites put softmax, or the parameters of a mixture of normals (RNADE: Uria, Murray & Larochelle,
NIPS 2013), in the place of the last sigmoid, and W_j acts on x_j one-hot. A context adds U to c and T to b.
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
    """Numbers for each of `sites` sites from `hidden` units: see `probgen.distributions.Autoregressive`."""

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
        """(row, site), (row, context) -> (row, site, size)."""
        check_inputs(x, context, self.sites, self.context)
        e = self.site.encode(x, self.W.dtype)
        y = running_sigmoid(e, self._a(len(x), context), self.W, self.V) + self.b
        return y if context is None else y + torch.tensordot(context, self.T, 1)

    def start(self, rows: int, context: Tensor | None) -> dict[str, Tensor]:
        """The activation, and what the context adds to each site."""
        check_context(context, self.context)
        state = {"a": self._a(rows, context).clone()}
        return state if context is None else {**state, "t": torch.tensordot(context, self.T, 1)}

    def step(self, state: dict[str, Tensor], i: int, previous: Tensor | None) -> Tensor:
        """Tell the activation the last value, and read it."""
        if previous is not None:
            state["a"].addmm_(self.site.encode(previous, self.W.dtype), self.W[i - 1])
        y = torch.addmm(self.b[i], state["a"].sigmoid(), self.V[i].mT)
        return y + state["t"][:, i] if "t" in state else y

    def _a(self, rows: int, context: Tensor | None) -> Tensor:
        return self.c.expand(rows, -1) if context is None else self.c + context @ self.U


class NADEOptions(DenseOptions):
    """Options of `nade`."""

    hidden: Sizes = Field(500, description="units")

    @model_validator(mode="after")
    def _one_layer(self) -> NADEOptions:
        one_size(self.hidden)
        return self


class NADE(DensePair):
    """NADE behind the hooks."""

    Options = NADEOptions

    def __init__(self, options: Any, event: Event):
        super().__init__(options, event)
        self.ordering = self.draw_ordering()
        self.conditioner = NADEConditioner(self.site, event.size, one_size(options.hidden), self.context_size)

    def weights(self) -> list[Tensor]:
        """W and V."""
        return [self.conditioner.W, self.conditioner.V]
