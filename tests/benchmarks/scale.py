"""One fit on 1, 2, 3 and 4 processes: bit-identity, processor and clock time per step, and the cost of EM's tree of sums.

Times are milliseconds of process 0, from the difference of two fits of different length. A speedup of
processor time is an upper bound of the speedup of clock time, which only free cores reach. With the argument `two` the benchmark measures one
process and two in turn, and prints medians of three.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
import torch

from probgen.contract.rows import Rows
from probgen.contract.world import World
from probgen.data.describe import event_of
from probgen.data.ingest import as_dataset
from probgen.inference.em import block_size
from probgen.models.mixture import Mixture, MixtureOptions
from tests.benchmarks.em import problem
from tests.launch import ended, started

TURNS, PROCESSES = 5, (1, 2, 3, 4)
LONG = ("EM", "VAE", "PixelCNN", "DCGAN", "VQ-VAE", "transformer")  # fits whose parts take 20 ms and more
SCRIPT = """
import json, sys, time, numpy as np, probgen, torch
from probgen.contract.state import digest_of

torch.set_num_threads(1)
family, data, short, long, options = json.loads(sys.argv[1])
x = data if data.endswith(".h5") else np.load(data)
valid = None if data.endswith(".h5") else x[:100]
spent = []
for steps in (short, short, long):  # the first one warms up
    cpu, wall = time.process_time(), time.perf_counter()
    fitted = probgen.fit(family, x, valid=valid, **{name: steps if value == "STEPS" else value for name, value in options.items()})
    spent.append((time.process_time() - cpu, time.perf_counter() - wall, fitted.history.sizes["step"]))
