"""The evidence lower bound (ELBO) and its two parts (Kingma & Welling 2014, eq. 3).

    log p(x) >= E_q[log p(x | z)] - KL(q(z | x) || p(z)),    z ~ q(z | x)

The expectation is estimated with one sample per row. The divergence is in closed form if torch provides one, and if the
model and the guide sample their latents in the same order. Otherwise the same sample estimates the divergence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributions import kl_divergence

from probgen.distributions.vectors import NormalVector
from probgen.errors import PluginError
from probgen.inference.programs import Program
from probgen.inference.sites import Site, sites


@dataclass(frozen=True)
class ELBO:
    """The evidence lower bound and its parts, in nats.

    Attributes:
        reconstruction: log p(x | z) at a sample z ~ q(z | x), (row,).
        kl: KL(q || p) by name of the latent: (row, *dimension) if the dimensions are independent, otherwise (row,).
    """

    reconstruction: Tensor
    kl: dict[str, Tensor]

    @property
    def divergence(self) -> Tensor:
        """Divergence KL(q || p), summed over all latents, (row,), in nats."""
        parts = [kl.flatten(1).sum(1) if kl.ndim > 1 else kl for kl in self.kl.values()]
        return sum(parts[1:], parts[0]) if parts else torch.zeros_like(self.reconstruction)

    @property
    def bound(self) -> Tensor:
        """The bound, reconstruction - divergence, (row,), in nats."""
        return self.reconstruction - self.divergence


def elbo(pair: Program, x: Tensor, **given: Tensor) -> ELBO:
    """Return the evidence lower bound of each row, with one sample of the guide.

    Gradients flow through reparameterized samples. For other latents, the gradient of the score function is added (Williams
    1992); values are unchanged. A latent that the guide does not sample is sampled from the model, so that q is p.

    Args:
        pair: The program.
        x: Rows, (row, *event).
        **given: Conditions and other inputs of the model and the guide, (row, ...) each.

    Returns:
        The bound and its parts, in nats.

    Raises:
        PluginError: When the guide samples a latent that the model does not have, when the model samples a latent that
            `latents` does not name, or when no site is observed.
    """
    n = len(x)
    inputs = {"x": x, "n": n, **given}
    guide = sites(pair.guide, inputs=inputs)
    q = {name: site for name, site in guide.items() if not site.observed}
    model = sites(pair.model, {name: site.value for name, site in q.items()}, inputs=inputs)
    p = {name: site for name, site in model.items() if not site.observed}
    strangers = [name for name in q if name not in p]
    if strangers:
        raise PluginError(
            f"the guide samples {strangers[0]!r}, which is not a latent of the model. Give both sites the same name."
        )
    _check_sites(pair, p, model)
    reconstruction = summed([site.log_prob(n) for site in model.values() if site.observed], n, x)
    in_order = list(q) == [name for name in p if name in q]
    kl = {name: _divergence(q[name], p[name], n, in_order) for name in q}
    found = ELBO(reconstruction, kl)
    drawn = [*q.values(), *(site for name, site in p.items() if name not in q)]
    scores = [site.log_prob(n) for site in drawn if not site.fn.has_rsample]
    if not scores or not torch.is_grad_enabled():
        return found
    score = summed(scores, n, x)
    follow = (score - score.detach()) * found.bound.detach()  # 0, with the gradient of the score function
    return ELBO(reconstruction + follow, kl)


def _check_sites(pair: Program, latents: Mapping[str, Site], model: Mapping[str, Site]) -> None:
    """Raise `PluginError` for a model whose bound would not be a bound on log p(x): it would be called exact, or 0."""
    where = f"{type(pair).__name__}.model"
    for name in latents:
        if name not in pair.latents:
            raise PluginError(
                f"{where} samples {name!r}, which is not in `latents`. Declare it: latents = {{{name!r}: (...)}}, with its dimensions."
            )
    if len(latents) == len(model):
        raise PluginError(f"{where} has no observed site. Write pyro.sample('x', ..., obs=x).")


def summed(terms: list[Tensor], n: int, like: Tensor) -> Tensor:
    """Return the sum of terms of shape (row,), or zeros if there are no terms."""
    return sum(terms[1:], terms[0]) if terms else torch.zeros(n, device=like.device)


def _divergence(q: Site, p: Site, n: int, closed: bool) -> Tensor:
    """Return KL(q || p), per dimension if the dimensions are independent, or log q - log p at the sample."""
    plain = q.mask is None and p.mask is None and isinstance(q.scale, float) and q.scale == p.scale == 1.0
    try:
        if closed:
            if plain and isinstance(q.fn, NormalVector) and isinstance(p.fn, NormalVector):
                return q.fn.divergences(p.fn)
            a, b = _inner(q.fn), _inner(p.fn)
            if a is not None and b is not None and a[1] == b[1]:
                kl = kl_divergence(a[0], b[0])
                if plain and kl.shape[:1] == (n,) and kl.ndim == 1 + a[1]:
                    return kl
                return q.rows(kl.flatten(kl.ndim - a[1]).sum(-1) if a[1] else kl, n)
            return q.rows(kl_divergence(q.fn, p.fn), n)
    except NotImplementedError:
        pass
    return q.log_prob(n) - p.log_prob(n)


def _inner(fn: Any) -> tuple[Any, int] | None:
    """Return the base distribution of an `Independent` and its number of event dimensions; None for others."""
    if isinstance(fn, torch.distributions.Independent):
        return fn.base_dist, fn.reinterpreted_batch_ndims
    return None
