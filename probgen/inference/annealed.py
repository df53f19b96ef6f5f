"""Annealed importance sampling of latents with Hamiltonian Monte Carlo, forward and in reverse.

    f_b(z) = s(z)^(1 - b) p(x, z)^b,    b from 0 to 1

A chain starts at a normalized s, the prior or the guide. Its weight is the product of the ratios of each f_b to the one
before (Neal 2001). The mean weight of many chains is p(x) in expectation. The logarithm of the mean weight is therefore a
lower bound on log p(x) in expectation. A reverse chain, which starts at an exact sample of the posterior, gives an upper
bound. Exact posterior samples exist if x was simulated together with z: log p(x) then lies between the two bounds (Grosse,
Ghahramani & Adams 2015; Wu et al. 2017). The gap between the bounds indicates the accuracy of the lower bound on real data.
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

AT_ONCE = 16384  # chains in memory at a time, over all rows
ACCEPTANCE = 0.65  # target of the step sizes (Neal 2011)
PILOTS = 2


@dataclass(frozen=True)
class Annealed:
    """The results of annealed chains.

    Attributes:
        log_w: Log-weights of the chains, (chain, row), in nats.
        z: Last values of the chains, (chain, row, latent).
        acceptance: Mean acceptance probability of the moves, (row,).
        log_sizes: Logarithms of the leapfrog step sizes, (step, row).
    """

    log_w: Tensor
    z: Tensor
    acceptance: Tensor
    log_sizes: Tensor

    @property
    def bound(self) -> Tensor:
        """Logarithm of the mean weight, (row,), in nats; a lower bound in expectation for forward chains."""
        return renyi(self.log_w, 0)

    @property
    def upper_bound(self) -> Tensor:
        """-log of the mean of 1 / w, (row,), in nats; an upper bound in expectation for reverse chains."""
        return -renyi(-self.log_w, 0)

    @property
    def standard_error(self) -> Tensor:
        """Jackknife standard error of `bound`, (row,), in nats."""
        return iwae_with_error(self.log_w)[1]


def anneal(
    start: Any,
    log_target: Callable[[Tensor], Tensor],
    *,
    chains: int,
    steps: int,
    leapfrog: int = 10,
) -> Annealed:
    """Run chains from `start` to the target.

    The leapfrog step size adapts to each row, by the acceptance of two pilot chains that are not part of the result. A
    step size that depends on the past of its own chain would bias the weight of that chain.

    Args:
        start: A distribution of batch shape (row,) and event shape (latent,), over the reals.
        log_target: A function from z, (chain, row, latent), to log p(x, z), (chain, row), in nats.
        chains: Number of chains per row.
        steps: Number of f_b after the first, spaced as a sigmoid (Wu et al. 2017, appendix).
        leapfrog: Number of leapfrog steps per Hamiltonian move.

    Returns:
        Weights, last values, acceptance and step sizes of the chains.
    """
    with torch.no_grad():
        z = start.sample((chains + PILOTS,))
        scale = _spread(start)
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


def _spread(start: Any) -> Tensor:
    """Return the standard deviations of a distribution, from samples where there is no formula: (row, latent)."""
    try:
        return start.stddev
    except NotImplementedError:
        return start.sample((64,)).std(0)


def reverse(
    start: Any, log_target: Callable[[Tensor], Tensor], forwards: Annealed, end: Tensor, *, leapfrog: int = 10
) -> Annealed:
    """Run reverse chains, from exact samples of the target to `start`.

    The chains use the step sizes of the forward chains. Adapted step sizes would depend on the starting points and would
    bias the weights.

    Args:
        start: The distribution in which the forward chains started.
        log_target: A function from z, (chain, row, latent), to log p(x, z), (chain, row), in nats.
        forwards: Result of the forward chains; there are as many reverse chains.
        end: Exact samples of the target, (row, latent).
        leapfrog: Number of leapfrog steps per Hamiltonian move.

    Returns:
        Weights, last values and acceptance of the reverse chains, with the forward step sizes.
    """
    chains, steps = len(forwards.log_w), len(forwards.log_sizes)
    at = _evaluate(start, log_target, end.expand(chains, *end.shape))
    log_w, accepted = torch.zeros_like(at.target), torch.zeros_like(at.target)
    b = _schedule(steps)
    for t in range(steps - 1, -1, -1):
        log_w = log_w + (b[t + 1] - b[t]) * (at.target - at.start)
        if t:  # a last move, which leaves `start` invariant, would change no weight
            size = start.stddev * forwards.log_sizes[t - 1].exp()[:, None]
            at, p = _move(start, log_target, at, b[t], size, leapfrog)
            accepted += p
    return Annealed(log_w, at.z, accepted.mean(0) / max(1, steps - 1), forwards.log_sizes)


def _schedule(steps: int) -> list[float]:
    """Return b from 0 to 1, with small steps at both ends."""
    b = (8 * torch.linspace(0, 1, steps + 1, dtype=torch.float64) - 4).sigmoid()
    return ((b - b[0]) / (b[-1] - b[0])).tolist()


@dataclass(frozen=True)
class _Point:
    """Values z, both log-densities at z, and their gradients."""

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
        """Return this point if `stay`, otherwise the other point, for each chain."""
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
    """Return the point after a Hamiltonian move that leaves f_b invariant, and the acceptance probability."""
    proposal, log_ratio = _leap(start, log_target, at, b, size, leapfrog)
    p = log_ratio.exp().clamp(max=1).nan_to_num(0.0)
    return at.where(torch.rand_like(p) >= p, proposal), p


def _leap(
    start: Any, log_target: Callable[[Tensor], Tensor], at: _Point, b: float, size: Tensor, steps: int
) -> tuple[_Point, Tensor]:
    """Return the end of a Hamiltonian path that leaves f_b invariant, and the log of the acceptance ratio."""
    size = size.to(at.z.dtype)  # densities, and thus step sizes, may be float64 for another dtype of z
    momentum = torch.randn_like(at.z)
    begun = at.log_f(b) - momentum.square().sum(-1) / 2
    for _ in range(steps):
        momentum = momentum + 0.5 * size * at.d_log_f(b)
        at = _evaluate(start, log_target, at.z + size * momentum)
        momentum = momentum + 0.5 * size * at.d_log_f(b)
    return at, at.log_f(b) - momentum.square().sum(-1) / 2 - begun


# annealing for a program


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
    """Run annealed chains for each row of x.

    Args:
        pair: A program with one latent, a vector of real numbers.
        x: Rows, (row, *event).
        steps: Number of f_b after the first.
        chains: Number of chains per row.
        leapfrog: Number of leapfrog steps per Hamiltonian move.
        start: Distribution in which the chains start. A guide without the latent is replaced by the prior.
        at_once: Number of chains in memory at a time, over all rows; None for 16,384.
        **given: Conditions and other inputs of the model and the guide, (row, ...) each.

    Returns:
        Weights, last values, acceptance and step sizes of the chains.

    Raises:
        NotOffered: When the program has several latents, or the latent is not a vector of real numbers.
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
    """Return a lower and an upper bound in expectation on log p(x), for rows that the model simulates.

    Args:
        pair: A program with one latent, a vector of real numbers.
        n: Number of rows to simulate.
        steps: Number of f_b after the first.
        chains: Number of chains per row, forward and in reverse.
        leapfrog: Number of leapfrog steps per Hamiltonian move.
        start: Distribution in which the forward chains start.
        **given: Conditions and other inputs of the model and the guide, (row, ...) each.

    Returns:
        The lower and the upper bounds, both (row,), in nats.

    Raises:
        NotOffered: When the program has several latents, or the latent is not a vector of real numbers.
    """
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
        raise NotOffered(
            f"{type(pair).__name__} has latents {sorted(pair.latents)}: AIS needs exactly one latent. "
            "Use importance weights (iwae) instead."
        )
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
        raise NotOffered(
            f"{type(pair).__name__}: the latent {name!r} is not a vector of real numbers, which AIS needs. "
            "Use importance weights (iwae) instead."
        )
    return fn


def _joint(pair: Program, data: dict[str, Tensor]) -> Callable[[Tensor], Tensor]:
    """Return the function from z, (chain, row, latent), to log p(x, z), (chain, row), in nats."""
    name = _latent(pair)

    def log_joint(z: Tensor) -> Tensor:
        k, n = z.shape[:2]
        passed = sites(pair.model, {name: z.flatten(0, 1)}, inputs={"n": k * n, **repeated(data, k)})
        return summed([site.log_prob(k * n) for site in passed.values()], k * n, z).reshape(k, n)

    return log_joint
