"""A Pyro program run once: what its sample sites were, row by row.

A lighter `poutine.trace`: no graph, no copies of what is not needed. Rows are in one plate at dim -1; what a site outside
of it adds is shared out among them, so that a sum over rows is the sum over sites.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from pyro.poutine.messenger import Messenger
from torch import Tensor


@dataclass(frozen=True)
class Site:
    """A sample site that was passed: its distribution, its value, and how it counts."""

    fn: Any
    value: Tensor
    observed: bool
    scale: float | Tensor
    mask: bool | Tensor | None

    def log_prob(self, n: int) -> Tensor:
        """log of the value, for each of n rows: (row,)."""
        return self.rows(self.fn.log_prob(self.value), n)

    def rows(self, term: Tensor, n: int) -> Tensor:
        """A term of the batch shape of the site, scaled and masked, for each of n rows: (row,)."""
        if self.mask is not None and self.mask is not True:
            term = torch.where(torch.as_tensor(self.mask, device=term.device), term, 0)
        if not isinstance(self.scale, float) or self.scale != 1.0:
            term = term * self.scale
        return term if term.shape == (n,) else (term.sum() / n).expand(n)


class _Sites(Messenger):
    def __init__(self, values: Mapping[str, Tensor]):
        super().__init__()
        self.values = values
        self.sites: dict[str, Site] = {}

    def _pyro_sample(self, message: Any) -> None:
        if not message["is_observed"] and message["name"] in self.values:
            message["value"], message["done"] = self.values[message["name"]], True

    def _pyro_post_sample(self, message: Any) -> None:
        if type(message["fn"]).__name__ == "_Subsample":  # the indices of a plate: no random variable
            return
        self.sites[message["name"]] = Site(
            message["fn"], message["value"], message["is_observed"], message["scale"], message["mask"]
        )


def sites(
    program: Callable[..., Any], values: Mapping[str, Tensor] | None = None, *, inputs: Mapping[str, Any]
) -> dict[str, Site]:
    """The sample sites of `program(**inputs)` in the order they are passed; hidden ones take the `values` of their names."""
    with _Sites(values or {}) as passed:
        program(**inputs)
    return passed.sites


def repeated(data: Mapping[str, Tensor], k: int) -> dict[str, Tensor]:
    """Rows k times over, one copy of all after the other: (row, ...) -> (k * row, ...)."""
    return {name: tensor.expand(k, *tensor.shape).flatten(0, 1) for name, tensor in data.items()}
