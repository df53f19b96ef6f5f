"""PixelCNN and PixelRNN on binarized images of 28 x 28: sampling with and without the cache, and a training step."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional as F

from probgen.contract.event import Event
from probgen.contract.seeds import seed_torch
from probgen.distributions import Bernoulli
from probgen.inference.capture import eager
from probgen.models.pixelcnn import PixelCNN, PixelCNNConditioner
from probgen.models.pixelrnn import PixelRNN
from tests.benchmarks.cached import drawing

IMAGE = (1, 28, 28)
D = 784


def training(turns: int, rows: int = 50) -> None:
    """Print the ratio of a step as `svi` takes it to one of a plain loop around the same net."""
    event = Event(("height", "width"), (28, 28), "binary")
    pairs: dict[str, Callable[[], Any]] = {
        "pixelcnn, 7 layers of 16": lambda: PixelCNN(PixelCNN.Options(channels=16), event),
        "pixelcnn, 7 layers of 32": lambda: PixelCNN(PixelCNN.Options(), event),
        "pixelrnn, 2 diagonal LSTMs of 16": lambda: PixelRNN(PixelRNN.Options(layers=2), event),
        "pixelrnn, 2 row LSTMs of 16": lambda: PixelRNN(PixelRNN.Options(layers=2, cell="row"), event),
    }
    x = (torch.rand(rows, D) < 0.13).float()
    for name, make in pairs.items():
        pair, net = make(), make().conditioner
        half = make()
        ours, theirs, in_half = (torch.optim.AdamW(p.parameters(), fused=True) for p in (pair, net, half))
        work, cast, times = eager(pair), eager(half, True), []
        for _ in range(turns + 1):
            begun = time.perf_counter()
            work({"x": x.view(-1, 28, 28)})
            ours.step()
            between = time.perf_counter()
            theirs.zero_grad()
            loss = F.binary_cross_entropy_with_logits(net(x)[:, :, 0], x, reduction="sum") / rows
            loss.backward()
            theirs.step()
            last = time.perf_counter()
            cast({"x": x.view(-1, 28, 28)})
            in_half.step()
            times.append((between - begun, last - between, time.perf_counter() - last))
        a, b, c = (statistics.median(t) for t in zip(*times[1:], strict=True))
        ratio = statistics.median(a / b for a, b, _ in times[1:])
        print(
            f"{name}: ours {a * 1e3:.0f} ms, plain loop {b * 1e3:.0f} ms, ratio {ratio:.3f}; ours in bfloat16 {c * 1e3:.0f} ms",
            flush=True,
        )


def main(turns: int = 10) -> None:
    """Both."""
    seed_torch(0)
    training(turns)
    for width in (16, 64):
        drawing(f"pixelcnn, 7 layers of {width}", PixelCNNConditioner(Bernoulli(), IMAGE, width, 7), D, 16)
