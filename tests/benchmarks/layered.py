"""Painted rows per processor second, and a step of `stylegan` compared with a plain loop and with instance normalization.

The plain loop has the same networks. Times are processor times on one thread, measured alternately in one
run.
"""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable

import torch
from probgen_gan import play
from probgen_gan.adversarial import Stage
from probgen_gan.equalized import EqualizedLinear, doubling, leaky
from probgen_gan.fitting import Duel, Part
from probgen_gan.members import Members
from probgen_gan.snapshots import Snapshots
from probgen_gan.stylegan import Options, StyledConv, StyleGAN
from torch import Tensor
from torch.nn.functional import conv2d, conv_transpose2d, instance_norm, softplus

import probgen
from probgen import Run
from probgen.data.intake import prepare
from probgen.datasets import faces, rooms
from probgen.plugins.family import family

STEPS, TURNS = 8, 7


class AdaIN(StyledConv):
    """The layer of 2019: instance normalization, then a scale and a bias of the style."""

    def __init__(self, like: StyledConv):
        super().__init__(
            like.conv.weight.shape[1], like.conv.weight.shape[0], like.style.weight.shape[1], like.up
        )
        self.style = EqualizedLinear(like.style.weight.shape[1], 2 * like.conv.weight.shape[0], gain=1.0)

    def forward(self, x: Tensor, w: Tensor, noise: bool) -> Tensor:
        W = self.conv.W
        x = conv_transpose2d(x, doubling(W), stride=2, padding=1) if self.up else conv2d(x, W, padding=1)
        x = x + self.conv.bias[:, None, None]
        if noise:
            x = x + self.noise[:, None, None] * torch.randn_like(x[:, :1])
        scale, bias = self.style(w)[:, :, None, None].chunk(2, 1)
        return instance_norm(leaky(x)) * (1 + scale) + bias


def main() -> None:
    """Print rates and ratios."""
    torch.set_num_threads(1)
    for name, scene in (("rooms", rooms.scene), ("faces", faces.scene)):
        f = scene.factors(range(2000))
        for side in (32, 64):
            spent = _spent(lambda side=side, f=f, scene=scene: scene.images(f, side))  # type: ignore[misc]
            print(f"{name}, {side} x {side}: {2000 / spent:,.0f} rows per processor second", flush=True)
    data = probgen.datasets.load("rooms", "valid")
    taken = prepare(data, family("stylegan"), options=Options())
    plain, normalized = StyleGAN(Options(), taken.event), StyleGAN(Options(), taken.event)
    for block in normalized.G.blocks:
        for i, layer in enumerate(block.children()):
            assert isinstance(layer, StyledConv)
            block[i] = AdaIN(layer)  # type: ignore[index]
    normalized.average = copy.deepcopy(normalized.G)
    run, module = Run(), StyleGAN(Options(), taken.event).train()
    members = Members(module, taken.rows, run)
    duel = Duel(module, members, 16, Snapshots(module, 10**9, *members.conditions(16)))
    count = 0

    def ours() -> None:
        nonlocal count
        count += 1
        duel.begin(Part(Stage(f"s{count}"), 0, 10**9), None)
        play(run, duel.players(), STEPS, stage=f"s{count}", after=duel.after)

    x = module.standardized(torch.from_numpy(data["x"].values))
    ways = {
        "ours": ours,
        "plain loop": loop(plain.train(), x),
        "instance normalization": loop(normalized.train(), x),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(TURNS):
        for name, way in ways.items():
            times[name].append(_spent(way) / STEPS)
    for name in ways:
        ratio = statistics.median(a / b for a, b in zip(times["ours"][1:], times[name][1:], strict=True))
        print(
            f"{name}: {statistics.median(times[name][1:]) * 1e3:.1f} ms per step; ours takes {ratio:.2f} of it",
            flush=True,
        )


def loop(gan: StyleGAN, x: Tensor) -> Callable[[], None]:
    """Steps of the same game, written out."""
    d, g = (
        torch.optim.Adam(net.parameters(), lr=3e-3, betas=(0.0, 0.99), fused=True) for net in (gan.D, gan.G)
    )
    held, followed = list(gan.average.parameters()), list(gan.G.parameters())

    def steps() -> None:
        for t in range(STEPS):
            rows = x[torch.randint(len(x), (16,))]
            with torch.no_grad():
                fake = gan.G(torch.randn(16, 64)).tanh()
            loss = softplus(-gan.D(rows)).mean() + softplus(gan.D(fake)).mean()
            if t % 8 == 0:
                at = rows.clone().requires_grad_()
                (slope,) = torch.autograd.grad(gan.D(at).sum(), at, create_graph=True)
                loss = loss + 0.5 * 8 * 0.1 * slope.square().sum((1, 2, 3)).mean()
            d.zero_grad()
            loss.backward()
            d.step()
            gan.D.requires_grad_(False)
            loss = softplus(-gan.D(gan.G(torch.randn(16, 64)).tanh())).mean()
            g.zero_grad()
            loss.backward()
            g.step()
            gan.D.requires_grad_(True)
            with torch.no_grad():
                torch._foreach_lerp_(held, followed, 0.002)

    return steps


def _spent(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun
