"""The least squares of many rows at once, each by itself: min over u of |r(u)|^2.

`adam` needs gradients alone and is good for networks; `gauss_newton` needs few steps where r is smooth, and is exact where r is linear.
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

Residuals = Callable[[Tensor], Tensor]  # u (row, unknown) -> r (row, residual), of each row alone
NOISE_ENDS = 0.75  # share of the steps after which no noise is added (Karras et al. 2020, appendix D)
# of Gauss-Newton, in curvatures along the gradient: at first, after a step that helps, after one that does not
DAMPING, EASED, RAISED = 1e-3, 0.2, 5.0
ENOUGH = 1e-24  # of the squared gradient: conjugate gradients of a row end there


@dataclass(frozen=True)
class Search:
    """How unknowns are searched for.

    method         "adam" or "gauss-newton"
    steps          of the search
    learning_rate  of Adam, in units of the unknowns
    schedule       of the learning rate
    noise          deviation of what is added to the unknowns at first; it falls to 0 after three quarters of the steps
                   (Karras et al. 2020, appendix D)
    seed           of the noise, which each row has of its own
    inner          conjugate gradients in a step of Gauss-Newton
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
            raise InputError(f"method = {self.method!r}: known: adam, gauss-newton")
        if self.steps < 1 or self.inner < 1 or self.noise < 0:
            raise InputError("a search needs at least 1 step, and noise of at least 0")


def least_squares(residuals: Residuals, u: Tensor, search: Search, first: int = 0) -> tuple[Tensor, Tensor]:
    """The best u that was met, of each row, and its sum of squares: (row, unknown), (row,).

    residuals  differentiable; r of a row must not depend on other rows
    u          where the search begins
    first      number of the first row, where these are some of more

    A row that begins at its minimum stays there. Errors: `InputError` where r has no gradient with respect to u.
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
    """Adam (Kingma & Ba 2015): its steps are of each unknown alone, so rows do not see one another."""
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
    """Levenberg (1944) and Marquardt (1963): (J'J + a c) step = -J'r by conjugate gradients, with a damping a of each row.

    c = |J g|^2 / |g|^2 is the curvature along the gradient g, so that the unit of r does not matter. Products with J are by a second
    derivative of v'r, which is linear in v, so that J is never there.
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
    """(J'J + a) w, where back = J'v."""
    (forward,) = torch.autograd.grad(back, v, w, retain_graph=True)  # J w
    return torch.autograd.grad(r, u, forward, retain_graph=True)[0] + damping * w


def _conjugate_gradients(product: Callable[[Tensor], Tensor], b: Tensor, steps: int) -> Tensor:
    """x of A x = b for each row, A positive (Hestenes & Stiefel 1952)."""
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
    "there is no gradient from what is compared to the codes: the generator or the degradation cuts it"
)
