"""Importance weights, and bounds on log p(x) from them (Burda, Grosse & Salakhutdinov 2016; Li & Turner 2016).

w_i = p(x, z_i) / q(z_i | x),    z_i ~ q(z | x),    i = 1 .. k
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from probgen.inference.elbo import summed
from probgen.inference.programs import Program
from probgen.inference.sites import Site, repeated, sites

IN_CACHE, IN_FLIGHT = 512, 16_384  # rows times draws that a core, or a GPU, works on best


@dataclass(frozen=True)
class Proposal:
    """Draws of the guide. z: by latent, (k, row, ...); log_q: log q(z | x), (k, row)."""

    z: dict[str, Tensor]
    log_q: Tensor

    def split(self, draws: int) -> list[Proposal]:
        """Parts of so many draws."""
        parts = [slice(i, i + draws) for i in range(0, len(self.log_q), draws)]
        return [Proposal({name: z[i] for name, z in self.z.items()}, self.log_q[i]) for i in parts]


def propose(pair: Program, x: Tensor, k: int, **given: Tensor) -> Proposal:
    """k draws of the guide for each row of x.

    A guide of one latent is run once, and k draws are taken from what it says; one of several runs on repeated rows,
    since a latent may depend on the one before. A latent that the guide leaves out is drawn from the model later.
    """
    n = len(x)
    guide = _latents(sites(pair.guide, inputs={"x": x, "n": n, **given}))
    if len(guide) > 1:
        guide = _latents(sites(pair.guide, inputs={"n": k * n, **repeated({"x": x, **given}, k)}))
        log_q = summed([site.log_prob(k * n) for site in guide.values()], k * n, x)
        return Proposal(
            {name: s.value.unflatten(0, (k, n)) for name, s in guide.items()}, log_q.reshape(k, n)
        )
    for name, site in guide.items():
        draw = site.fn.rsample if site.fn.has_rsample else site.fn.sample
        z = draw(torch.Size((k,)))
        return Proposal({name: z}, site.fn.log_prob(z))
    return Proposal({}, torch.zeros(k, n, device=x.device))


def log_weights(pair: Program, x: Tensor, proposal: Proposal, **given: Tensor) -> Tensor:
    """log p(x, z) - log q(z | x) of draws: (k, row).

    Rows are repeated, not plated: an outer plate would hand convolutions one dimension too many.
    """
    k, n = proposal.log_q.shape
    z = {name: value.flatten(0, 1) for name, value in proposal.z.items()}
    model = sites(pair.model, z, inputs={"n": k * n, **repeated({"x": x, **given}, k)})
    log_p = summed([s.log_prob(k * n) for name, s in model.items() if s.observed or name in z], k * n, x)
    return log_p.reshape(k, n) - proposal.log_q


def _latents(passed: dict[str, Site]) -> dict[str, Site]:
    return {name: site for name, site in passed.items() if not site.observed}


def renyi(log_w: Tensor, alpha: float) -> Tensor:
    """The variational Renyi bound of k weights (Li & Turner 2016, eq. 16): (k, row) -> (row,).

    alpha = 0 is the importance-weighted bound, alpha = 1 the ELBO.
    """
    if alpha == 1:
        return log_w.mean(0)
    return (((1 - alpha) * log_w).logsumexp(0) - math.log(len(log_w))) / (1 - alpha)


def renyi_bound(
    pair: Program, x: Tensor, k: int, alpha: float = 0.0, *, followed: int | None = None, **given: Tensor
) -> Tensor:
    """The bound of each row of x, with its gradient: (row,).

    followed  how many of the k draws the gradient goes through; None is all. The gradient is sum_i v_i grad log w_i
              with v = softmax((1 - alpha) log w) (eq. 14 of Burda et al.): draws that are chosen with probability v
              have it as their expected mean, and few weights of many count
    """
    proposal = propose(pair, x, k, **given)
    if followed is None or followed >= k:
        return renyi(log_weights(pair, x, proposal, **given), alpha)
    with torch.no_grad():
        parts = proposal.split(max(1, _at_once(x) // len(x)))
        log_w = torch.cat([log_weights(pair, x, part, **given) for part in parts])
        bound = renyi(log_w, alpha)
        if not torch.isfinite(log_w).all():
            return bound
        chosen = torch.multinomial(((1 - alpha) * log_w.T).softmax(1), followed, replacement=True).T
    rows = torch.arange(len(x), device=x.device)
    some = Proposal({name: z[chosen, rows] for name, z in proposal.z.items()}, proposal.log_q[chosen, rows])
    mean = log_weights(pair, x, some, **given).mean(0)
    return bound + (mean - mean.detach())


def iwae(
    pair: Program, x: Tensor, k: int, *, at_once: int | None = None, **given: Any
) -> tuple[Tensor, Tensor]:
    """log 1/k sum_i w_i, and its Monte Carlo standard error, without gradients.

    x: (row, *event); both results: (row,), in nats. A lower bound on log p(x) in expectation (eq. 8 of Burda et al.).
    `at_once` bounds the rows times draws that are in memory together; None is what the device works on best. The error is
    that of the jackknife.
    """
    return iwae_with_error(all_log_weights(pair, x, k, at_once=at_once, **given))


def iwae_with_error(log_w: Tensor) -> tuple[Tensor, Tensor]:
    """The importance-weighted bound of k weights and its standard error: (k, row) -> (row,), (row,).

    The error is the jackknife's (Tukey 1958): that of the bounds of all weights but one. The square is right on average,
    also for few weights and uneven ones, where the delta method has an error too small by 1.2 (k = 10, log w of deviation 1) to 3. NaN for k = 1.
    """
    bound = renyi(log_w, 0)
    k = len(log_w)
    if k == 1:
        return bound, torch.full_like(bound, math.nan)
    # logarithms of the sum of all weights but one over that of all; without the largest the others are added up themselves
    without = torch.log1p(-((log_w - bound).exp() / k).clamp(max=0.5))
    largest = log_w.argmax(0, keepdim=True)
    rest = log_w.scatter(0, largest, -torch.inf).logsumexp(0, keepdim=True) - (bound + math.log(k))
    without = without.scatter(0, largest, rest)
    if (rest == -torch.inf).any():  # all others are 0
        return bound, torch.where(rest[0] == -torch.inf, torch.inf, (k - 1) / math.sqrt(k) * without.std(0))
    return bound, (k - 1) / math.sqrt(k) * without.std(0)


def elbo_with_error(log_w: Tensor) -> tuple[Tensor, Tensor]:
    """The ELBO of k weights, their mean logarithm, and its standard error: (k, row) -> (row,), (row,). NaN for k = 1."""
    error = log_w.std(0) / math.sqrt(len(log_w)) if len(log_w) > 1 else torch.full_like(log_w[0], math.nan)
    return log_w.mean(0), error


@torch.no_grad()
def all_log_weights(pair: Program, x: Tensor, k: int, *, at_once: int | None = None, **given: Any) -> Tensor:
    """log w of k draws for each row of x, `at_once` rows times draws at a time: (k, row).

    Few rows with many draws rather than the other way round, for the guide runs once for each part.
    """
    most = at_once or _at_once(x)
    data = {"x": x, **given}
    columns = []
    for rows in torch.arange(len(x), device=x.device).split(max(1, most // k)):
        part = {name: tensor[rows] for name, tensor in data.items()}
        drawn = (propose(pair, k=draws, **part) for draws in _parts(k, most))
        columns.append(torch.cat([log_weights(pair, proposal=proposal, **part) for proposal in drawn]))
    return torch.cat(columns, 1)


def _parts(k: int, most: int) -> Iterator[int]:
    for start in range(0, k, most):
        yield min(k - start, most)


def _at_once(x: Tensor) -> int:
    return IN_CACHE if x.device.type == "cpu" else IN_FLIGHT
