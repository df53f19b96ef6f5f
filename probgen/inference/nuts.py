"""Chains of NUTS (Hoffman & Gelman 2014) that can be resumed after any draw, with the statistics of each draw."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from pyro.infer import NUTS
from pyro.poutine.messenger import Messenger
from torch import Tensor

from probgen.contract.run import Run

# Statistics of a draw by the names of ArviZ, with their types and meanings.
STATISTICS: dict[str, tuple[torch.dtype, str]] = {
    "lp": (torch.float64, "log of the joint density at the draw, in unconstrained parameters"),
    "energy": (torch.float64, "Hamiltonian at the start of the trajectory"),
    "diverging": (torch.bool, "whether the trajectory diverged"),
    "tree_depth": (torch.int64, "number of doublings of the trajectory, the last one included"),
    "n_steps": (torch.int64, "number of leapfrog steps"),
    "step_size": (torch.float64, "size of a leapfrog step"),
}


class Chain:
    """The draws of a chain so far, and the state from which it continues.

    Args:
        u: The start, (parameter,).
        draws: Number of draws.

    Attributes:
        u: The last draw, (parameter,).
        draws: All draws, (draw, parameter).
        statistics: A column for each of `STATISTICS`, (draw, statistic), float64.
    """

    def __init__(self, u: Tensor, draws: int):
        self.u, self.size, self.mass = u, 1.0, torch.eye(len(u), dtype=u.dtype)
        self.draws = torch.zeros(draws, len(u), dtype=u.dtype)
        self.statistics = torch.zeros(draws, len(STATISTICS), dtype=torch.float64)

    def state_dict(self) -> dict[str, Any]:
        """Return the state by name."""
        return {
            "u": self.u, "size": self.size, "mass": self.mass, "draws": self.draws, "statistics": self.statistics,
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state that `state_dict` returned."""
        here = self.u.device
        self.u, self.mass, self.draws = (state[name].to(here) for name in ("u", "mass", "draws"))
        self.size, self.statistics = state["size"], state["statistics"]


def nuts_chain(
    run: Run,
    log_joint: Callable[[Tensor], Tensor],
    start: Tensor,
    *,
    draws: int,
    warm_up: int,
    depth: int,
    number: int = 0,
) -> Chain:
    """Sample a chain by NUTS, in the stages `warm-up-NUMBER` and `chain-NUMBER`.

    The warm-up is a stage of one step, because the state of a kernel during its warm-up cannot be stored.

    Args:
        run: The call, with the training loop.
        log_joint: The log of the joint density at u (parameter,), in nats: ().
        start: The point near which the chain starts, (parameter,).
        draws: Number of draws.
        warm_up: Number of steps that adapt the step size and the mass matrix.
        depth: Largest tree depth: a draw takes less than 2^depth leapfrog steps.
        number: The number of the chain.

    Returns:
        The chain with all draws.
    """
    seen: list[float] = []

    def potential(u: dict[str, Tensor]) -> Tensor:
        value = -log_joint(u["u"])
        seen.append(float(value.detach()))
        return value

    found = Chain(start, draws)

    def adapt(t: int) -> dict[str, float]:
        kernel = NUTS(potential_fn=potential, max_tree_depth=depth)
        found.u = start + 0.05 * torch.randn_like(start)
        kernel.initial_params = {"u": found.u}
        kernel.setup(warm_up)
        for _ in range(warm_up):
            found.u = kernel.sample({"u": found.u})["u"].detach()
        found.size, found.mass = float(kernel.step_size), kernel.inverse_mass_matrix[("u",)].clone()
        kernel.cleanup()
        return {"step_size": found.size}

    run.train(adapt, 1, keep={"chain": found}, stage=f"warm-up-{number}")
    kernel = NUTS(
        potential_fn=potential,
        max_tree_depth=depth,
        step_size=found.size,
        adapt_step_size=False,
        adapt_mass_matrix=False,
    )
    kernel.initial_params = {"u": found.u}
    kernel.setup(0)
    kernel.mass_matrix_adapter.inverse_mass_matrix = {("u",): found.mass}

    diverged = 0  # draws of this process

    def draw(t: int) -> dict[str, float]:
        nonlocal diverged
        kernel.clear_cache()  # a resumed fit has no cache of the previous draw
        seen.clear()
        with _Momentum() as r:
            found.u = kernel.sample({"u": found.u})["u"].detach()
        before, diverged = diverged, len(kernel.diagnostics()["divergences"])
        at_start, steps = seen[0], len(seen) - 1  # the potential is computed at the start and after each step
        found.draws[t] = found.u
        lp = -float(potential({"u": found.u}))
        found.statistics[t] = torch.tensor(
            [
                lp,
                at_start + r.kinetic,
                diverged > before,
                math.ceil(math.log2(steps + 1)),
                steps,
                found.size,
            ],
            dtype=torch.float64,
        )
        return {"log_joint": lp}

    run.train(draw, draws, keep={"chain": found}, stage=f"chain-{number}")
    return found


class _Momentum(Messenger):
    """The kinetic energy at the start of a trajectory: Pyro samples the momentum at a site `r_t=...`."""

    kinetic = 0.0

    def _pyro_post_sample(self, msg: Any) -> None:
        if msg["name"].startswith("r_t="):
            self.kinetic += 0.5 * float(msg["value"].square().sum())
