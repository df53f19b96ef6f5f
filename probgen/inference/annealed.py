"""Annealed importance sampling over latents by Hamiltonian Monte Carlo, forwards and in reverse.

    f_b(z) = s(z)^(1 - b) p(x, z)^b,    b from 0 to 1

A chain starts at a normalized s, the prior or the guide, and is weighted by the ratio of each f_b to the one before (Neal
2001); the mean weight of many chains is p(x) in expectation, so its logarithm is a lower bound on log p(x) in expectation.
A chain that starts at an exact draw of the posterior and goes the other way gives an upper bound. There are such draws
where x was simulated together with z, and the truth is then held between the two (Grosse, Ghahramani & Adams 2015; Wu et
al. 2017). What is left of the gap tells how far to trust the lower bound on real data.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor
from torch.distributions import constraints

from probgen.errors import NotOffered
from probgen.inference.elbo import summed
from probgen.inference.importance import iwae_with_error, renyi
from probgen.inference.programs import Program
from probgen.inference.sites import repeated, sites

AT_ONCE = 16384  # chains of all rows that are in memory together
ACCEPTANCE = 0.65  # that step sizes aim at (Neal 2011)
PILOTS = 2


@dataclass(frozen=True)
class Annealed:
    """What chains came to.

    log_w       log-weights: (chain, row), in nats
    z           where they ended: (chain, row, latent)
    acceptance  of all their moves, on average: (row,)
    log_sizes   logarithms of the sizes of their leapfrog steps: (step, row)
    """

    log_w: Tensor
    z: Tensor
    acceptance: Tensor
    log_sizes: Tensor

    @property
    def bound(self) -> Tensor:
        """log of the mean weight: (row,). Of chains that went forwards, a lower bound in expectation."""
        return renyi(self.log_w, 0)

    @property
    def upper_bound(self) -> Tensor:
        """-log of the mean of 1 / w: (row,). Of chains that went in reverse, an upper bound in expectation."""
        return -renyi(-self.log_w, 0)

    @property
    def standard_error(self) -> Tensor:
        """Of `bound`, by the jackknife: (row,)."""
        return iwae_with_error(self.log_w)[1]


def anneal(
    start: Any,
    log_target: Callable[[Tensor], Tensor],
    *,
    chains: int,
    steps: int,
    leapfrog: int = 10,
) -> Annealed:
    """Chains from `start` to the target.

    start       a distribution of batch shape (row,) and event shape (latent,), over the reals
    log_target  log p(x, z): (chain, row, latent) -> (chain, row)
    steps       how many f_b there are after the first, spaced as a sigmoid (Wu et al. 2017, appendix)
    leapfrog    steps of each Hamiltonian move

    The size of leapfrog steps adapts to each row. It follows the acceptance of two pilot chains, which run along and
    are left out of the result: step sizes that followed a chain's own past would bias its weight.
    """
    with torch.no_grad():
        z = start.sample((chains + PILOTS,))
        scale = start.stddev
    at = _evaluate(start, log_target, z)
    log_w = torch.zeros_like(at.target)
    log_size = torch.full_like(log_w[0], math.log(0.3))
    accepted, sizes = torch.zeros_like(log_w), []
    for before, now in pairwise(_schedule(steps)):
        log_w = log_w + (now - before) * (at.target - at.start)
        at, p = _move(start, log_target, at, now, scale * log_size.exp()[:, None], leapfrog)
        accepted += p
        sizes.append(log_size)
        log_size = log_size + 0.2 * (p[:PILOTS].mean(0) - ACCEPTANCE)
    return Annealed(log_w[PILOTS:], at.z[PILOTS:], accepted[PILOTS:].mean(0) / steps, torch.stack(sizes))


def reverse(
    start: Any, log_target: Callable[[Tensor], Tensor], forwards: Annealed, end: Tensor, *, leapfrog: int = 10
) -> Annealed:
    """As many chains the other way, with the step sizes of the forward ones, from exact draws of the target: (row, latent).

    Step sizes of its own would depend on where it began, and its weights would be biased.
    """
    chains, steps = len(forwards.log_w), len(forwards.log_sizes)
    at = _evaluate(start, log_target, end.expand(chains, *end.shape))
    log_w, accepted = torch.zeros_like(at.target), torch.zeros_like(at.target)
    b = _schedule(steps)
    for t in range(steps - 1, -1, -1):
        log_w = log_w + (b[t + 1] - b[t]) * (at.target - at.start)
        if t:  # a last move, within the start, would change no weight
            size = start.stddev * forwards.log_sizes[t - 1].exp()[:, None]
            at, p = _move(start, log_target, at, b[t], size, leapfrog)
            accepted += p
    return Annealed(log_w, at.z, accepted.mean(0) / max(1, steps - 1), forwards.log_sizes)


def _schedule(steps: int) -> list[float]:
    """b from 0 to 1, slow at both ends."""
    b = (8 * torch.linspace(0, 1, steps + 1, dtype=torch.float64) - 4).sigmoid()
    return ((b - b[0]) / (b[-1] - b[0])).tolist()


@dataclass(frozen=True)
class _Point:
    """z, both log-densities there, and their gradients."""

    z: Tensor
    start: Tensor
    target: Tensor
    d_start: Tensor
    d_target: Tensor

    def log_f(self, b: float) -> Tensor:
        return (1 - b) * self.start + b * self.target

    def d_log_f(self, b: float) -> Tensor:
        return (1 - b) * self.d_start + b * self.d_target

    def where(self, stay: Tensor, other: _Point) -> _Point:
        """This one where it is to stay, else the other."""
        wide = stay[..., None]
        return _Point(
            torch.where(wide, self.z, other.z),
            torch.where(stay, self.start, other.start),
            torch.where(stay, self.target, other.target),
            torch.where(wide, self.d_start, other.d_start),
            torch.where(wide, self.d_target, other.d_target),
        )


def _evaluate(start: Any, log_target: Callable[[Tensor], Tensor], z: Tensor) -> _Point:
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        s, t = start.log_prob(z), log_target(z)
        (d_s,), (d_t,) = torch.autograd.grad(s.sum(), z), torch.autograd.grad(t.sum(), z)
    return _Point(z.detach(), s.detach(), t.detach(), d_s, d_t)


def _move(
    start: Any, log_target: Callable[[Tensor], Tensor], at: _Point, b: float, size: Tensor, leapfrog: int
) -> tuple[_Point, Tensor]:
    """A Hamiltonian move that leaves f_b invariant, and the probability with which it was accepted."""
    proposal, log_ratio = _leap(start, log_target, at, b, size, leapfrog)
    p = log_ratio.exp().clamp(max=1).nan_to_num(0.0)
    return at.where(torch.rand_like(p) >= p, proposal), p


def _leap(
    start: Any, log_target: Callable[[Tensor], Tensor], at: _Point, b: float, size: Tensor, steps: int
) -> tuple[_Point, Tensor]:
    """The end of a Hamiltonian path that leaves f_b invariant, and the log of its acceptance ratio."""
    size = size.to(at.z.dtype)  # of ratios of densities, which may be in float64 where z is not
    momentum = torch.randn_like(at.z)
    begun = at.log_f(b) - momentum.square().sum(-1) / 2
    for _ in range(steps):
        momentum = momentum + 0.5 * size * at.d_log_f(b)
        at = _evaluate(start, log_target, at.z + size * momentum)
        momentum = momentum + 0.5 * size * at.d_log_f(b)
    return at, at.log_f(b) - momentum.square().sum(-1) / 2 - begun


# of a pair


def ais(
    pair: Program,
    x: Tensor,
    steps: int,
    *,
    chains: int = 16,
    leapfrog: int = 10,
    start: Literal["guide", "prior"] = "guide",
    at_once: int | None = None,
    **given: Any,
) -> Annealed:
    """Chains for each row of x, of a pair with one latent vector over the reals.

    x: (row, *event). `start` is where the chains begin. Errors: `NotOffered` for a pair with other latents.
    """
    parts = []
    together = max(1, (at_once or AT_ONCE) // (chains + PILOTS))
    for rows in torch.arange(len(x), device=x.device).split(together):
        some = {name: tensor[rows] for name, tensor in {"x": x, **given}.items()}
        s = _start(pair, start, some)
        parts.append(anneal(s, _joint(pair, some), chains=chains, steps=steps, leapfrog=leapfrog))
    return Annealed(
        torch.cat([part.log_w for part in parts], 1),
        torch.cat([part.z for part in parts], 1),
        torch.cat([part.acceptance for part in parts]),
        torch.cat([part.log_sizes for part in parts], 1),
    )


def bidirectional(
    pair: Program,
    n: int,
    steps: int,
    *,
    chains: int = 16,
    leapfrog: int = 10,
    start: Literal["guide", "prior"] = "guide",
    **given: Any,
) -> tuple[Tensor, Tensor]:
    """A lower and an upper bound in expectation on log p(x) of n rows that the model itself makes up: both (row,)."""
    with torch.no_grad():
        drawn = sites(pair.model, inputs={"n": n, **given})
    name = _latent(pair)
    data = {"x": drawn["x"].value, **given}
    s = _start(pair, start, data)
    log_target = _joint(pair, data)
    forwards = anneal(s, log_target, chains=chains, steps=steps, leapfrog=leapfrog)
    backwards = reverse(s, log_target, forwards, drawn[name].value, leapfrog=leapfrog)
    return forwards.bound, backwards.upper_bound


def _latent(pair: Program) -> str:
    if len(pair.latents) != 1:
        raise NotOffered(f"{type(pair).__name__} has latents {sorted(pair.latents)}; AIS is for one of them")
    return next(iter(pair.latents))


@torch.no_grad()
def _start(pair: Program, which: str, data: dict[str, Tensor]) -> Any:
    name = _latent(pair)
    inputs = {"n": len(data["x"]), **data}
    drawn = sites(pair.guide, inputs=inputs) if which == "guide" else {}
    if name not in drawn:
        drawn = sites(pair.model, inputs=inputs)
    fn = drawn[name].fn
    inner = fn.component_distribution if isinstance(fn, torch.distributions.MixtureSameFamily) else fn
    support = inner.support
    if isinstance(support, constraints.independent):
        support = support.base_constraint
    if support is not constraints.real or len(fn.event_shape) != 1:
        raise NotOffered(f"{type(pair).__name__}: AIS needs a vector of reals, and {name!r} is another thing")
    return fn


def _joint(pair: Program, data: dict[str, Tensor]) -> Callable[[Tensor], Tensor]:
    """log p(x, z) of the rows: (chain, row, latent) -> (chain, row)."""
    name = _latent(pair)

    def log_joint(z: Tensor) -> Tensor:
        k, n = z.shape[:2]
        passed = sites(pair.model, {name: z.flatten(0, 1)}, inputs={"n": k * n, **repeated(data, k)})
        return summed([site.log_prob(k * n) for site in passed.values()], k * n, z).reshape(k, n)

    return log_joint
