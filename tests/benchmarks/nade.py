"""NADE with 784 sites and 500 hidden units: a training step, sampling and scoring, each compared with a naive program.

The compared programs run alternately. Bits are 1 with probability 0.13, the share of ones in binarized MNIST,
unless the line states another share.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from probgen.contract.seeds import seed_torch
from probgen.distributions import Autoregressive, Bernoulli
from probgen.models.nade import NADEConditioner
from tests.benchmarks.cached import drawing

D, H, B = 784, 500, 100


class Loop(nn.Module):
    """The straightforward way: a loop over sites, under autograd, without a cache."""

    def __init__(self, net: NADEConditioner):
        super().__init__()
        self.net = net

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """(row, site) -> (row, site, 1)."""
        net = self.net
        a, ys = net.c.expand(len(x), -1), []
        for i in range(net.sites):
            ys.append(a.sigmoid() @ net.V[i].mT)
            a = a + x[:, i, None] * net.W[i]
        return torch.stack(ys, 1) + net.b


def bits(rows: int, share: float = 0.13) -> Tensor:
    """(row, site) of independent bits."""
    return (torch.rand(rows, D) < share).float()


def step(net: nn.Module, x: Tensor) -> float:
    """Seconds of a loss with its gradients."""
    net.zero_grad()
    begun = time.perf_counter()
    (-Autoregressive(net, Bernoulli(), (D,)).log_prob(x).mean()).backward()
    return time.perf_counter() - begun


def kept(net: nn.Module, x: Tensor) -> int:
    """Bytes that wait for the way back."""
    sizes: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss = -Autoregressive(net, Bernoulli(), (D,)).log_prob(x).mean()
    assert loss.requires_grad
    return sum(sizes.values())


def training(turns: int) -> None:
    """Print the ratio of a step, its floor, and the memory."""
    for share in (0.13, 0.5):
        net = NADEConditioner(Bernoulli(), D, H)
        loop, times = Loop(net), []
        for turn in range(turns + 1):
            x = bits(B, share)
            pair = step(loop, x), step(net, x)
            times += [pair] if turn else []
        theirs, ours = (statistics.median(t) for t in zip(*times, strict=True))
        ratio = statistics.median(a / b for a, b in times)
        print(
            f"nade step, {share:.0%} ones: loop {theirs * 1e3:.0f} ms, ours {ours * 1e3:.0f} ms, {ratio:.1f} times",
            flush=True,
        )
    x = bits(B)
    print(
        f"  kept for the backward pass: loop {kept(loop, x) / 1e6:.0f} MB, ours {kept(net, x) / 1e6:.1f} MB"
    )
    step(net, x)
    found = [p.grad.clone() for p in (net.W, net.V, net.c) if p.grad is not None]
    exact = NADEConditioner(Bernoulli(), D, H).double()
    exact.load_state_dict(net.state_dict())
    step(Loop(exact), x.double())
    wanted = [p.grad for p in (exact.W, exact.V, exact.c) if p.grad is not None]
    worst = max(float((f - w).abs().max() / w.abs().max()) for f, w in zip(found, wanted, strict=True))
    print(f"  gradients differ from the loop's in float64 by {worst:.1e} of the largest entry")


def scoring(turns: int, rows: int = 10_000) -> None:
    """Print the time of log_prob beside a matrix product of as many operations: 4 rows D H."""
    net, x = NADEConditioner(Bernoulli(), D, H), bits(rows)
    a, b = torch.randn(rows, D), torch.randn(D, 2 * H)
    p = Autoregressive(net, Bernoulli(), (D,))

    def seconds(f: Callable[[], Tensor]) -> float:
        begun = time.perf_counter()
        with torch.no_grad():
            f()
        return time.perf_counter() - begun

    times = [(seconds(lambda: p.log_prob(x)), seconds(lambda: a @ b)) for _ in range(turns + 1)][1:]
    ours, product = (statistics.median(t) for t in zip(*times, strict=True))
    print(
        f"nade scores, {rows} rows: {ours:.2f} s, a product of as many operations {product:.3f} s, {ours / product:.1f} times"
    )


def main(turns: int = 5) -> None:
    """All three."""
    seed_torch(0)
    training(turns)
    scoring(turns)
    drawing("nade", NADEConditioner(Bernoulli(), D, H), D, 1000)
