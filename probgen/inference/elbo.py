"""The evidence lower bound in its two parts (Kingma & Welling 2014, eq. 3).

    log p(x) >= E_q[log p(x | z)] - KL(q(z | x) || p(z)),    z ~ q(z | x)

The expectation is by one draw for each row; the divergence is in closed form where torch has one and model and guide
draw their latents in the same order, and by that draw elsewhere.
"""

from __future__ import annotations

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
    """The bound and its parts, in nats.

    reconstruction  log p(x | z) at z ~ q(z | x): (row,)
    kl              of each latent: (row,), or (row, *dimension) where it is the sum over independent dimensions
    """

    reconstruction: Tensor
    kl: dict[str, Tensor]

    @property
    def divergence(self) -> Tensor:
        """KL(q || p) of all latents: (row,)."""
        parts = [kl.flatten(1).sum(1) if kl.ndim > 1 else kl for kl in self.kl.values()]
        return sum(parts[1:], parts[0]) if parts else torch.zeros_like(self.reconstruction)

    @property
    def bound(self) -> Tensor:
        """reconstruction - divergence: (row,)."""
        return self.reconstruction - self.divergence


def elbo(pair: Program, x: Tensor, **given: Tensor) -> ELBO:
    """The bound of each row of x: (row, *event), at one draw of the guide.

    Gradients flow through draws that are reparameterized; a latent that cannot be is followed by its score function
    (Williams 1992), with values unchanged. A latent that the guide leaves out is drawn from the model, q being p.
    """
    n = len(x)
    inputs = {"x": x, "n": n, **given}
    guide = sites(pair.guide, inputs=inputs)
    q = {name: site for name, site in guide.items() if not site.observed}
    model = sites(pair.model, {name: site.value for name, site in q.items()}, inputs=inputs)
    p = {name: site for name, site in model.items() if not site.observed}
    strangers = [name for name in q if name not in p]
    if strangers:
        raise PluginError(f"the guide draws {strangers[0]!r}, which the model does not have")
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


def summed(terms: list[Tensor], n: int, like: Tensor) -> Tensor:
    """The sum of terms of shape (row,); zeros where there are none."""
    return sum(terms[1:], terms[0]) if terms else torch.zeros(n, device=like.device)


def _divergence(q: Site, p: Site, n: int, closed: bool) -> Tensor:
    """KL(q || p), dimension by dimension where these are independent, else log q - log p at the draw."""
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
    """What an Independent is made of, and of how many dimensions."""
    if isinstance(fn, torch.distributions.Independent):
        return fn.base_dist, fn.reinterpreted_batch_ndims
    return None
