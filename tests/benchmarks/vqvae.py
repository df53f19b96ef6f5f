"""A quantization step of 65,536 vectors of 64 numbers with 512 codes, compared with its matrix product; scratch memory."""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import torch
from probgen_vqvae.codebook import Codebook, counted, nearest

N, D, K = 65_536, 64, 512


def main() -> None:
    """Print times, ratios and memory."""
    torch.manual_seed(0)
    z, e = torch.randn(N, D), torch.randn(K, D)
    book = Codebook(K, D, 0.99, False, 0.0)
    times: list[tuple[float, ...]] = []
    for _ in range(16):
        marks = [time.perf_counter()]
        torch.mm(z, e.mT)
        marks.append(time.perf_counter())
        k = nearest(z, e)
        marks.append(time.perf_counter())
        book.learn(z, k, lambda *parts: parts)
        marks.append(time.perf_counter())
        times.append(tuple(b - a for a, b in pairwise(marks)))
    product, look, learn = (statistics.median(t) for t in zip(*times[1:], strict=True))
    both = statistics.median((b + c) / a for a, b, c in times[1:])
    print(
        f"{N:,} x {D} with {K} codes, {torch.get_num_threads()} threads: product {product * 1e3:.1f} ms, nearest "
        f"{look * 1e3:.1f} ms, moving averages {learn * 1e3:.1f} ms; the step takes {both:.2f} times as long as the product"
    )
    scratch = subprocess.run(
        [sys.executable, "-c", "from tests.benchmarks.vqvae import memory; memory()"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    print(
        f"scratch memory in addition to z and the codes, with results: {scratch} MiB (the full product: {N * K / 2**18:.0f})"
    )


def memory() -> None:
    """Print by how many MiB a process grows that does one step, after a small one (Linux)."""
    z, e = torch.randn(N, D), torch.randn(K, D)
    for rows in (64, N):
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
        before = _status("VmRSS")
        counted(z[:rows], nearest(z[:rows], e), K)
        grown = _status("VmHWM") - before
    print(f"{grown / 1024:.1f}")


def _status(name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1])
