"""The masked autoencoder for distribution estimation (Germain, Gregor, Murray & Larochelle, ICML 2015).

    h^1 = relu(b^1 + (W^1 * M^1) x),    h^l = relu(b^l + (W^l * M^l) h^{l-1}),
    p(x_i = 1 | x_<i) = sigmoid(c_i + (V * M^V)_i h^L + (A * M^A)_i x)              eq. 9, 12

A hidden unit k of degree m(k) receives the first m(k) sites of the ordering, and passes on to the sites after
them:

    M^1_kj = 1 if m(k) >= j,    M^l_kk' = 1 if m^l(k) >= m^{l-1}(k')
    M^V_ik = 1 if i > m(k),    M^A_ij = 1 if i > j

with sites numbered from 1 in the ordering (eq. 8, 13, 14). Unlike in the paper, the degrees are spread evenly
and then shuffled, so that no site lacks hidden units by chance. Several masks share the weights. Each mask
has its own degrees, and with random orderings its own ordering. A minibatch is trained with one mask, and
p(x) is the average of the likelihoods of all masks.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import torch
import xarray as xr
from pydantic import Field, model_validator
from torch import Tensor, nn

from probgen.contract.event import Event
from probgen.contract.options import LAYERS, Sizes, layer_sizes
from probgen.contract.rows import Rows
from probgen.contract.run import Run
from probgen.contract.scores import log_prob
from probgen.distributions import Autoregressive, ColumnSites
from probgen.distributions.autoregressive import check_context, check_inputs
from probgen.distributions.columns import at
from probgen.distributions.sites import Site
from probgen.errors import InputError, NotOffered
from probgen.inference.particles import log_evidence
from probgen.models.bases.dense import DenseOptions, DensePair
from probgen.models.bases.tables import beginnings

PARTICLES = 100  # of a row with missing values, for its score


class MADEConditioner(nn.Module):
    """MADE as a conditioner: see `probgen.distributions.Autoregressive`.

    Each mask is a conditioner `made[m]`, for a distribution with `ordering=made.orderings[m]`.

    Args:
        site: The site of each dimension of x.
        hidden: Units of each hidden layer.
        orderings: For each mask, the position of the first site, the second, ... in x: (mask, site).
        context: Number of context numbers per row.
        direct: Whether sites are also connected directly, without hidden units.
    """

    orderings: Tensor

    def __init__(
        self, site: Site, hidden: tuple[int, ...], orderings: Tensor, context: int = 0, direct: bool = True
    ):
        super().__init__()
        self.site, self.context = site, context
        masks, self.sites = orderings.shape
        self.register_buffer("orderings", orderings)
        widths = (self.sites * site.features, *hidden)
        self.W = nn.ParameterList(_uniform(out, n) for n, out in zip(widths, hidden, strict=False))
        self.b = nn.ParameterList(torch.zeros(n) for n in hidden)
        self.V = nn.Parameter(_uniform(self.sites * site.size, widths[-1]))
        self.c = nn.Parameter(torch.zeros(self.sites * site.size))
        self.A = nn.Parameter(torch.zeros(self.sites * site.size, widths[0])) if direct else None
        for layer, units in enumerate(hidden):
            degrees = 1 + torch.arange(units) * max(1, self.sites - 1) // units
            shuffled = torch.stack([degrees[torch.randperm(units)] for _ in range(masks)])
            self.register_buffer(f"degrees_{layer}", shuffled)
        if context:
            self.U = nn.ParameterList(torch.zeros(context, n) for n in hidden)
            self.T = nn.Parameter(torch.zeros(context, self.sites * site.size))

    def __len__(self) -> int:
        return len(self.orderings)

    def __getitem__(self, mask: int) -> MADEMask:
        return MADEMask(self, mask)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the parameters of all sites under the first mask.

        Args:
            x: The rows, (row, site), in the ordering of the mask.
            context: The context, (row, context), or None.

        Returns:
            Site parameters, (row, site, size), in the ordering of the mask.
        """
        return self[0](x, context)