_, (a, b, n), (c, d, m) = spent
history = {k: v.values for k, v in fitted.history.data_vars.items()}
print(json.dumps([digest_of(fitted.state)[:12] + digest_of(history)[:12], 1e3 * (c - a) / (m - n), 1e3 * (d - b) / (m - n)]))
"""
FITS = {
    "EM, 200,000 x 16, K = 32, from HDF5": ("mixture", "em.h5", 3, 13, {"components": 32, "steps": "STEPS", "tolerance": 0.0}),
    "EM, the same from memory": ("mixture", "em.npy", 3, 13, {"components": 32, "steps": "STEPS", "tolerance": 0.0}),
    "VAE 784-400-20, batch 2,048, patience": ("vae", "wide.npy", 4, 14, {"latent": 20, "hidden": [400], "batch_size": 2048, "epochs": "STEPS", "patience": 50, "parts": 4}),
    "PixelCNN 16 x 16, dropout": ("pixelcnn", "images.npy", 1, 3, {"batch_size": 64, "layers": 4, "channels": 32, "dropout": 0.2, "epochs": "STEPS", "parts": 4}),
    "DCGAN 16 x 16, batch normalization": ("dcgan", "images.npy", 3, 11, {"batch_size": 256, "steps": "STEPS", "channels": [64, 128], "parts": 4}),
    "GAN of 2 members": ("gan", "em.npy", 20, 60, {"batch_size": 128, "steps": "STEPS", "hidden": [128], "members": 2, "parts": 4}),
    "VQ-VAE, its codes": ("vqvae", "images.npy", 2, 10, {"batch_size": 256, "epochs": "STEPS", "codes": 32, "hidden": 32, "latent": 16, "halvings": 1, "prior": None, "parts": 4}),
    "transformer": ("transformer", "texts.h5", 5, 15, {"batch_size": 64, "window": 64, "steps": "STEPS", "parts": 4}),
    "LSTM with its memory": ("char-rnn", "texts.h5", 5, 15, {"batch_size": 32, "window": 32, "hidden": 128, "steps": "STEPS", "parts": 4}),
}  # fmt: skip


def written(folder: Path) -> None:
    """The data of all fits."""
    rng = np.random.default_rng(0)
    x = problem()[0]
    np.save(folder / "em.npy", x)
    with h5py.File(folder / "em.h5", "w") as file:
        file["x"] = x
    np.save(folder / "wide.npy", (rng.random((4096, 784)) < 0.3).astype(np.float32))
    np.save(folder / "images.npy", (rng.random((1024, 16, 16)) < 0.3).astype(np.uint8))
    texts = as_dataset(rng.integers(0, 30, (64, 512)))
    texts = texts.rename(feature="time")
    texts["x"].attrs = {"support": "token", "levels": 30}
    texts.to_netcdf(folder / "texts.h5", engine="h5netcdf")


def on_processes(folder: Path) -> None:
    """A line a fit and number of processes."""
    script = folder / "script.py"
    script.write_text(SCRIPT)
    print(
        "| fit | processes | bits | processor, ms per step | clock, ms per step | speedup (processor, clock) |"
    )
    for name, (family, data, *rest) in FITS.items():
        first: tuple[float, float] | None = None
        bits = set()
        for n in PROCESSES:
            done = ended(started(script, n, json.dumps([family, str(folder / data), *rest])), seconds=900)
            if any(code for code, *_ in done):
                print(f"| {name} | {n} | failed: {done[0][2].strip().splitlines()[-1:]} |", flush=True)
                continue
            found = [json.loads(out) for _, out, _ in done]
            bits |= {each[0] for each in found}
            cpu, wall = found[0][1:]
            first = first or (cpu, wall)
            said = "the same" if len(bits) == 1 else "OTHERS"
            print(
                f"| {name} | {n} | {said} | {cpu:.1f} | {wall:.1f} | {first[0] / cpu:.2f}, {first[1] / wall:.2f} |",
                flush=True,
            )


def two(folder: Path) -> None:
    """Two processes against one, turn about, of fits whose parts take 20 ms and more."""
    script = folder / "script.py"
    script.write_text(SCRIPT)
    print("| fit | clock of one, ms a step | of two | times as fast (clock, processor) |")
    for name, (family, data, *rest) in FITS.items():
        if not name.startswith(LONG):
            continue
        spent: dict[int, list[tuple[float, float]]] = {1: [], 2: []}
        for _ in range(3):
            for n, each in spent.items():
                done = ended(started(script, n, json.dumps([family, str(folder / data), *rest])), seconds=900)
                each.append(json.loads(done[0][1])[1:])
        (cpu, wall), (cpu2, wall2) = (np.median(each, axis=0) for each in spent.values())
        print(f"| {name} | {wall:.1f} | {wall2:.1f} | {wall / wall2:.2f}, {cpu / cpu2:.2f} |", flush=True)


def tree() -> None:
    """One pass of EM's statistics: a left fold of blocks, and the tree, turn about."""
    x, start = problem()
    dataset = as_dataset(x)
    event = event_of(dataset)
    pair = Mixture(MixtureOptions(components=32), event).double()
    rows = Rows(dataset, event, dtype=torch.float64)
    with torch.no_grad():
        pair.mu.copy_(torch.from_numpy(start))

    def flat(batch: dict[str, torch.Tensor]) -> list[torch.Tensor]:
        return [torch.cat([value.reshape(-1) for value in pair.e_step(batch).values()])]

    def fold(size: int) -> None:
        blocks = rows.blocks(size)
        total = flat(blocks[0])[0].clone()
        for i in range(1, blocks.n):
            total += flat(blocks[i])[0]

    def by_tree(size: int) -> None:
        blocks = rows.blocks(size)
        World().sum(blocks.n, lambda i: flat(blocks[i]))

    default = block_size(rows)
    sizes = (65_536, default, default // 2)
    ways = {(way, size): do for size in sizes for way, do in (("fold", fold), ("tree", by_tree))}
    spent: dict[tuple[str, int], list[float]] = {way: [] for way in ways}
    with torch.no_grad():
        for _ in range(TURNS):
            for (way, size), do in ways.items():
                begun = time.process_time()
                do(size)
                spent[way, size].append(time.process_time() - begun)
    middle = {way: statistics.median(each) for way, each in spent.items()}
    for size in sizes:
        print(
            f"tree relative to a left fold, blocks of {size:,} rows: {middle['tree', size] / middle['fold', size]:.3f}"
        )
    for size in sizes[1:]:
        print(
            f"blocks of {size:,} rows relative to 65,536 (the default here is {default:,}): {middle['tree', size] / middle['tree', 65_536]:.3f}"
        )


def main() -> None:
    """The bits and the tree, or with the argument `two` two processes against one."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        written(folder)
        if "two" in sys.argv:
            two(folder)
        else:
            tree()
            on_processes(folder)


if __name__ == "__main__":
    sys.exit(main())
