"""Everything, exhaustively: `make trust`, or `python -m tests.trust crash flips ...` for some of it.

A line for each promise, with how many points were gone through, what was found, and how long it took.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable

import torch

from tests.test_surroundings import changed_by_threads
from tests.trust import crash, hostile, kills, mutants, processes
from tests.trust.crash import Tally


def ready() -> None:
    """Import and run everything once, so that children begin warm. One thread: what forks must have no others."""
    torch.set_num_threads(1)
    import probgen.cli
    import probgen.recipes  # noqa: F401 (both for the children)

    for scenario in crash.SCENARIOS.values():
        with crash.place() as folder:
            crash.whole_run(folder, scenario, lambda _: None)


def together(tallies: list[Tally]) -> Tally:
    return Tally(sum(t.points for t in tallies), [fault for t in tallies for fault in t.faults])


def races_with_locks_on_and_off() -> Tally:
    """HDF5 reads `HDF5_USE_FILE_LOCKING` when it is loaded, so each setting has a process of its own."""
    code = "import sys; from tests.trust import __main__ as m, processes as p; m.ready(); t = p.races(50); print(t.faults); sys.exit(len(t.faults))"
    tallies = []
    for setting in ("TRUE", "FALSE"):
        done = subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "HDF5_USE_FILE_LOCKING": setting}, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
        tallies.append(Tally(50, [f"locks {setting}: {done.stdout}{done.stderr}"] if done.returncode else []))
    return together(tallies)


PROMISES: dict[str, tuple[str, Callable[[], Tally]]] = {
    "crash": ("crash points, before and half-way", lambda: together([crash.crash(name) for name in crash.SCENARIOS])),
    "full": ("a full disk, at every write", crash.disk_full),
    "size": ("a limit on the size of files", lambda: crash.size_limits((*range(20, 300, 20), *range(300, 15_000, 300)))),
    "kill": ("SIGKILL at every step, every family", lambda: together([processes.kill_every_step(f) for f in processes.FITS])),
    "peers": ("SIGKILL to one of several processes of a fit", lambda: together([kills.killed(name, 50) for name in kills.COMMANDS])),
    "races": ("two writers, and a writer that was killed", races_with_locks_on_and_off),
    "flips": ("bits turned over", lambda: processes.flips(10_000)),
    "threads": ("calls in 8 threads", lambda: Tally(*changed_by_threads(seeds=8, rounds=3))),
    "hostile": ("hostile files", hostile.refuse_all),
    "mutants": ("mutants", mutants.kill),
}  # fmt: skip


def main(names: list[str]) -> int:
    ready()
    failed = 0
    for name in names or list(PROMISES):
        title, check = PROMISES[name]
        started = time.monotonic()
        tally = check()
        minutes = (time.monotonic() - started) / 60
        print(f"| {title} | {tally.points} | {len(tally.faults)} | {minutes:.1f} min |", flush=True)
        for fault in tally.faults:
            print(f"    {fault}", flush=True)
        most = tally.points // 20 if name == "mutants" else 0  # of the mutants 95 % are to be caught
        failed += len(tally.faults) > most
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
