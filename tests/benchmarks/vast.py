"""Exact scores of 10,000,000 x 16 float32 rows in HDF5 on one worker and on two: seconds, bits, peak memory, the client's share of a core.

`python -m tests.benchmarks.vast FOLDER ROWS` takes another number of rows, 100,000,000 for instance, and leaves their file in the folder.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np

from tests.benchmarks.pools import peak

D, K, PIECE = 16, 8, 1_000_000


def write(file: Path, n: int) -> None:
    """Rows of 8 normals, a million at a time."""
    rng = np.random.default_rng(0)
    means = (4 * rng.standard_normal((K, D))).astype(np.float32)
    with h5py.File(file, "w") as opened:
        rows = opened.create_dataset("x", (n, D), np.float32)
        for start in range(0, n, PIECE):
            end = min(n, start + PIECE)
            z = rng.integers(K, size=end - start)
            rows[start:end] = means[z] + rng.standard_normal((end - start, D), dtype=np.float32)


def score(file: str, out: str, workers: int) -> None:
    """A line of seconds, the client's seconds of the processor, peaks of a worker and of the client in MiB, and a digest of the scores."""
    import probgen
    from probgen.api.pools import pool_of

    with h5py.File(file) as opened:
        few = opened["x"][:20_000]
    fitted = probgen.fit("mixture", few, components=K, steps=5, tolerance=0.0)
    with pool_of(workers) as pool:
        assert pool is not None
        start, used = time.perf_counter(), time.process_time()
        probgen.score_to(out, fitted, file, client=pool.client)
        wall, cpu = time.perf_counter() - start, time.process_time() - used
        most = max(pool.client.run(peak).values())
    print(
        wall,
        cpu,
        most,
        peak(),
        hashlib.sha256(probgen.open_parts(out)["log_prob"].values.tobytes()).hexdigest()[:12],
    )


def main(folder: Path | None = None, n: int = 10_000_000) -> None:
    """A line for one worker, and one for two."""
    if folder is None:
        with tempfile.TemporaryDirectory() as place:
            main(Path(place), n)
        return
    file = folder / f"{n}.h5"
    if not file.exists():
        write(file, n)
    first = 0.0
    for workers in (1, 2):
        with tempfile.TemporaryDirectory(dir=folder) as out:
            done = subprocess.run(
                [sys.executable, "-m", "tests.benchmarks.vast", str(file), out, str(workers)],
                capture_output=True, text=True, check=True,
            )  # fmt: skip
        wall, cpu, most, here, digest = done.stdout.split()
        first = first or float(wall)
        print(
            f"{n:,} x {D}, {workers} worker(s): {float(wall):.0f} s, {first / float(wall):.2f} times as fast, {float(cpu) / float(wall):.3f} of a core "
            f"in the client, at most {most} MiB a worker and {here} MiB in the client, digest {digest}",
            flush=True,
        )


if __name__ == "__main__":
    if len(sys.argv) > 3:
        score(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    elif len(sys.argv) > 2:
        main(Path(sys.argv[1]), int(sys.argv[2]))
    else:
        main()
