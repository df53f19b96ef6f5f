"""A diffusion model of images, 28 x 28: a training step compared with the same network in a plain loop, and 64 samples in 50 steps."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import xarray as xr

import probgen

STEPS, TURNS, ROWS = 6, 7, 64
OPTIONS: dict[str, Any] = {"hidden": (32, 64, 64), "blocks": 1, "batch_size": ROWS}


def main() -> None:
    """Print times and the ratio."""
    x = np.random.default_rng(0).integers(0, 256, (ROWS * STEPS, 28, 28))
    data = xr.Dataset({"x": (("row", "height", "width"), x.astype(np.uint8), {"levels": 256})})
    fitted = probgen.fit("diffusion", data, steps=1, **OPTIONS)

    def ours() -> None:
        probgen.fit("diffusion", data, steps=STEPS, **OPTIONS)

    plain = loop(copy.deepcopy(fitted.module), torch.as_tensor(x))
    times: list[tuple[float, float]] = [(_seconds(ours), _seconds(plain)) for _ in range(TURNS)]
    ratio = statistics.median(a / b for a, b in times[1:])
    a, b = (statistics.median(each) / STEPS for each in zip(*times[1:], strict=True))
    print(f"a step of diffusion, {ROWS} rows: {a:.3f} s, a plain loop {b:.3f} s, ratio {ratio:.3f}")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    seconds = _seconds(lambda: probgen.sample(fitted, 64, steps=50))
    torch.set_num_threads(threads)
    print(f"64 samples of 28 x 28 in 50 steps, one thread: {seconds:.1f} s of processor time")


def loop(module: Any, x: torch.Tensor) -> Callable[[], None]:
    """Return a plain loop over the network of a module, with the loss of VDM (section 5), AdamW and an average of the weights."""
    net, average = module.net.requires_grad_().train(), [p.detach().clone() for p in module.net.parameters()]
    optimizer = torch.optim.AdamW(net.parameters(), fused=True)
    g0, g1 = module.gamma_0, module.gamma_1
    phases = torch.tensor([np.pi, 2 * np.pi])[:, None, None, None] / (2 / 255)

    def run() -> None:
        for batch in x.split(ROWS):
            y = batch * (2 / 255) - 1
            share = (torch.rand(()) + torch.arange(ROWS) / ROWS) % 1
            gamma = (g0 + (g1 - g0) * share)[:, None, None]
            alpha, sigma, eps = torch.sigmoid(-gamma).sqrt(), torch.sigmoid(gamma).sqrt(), torch.randn_like(y)
            z = alpha * y + sigma * eps
            first, second = phases * (z + 1)
            seen = torch.stack([z, first.sin(), first.cos(), second.sin(), second.cos()], 1)
            v = net(seen, share, None, torch.ones(ROWS))[:, 0]
            loss = 0.5 * (g1 - g0) * (eps - sigma * z - alpha * v).square().sum((1, 2)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                for mean, weight in zip(average, net.parameters(), strict=True):
                    mean.lerp_(weight, 0.001)

    return run


def _seconds(run: Callable[[], object]) -> float:
    """Return the processor time of a call: other work on the machine does not count."""
    start = time.process_time()
    run()
    return time.process_time() - start
