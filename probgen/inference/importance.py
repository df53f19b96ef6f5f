"""Importance weights and the bounds on log p(x) that follow (Burda, Grosse & Salakhutdinov 2016; Li & Turner 2016).

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

IN_CACHE, IN_FLIGHT = 512, 16_384  # rows times samples in memory at a time: best for a core, for a GPU


@dataclass(frozen=True)
class Proposal:
    """Samples of the guide and their log-probabilities.

    Attributes:
        z: Samples by name of the latent, (k, row, ...).
        log_q: log q(z | x), (k, row), in nats.
    """

    z: dict[str, Tensor]
    log_q: Tensor

    def split(self, draws: int) -> list[Proposal]:
        """Split the samples into parts.

        Args:
            draws: Number of samples per row in each part.

        Returns:
            The parts; the last one may be smaller.
        """
        parts = [slice(i, i + draws) for i in range(0, len(self.log_q), draws)]
        return [Proposal({name: z[i] for name, z in self.z.items()}, self.log_q[i]) for i in parts]


def propose(pair: Program, x: Tensor, k: int, **given: Tensor) -> Proposal:
    """Sample the guide k times for each row of x.

    A guide with one latent runs once, and its distribution is sampled k times. A guide with several latents runs on
    repeated rows, because a latent may depend on the one before. A latent that the guide does not sample is sampled from
    the model by `log_weights`.

    Args:
        pair: The program.
        x: Rows, (row, *event).
        k: Number of samples per row.
        **given: Conditions and other inputs of the guide, (row, ...) each.

    Returns:
        The samples and their log-probabilities.
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
    """Return the log-weights log p(x, z) - log q(z | x) of samples.

    Rows are repeated instead of using an outer plate, because convolutions do not accept another dimension.

    Args:
        pair: The program.
        x: Rows, (row, *event).
        proposal: Samples of the guide.
        **given: Conditions and other inputs of the model, (row, ...) each.

    Returns:
        Log-weights, (k, row), in nats.
    """
    k, n = proposal.log_q.shape
    z = {name: value.flatten(0, 1) for name, value in proposal.z.items()}
    model = sites(pair.model, z, inputs={"n": k * n, **repeated({"x": x, **given}, k)})
    log_p = summed([s.log_prob(k * n) for name, s in model.items() if s.observed or name in z], k * n, x)
    return log_p.reshape(k, n) - proposal.log_q


def _latents(passed: dict[str, Site]) -> dict[str, Site]:
    return {name: site for name, site in passed.items() if not site.observed}


def renyi(log_w: Tensor, alpha: float) -> Tensor:
    """Return the variational Renyi bound of k weights (Li & Turner 2016, eq. 16).

    Args:
        log_w: Log-weights, (k, row), in nats.
        alpha: Order of the bound: 0 for the importance-weighted bound, 1 for the ELBO.

    Returns:
        Bounds, (row,), in nats.
    """
    if alpha == 1:
        return log_w.mean(0)
    return (((1 - alpha) * log_w).logsumexp(0) - math.log(len(log_w))) / (1 - alpha)


def renyi_bound(
    pair: Program, x: Tensor, k: int, alpha: float = 0.0, *, followed: int | None = None, **given: Tensor
) -> Tensor:
    """Return the variational Renyi bound of each row of x, with its gradient.

    The gradient is sum_i v_i grad log w_i with v = softmax((1 - alpha) log w) (eq. 14 of Burda et al.). The mean gradient
    of samples that are chosen with probability v equals it in expectation, and only few of many weights are large.

    Args:
        pair: The program.
        x: Rows, (row, *event).
        k: Number of samples per row.
        alpha: Order of the bound: 0 for the importance-weighted bound, 1 for the ELBO.
        followed: Number of the k samples through which the gradient is computed; None for all.
        **given: Conditions and other inputs of the model and the guide, (row, ...) each.

    Returns:
        Bounds, (row,), in nats.
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
    """Return log 1/k sum_i w_i and its Monte Carlo standard error, without gradients.

    The result is a lower bound on log p(x) in expectation (eq. 8 of Burda et al.). The standard error is the jackknife's.

    Args:
        pair: The program.
        x: Rows, (row, *event).
        k: Number of samples per row.
        at_once: Rows times samples in memory at a time; None for the fastest number on the device.
        **given: Conditions and other inputs of the model and the guide, (row, ...) each.

    Returns:
        The bounds and their standard errors, both (row,), in nats.
    """
    return iwae_with_error(all_log_weights(pair, x, k, at_once=at_once, **given))


def iwae_with_error(log_w: Tensor) -> tuple[Tensor, Tensor]:
    """Return the importance-weighted bound of k weights and its standard error.

    The standard error is the jackknife's (Tukey 1958), from the bounds of all weights but one. Its square is right on
    average, also for few or uneven weights. For such weights, the error of the delta method is too small by a factor of
    1.2 (k = 10, log w of standard deviation 1) to 3.

    Args:
        log_w: Log-weights, (k, row), in nats.

    Returns:
        The bounds and their standard errors, both (row,), in nats. For k = 1, the errors are NaN.
    """
    bound = renyi(log_w, 0)
    k = len(log_w)
    if k == 1:
        return bound, torch.full_like(bound, math.nan)
    # log of the sum of all weights but one, divided by the sum of all; without the largest, the others are summed directly
    without = torch.log1p(-((log_w - bound).exp() / k).clamp(max=0.5))
    largest = log_w.argmax(0, keepdim=True)
    rest = log_w.scatter(0, largest, -torch.inf).logsumexp(0, keepdim=True) - (bound + math.log(k))
    without = without.scatter(0, largest, rest)
    if (rest == -torch.inf).any():  # all other weights are 0
        return bound, torch.where(rest[0] == -torch.inf, torch.inf, (k - 1) / math.sqrt(k) * without.std(0))
    return bound, (k - 1) / math.sqrt(k) * without.std(0)


def elbo_with_error(log_w: Tensor) -> tuple[Tensor, Tensor]:
    """Return the ELBO of k weights, which is their mean logarithm, and its standard error.

    Args:
        log_w: Log-weights, (k, row), in nats.

    Returns:
        The bounds and their standard errors, both (row,), in nats. For k = 1, the errors are NaN.
    """
    error = log_w.std(0) / math.sqrt(len(log_w)) if len(log_w) > 1 else torch.full_like(log_w[0], math.nan)
    return log_w.mean(0), error


@torch.no_grad()
def all_log_weights(pair: Program, x: Tensor, k: int, *, at_once: int | None = None, **given: Any) -> Tensor:
    """Return the log-weights of k samples for each row of x, computed in parts without gradients.

    A part has few rows with many samples, because the guide runs once per part.

    Args:
        pair: The program.
        x: Rows, (row, *event).
        k: Number of samples per row.
        at_once: Rows times samples in memory at a time; None for the fastest number on the device.
        **given: Conditions and other inputs of the model and the guide, (row, ...) each.

    Returns:
        Log-weights, (k, row), in nats.
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
