"""A table of what follows the last symbols (Shannon 1948), smoothed by the tables of fewer symbols (MacKay & Peto 1995).

    p(x_t | c) = (n(c, x_t) + alpha p(x_t | c')) / (n(c) + alpha)        c: the symbols before x_t, as many as the order; c': but the first
    p(x_t)     = (n(x_t) + alpha / L) / (n + alpha)                      L levels

The baseline of sequences: of order 0 a histogram, of order 1 a first-order table. Before the start there is a symbol of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import torch
from pydantic import BaseModel, Field
from torch import Tensor, nn

from probgen.contract.event import Event
from probgen.contract.options import Options
from probgen.contract.rows import Rows
from probgen.contract.run import Run
from probgen.distributions import Categorical
from probgen.distributions.autoregressive import State
from probgen.distributions.sites import Site
from probgen.errors import InputError
from probgen.inference.em import em
from probgen.models.bases.sequences import SequencePair

MOST = 1 << 25  # numbers of a table
AT_ONCE = 1 << 22  # symbols that are counted together


class NGramOptions(Options):
    """Options of `ngram`."""

    order: int = Field(
        1, ge=0, le=24, description="symbols that are looked back at: 0 is a histogram, 1 a first-order table"
    )
    alpha: float = Field(
        1.0, gt=0, description="pseudo-counts that a table of fewer symbols has in one of more"
    )
    rare: int = Field(
        0, ge=0, description="symbols that come fewer times are one symbol; 0: what was not seen is refused"
    )


class Table(nn.Module):
    """log p(x_t | the symbols before it): (context, level), contexts being numbers of base L + 1."""

    def __init__(self, site: Site, levels: int, order: int):
        super().__init__()
        self.site, self.levels, self.order, self.base = site, levels, order, levels + 1
        self.log_theta = nn.Parameter(torch.full((self.base**order, levels), 1.0 / levels).log())

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """(row, site) -> (row, site, level)."""
        return self.scan(x, self.start(len(x), context))

    def start(self, rows: int, context: Tensor | None) -> State:
        """Before the first symbol."""
        return {"last": torch.full((rows, self.order), self.levels, device=self.log_theta.device)}

    def scan(self, x: Tensor, state: State) -> Tensor:
        """Of the symbols that follow, of which the values are x."""
        return self.log_theta[self.contexts(x, state)]

    def step(self, state: State, i: int, previous: Tensor | None) -> Tensor:
        """Of the next symbol: (row,) -> (row, level)."""
        if previous is not None:
            state["last"] = torch.cat([state["last"], previous[:, None].long()], 1)[:, 1:]
        last = state["last"]
        return self.log_theta[self._number(last.unbind(1), like=last.new_zeros(len(last)))]

    def contexts(self, x: Tensor, state: State) -> Tensor:
        """The number of the context of each x: (row, site) to the same; in the state they are told."""
        whole, steps = torch.cat([state["last"], x.long()], 1), x.shape[1]
        state["last"] = whole[:, steps:]
        return self._number([whole[:, k : k + steps] for k in range(self.order)], like=whole[:, :steps])

    def _number(self, digits: Iterable[Tensor], like: Tensor) -> Tensor:
        found = torch.zeros_like(like)
        for digit in digits:
            found = found * self.base + digit
        return found


class NGram(SequencePair):
    """The table behind the hooks, fitted by counting."""

    Options: ClassVar[type[BaseModel]] = NGramOptions
    conditioner: Table
    dtype = "float64"
    by_loss = False

    def __init__(self, options: NGramOptions, event: Event):
        super().__init__(options, event)
        self.dims = {"conditioner.log_theta": ("context", "level")}

    def make_site(self) -> Categorical:
        """Errors: `InputError` for a table that is too large."""
        levels, order = self.event.levels or 2, self.options.order
        if not self.event.discrete:
            raise InputError(f"x must be symbols, not {self.event}")
        if levels * (levels + 1) ** order > MOST:
            raise InputError(
                f"order = {order}: a table of {levels} levels would have more than {MOST} numbers; choose a smaller one"
            )
        return Categorical(max(2, levels))

    def make_conditioner(self) -> Table:
        """As the options say."""
        return Table(self.site, max(2, self.event.levels or 2), self.options.order)

    def learn(self, data: Rows, run: Run) -> None:
        """Count; the second step of EM only says how likely the data are."""
        em(self, data, run, steps=2, tolerance=0.0)

    def e_step(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """How often each symbol followed each context: (context, level)."""
        table = self.conditioner
        counts = torch.zeros_like(table.log_theta, dtype=torch.float64)
        each = max(1, AT_ONCE // batch["x"].shape[1])
        for start in range(0, len(batch["x"]), each):
            x = batch["x"][start : start + each]
            cells = table.contexts(x, table.start(len(x), None)) * table.levels + x.long()
            if "length" in batch:
                length = batch["length"][start : start + each]
                cells = cells[torch.arange(x.shape[1], device=x.device) < length[:, None]]
            counts += torch.bincount(cells.flatten(), minlength=counts.numel()).reshape(counts.shape)
        rows = torch.tensor(float(len(batch["x"])), dtype=torch.float64, device=counts.device)
        return {"rows": rows, "log_likelihood": (counts * table.log_theta).sum(), "counts": counts}

    def m_step(self, statistics: dict[str, Tensor]) -> None:
        """Tables of order 0 and on, each smoothed by the one before."""
        table, alpha = self.conditioner, self.options.alpha
        levels, base = table.levels, table.base
        theta = torch.full((levels,), 1.0 / levels, dtype=torch.float64, device=table.log_theta.device)
        for known in range(table.order + 1):
            counts = statistics["counts"].reshape(-1, base**known, levels).sum(0)
            lower = theta.reshape(-1, levels).repeat(counts.shape[0] // theta.reshape(-1, levels).shape[0], 1)
            theta = (counts + alpha * lower) / (counts.sum(1, keepdim=True) + alpha)
        table.log_theta.data.copy_(theta.log())
