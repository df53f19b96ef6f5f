"""Inversion of 100 rows of 32 x 32: all together, one by one, and a plain loop; Adam compared with Gauss-Newton.

The plain loop computes as many gradients. The generator is an untrained `stylegan`, because times do not
depend on its weights. Times are processor times on one thread. Memory is the increase of a separate process
during the search.
"""

from __future__ import annotations

import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import probgen
from probgen.inference.inversion import Comparison, Domain, invert
from probgen.inference.least_squares import Search

ROWS, STEPS, TURNS = 100, 100, 3


def main() -> None:
    """Print times, ratios and memory."""
    torch.set_num_threads(1)
    fitted = probgen.fit(
        "stylegan", probgen.datasets.load("rooms", "valid").isel(row=slice(0, ROWS)), steps=1
    )
    module, domain, x = _world(fitted)
    shared: dict[str, Any] = {"comparison": Comparison(unit=60.0)}

    def together() -> None:
        invert(module.decode, x, domain, search=Search(steps=STEPS), **shared)

    def alone() -> None:  # a tenth of them, since it takes long
        for i in range(0, ROWS, 10):
            invert(module.decode, x[i : i + 1], domain, search=Search(steps=STEPS), at_once=1, **shared)

    def plain() -> None:
        u = torch.zeros(ROWS, domain.mean.numel(), requires_grad=True)
        optimizer = torch.optim.Adam([u], 0.1)
        for _ in range(STEPS):
            y = module.decode({"styles": domain.codes(u.view(ROWS, *domain.mean.shape))})
            optimizer.zero_grad()
            ((y - x) / 60).square().flatten(1).mean(1).sum().backward()
            optimizer.step()

    def newton() -> None:
        invert(module.decode, x, domain, search=Search("gauss-newton", steps=STEPS // 10), **shared)

    works = (together, plain, alone, newton)
    times: dict[str, list[float]] = {work.__name__: [] for work in works}
    for _ in range(TURNS):
        for work in works:
            times[work.__name__].append(_spent(work))
    a, b, c, d = (statistics.median(times[work.__name__]) for work in works)
    print(f"{ROWS} rows, {STEPS} steps: {a:.1f} s; plain loop {b:.1f} s, ratio {a / b:.2f}", flush=True)
    print(
        f"one by one {10 * c:.1f} s, ratio {10 * c / a:.1f}; {STEPS // 10} steps of Gauss-Newton {d:.1f} s",
        flush=True,
    )
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "generator.h5"
        fitted.save(file)
        for at_once in (None, 1, ROWS):
            with context.Pool(1) as pool:
                print(
                    f"memory, at_once = {at_once}: {pool.apply(_memory, (file, at_once)):.0f} MiB", flush=True
                )


def _world(fitted: probgen.Fitted) -> tuple[Any, Domain, Tensor]:
    data = probgen.datasets.load("rooms", "valid").isel(row=slice(0, ROWS))
    module = fitted.module.requires_grad_(False)
    domain = Domain.of("styles", torch.from_numpy(probgen.sample(fitted, 50).styles.values))
    return module, domain, torch.from_numpy(data.x.values).double()


def _memory(file: Path, at_once: int | None) -> float:
    """MiB above what the process has before it, at most; of Linux."""
    torch.set_num_threads(1)
    module, domain, x = _world(probgen.load(file))
    invert(module.decode, x[:1], domain, search=Search(steps=2), at_once=1)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = _status("VmRSS")
    invert(module.decode, x, domain, search=Search(steps=2), at_once=at_once)
    return (_status("VmHWM") - before) / 1024


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def _spent(work: Callable[[], None]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun
