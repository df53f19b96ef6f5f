"""A GAN on the ring with networks of three layers of 128: a step compared with a plain PyTorch loop, and ten seeds at once.

The compared programs run alternately. The plain loop has the same networks, losses, optimizers and generator
average. It takes batches from a shuffled tensor, writes no journal and checks nothing.
"""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

import probgen

STEPS, ROUNDS = 400, 7


def mlp(n: int, out: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(3):
        layers += [nn.Linear(n, 128), nn.LeakyReLU(0.2)]
        n = 128
    return nn.Sequential(*layers, nn.Linear(n, out))


def plain(x: Tensor, size: int, steps: int) -> None:
    """The non-saturating game as it is usually written."""
    G, D = mlp(2, 2), mlp(2, 1)
    average = copy.deepcopy(G).requires_grad_(False)
    adam = [torch.optim.Adam(net.parameters(), lr=1e-3, betas=(0.0, 0.99), fused=True) for net in (D, G)]
    order = torch.cat([torch.randperm(len(x)) for _ in range(steps * size // len(x) + 1)])
    for t in range(steps):
        real = x[order[t * size : (t + 1) * size]]
        with torch.no_grad():
            fake = G(torch.randn(size, 2))
        d_loss = (softplus(-D(real)) + softplus(D(fake))).mean()
        adam[0].zero_grad()
        d_loss.backward()
        adam[0].step()
        D.requires_grad_(False)
        g_loss = softplus(-D(G(torch.randn(size, 2)))).mean()
        adam[1].zero_grad()
        g_loss.backward()
        adam[1].step()
        D.requires_grad_(True)
        torch._foreach_lerp_(list(average.parameters()), list(G.parameters()), 0.001)


def seconds(call: Callable[[int], Any]) -> float:
    """Of one of STEPS steps, what is paid once taken off."""
    times = []
    for steps in (20, STEPS + 20):
        begun = time.perf_counter()
        call(steps)
        times.append(time.perf_counter() - begun)
    return (times[1] - times[0]) / STEPS


def main() -> None:
    data = probgen.datasets.load("ring", "train")
    x = torch.from_numpy(data["x"].values).float()
    for size in (64, 128, 256):
        step(data, x, size)
    for size in (64, 256):
        together(data, size)


def fit(data: Any, size: int, **options: Any) -> Callable[[int], Any]:
    return lambda steps: probgen.fit("gan", data, steps=steps, batch_size=size, **options)


def step(data: Any, x: Tensor, size: int) -> None:
    """Against the plain loop."""
    pairs = [(seconds(lambda steps: plain(x, size, steps)), seconds(fit(data, size))) for _ in range(ROUNDS)]
    ratio = statistics.median(ours / peer for peer, ours in pairs)
    ours = statistics.median(pair[1] for pair in pairs)
    print(f"a step, B={size}: {ratio:.3f} times the plain loop, {1000 * ours:.2f} ms", flush=True)


def together(data: Any, size: int) -> None:
    """Ten members against ten runs."""
    pairs = [(10 * seconds(fit(data, size)), seconds(fit(data, size, members=10))) for _ in range(ROUNDS)]
    ratio = statistics.median(single / together for single, together in pairs)
    print(f"ten seeds at once, B={size}: 1/{ratio:.2f} of the time of ten separate runs", flush=True)
