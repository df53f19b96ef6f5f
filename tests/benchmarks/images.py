"""Images from images: steps compared with the same networks in a plain loop, enlargement, and memory of large images.

The enlargement is from 256 x 256 to 1,024 x 1,024 pixels; the large images have 4,000 x 3,000 pixels. The
photographs are painted, because times do not depend on their content. Times are processor times on one
thread, measured alternately. Memory is the peak of a separate process.
"""

from __future__ import annotations

import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import xarray as xr

import probgen
from probgen.codecs.images import resized, rounded
from probgen.contract.patches import Patches
from probgen.contract.rows import Rows

STEPS, TURNS = 20, 5
LEVELS = {"support": "integer", "levels": 256}


def main() -> None:
    """Print ratios, times and memory."""
    torch.set_num_threads(1)
    data = photographs(8, (256, 256))
    for family, options in {
        "srresnet, noise = laplace": {"noise": "laplace"},
        "srresnet": {},
        "subscale": {"blocks": 6},
    }.items():
        ours, plain = _of_pair(family.partition(",")[0], data, options)
        print(
            f"a step of {family}: {ours:.3f} s, the same network in a plain loop {plain:.3f} s, ratio {ours / plain:.2f}"
        )
    for family, options in {"cyclegan": {}, "pix2pix": {}}.items():
        ours, plain = _of_game(family, options)
        print(
            f"a step of {family}: {ours:.3f} s, the same networks in a plain loop {plain:.3f} s, ratio {ours / plain:.2f}"
        )
    fitted = probgen.fit("srresnet", data, noise="laplace", steps=1)
    low = data["low"].values[0]
    low = np.tile(low, (4, 4))
    seconds = statistics.median(
        _spent(lambda: probgen.sample(fitted, given={"low": low}, mean=True)) for _ in range(TURNS)
    )
    print(f"256 x 256 to 1,024 x 1,024, 162,160 weights: {seconds:.2f} s")
    for channels in (1, 3):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            print(
                f"4,000 x 3,000 pixels of {channels} channels: at most {pool.apply(_peak, (channels,)):.0f} MiB in the process"
            )


def photographs(rows: int, shape: tuple[int, ...], scale: int = 4) -> xr.Dataset:
    """Smooth images and what they are at 1/scale."""
    rng = np.random.default_rng(0)
    x = rounded(resized(rng.uniform(0, 255, (rows, *shape[:-2], 32, 32)), *shape[-2:]))
    dims = ("row", *("channel", "height", "width")[-len(shape) :])
    return probgen.datasets.scaled(xr.Dataset({"x": (dims, x, LEVELS)}), scale)


def _of_pair(family: str, data: xr.Dataset, options: dict[str, Any]) -> tuple[float, float]:
    fitted = probgen.fit(family, data, steps=1, **options)

    def plain() -> None:
        pair = fitted.definition.build(fitted.options, fitted.event)
        patches = Patches(Rows(data, fitted.event), fitted.options.patch, turned=True)
        optimizer = torch.optim.AdamW(pair.parameters(), lr=1e-3, weight_decay=0.0, fused=True)
        for t in range(STEPS):
            batch = patches.batch(t, fitted.options.batch_size)
            optimizer.zero_grad()
            pair.loss(n=len(batch["x"]), **batch)["loss"].backward()
            optimizer.step()

    return _ratio(lambda: probgen.fit(family, data, steps=STEPS, **options), plain)


def _of_game(family: str, options: dict[str, Any]) -> tuple[float, float]:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (200, 3, 32, 32), dtype=np.uint8)
    dims = ("channel", "height", "width")
    data = xr.Dataset({"x": (("row", *dims), x, LEVELS), "label": ("row", np.arange(200) % 2, {"levels": 2})})
    data["source"] = (("row", *(f"source_{dim}" for dim in dims)), x[::-1].copy(), LEVELS)
    fitted = probgen.fit(family, data, steps=1, **options)
    n, o = 16, fitted.options
    batch = torch.from_numpy(x[:n]).float() / 127.5 - 1
    other = torch.from_numpy(x[n : 2 * n]).float() / 127.5 - 1

    def cycle() -> None:
        module: Any = fitted.definition.build(o, fitted.event)
        g, d = (
            torch.optim.Adam(net.parameters(), lr=1e-3, betas=(0.5, 0.999), fused=True)
            for net in (module.T, module.D)
        )
        for _ in range(STEPS):
            module.D.requires_grad_(False)
            fakes = [module.T[0](batch), module.T[1](other)]
            loss = sum((module.D[k](fakes[k]) - 1).square().mean() for k in (0, 1))
            loss = loss + o.cycle * (module.T[1](fakes[0]) - batch).abs().mean()
            loss = loss + o.cycle * (module.T[0](fakes[1]) - other).abs().mean()
            g.zero_grad()
            loss.backward()
            g.step()
            module.D.requires_grad_(True)
            said = [
                (module.D[k](real), module.D[k](fakes[k].detach())) for k, real in enumerate((other, batch))
            ]
            d.zero_grad()
            sum((a - 1).square().mean() + b.square().mean() for a, b in said).backward()  # type: ignore[union-attr]
            d.step()

    def pairs() -> None:
        module: Any = fitted.definition.build(o, fitted.event)
        g, d = (
            torch.optim.Adam(net.parameters(), lr=1e-3, betas=(0.5, 0.999), fused=True)
            for net in (module.G, module.D)
        )
        for _ in range(STEPS):
            module.D.requires_grad_(True)
            with torch.no_grad():
                y = module.G(other)
            said = module.D(torch.cat([other, batch], 1)), module.D(torch.cat([other, y], 1))
            d.zero_grad()
            (torch.nn.functional.softplus(-said[0]) + torch.nn.functional.softplus(said[1])).mean().backward()
            d.step()
            module.D.requires_grad_(False)
            y = module.G(other)
            fake = module.D(torch.cat([other, y], 1))
            g.zero_grad()
            (torch.nn.functional.softplus(-fake).mean() + o.l1 * (y - batch).abs().mean()).backward()
            g.step()

    return _ratio(
        lambda: probgen.fit(family, data, steps=STEPS, **options), cycle if family == "cyclegan" else pairs
    )


def _ratio(ours: Callable[[], Any], plain: Callable[[], Any]) -> tuple[float, float]:
    """Seconds a step, the calls' own beginning and end included; medians of turns."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(TURNS):
        for work, spent in zip((ours, plain), times, strict=True):
            spent.append(_spent(work) / STEPS)
    a, b = (statistics.median(spent) for spent in times)
    return a, b


def _spent(work: Callable[[], Any]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def _peak(channels: int) -> float:
    torch.set_num_threads(1)
    shape = (256, 256) if channels == 1 else (channels, 256, 256)
    fitted = probgen.fit("srresnet", photographs(1, shape), noise="laplace", steps=1, batch_size=1)
    low = np.random.default_rng(0).integers(0, 256, (*shape[:-2], 750, 1000), dtype=np.uint8)
    probgen.sample(fitted, given={"low": low}, mean=True)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
