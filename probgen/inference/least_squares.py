"""Least squares for many independent rows at a time: min over u of |r(u)|^2.

The method "adam" needs only gradients and suits networks. The method "gauss-newton" needs few steps if r is smooth, and is
exact if r is linear.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from probgen.contract.seeds import key
from probgen.errors import InputError
from probgen.inference.training import Schedule, rate

Residuals = Callable[[Tensor], Tensor]  # u (row, unknown) -> r (row, residual), each row on its own
NOISE_ENDS = 0.75  # no noise is added after this share of the steps (Karras et al. 2020, appendix D)
# damping of Gauss-Newton at the start, in units of the curvature along the gradient; factors after a better and a worse step
DAMPING, EASED, RAISED = 1e-3, 0.2, 5.0
ENOUGH = 1e-24  # conjugate gradients of a row stop at this share of the squared gradient


@dataclass(frozen=True)
class Search:
    """The settings of a least-squares search.

    Args:
        method: "adam" or "gauss-newton".
        steps: Number of steps.
        learning_rate: Adam's learning rate, in units of the unknowns.
        schedule: Schedule of the learning rate (Adam only).
        noise: Standard deviation of the noise on the unknowns at the start (Adam only). It falls to 0 after three quarters
            of the steps (Karras et al. 2020, appendix D).
        seed: Seed of the noise; each row has its own random stream.
        inner: Conjugate-gradient iterations per Gauss-Newton step.

    Raises:
        InputError: When the method is unknown, or `steps`, `inner` or `noise` is too small.
    """

    method: Literal["adam", "gauss-newton"] = "adam"
    steps: int = 100
    learning_rate: float = 0.1
    schedule: Schedule = "constant"
    noise: float = 0.0
    seed: int = 0
    inner: int = 20

    def __post_init__(self) -> None:
        if self.method not in ("adam", "gauss-newton"):
            raise InputError(f"method = {self.method!r}: unknown method. Use 'adam' or 'gauss-newton'.")
        if self.steps < 1 or self.inner < 1 or self.noise < 0:
            raise InputError(
                f"steps = {self.steps}, inner = {self.inner}, noise = {self.noise}: a value is too small. "
                "Use steps and inner of at least 1, and noise of at least 0."
            )


def least_squares(residuals: Residuals, u: Tensor, search: Search, first: int = 0) -> tuple[Tensor, Tensor]:
    """Return the best unknowns of the search for each row, and their sum of squares.

    A row that starts at its minimum stays there.

    Args:
        residuals: A differentiable function from u, (row, unknown), to residuals, (row, residual). The residuals of a row
            must not depend on other rows.
        u: Unknowns at the start, (row, unknown).
        search: Settings of the search.
        first: Number of the first row, if these rows are a part of a larger set; it selects the noise.

    Returns:
        The best unknowns, (row, unknown), and their sums of squares, (row,).

    Raises:
        InputError: When the residuals have no gradient with respect to u.
    """
    with torch.enable_grad():
        if search.method == "adam":
            return _adam(residuals, u, search, first)
        return _gauss_newton(residuals, u, search)


class _Best:
    """The best u of each row so far."""

    def __init__(self, u: Tensor):
        self.u = u.detach().clone()
        self.loss = torch.full((len(u),), torch.inf, dtype=torch.float64, device=u.device)

    def see(self, u: Tensor, loss: Tensor) -> None:
        better = loss.detach() < self.loss
        self.u[better], self.loss[better] = u.detach()[better], loss.detach().double()[better]


def _adam(residuals: Residuals, u: Tensor, search: Search, first: int) -> tuple[Tensor, Tensor]:
    """Search with Adam (Kingma & Ba 2015); its steps are per unknown, so that rows are independent."""
    u = u.detach().clone().requires_grad_(True)
    optimizer, best = torch.optim.Adam([u], search.learning_rate), _Best(u)
    noises: list[torch.Generator] = []
    if search.noise:
        noises = [torch.Generator().manual_seed(key(search.seed, "noise", first + i)) for i in range(len(u))]
        with torch.no_grad():
            best.see(u, residuals(u).square().sum(1))
    for t in range(search.steps):
        gone = t / search.steps
        optimizer.param_groups[0]["lr"] = search.learning_rate * rate(search.schedule, gone)
        noise = search.noise * max(0.0, 1 - gone / NOISE_ENDS) ** 2
        at = u
        if noise:
            drawn = [torch.randn(u.shape[1], generator=generator) for generator in noises]
            at = u + noise * torch.stack(drawn).to(u)
        loss = residuals(at).square().sum(1)
        if not noise:
            best.see(u, loss)
        (u.grad,) = _gradient(loss.sum(), u)
        optimizer.step()
    with torch.no_grad():
        best.see(u, residuals(u).square().sum(1))
    return best.u, best.loss


def _gauss_newton(residuals: Residuals, u: Tensor, search: Search) -> tuple[Tensor, Tensor]:
    """Search with the method of Levenberg (1944) and Marquardt (1963).

    Conjugate gradients solve (J'J + a c) step = -J'r, with a damping a per row. c = |J g|^2 / |g|^2 is the curvature
    along the gradient g, so that the unit of r does not matter. Products with J are second derivatives of v'r, which is
    linear in v. J itself is never stored.
    """
    u, best = u.detach().clone(), _Best(u)
    damping = u.new_full((len(u), 1), DAMPING)
    for _ in range(search.steps):
        u = u.requires_grad_(True)
        r = residuals(u)
        loss = r.square().sum(1)
        best.see(u, loss)
        v = torch.zeros_like(r, requires_grad=True)
        (back,) = _gradient(r, u, v)  # J'v
        gradient = torch.autograd.grad(r, u, r.detach(), retain_graph=True)[0]
        (along,) = torch.autograd.grad(back, v, gradient, retain_graph=True)  # J g
        curvature = _ratio(along.square().sum(1, keepdim=True), gradient.square().sum(1, keepdim=True))
        product = partial(_damped, u, r, v, back, damping * curvature)
        step = _conjugate_gradients(product, -gradient, search.inner)
        u = u.detach()
        with torch.no_grad():
            trial = u + step
            helps = residuals(trial).square().sum(1) < loss.detach()
        u = torch.where(helps[:, None], trial, u)
        damping = damping * torch.where(helps[:, None], EASED, RAISED)
    with torch.no_grad():
        best.see(u, residuals(u).square().sum(1))
    return best.u, best.loss


def _damped(u: Tensor, r: Tensor, v: Tensor, back: Tensor, damping: Tensor, w: Tensor) -> Tensor:
    """Return (J'J + a) w, with back = J'v."""
    (forward,) = torch.autograd.grad(back, v, w, retain_graph=True)  # J w
    return torch.autograd.grad(r, u, forward, retain_graph=True)[0] + damping * w


def _conjugate_gradients(product: Callable[[Tensor], Tensor], b: Tensor, steps: int) -> Tensor:
    """Solve A x = b for each row, with a positive definite A (Hestenes & Stiefel 1952)."""
    x, r = torch.zeros_like(b), b.clone()
    p, size = r, r.square().sum(1, keepdim=True)
    least = ENOUGH * size
    for _ in range(steps):
        going = size > least
        if not going.any():
            break
        Ap = product(p)
        a = torch.where(going, _ratio(size, (p * Ap).sum(1, keepdim=True)), 0.0)
        x, r = x + a * p, r - a * Ap
        after = r.square().sum(1, keepdim=True)
        p, size = r + _ratio(after, size) * p, torch.where(going, after, 0.0)
    return x


def _ratio(a: Tensor, b: Tensor) -> Tensor:
    return torch.where(b > 0, a / b.where(b > 0, 1.0), 0.0)


def _gradient(of: Tensor, u: Tensor, v: Tensor | None = None) -> tuple[Tensor]:
    if not of.requires_grad:
        raise InputError(NO_GRADIENT)
    found = torch.autograd.grad(of, u, v, create_graph=v is not None, allow_unused=True)[0]
    if found is None:
        raise InputError(NO_GRADIENT)
    return (found,)


NO_GRADIENT = (
    "the residuals have no gradient with respect to the codes, because the generator or the degradation detaches it. "
    "Make both differentiable."
)
