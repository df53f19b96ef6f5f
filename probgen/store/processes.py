"""Which process is which: on this machine, since when."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

ALIVE = "alive"


def started(process: Any) -> str | None:
    """What tells a process from a later one of the same number; None where there is none, `ALIVE` where nothing tells."""
    try:
        number = int(process)
        os.kill(number, 0)
    except PermissionError:
        pass  # it is there, and another user's
    except (OSError, TypeError, ValueError, OverflowError):
        return None
    try:
        fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in "ZX" else fields[19]  # a zombie is dead
    except (OSError, IndexError):
        return ALIVE


@cache
def machine() -> str:
    """Where numbers of processes mean the same: name, boot, and, in a container, the space of its process numbers."""
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
