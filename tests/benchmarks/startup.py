"""Processor seconds of complete commands, as ratios to the import of torch, Pyro, xarray and h5netcdf."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

LIBRARIES = "import torch, pyro, xarray, h5netcdf"
PROBGEN = "import sys; sys.argv[0] = 'probgen'; from probgen.cli import main; main()"
COMPLETION = {"_PROBGEN_COMPLETE": "complete_bash", "COMP_WORDS": "probgen fit mi", "COMP_CWORD": "2"}


def seconds(code: str, *arguments: str, **environment: str) -> float:
    """Processor seconds of a new Python."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-c", code, *arguments], env={**os.environ, **environment}, capture_output=True, check=False
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(turns: int = 7) -> None:
    """Print medians, and medians of the ratios of a turn; a first turn, which compiles modules, is left out."""
    times: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as place:
        rows, out = f"{place}/x.npy", Path(place)
        np.save(rows, np.random.default_rng(0).normal(size=(150, 4)))
        for turn in range(turns + 1):
            commands = {
                "the libraries": (LIBRARIES,),
                "the libraries and scikit-learn": (f"{LIBRARIES}, sklearn.cluster, sklearn.datasets",),
                "fit mixture --data iris": (PROBGEN, "fit", "mixture", "--data", "iris", "--out", f"{out}/m{turn}"),
                "fit independent --data x.npy": (
                    PROBGEN, "fit", "independent", "--data", rows, "--out", f"{out}/i{turn}",
                ),
                "sample": (PROBGEN, "sample", f"{out}/i{turn}"),
                "score": (PROBGEN, "score", f"{out}/i{turn}", "--data", rows),
                "a refusal": (PROBGEN, "fit", "mixture", "--data", "none.csv", "--out", f"{out}/r"),
                "--help": (PROBGEN, "fit", "--help"),
                "<TAB>": (PROBGEN,),
            }  # fmt: skip
            for name, command in commands.items():
                taken = seconds(*command, **(COMPLETION if name == "<TAB>" else {}))
                times.setdefault(name, []).append(taken)
    for name, values in times.items():
        ratios = [value / base for value, base in zip(values[1:], times["the libraries"][1:], strict=True)]
        print(
            f"{name:32} {statistics.median(values[1:]):.2f} s, x {statistics.median(ratios):.2f}", flush=True
        )


if __name__ == "__main__":
    main()
