"""One command as several processes of this machine, which share its fit.

torchrun would start them as well; but it has one time limit for a process that died and for a signal, and tells what happened in 40 lines.
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

PATIENCE = 3.0  # seconds that others have to end when one has failed,
WHEN_TOLD = 30.0  # or when one has ended after a signal, and process 0 may still write
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LOOK = 0.05  # seconds between looks at them


def launched(n: int) -> int | None:
    """Run the command of this process as n processes, and wait for all; the exit code. None in a process that was started so, or for one alone.

    Process 0 has the standard streams; of the others the last line is told where they fail. A signal goes to all of them, a second one ends them. When one
    has failed, others that do not end within 3 seconds are killed.
    """
    if n == 1 or LAUNCHED in os.environ:
        return None
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        processes: list[subprocess.Popen[bytes]] = []
        told = stack.enter_context(_forwarding(processes))
        processes += (_started(rank, n, folder) for rank in range(n) if not told)
        if told:  # it came while they were started
            for process in processes:
                process.send_signal(told[0])
        failed_at = None
        killed: set[int] = set()
        while any(process.poll() is None for process in processes):
            if failed_at is None and any(process.poll() for process in processes):
                failed_at = time.monotonic()
            patience = WHEN_TOLD if told else PATIENCE
            if failed_at is not None and time.monotonic() - failed_at > patience:
                killed = {rank for rank, process in enumerate(processes) if process.poll() is None}
                for rank in killed:
                    processes[rank].kill()
            time.sleep(LOOK)
        if len(processes) < n:
            return 128 + told[0]
        codes = [GONE if rank in killed else process.wait() for rank, process in enumerate(processes)]
        return _told(codes, told, folder)


def _started(rank: int, n: int, folder: Path) -> subprocess.Popen[bytes]:
    """A process in a session of its own, so that Ctrl-C reaches it through its launcher alone."""
    world = {"RANK": str(rank), "WORLD_SIZE": str(n), LAUNCHED: f"file://{folder / 'meeting'}"}
    threads = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    safe = (
        [] if sys.path[0] in ("", os.getcwd()) else ["-P"]
    )  # the current folder holds modules only where it did before
    with (folder / f"{rank}").open("wb") as errors:
        streams: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": errors} if rank else {}
        return subprocess.Popen(
            [sys.executable, *safe, "-m", "probgen", *sys.argv[1:]],
            env={**os.environ, **world, **threads}, stdin=subprocess.DEVNULL, start_new_session=True, **streams,
        )  # fmt: skip


@contextmanager
def _forwarding(processes: Sequence[subprocess.Popen[bytes]]) -> Iterator[list[int]]:
    """Signals to this process go to all; those that came."""
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
    """The exit code of all, and a line where process 0 has not said it itself."""
    first = codes[0]
    if first > 0 and first != GONE:
        return first
    rank = next((rank for rank, code in enumerate(codes) if code not in (0, GONE)), None)
    if rank is None:
        if any(codes):
            complain("the processes of the fit did not find one another; go on with --resume")
        return int(any(codes))
    if told:
        complain(f"{signal.Signals(told[0]).name}: ended; go on with --resume, on any number of processes")
        return 128 + told[0]
    if codes[rank] < 0:
        name = signal.Signals(-codes[rank]).name
        complain(
            f"process {rank} of {len(codes)} was ended by {name}; go on with --resume, on any number of processes"
        )
        return 1
    lines = (folder / f"{rank}").read_text(errors="replace").strip().splitlines()
    complain(f"process {rank} of {len(codes)}: {(lines or ['it failed'])[-1].removeprefix('probgen: ')}")
    return codes[rank]
