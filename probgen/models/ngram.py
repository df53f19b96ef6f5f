"""An n-gram table of the next symbol (Shannon 1948), smoothed by tables of lower order (MacKay & Peto 1995).

    p(x_t | c) = (n(c, x_t) + alpha p(x_t | c')) / (n(c) + alpha)
    p(x_t)     = (n(x_t) + alpha / L) / (n + alpha)

The context c holds the last symbols before x_t, `order` of them. c' is c without its first symbol, and L is
the number of levels. This is the baseline of sequence models: order 0 is a histogram, order 1 a first-order
Markov chain. A separate symbol stands for each step before the start.
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

MOST = 1 << 25  # largest size of a table
AT_ONCE = 1 << 22  # symbols that are counted together


class NGramOptions(Options):
    """Options of `ngram`."""

    order: int = Field(
        1, ge=0, le=24, description="number of preceding symbols; 0 is a histogram, 1 a first-order chain"
    )
    alpha: float = Field(
        1.0, gt=0, description="pseudo-counts of each context, spread by the table of the next lower order"
    )
    rare: int = Field(
        0,
        ge=0,
        description="replace symbols with fewer occurrences by one symbol for all others; 0: refuse new "
        "symbols",
    )


class Table(nn.Module):
    """The table log p(x_t | context), (context, level), as a conditioner.

    The number of a context is its symbols as digits to base L + 1.

    Args:
        site: The site of one step.
        levels: Number of levels L.
        order: Number of symbols in a context.
    """

    def __init__(self, site: Site, levels: int, order: int):
        super().__init__()
        self.site, self.levels, self.order, self.base = site, levels, order, levels + 1
        self.log_theta = nn.Parameter(torch.full((self.base**order, levels), 1.0 / levels).log())

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the logits of each step of x (row, step): (row, step, level)."""
        return self.scan(x, self.start(len(x), context))

    def start(self, rows: int, context: Tensor | None) -> State:
        """Return the state before the first symbol."""
        return {"last": torch.full((rows, self.order), self.levels, device=self.log_theta.device)}

    def scan(self, x: Tensor, state: State) -> Tensor:
        """Return the logits of the next symbols, whose values are x (row, step): (row, step, level)."""
        return self.log_theta[self.contexts(x, state)]

    def step(self, state: State, i: int, previous: Tensor | None) -> Tensor:
        """Return the logits of the next symbol, given the previous one (row,): (row, level)."""
        if previous is not None:
            state["last"] = torch.cat([state["last"], previous[:, None].long()], 1)[:, 1:]
        last = state["last"]
        return self.log_theta[self._number(last.unbind(1), like=last.new_zeros(len(last)))]

    def contexts(self, x: Tensor, state: State) -> Tensor:
        """Return the number of the context of each symbol, and add x to the state.

        Args:
            x: Symbols, (row, step).
            state: The state before x; updated in place.

        Returns:
            Numbers of contexts, (row, step).
        """
        whole, steps = torch.cat([state["last"], x.long()], 1), x.shape[1]
        state["last"] = whole[:, steps:]
        return self._number([whole[:, k : k + steps] for k in range(self.order)], like=whole[:, :steps])

    def _number(self, digits: Iterable[Tensor], like: Tensor) -> Tensor:
        found = torch.zeros_like(like)
        for digit in digits:
            found = found * self.base + digit
        return found


class NGram(SequencePair):
    """An n-gram table of the next symbol, fitted by counting: the baseline of sequence models.

    Args:
        options: The options of the family.
        event: The event that x is: sequences of symbols.
    """

    Options: ClassVar[type[BaseModel]] = NGramOptions
    conditioner: Table
    dtype = "float64"
    by_loss = False

    def __init__(self, options: NGramOptions, event: Event):
        super().__init__(options, event)
        self.dims = {"conditioner.log_theta": ("context", "level")}

    def make_site(self) -> Categorical:
        """Return the site of one step.

        Returns:
            The site.

        Raises:
            InputError: When x is not symbols, or the table would be too large.
        """
        levels, order = self.event.levels or 2, self.options.order
        if not self.event.discrete:
            raise InputError(f"x is {self.event}, not symbols. Give x as symbols.")
        if levels * (levels + 1) ** order > MOST:
            raise InputError(
                f"order = {order}: with {levels} levels, the table would have more than {MOST} numbers. Use "
                "a lower order."
            )
        return Categorical(max(2, levels))

    def make_conditioner(self) -> Table:
        """Return the table, by the options."""
        return Table(self.site, max(2, self.event.levels or 2), self.options.order)

    def learn(self, data: Rows, run: Run) -> None:
        """Count the symbols; the second step of EM only computes the log-likelihood."""
        em(self, data, run, steps=2, tolerance=0.0)

    def e_step(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return how often each symbol follows each context: (context, level)."""
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
        """Set the tables from order 0 up, each smoothed by the table of the next lower order."""
        table, alpha = self.conditioner, self.options.alpha
        levels, base = table.levels, table.base
        theta = torch.full((levels,), 1.0 / levels, dtype=torch.float64, device=table.log_theta.device)
        for known in range(table.order + 1):
            counts = statistics["counts"].reshape(-1, base**known, levels).sum(0)
            lower = theta.reshape(-1, levels).repeat(counts.shape[0] // theta.reshape(-1, levels).shape[0], 1)
            theta = (counts + alpha * lower) / (counts.sum(1, keepdim=True) + alpha)
        table.log_theta.data.copy_(theta.log())