class MADEMask:
    """A MADE conditioner under one of its masks.

    Args:
        made: The conditioner.
        mask: Number of the mask.
    """

    def __init__(self, made: MADEConditioner, mask: int):
        self.made = made
        self.ordering = made.orderings[mask]
        self.rank = self.ordering.argsort()  # from 0: a site of rank r receives units of degree <= r
        self.degrees = [getattr(made, f"degrees_{layer}")[mask] for layer in range(len(made.W))]

    def parameters(self) -> Any:
        """Return the parameters of the MADE."""
        return self.made.parameters()

    def __call__(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the parameters of all sites.

        Args:
            x: The rows, (row, site), in the ordering of the mask.
            context: The context, (row, context), or None.

        Returns:
            Site parameters, (row, site, size), in the ordering of the mask.
        """
        made, site = self.made, self.made.site
        check_inputs(x, context, made.sites, made.context)
        e = site.encode(x[:, self.rank], made.V.dtype).flatten(1)  # in the order of x
        features, outs = self.rank.repeat_interleave(site.features), self.rank.repeat_interleave(site.size)
        h, seen = e, features + 1
        for layer, (W, b, m) in enumerate(zip(made.W, made.b, self.degrees, strict=True)):
            a = nn.functional.linear(h, torch.where(m[:, None] >= seen, W, 0), b)
            h = torch.relu(a if context is None else a + context @ made.U[layer])
            seen = m
        y = nn.functional.linear(h, torch.where(outs[:, None] >= seen, made.V, 0), made.c)
        if made.A is not None:
            y = y + nn.functional.linear(e, torch.where(outs[:, None] > features, made.A, 0))
        y = y if context is None else y + context @ made.T
        return y.unflatten(1, (made.sites, site.size))[:, self.ordering]

    # One site at a time, each hidden unit is computed once, when its last input is known. Until then the unit
    # is 0, and so are unknown sites, so that no mask is needed.

    def start(self, rows: int, context: Tensor | None) -> dict[str, Tensor]:
        """Return the state before the first site: zero inputs and units, and terms of the context."""
        made = self.made
        check_context(context, made.context)
        state = {"e": made.V.new_zeros(rows, made.sites * made.site.features)}
        for layer, b in enumerate(made.b):
            state[f"h{layer}"] = made.V.new_zeros(rows, len(b))
            if context is not None:
                state[f"u{layer}"] = context @ made.U[layer]
        return state if context is None else {**state, "t": context @ made.T}

    def step(self, state: dict[str, Tensor], i: int, previous: Tensor | None) -> Tensor:
        """Return the parameters of site i (row, size), given the value of site i - 1 (row,)."""
        made, site, places = self.made, self.made.site, self._places
        h = e = state["e"]
        if previous is not None:
            j = places[i - 1]
            e[:, j * site.features : (j + 1) * site.features] = at(site, j).encode(previous, e.dtype)
            for layer, (W, b) in enumerate(zip(made.W, made.b, strict=True)):
                units = self._completed[layer][i]
                a = torch.addmm(b[units], h, W[units].mT)
                h = state[f"h{layer}"]
                h[:, units] = torch.relu(a + state[f"u{layer}"][:, units] if f"u{layer}" in state else a)
        elif made.W:
            h = state[f"h{len(made.W) - 1}"]
        rows = slice(places[i] * site.size, (places[i] + 1) * site.size)
        y = torch.addmm(made.c[rows], h, made.V[rows].mT)
        if made.A is not None:
            y = y.addmm(e, made.A[rows].mT)
        return y + state["t"][:, rows] if "t" in state else y

    @cached_property
    def _places(self) -> list[int]:
        return [int(place) for place in self.ordering]

    @cached_property
    def _completed(self) -> list[tuple[Tensor, ...]]:
        """The indices of the units of each degree, layer by layer."""
        counts = [torch.bincount(m, minlength=self.made.sites).tolist() for m in self.degrees]
        return [m.argsort().split(count) for m, count in zip(self.degrees, counts, strict=True)]


class MADEOptions(DenseOptions):
    """Options of `made`."""

    hidden: Sizes = Field(500, description="units of each hidden layer: one number for all, or a list")
    layers: int = Field(1, ge=1, le=LAYERS, description="number of hidden layers, if hidden is a number")
    masks: int = Field(
        1,
        ge=1,
        le=1000,
        description="number of masks that share the weights; a random ordering differs by mask",
    )
    direct: bool = Field(True, description="connect the sites also directly, without hidden units")

    @model_validator(mode="after")
    def _sizes(self) -> MADEOptions:
        if not layer_sizes(self.hidden, self.layers):
            raise ValueError("hidden = []: at least one hidden layer is needed. Give its number of units.")
        return self


class MADE(DensePair):
    """A masked autoencoder for distribution estimation (MADE): a masked feedforward network over all sites.

    In a table, each column has a site by its kind. From a row with missing values, the network learns the
    conditional of each observed value given the observed values before it; masks of the missing values are
    inputs. The score of such a row is an estimate of its marginal by particles, which sample the missing
    values.

    Args:
        options: The options of the family.
        event: The event that x is.
    """

    Options = MADEOptions
    accepts = frozenset({"observed"})
    supports = frozenset({"real", "binary", "count", "integer", "token", "mixed"})
    conditioner: MADEConditioner

    def __init__(self, options: Any, event: Event):
        super().__init__(options, event)
        self.conditioner = MADEConditioner(
            self.site,
            layer_sizes(options.hidden, options.layers),
            torch.stack([self.draw_ordering() for _ in range(options.masks)]),
            self.context_size,
            options.direct,
        )

    def parts(self, context: Tensor | None) -> list[Autoregressive]:
        """Return one random mask while training, otherwise all masks."""
        made = self.conditioner
        masks = [int(torch.randint(len(made), ()))] if self.training else range(len(made))
        return [
            Autoregressive(made[m], self.site, self.shape, context=context, ordering=made.orderings[m])
            for m in masks
        ]

    def learn(self, data: Rows, run: Run) -> None:
        """Fit by maximum likelihood; in a table, counts start at their means."""
        if isinstance(self.site, ColumnSites):
            c = self.conditioner.c
            with torch.no_grad():
                c.add_(beginnings(self.event, self.site, data.moments()).to(c).flatten())
        super().learn(data, run)

    def loss(
        self, x: Tensor, *, n: int, observed: Tensor | None = None, **given: Tensor
    ) -> dict[str, Tensor]:
        """Return the mean of -log p(x) over rows, in nats; missing values are left out of the sum over sites.

        Args:
            x: The rows, (row, *event).
            n: Number of rows.
            observed: The observed values, (row, *event), or None for complete rows.
            **given: The conditions by name.

        Returns:
            `loss`.

        Raises:
            InputError: When values are missing and x is not a table.
        """
        if observed is None or bool(observed.all()):
            return super().loss(x, n=n, **given)
        if not (isinstance(self.site, ColumnSites) and self.site.gaps):
            raise InputError(
                "x has missing values, which made accepts in tables only. Give a table with named columns."
            )
        y = self.standard(x, self.dtype_of_numbers) if self.standardized else x.to(self.dtype_of_numbers)
        y = torch.where(observed, y, torch.nan)
        parts = self.parts(self.context(given))
        found = torch.stack([part.log_prob_in_part(y) for part in parts])
        scale = (observed * self.standard.scale.log()).sum(1) if self.standardized else 0
        log_p = found.logsumexp(0) - math.log(len(parts)) - scale
        return {"loss": -log_p.mean()}

    def assess(self, x: Tensor, options: Any, observed: Tensor | None = None, **given: Tensor) -> xr.Dataset:
        """Return the exact log p(x), or with missing values a lower bound.

        Then complete rows have their exact log p(x). The others have an estimate by particles, whose mean is
        at most the log-probability of the observed values.

        Args:
            x: The rows, (row, *event).
            options: Options of scoring.
            observed: The observed values, (row, *event), or None for complete rows.
            **given: The conditions by name.

        Returns:
            Scores with the dimension row, in nats.

        Raises:
            NotOffered: When conditionals are requested and values are missing.
        """
        if observed is None:
            return super().assess(x, options, **given)
        if options.conditionals:
            raise NotOffered(
                "conditionals = True: x has missing values. Leave it out, or give complete rows."
            )
        log_p, error = x.new_zeros(len(x), dtype=torch.float64), x.new_zeros(len(x), dtype=torch.float64)
        whole = observed.flatten(1).all(1)
        for some in (whole, ~whole):
            if not some.any():
                continue
            conditions = {name: value[some] for name, value in given.items()}
            if some is whole:
                log_p[some] = self.log_prob(x[some], **conditions).double()
                continue
            y = (
                self.standard(x[some], self.dtype_of_numbers)
                if self.standardized
                else x[some].to(self.dtype_of_numbers)
            )
            found, error[some] = log_evidence(
                self.parts(self.context(conditions)), y, observed[some], PARTICLES
            )
            scale = (observed[some] * self.standard.scale.log()).flatten(1).sum(1) if self.standardized else 0
            log_p[some] = found - scale
        name = f"particles-{PARTICLES}"
        return log_prob(log_p, kind="lower_bound", estimator=name, measure=self.measure, se=error)

    def weights(self) -> list[Tensor]:
        """Return W, V and A; for a weight that every mask removes, the penalty has no effect on p(x)."""
        made = self.conditioner
        return [*made.W, made.V, *([made.A] if made.A is not None else [])]


def _uniform(out: int, n: int) -> Tensor:
    """Return initial weights (out, n) for units with a relu (He et al. 2015, eq. 10)."""
    return (2 * torch.rand(out, n) - 1) * math.sqrt(6 / n)
