"""The start of one command as several processes on this machine, which share its fit.

torchrun could also start them. But it has a single time limit for a dead process and for a signal, and it reports an
error in 40 lines.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from probgen.cli.common import GONE, LAUNCHED, complain

PATIENCE = 3.0  # seconds for the other processes to end after one has failed
WHEN_TOLD = 30.0  # the same after a signal, because process 0 may still write
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LOOK = 0.05  # seconds between checks of the processes


def launched(n: int) -> int | None:
    """Run the command of this process as n processes, wait for all, and return the exit code.

    It returns None if n = 1, or if this process is one of the n processes. Process 0 has the standard streams. If
    another process fails, its last line is printed. The first signal is forwarded to all processes; the second signal
    kills them. After a failure, processes that do not end within 3 seconds are killed.
    """
    if n == 1 or LAUNCHED in os.environ:
        return None
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        processes: list[subprocess.Popen[bytes]] = []
        told = stack.enter_context(_forwarding(processes))
        processes += (_started(rank, n, folder) for rank in range(n) if not told)
        if told:  # the signal came during the start of the processes
            for process in processes:
                process.send_signal(told[0])
        failed_at = None
        killed: set[int] = set()
        while any(process.poll() is None for process in processes):
            if failed_at is None and any(process.poll() for process in processes):
                failed_at = time.monotonic()
            patience = WHEN_TOLD if told else PATIENCE
            if failed_at is not None and time.monotonic() - failed_at > patience:
                left = {rank for rank, process in enumerate(processes) if process.poll() is None}
                killed |= left  # a process takes a moment to end
                for rank in left:
                    processes[rank].kill()
            time.sleep(LOOK)
        if len(processes) < n:
            return 128 + told[0]
        codes = [GONE if rank in killed else process.wait() for rank, process in enumerate(processes)]
        return _told(codes, told, folder)


def _started(rank: int, n: int, folder: Path) -> subprocess.Popen[bytes]:
    """Start a process in its own session, so that Ctrl-C reaches it only through the launcher."""
    world = {"RANK": str(rank), "WORLD_SIZE": str(n), LAUNCHED: f"file://{folder / 'meeting'}"}
    threads = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    # -m lets Python import modules from the current folder; -P prevents it if this process did not allow it
    safe = [] if sys.path[0] in ("", os.getcwd()) else ["-P"]
    with (folder / f"{rank}").open("wb") as errors:
        streams: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": errors} if rank else {}
        return subprocess.Popen(
            [sys.executable, *safe, "-m", "probgen", *sys.argv[1:]],
            env={**os.environ, **world, **threads}, stdin=subprocess.DEVNULL, start_new_session=True, **streams,
        )  # fmt: skip


@contextmanager
def _forwarding(processes: Sequence[subprocess.Popen[bytes]]) -> Iterator[list[int]]:
    """Forward signals of this process to all processes, and yield the list of received signals."""
    told: list[int] = []

    def forward(number: int, frame: FrameType | None) -> None:
        for process in processes:
            if process.poll() is None:
                process.send_signal(
                    signal.SIGKILL if told else signal.SIGTERM if number == signal.SIGHUP else number
                )
        told.append(number)

    before = {number: signal.signal(number, forward) for number in SIGNALS}
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _told(codes: Sequence[int], told: Sequence[int], folder: Path) -> int:
    """Return the common exit code, and print the error if process 0 has not printed it."""
    first = codes[0]
    if first > 0 and first != GONE:
        return first
    rank = next((rank for rank, code in enumerate(codes) if code not in (0, GONE)), None)
    if rank is None:
        if any(codes):
            complain(
                "the processes of the fit could not connect to each other. Resume the fit with --resume."
            )
        return int(any(codes))
    if told:
        complain(
            f"{signal.Signals(told[0]).name}: the fit was ended. Resume it with --resume, on any number of processes."
        )
        return 128 + told[0]
    if codes[rank] < 0:
        name = signal.Signals(-codes[rank]).name
        complain(
            f"process {rank} of {len(codes)} was ended by {name}. Resume the fit with --resume, on any number of processes."
        )
        return 1
    lines = (folder / f"{rank}").read_text(errors="replace").strip().splitlines()
    complain(f"process {rank} of {len(codes)}: {(lines or ['it failed'])[-1].removeprefix('probgen: ')}")
    return codes[rank]
