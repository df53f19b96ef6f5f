"""Sampling from an autoregressive network with and without its cache."""

from __future__ import annotations

import time

import torch
from torch import Tensor, nn

from probgen.contract.seeds import generators_kept, seed_torch
from probgen.distributions import Autoregressive, Bernoulli


class Uncached(nn.Module):
    """The whole net, as fast as it goes in one pass, but anew for every site."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """(row, site) -> (row, site, 1)."""
        return self.net(x, context)


def drawing(name: str, net: nn.Module, sites: int, rows: int) -> None:
    """Print how much quicker bits are drawn through the cache, and how many are not the same."""
    draws: list[Tensor] = []
    seconds: list[float] = []
    for conditioner in (net, Uncached(net)):
        with generators_kept():
            seed_torch(0)
            begun = time.perf_counter()
            draws.append(Autoregressive(conditioner, Bernoulli(), (sites,)).sample(torch.Size((rows,))))
            seconds.append(time.perf_counter() - begun)
    other = int((draws[0] != draws[1]).sum())
    print(
        f"{name}, {rows} samples of {sites} sites: full pass per site {seconds[1]:.1f} s, cache {seconds[0]:.2f} s, "
        f"{seconds[1] / seconds[0]:.0f} times as fast; {other} of {draws[0].numel()} bits differ",
        flush=True,
    )
