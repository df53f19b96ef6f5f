"""The importance-weighted bound on log p(x) (Burda, Grosse & Salakhutdinov 2016)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from pyro import poutine
from pyro.poutine import Trace
from torch import Tensor

if TYPE_CHECKING:
    from probgen.pair import Pair

AT_ONCE = 16384  # rows times draws that are in memory together


def iwae(pair: Pair, x: Tensor, k: int, **given: Tensor) -> tuple[Tensor, Tensor]:
    """log 1/k sum_i p(x, z_i) / q(z_i | x) with z_i ~ q, and its Monte Carlo standard error.

    x: (row, *event); both results: (row,), in nats. A lower bound on log p(x) in expectation (eq. 8 there). Rows are
    repeated, not plated: an outer plate would hand convolutions one dimension too many. The error is that of the
    delta method: the standard deviation of the normalised weights over sqrt(k).
    """
    rows = len(x)
    parts = []
    for start in range(0, k, max(1, AT_ONCE // rows)):
        draws = min(k - start, max(1, AT_ONCE // rows))
        repeated = {name: tensor.repeat_interleave(draws, 0) for name, tensor in {"x": x, **given}.items()}
        parts.append(_log_weights(pair, rows * draws, repeated).reshape(rows, draws))
    log_w = torch.cat(parts, 1)  # (row, k)
    bound = log_w.logsumexp(1) - math.log(k)
    w = (log_w - bound[:, None]).exp()
    se = w.std(1) / math.sqrt(k) if k > 1 else torch.full_like(bound, math.nan)
    return bound, se


def _log_weights(pair: Pair, n: int, data: dict[str, Tensor]) -> Tensor:
    guide = poutine.trace(pair.guide).get_trace(n=n, **data)
    model = poutine.trace(poutine.replay(pair.model, trace=guide)).get_trace(n=n, **data)
    return row_log_prob(model, n) - row_log_prob(guide, n)


def row_log_prob(trace: Trace, n: int) -> Tensor:
    """log of all sites of a trace, for each of n rows: (row,)."""
    trace.compute_log_prob()
    total = torch.zeros(())
    for site in trace.nodes.values():
        if site["type"] == "sample" and type(site["fn"]).__name__ != "_Subsample":
            total = total + site["log_prob"]
    return total.expand(n)
