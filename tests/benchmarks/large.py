"""Data larger than memory, 20,000,000 x 16 float32 (1.3 GB), from HDF5, Zarr and Parquet: memory and time.

It measures a score and an EM step, each in its own process. `python -m tests.benchmarks.large FOLDER` keeps
the files in FOLDER, and uses files that are already there.
"""

from __future__ import annotations

import hashlib
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np

ROWS, D, K, STEPS, PART = 20_000_000, 16, 8, 2, 1_000_000
GROUP = 250_000  # rows of a chunk of Zarr, and of a row group of Parquet
FILES = ("x.h5", "x.zarr", "x.parquet")


def write(folder: Path) -> None:
    """Rows of 8 normals, the same in each file, written a million at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    import zarr

    rng = np.random.default_rng(0)
    means = 4 * rng.standard_normal((K, D))
    chunks = zarr.open_group(folder / "x.zarr", mode="w").create_array(
        "x", shape=(ROWS, D), dtype="float32", chunks=(GROUP, D), dimension_names=("row", "feature")
    )
    schema = pa.schema([(f"c{i}", pa.float32()) for i in range(D)])
    with h5py.File(folder / "x.h5", "w") as file, pq.ParquetWriter(folder / "x.parquet", schema) as table:
        rows = file.create_dataset("x", (ROWS, D), np.float32)
        for start in range(0, ROWS, PART):
            z = rng.integers(K, size=PART)
            x = (means[z] + rng.standard_normal((PART, D))).astype(np.float32)
            rows[start : start + PART] = chunks[start : start + PART] = x
            table.write_table(
                pa.table(dict(zip(schema.names, x.T, strict=True)), schema), row_group_size=GROUP
            )


def fit(path: str) -> None:
    """Seconds until the first EM step has ended, seconds a step after that, peak memory, and a digest of what was learned."""
    import probgen
    from probgen.contract.state import digest_of

    begun, times = time.perf_counter(), []

    class Clock:
        @probgen.hookimpl
        def step(self) -> None:
            times.append(time.perf_counter())

    with probgen.observing(Clock()):
        fitted = probgen.fit("mixture", path, components=K, steps=STEPS + 1, tolerance=0.0)
    print(times[0] - begun, (times[-1] - times[0]) / STEPS, _peak(), digest_of(fitted.state)[:12])


def score(path: str) -> None:
    """Seconds a row before the score, seconds, peak memory, and a digest of the scores."""
    import probgen

    rng = np.random.default_rng(0)
    fitted = probgen.fit(
        "mixture", 4 * rng.standard_normal((10_000, D)), components=K, steps=3, tolerance=0.0
    )
    begun = time.perf_counter()
    scores = probgen.score(fitted, path)["log_prob"].values
    print(0.0, time.perf_counter() - begun, _peak(), hashlib.sha256(scores.tobytes()).hexdigest()[:12])


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def measure(folder: Path) -> None:
    """A line for each file and call."""
    for name in FILES:
        for what in ("score", "fit"):
            done = subprocess.run(
                [sys.executable, "-m", "tests.benchmarks.large", str(folder / name), what],
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            before, seconds, peak, digest = done.stdout.split()
            also = f" (and {float(before):.0f} s until the first one has ended)" if what == "fit" else ""
            print(
                f"{name}: {'a score' if what == 'score' else 'an EM step'} of {ROWS} x {D} float32 rows, {K} full components: "
                f"{float(seconds):.1f} s{also}, peak memory {float(peak):.2f} GiB, digest {digest}",
                flush=True,
            )


def main(folder: Path | None = None) -> None:
    """Write what is not there, and measure."""
    if folder is None:
        with tempfile.TemporaryDirectory() as place:
            main(Path(place))
        return
    if not (folder / FILES[0]).exists():
        write(folder)
    measure(folder)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        {"score": score, "fit": fit}[sys.argv[2]](sys.argv[1])
    else:
        main(*map(Path, sys.argv[1:]))
