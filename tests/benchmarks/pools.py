"""A million samples and scores of a mixture, and Monte Carlo scores of a small VAE, on pools of workers.

The settings are: without a pool, 1 worker, 2 workers, and 2 workers with five killed processes. Each runs in
its own process. The benchmark prints digests of the bits, seconds, peak memory of a process, and the share of
a core that the client uses. Parts have 2 MiB, so that some can be lost.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import h5py
import numpy as np

ROWS, D, FEW, PART = 1_000_000, 16, 120_000, 2 << 20
WAYS = {"alone": (0, False), "1 worker": (1, False), "2 workers": (2, False), "2, five killed": (2, True)}


def write(folder: Path) -> None:
    """Rows, a few of them, and two models of them."""
    import probgen

    rng = np.random.default_rng(0)
    x = (4 * rng.standard_normal((8, D))[rng.integers(8, size=ROWS)] + rng.standard_normal((ROWS, D))).astype(
        np.float32
    )
    for name, n in (("x", ROWS), ("few", FEW)):
        with h5py.File(folder / f"{name}.h5", "w") as file:
            file["x"] = x[:n]
    probgen.fit("mixture", x[:20_000], components=8, steps=5, tolerance=0.0).save(folder / "mixture.h5")
    probgen.fit("vae", x[:5_000], latent=4, hidden=(64,), epochs=3).save(folder / "vae.h5")


def peak() -> int:
    """Most memory that this process had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def one(folder: Path, out: Path, workers: int, killed: bool) -> None:
    """All three by one way, a line each."""
    import probgen
    from probgen.api import sampling, scoring
    from probgen.api.pools import pool_of
    from probgen.contract.state import digest_of

    sampling.part_bytes = scoring.part_bytes = lambda total: PART
    mixture, vae = probgen.load(folder / "mixture.h5"), probgen.load(folder / "vae.h5")
    jobs: dict[str, Any] = {
        "draws": lambda to, client: probgen.sample_to(to, mixture, ROWS, seed=1, client=client),
        "scores": lambda to, client: probgen.score_to(to, mixture, folder / "x.h5", client=client),
        "monte-carlo": lambda to, client: probgen.score_to(to, vae, folder / "few.h5", k=20, client=client),
    }
    with pool_of(workers or None) as pool:
        client = pool.client if pool is not None else None
        for name, job in jobs.items():
            deaths = 0

            class Killer:
                """Ends a worker after some parts."""

                at: tuple[int, ...] = {"draws": (2, 9), "scores": (2, 9), "monte-carlo": (0,)}[name]

                @probgen.hookimpl
                def step(self, step: int) -> None:
                    nonlocal deaths
                    if step in self.at and client is not None:
                        os.kill(next(iter(client.run(os.getpid, on_error="ignore").values())), signal.SIGKILL)
                        deaths += 1

            start, used = time.perf_counter(), time.process_time()
            with probgen.observing(Killer()) if killed else nullcontext():
                parts = job(out / name, client)
            wall, cpu = time.perf_counter() - start, time.process_time() - used
            most = max(client.run(peak, on_error="ignore").values()) if client is not None else 0
            torn = len(list((out / name).glob(".*.tmp")))
            print(name, len(parts), f"{wall:.1f}", f"{cpu / wall:.2f}", most, peak(), deaths, torn)
    for name in jobs:
        print(name, digest_of(probgen.open_parts(out / name).load())[:16])


def main() -> None:
    """Print all ways, and whether their bits are the same."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder)
        digests: dict[str, set[str]] = {}
        for way, (workers, killed) in WAYS.items():
            done = subprocess.run(
                [sys.executable, "-m", "tests.benchmarks.pools", name, str(folder / way), str(workers), str(int(killed))],
                capture_output=True,
                text=True,
                check=True,
            )  # fmt: skip
            lines = [line.split() for line in done.stdout.splitlines()]
            for what, parts, wall, share, most, here, deaths, torn in lines[:3]:
                print(
                    f"{way}: {what}, {parts} parts in {wall} s, {share} of a core in the client, at most {most} MiB per worker and "
                    f"{here} MiB in the client, {deaths} killed, {torn} torn",
                    flush=True,
                )
            for what, digest in lines[3:]:
                digests.setdefault(what, set()).add(digest)
        print(
            f"bit-identical in all settings: {all(len(found) == 1 for found in digests.values())}: {digests}"
        )


if __name__ == "__main__":
    if len(sys.argv) > 2:
        one(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), bool(int(sys.argv[4])))
    else:
        main()
