"""EM over 10,000,000 x 16 float32 rows in an HDF5 file of 640 MB: peak memory, and time per row compared with memory.

Each fit runs in its own process: one reads the file slice by slice, the other has the same rows in memory.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np

ROWS, D, K, STEPS = 10_000_000, 16, 8, 3


def write(path: Path) -> None:
    """Rows of 8 normals, written a million at a time."""
    rng = np.random.default_rng(0)
    means = 4 * rng.standard_normal((K, D))
    with h5py.File(path, "w") as file:
        x = file.create_dataset("x", (ROWS, D), np.float32)
        for start in range(0, ROWS, 1_000_000):
            z = rng.integers(K, size=1_000_000)
            x[start : start + 1_000_000] = means[z] + rng.standard_normal((1_000_000, D))


def fit(path: str, where: str) -> None:
    """Fit from the file, or from memory; print seconds a step and row, peak memory, and the likelihood."""
    import probgen

    data: str | np.ndarray = path
    if where == "memory":
        with h5py.File(path) as file:
            data = file["x"][()]
    times: list[float] = []

    class Clock:
        @probgen.hookimpl
        def step(self) -> None:
            times.append(time.perf_counter())

    with probgen.observing(Clock()):
        fitted = probgen.fit("mixture", data, components=K, steps=STEPS + 1, tolerance=0.0)
    seconds = (times[-1] - times[0]) / (len(times) - 1) / ROWS
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(seconds * 1e6, peak, fitted.history["log_likelihood"].values[-1])


def main() -> None:
    """Print both, and the ratio."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.h5"
        write(path)
        rows = {}
        for where in ("memory", "file"):
            done = subprocess.run(
                [sys.executable, "-m", "tests.benchmarks.em_file", str(path), where],
                capture_output=True,
                text=True,
                check=True,
            )
            rows[where] = [float(word) for word in done.stdout.split()]
    print(
        f"EM {ROWS} x {D} float32 rows, {K} full components: from the file {rows['file'][0]:.3f} us per row and step, peak "
        f"memory {rows['file'][1]:.2f} GiB; in memory {rows['memory'][0]:.3f} us, {rows['memory'][1]:.2f} GiB; ratio "
        f"{rows['file'][0] / rows['memory'][0]:.2f}; likelihoods differ by {abs(rows['file'][2] - rows['memory'][2]):.1e}",
        flush=True,
    )


if __name__ == "__main__":
    fit(*sys.argv[1:3]) if len(sys.argv) > 2 else main()
