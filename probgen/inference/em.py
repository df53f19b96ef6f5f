"""Expectation maximization (Dempster, Laird & Rubin 1977) over a pair with sufficient statistics."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from probgen.contract.rows import Rows
from probgen.contract.run import Run
from probgen.inference.convergence import gained
from probgen.inference.programs import Statistics


def em(
    pair: Statistics,
    data: Rows,
    run: Run,
    steps: int,
    tolerance: float,
    stage: str = "fit",
    prior: Callable[[], Tensor] | None = None,
) -> None:
    """Alternate `pair.e_step` over all rows and `pair.m_step`, until a step gains less than `tolerance` nats a row;
    with a tolerance of 0, which is that of a closed form, nothing is said of convergence.

    `e_step` returns statistics that add up over blocks of rows, among them `log_likelihood`, `rows` (the sum
    of weights), and, where the likelihood is penalized, `penalty`. What grows at every step is the log-likelihood
    less the penalty, with `prior`, what the parameters have beside it for all rows together, in nats. Exact, and the same whether the rows are in memory or in a file.
    """
    last = _Last()

    @torch.no_grad()
    def step(t: int) -> dict[str, Tensor | float]:
        statistics = statistics_of(pair, data, run)
        beside = float(prior()) if prior is not None else 0.0
        pair.m_step(statistics)
        rows = float(statistics["rows"])
        log_likelihood = float(statistics["log_likelihood"]) / rows
        objective = log_likelihood - (float(statistics.get("penalty", 0.0)) - beside) / rows
        gain = objective - last.objective
        last.objective = objective
        return {"log_likelihood": log_likelihood, "objective": objective, "done": gain < tolerance}

    def judge(metrics: Mapping[str, np.ndarray]) -> tuple[bool | None, str]:
        return gained(metrics["objective"], tolerance)

    run.train(step, steps, keep={"pair": pair, "last": last}, stage=stage, judge=judge if tolerance else None)


def statistics_of(pair: Statistics, data: Rows, run: Run) -> dict[str, Tensor]:
    """The statistics of all rows, of blocks that the processes share."""
    blocks = data.blocks(block_size(data))
    return run.sum(blocks.n, lambda i: pair.e_step(blocks[i]))


def block_size(data: Rows) -> int:
    """Rows a block: as many as have a few MB, but 16 blocks at least, as long as they have 4,096 rows."""
    most = min(max(4096, (1 << 20) // data.event.size), 1 << 16)
    return min(most, max(4096, -(-data.n // 16)))


class _Last:
    """The objective of the step before."""

    objective = -math.inf

    def state_dict(self) -> dict[str, Any]:
        return {"objective": self.objective}

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        self.objective = state_dict["objective"]
