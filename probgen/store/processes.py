"""The identity of a process: its machine and its start time."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

ALIVE = "alive"


def started(process: Any) -> str | None:
    """Return the start time that distinguishes a process from a later process with the same number.

    Args:
        process: The number of the process.

    Returns:
        The start time; None if there is no such process; `ALIVE` if the start time is not available.
    """
    try:
        number = int(process)
        os.kill(number, 0)
    except PermissionError:
        pass  # the process exists and belongs to another user
    except (OSError, TypeError, ValueError, OverflowError):
        return None
    try:
        fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in "ZX" else fields[19]  # a zombie has ended
    except (OSError, IndexError):
        return ALIVE


@cache
def machine() -> str:
    """Return the identity of the space of process numbers.

    The identity consists of the host name, the boot and, in a container, the namespace of processes.
    """
    parts = [os.uname().nodename]
    for place in ("/proc/sys/kernel/random/boot_id", "/etc/machine-id"):
        try:
            parts.append(Path(place).read_text().strip())
        except OSError:
            parts.append("")
    try:
        parts.append(os.readlink("/proc/self/ns/pid"))
    except OSError:
        parts.append("")
    return " ".join(parts)
