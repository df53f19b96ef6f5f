"""A training step of flows, compared with the same networks in a plain loop; both run alternately."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from probgen_flow.flow import Flow
from probgen_flow.glow import Glow
from torch import Tensor

from probgen.contract.event import Event
from probgen.inference.capture import eager

TURNS = 200
CASES: dict[str, tuple[Any, Event, dict[str, Any], int]] = {
    "flow, 3 splines of 8 columns": (Flow, Event(("feature",), (8,), "real"), {"depth": 3}, 256),
    "glow, 2 levels of 4 steps, 8 x 8 digits": (
        Glow,
        Event(("height", "width"), (8, 8), "integer", 17),
        {"steps_per_level": 4, "dequantization": "uniform"},
        50,
    ),
}


def our_step(pair: Any) -> Callable[[Tensor], None]:
    """A step as `svi` takes it, without its books."""
    optimizer = torch.optim.AdamW(pair.parameters(), fused=True)
    work = eager(pair)

    def step(x: Tensor) -> None:
        work({"x": x})
        optimizer.step()

    return step


def plain_step(net: Any, discrete: bool) -> Callable[[Tensor], None]:
    """A step of the plain loop on x in units of its deviation."""
    optimizer = torch.optim.AdamW(net.parameters(), fused=True)

    def step(x: Tensor) -> None:
        optimizer.zero_grad()
        y = (x + torch.rand_like(x) - 8.0) / 6.0 if discrete else x
        z, log_det = net(y, None)
        (0.5 * z.square().sum(1) - log_det).mean().backward()
        optimizer.step()

    return step


def main() -> None:
    """Print the ratio of a step, and its quartiles over pairs of turns."""
    for name, (family, event, options, n) in CASES.items():
        torch.manual_seed(0)
        ours, other = (family(family.Options(**options), event) for _ in range(2))
        x = torch.randint(17, (n, 8, 8)).float() if event.discrete else torch.randn(n, 8)
        steps = our_step(ours), plain_step(other.bijection, event.discrete)
        times: list[tuple[float, ...]] = []
        for turn in range(TURNS):
            pair = [0.0, 0.0]
            for i in (0, 1) if turn % 2 else (1, 0):
                begun = time.process_time()  # other programs run beside
                steps[i](x)
                pair[i] = time.process_time() - begun
            times.append(tuple(pair))
        mine, plain = (statistics.median(t) * 1e3 for t in zip(*times[10:], strict=True))
        low, middle, high = statistics.quantiles([a / b for a, b in times[10:]], n=4)
        print(
            f"{name}, {n} rows: {mine:.2f} ms, plain {plain:.2f} ms, ratio {middle:.3f} ({low:.3f} to {high:.3f})"
        )
