"""Every recipe from end to end: seconds, memory at most, and how many expected figures are within their bounds.

`python -m tests.benchmarks.recipes [NAME ...]` runs the named recipes, or all, one after another, each in its own process
and an empty folder, and prints one row of a table when a recipe has ended. Recipes on real data read PROBGEN_DATA. All of
them take days; `FAST=1` runs the short variants.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path

from probgen.recipes.catalog import shipped


def run(name: str, folder: Path) -> str:
    """Run a recipe, and return its row of the table.

    Args:
        name: The name of the recipe.
        folder: An empty folder for its runs and its output.

    Returns:
        A row: name, seconds of the clock and of the processor, MiB at most, expected figures.
    """
    written = folder / "result.json"
    command = [sys.executable, "-m", "probgen", "run", name, "--out", str(folder / name), "--json", "--quiet"]
    command += ["--fast"] * ("FAST" in os.environ)
    begun = time.perf_counter()
    out = os.open(written, os.O_CREAT | os.O_WRONLY)
    process = os.posix_spawn(
        sys.executable, command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, out, sys.stdout.fileno())]
    )
    _, status, used = os.wait4(process, 0)
    seconds = time.perf_counter() - begun
    os.close(out)
    if status:
        return f"| `{name}` | failed with exit code {os.waitstatus_to_exitcode(status)} | | | |"
    told = json.loads(written.read_text())
    expected = [line for part in told.get("parts", {name: told}).values() for line in part["expected"]]
    met = f"{sum(line['met'] for line in expected)} of {len(expected)}" if expected else "none stated"
    missed = "".join(
        f"; {line['model']}: {line['figure']} = {line['value']:.4g}" for line in expected if not line["met"]
    )
    return (
        f"| `{name}` | {seconds:.0f} | {used.ru_utime + used.ru_stime:.0f} | "
        f"{used.ru_maxrss / 1024:.0f} | {met}{missed} |"
    )


def main() -> None:
    """Run the recipes named on the command line, or all."""
    print(
        "| recipe | seconds | of the processor | MiB at most | expected figures |\n|---|---|---|---|---|",
        flush=True,
    )
    for name in sys.argv[1:] or shipped():
        with tempfile.TemporaryDirectory() as folder:
            print(run(name, Path(folder)), flush=True)


if __name__ == "__main__":
    main()
