"""A VAE, 784-400-50: a training step, an epoch, and IWAE-5000, compared with other programs.

The compared programs have the same network and optimizer, and run alternately.
"""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pyro
import torch
import xarray as xr
from pyro.infer import SVI, Trace_ELBO
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import probgen
from probgen.contract.event import Event
from probgen.contract.seeds import generators_kept, seed_torch
from probgen.inference.capture import captured, eager
from probgen.models.vae import VAE

D, H, L = 784, 400, 50
OPTIONS: dict[str, Any] = {"latent": L, "hidden": (H,), "activation": "softplus"}


def ours() -> VAE:
    """The project's own: an ordinary Pyro model and guide."""
    return VAE(VAE.Options(**OPTIONS), Event(("feature",), (D,), "binary"))


class Plain(nn.Module):
    """The same net, written out."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(D, H), nn.Softplus(), nn.Linear(H, 2 * L))
        self.decoder = nn.Sequential(nn.Linear(L, H), nn.Softplus(), nn.Linear(H, D))

    def loss(self, x: Tensor) -> Tensor:
        """The negative ELBO, in nats a row."""
        mu, log_sigma = self.encoder(x).chunk(2, 1)
        sigma = log_sigma.exp()
        y = self.decoder(mu + sigma * torch.randn_like(mu))
        kl = (0.5 * (mu.square() + sigma.square() - 1) - log_sigma).sum()
        return (F.binary_cross_entropy_with_logits(y, x, reduction="sum") + kl) / len(x)


def plain_step(net: Plain, optimizer: torch.optim.Optimizer) -> Callable[[Tensor], None]:
    """A step of the plain loop."""

    def step(x: Tensor) -> None:
        optimizer.zero_grad()
        net.loss(x).backward()
        optimizer.step()

    return step


def our_step(graph: bool, x: Tensor) -> Callable[[Tensor], None]:
    """A step as `svi` takes it, without its books."""
    pair = ours()
    optimizer = torch.optim.AdamW(pair.parameters(), fused=True)
    work = captured(pair, {"x": x}, {"x": 1 - x}) if graph else eager(pair)

    def step(x: Tensor) -> None:
        work({"x": x})
        optimizer.step()

    return step


def pyro_step() -> Callable[[Tensor], None]:
    """Pyro's own step of the same model and guide."""
    pair = ours()

    def model(x: Tensor) -> None:
        pyro.module("decoder", pair.decoder)
        pair.model(x, n=len(x))

    def guide(x: Tensor) -> None:
        pyro.module("encoder", pair.encoder)
        pair.guide(x, n=len(x))

    svi = SVI(model, guide, pyro.optim.Adam({"lr": 1e-3}), Trace_ELBO(max_plate_nesting=1))
    return lambda x: svi.step(x)


def steps(turns: int) -> None:
    """Print the ratios of a step."""
    for rows in (100, 256):
        x = (torch.rand(rows, D) < 0.13).float()
        nets = [Plain(), Plain()]
        ways = {
            "eager": our_step(False, x),
            "graph": our_step(True, x),
            "plain": plain_step(nets[0], torch.optim.AdamW(nets[0].parameters(), fused=True)),
            "plain, default Adam": plain_step(nets[1], torch.optim.Adam(nets[1].parameters())),
            "Pyro's SVI": pyro_step(),
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(turns):
            for name, step in ways.items():
                begun = time.perf_counter()
                step(x)
                times[name].append(time.perf_counter() - begun)
        found = {name: statistics.median(t[turns // 10 :]) * 1e3 for name, t in times.items()}
        print(f"vae step, {rows} rows: " + ", ".join(f"{name} {ms:.2f} ms" for name, ms in found.items()))
        for name, peer in (
            ("eager", "plain"),
            ("graph", "plain"),
            ("eager", "plain, default Adam"),
            ("eager", "Pyro's SVI"),
        ):
            ratios = sorted(a / b for a, b in zip(times[name], times[peer], strict=True))
            print(f"  {name} / {peer}: {statistics.median(ratios):.3f}", flush=True)
    pyro.clear_param_store()


def epoch(turns: int, rows: int = 50_000) -> None:
    """Print an epoch of `probgen.fit`, with all its books, beside a plain loop with a DataLoader.

    An epoch is a third of what four take longer than one: importing, checking the data and recording a graph
    come once.
    """
    bits = (np.random.default_rng(0).random((rows, D)) < 0.13).astype(np.uint8)
    data = xr.Dataset({"x": (("row", "feature"), bits, {"support": "binary"})})

    def plain(epochs: int) -> None:
        net = Plain()
        step = plain_step(net, torch.optim.Adam(net.parameters(), fused=True))
        loader = DataLoader(TensorDataset(torch.from_numpy(bits).float()), batch_size=100, shuffle=True)
        for _ in range(epochs):
            for (x,) in loader:
                step(x)

    def eager(epochs: int) -> None:
        probgen.fit("vae", data, **OPTIONS, epochs=epochs, batch_size=100)

    def graph(epochs: int) -> None:
        probgen.fit("vae", data, **OPTIONS, epochs=epochs, batch_size=100, graph=True)

    def seconds(f: Callable[[int], None], epochs: int) -> float:
        begun = time.perf_counter()
        f(epochs)
        return time.perf_counter() - begun

    ways = (plain, eager, graph)
    times = [[(seconds(f, 4) - seconds(f, 1)) / 3 for f in ways] for _ in range(turns)]
    theirs, *mine = (statistics.median(t) for t in zip(*times, strict=True))
    print(
        f"vae epoch, {rows} rows: DataLoader {theirs:.2f} s, fit {mine[0]:.2f} s, ratio {mine[0] / theirs:.2f}; "
        f"with graph {mine[1]:.2f} s, ratio {mine[1] / theirs:.2f}",
        flush=True,
    )


def scoring(rows: int = 10_000, k: int = 5000) -> None:
    """Print the time and the peak memory of IWAE-5000."""
    bits = (np.random.default_rng(0).random((rows, 28, 28)) < 0.13).astype(np.uint8)
    data = xr.Dataset({"x": (("row", "height", "width"), bits, {"support": "binary"})})
    fitted = probgen.fit("vae", data, latent=50, hidden=(200, 200), steps=1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.perf_counter()
    probgen.score(fitted, data, k=k)
    seconds = time.perf_counter() - begun
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    kib = 1 if sys.platform.startswith("linux") else 1024
    operations = 2 * rows * k * (50 * 200 + 200 * 200 + 200 * 784)
    a, b, c = torch.randn(16384, 200), torch.randn(200, 784), torch.empty(16384, 784)
    begun = time.perf_counter()
    for _ in range(10):
        torch.mm(a, b, out=c)
    floor = operations / (10 * 2 * 16384 * 200 * 784) * (time.perf_counter() - begun)
    print(
        f"iwae-{k}, {rows} rows, 784-200-200-50: {seconds:.0f} s, {seconds / floor:.1f} times its matrix products; "
        f"peak {after / kib / 1024:.0f} MiB, {(after - before) / kib / 1024:.0f} MiB above the fit"
    )


def main(turns: int = 400) -> None:
    """All of it."""
    with generators_kept(), pyro.settings.context(
        validate_distributions_pyro=False, validate_distributions_torch=False, validate_infer=False,
        validate_poutine=False,
    ):  # fmt: skip
        seed_torch(0)
        steps(turns)
        epoch(3)
        scoring()
