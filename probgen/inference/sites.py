"""The sample sites of one run of a Pyro program, with log-probabilities per row.

This replaces `poutine.trace` with less overhead: it builds no graph and makes no unnecessary copies. Rows are in one
plate at dim -1. The log-probability of a site outside of the plate is divided equally among the rows. The sum over rows
is therefore the sum over sites.
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
    """A sample site of a program run.

    Attributes:
        fn: Distribution of the site.
        value: Sampled or observed value.
        observed: Whether the value is observed.
        scale: Factor of the log-probability (`poutine.scale`).
        mask: Mask of the log-probability (`poutine.mask`); None for no mask.
    """

    fn: Any
    value: Tensor
    observed: bool
    scale: float | Tensor
    mask: bool | Tensor | None

    def log_prob(self, n: int) -> Tensor:
        """Return the log-probability of the value per row.

        Args:
            n: Number of rows.

        Returns:
            Log-probabilities, (row,), in nats.
        """
        return self.rows(self.fn.log_prob(self.value), n)

    def rows(self, term: Tensor, n: int) -> Tensor:
        """Scale and mask a term, and divide it among the rows.

        Args:
            term: A term of the batch shape of the site.
            n: Number of rows.

        Returns:
            The term per row, (row,). A term of another shape than (n,) is summed, and each row receives an equal share.
        """
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
        if type(message["fn"]).__name__ == "_Subsample":  # the indices of a plate are not a random variable
            return
        self.sites[message["name"]] = Site(
            message["fn"], message["value"], message["is_observed"], message["scale"], message["mask"]
        )


def sites(
    program: Callable[..., Any], values: Mapping[str, Tensor] | None = None, *, inputs: Mapping[str, Any]
) -> dict[str, Site]:
    """Run `program(**inputs)` and return its sample sites.

    Args:
        program: A Pyro model or guide.
        values: Values for latent sites, by name; other latent sites are sampled.
        inputs: Keyword arguments of the program.

    Returns:
        The sites by name, in the order of the program.
    """
    with _Sites(values or {}) as passed:
        program(**inputs)
    return passed.sites


def repeated(data: Mapping[str, Tensor], k: int) -> dict[str, Tensor]:
    """Repeat all rows k times, one complete copy after the other.

    Args:
        data: Tensors by name, (row, ...) each.
        k: Number of copies.

    Returns:
        Tensors by name, (k * row, ...) each.
    """
    return {name: tensor.expand(k, *tensor.shape).flatten(0, 1) for name, tensor in data.items()}
