"""Expectation maximization (Dempster, Laird & Rubin 1977) for models with sufficient statistics."""

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
    """Alternate `pair.e_step` over all rows and `pair.m_step`, until a step gains less than `tolerance`.

    `e_step` returns statistics that are summed over blocks of rows. They contain `log_likelihood`, `rows` (the sum of
    the row weights) and, for a penalized likelihood, `penalty`. Every step increases the objective: the log-likelihood
    minus the penalty, plus `prior()`. The sums are exact, and equal for rows in memory and in a file.

    Args:
        pair: The model; its parameters are changed in place.
        data: The training rows.
        run: The run that performs and stores the steps.
        steps: Largest number of steps.
        tolerance: Gain below which the fit stops, in nats per row. 0 is for a closed form: convergence is not tested.
        stage: Name of the stage.
        prior: Returns the log-prior of the parameters, for all rows together, in nats; None for 0.
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
    """Return the statistics of all rows; the processes share the blocks of rows."""
    blocks = data.blocks(block_size(data))
    return run.sum(blocks.n, lambda i: pair.e_step(blocks[i]))


def block_size(data: Rows) -> int:
    """Return the rows per block: a few MB, and at least 8 blocks if each still has 4,096 rows."""
    most = min(max(4096, (1 << 20) // data.event.size), 1 << 16)
    return min(most, max(4096, -(-data.n // 8)))


class _Last:
    """The objective of the previous step."""

    objective = -math.inf

    def state_dict(self) -> dict[str, Any]:
        return {"objective": self.objective}

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        self.objective = state_dict["objective"]
