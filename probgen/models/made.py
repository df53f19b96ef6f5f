"""The masked autoencoder for distribution estimation (Germain, Gregor, Murray & Larochelle, ICML 2015).

    h^1 = relu(b^1 + (W^1 * M^1) x),    h^l = relu(b^l + (W^l * M^l) h^{l-1}),
    p(x_i = 1 | x_<i) = sigmoid(c_i + (V * M^V)_i h^L + (A * M^A)_i x)              eq. 9, 12

A hidden unit k of degree m(k) sees the first m(k) sites of the ordering, and is seen by the sites after them:

    M^1_kj = 1 if m(k) >= j,    M^l_kk' = 1 if m^l(k) >= m^{l-1}(k'),    M^V_ik = 1 if i > m(k),    M^A_ij = 1 if i > j

with sites numbered from 1 in the ordering (eq. 8, 13, 14). Degrees are spread evenly and shuffled, not drawn one by
one, so that no site is left without units by chance. Several masks, each with degrees of its own (and an ordering of
its own, where they are random), share the weights: a minibatch is trained with one of them, and p(x) is the average of
their likelihoods.
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

PARTICLES = 100  # of a row that is known in part, for its score


class MADEConditioner(nn.Module):
    """Numbers for each of `sites` sites from layers of hidden units: see `probgen.distributions.Autoregressive`.

    hidden     units of each layer
    orderings  (mask, site): the place of the first site, the second, ...; a mask each
    direct     whether the sites also see each other without hidden units between

    It is a conditioner for each of its masks, `made[m]`, to be used with `ordering=made.orderings[m]`.
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
        """Of the first mask: (row, site), (row, context) -> (row, site, size), in its ordering."""
        return self[0](x, context)


class MADEMask:
    """A MADE as it is under one of its masks."""

    def __init__(self, made: MADEConditioner, mask: int):
        self.made = made
        self.ordering = made.orderings[mask]
        self.rank = self.ordering.argsort()  # from 0: a site of rank r sees units of degree <= r
        self.degrees = [getattr(made, f"degrees_{layer}")[mask] for layer in range(len(made.W))]

    def parameters(self) -> Any:
        """Those of the MADE."""
        return self.made.parameters()

    def __call__(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """(row, site), (row, context) -> (row, site, size); sites in the ordering of the mask."""
        made, site = self.made, self.made.site
        check_inputs(x, context, made.sites, made.context)
        e = site.encode(x[:, self.rank], made.V.dtype).flatten(1)  # as they lie
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

    # One site at a time each hidden unit is computed once, when the last site that it sees is known; until then it is
    # 0, as are the sites that are not known, so that no mask is needed.

    def start(self, rows: int, context: Tensor | None) -> dict[str, Tensor]:
        """Nothing told, no unit computed, and what the context adds."""
        made = self.made
        check_context(context, made.context)
        state = {"e": made.V.new_zeros(rows, made.sites * made.site.features)}
        for layer, b in enumerate(made.b):
            state[f"h{layer}"] = made.V.new_zeros(rows, len(b))
            if context is not None:
                state[f"u{layer}"] = context @ made.U[layer]
        return state if context is None else {**state, "t": context @ made.T}

    def step(self, state: dict[str, Tensor], i: int, previous: Tensor | None) -> Tensor:
        """Compute the units that the last value completes, and read them."""
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
        """The units of each degree, layer by layer."""
        counts = [torch.bincount(m, minlength=self.made.sites).tolist() for m in self.degrees]
        return [m.argsort().split(count) for m, count in zip(self.degrees, counts, strict=True)]


class MADEOptions(DenseOptions):
    """Options of `made`."""

    hidden: Sizes = Field(500, description="units of each layer: a number for all, or a list")
    layers: int = Field(1, ge=1, le=LAYERS, description="hidden layers, where hidden is a number")
    masks: int = Field(
        1, ge=1, le=1000, description="masks that share the weights; with a random ordering, of each its own"
    )
    direct: bool = Field(True, description="connections between sites without hidden units between")

    @model_validator(mode="after")
    def _sizes(self) -> MADEOptions:
        if not layer_sizes(self.hidden, self.layers):
            raise ValueError("hidden = []: one layer at least is needed")
        return self


class MADE(DensePair):
    """MADE behind the hooks.

    Of a table each column has a site by its kind. Rows with gaps teach what is said of each value that they have, given those before it that they
    have: the network is told which are missing. A score of such a row is an estimate of its marginal by particles, which draw what is missing.
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
        """While it is trained, one mask drawn at random; else all of them."""
        made = self.conditioner
        masks = [int(torch.randint(len(made), ()))] if self.training else range(len(made))
        return [
            Autoregressive(made[m], self.site, self.shape, context=context, ordering=made.orderings[m])
            for m in masks
        ]

    def learn(self, data: Rows, run: Run) -> None:
        """Maximum likelihood; of a table from where counts have their means."""
        if isinstance(self.site, ColumnSites):
            c = self.conditioner.c
            with torch.no_grad():
                c.add_(beginnings(self.event, self.site, data.moments()).to(c).flatten())
        super().learn(data, run)

    def loss(
        self, x: Tensor, *, n: int, observed: Tensor | None = None, **given: Tensor
    ) -> dict[str, Tensor]:
        """-log p(x), in part where values are missing. Errors: `InputError` for gaps in what is no table."""
        if observed is None or bool(observed.all()):
            return super().loss(x, n=n, **given)
        if not (isinstance(self.site, ColumnSites) and self.site.gaps):
            raise InputError(
                "x has missing values, which made learns from in tables alone: give a table whose columns have names"
            )
        y = self.standard(x, self.dtype_of_numbers) if self.standardized else x.to(self.dtype_of_numbers)
        y = torch.where(observed, y, torch.nan)
        parts = self.parts(self.context(given))
        found = torch.stack([part.log_prob_in_part(y) for part in parts])
        scale = (observed * self.standard.scale.log()).sum(1) if self.standardized else 0
        log_p = found.logsumexp(0) - math.log(len(parts)) - scale
        return {"loss": -log_p.mean()}

    def assess(self, x: Tensor, options: Any, observed: Tensor | None = None, **given: Tensor) -> xr.Dataset:
        """The exact log p(x); of data with missing values a bound: exact of rows without, an estimate by particles of others, low on average."""
        if observed is None:
            return super().assess(x, options, **given)
        if options.conditionals:
            raise NotOffered("conditionals: x has missing values")
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
        """W, V and A; a weight that is masked under every mask is punished in vain."""
        made = self.conditioner
        return [*made.W, made.V, *([made.A] if made.A is not None else [])]


def _uniform(out: int, n: int) -> Tensor:
    """For units behind which there is a relu (He et al. 2015, eq. 10)."""
    return (2 * torch.rand(out, n) - 1) * math.sqrt(6 / n)
