"""Work in a forked child: quick, and whatever becomes of it, the parent lives."""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

CRASHED = 99


@dataclass
class Done:
    """What became of a child: exit code (negative: the signal), its answer, what it told on the way, its stderr.

    `seconds` are those of the processor, which a busy machine does not make more of.
    """

    code: int
    answer: Any
    told: list[Any]
    errors: str
    seconds: float


def run(work: Callable[[Callable[[Any], None]], Any], limit: float = 300.0) -> Done:
    """`work(tell)` in a child. `tell` hands over a value at once; the answer is what `work` returns.

    The child is killed after `limit` seconds. What it tells goes through a pipe by plain `os.write`, taken before
    anything replaces it.
    """
    told_read, told_write = os.pipe()
    errors_read, errors_write = os.pipe()
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        os.close(told_read)
        os.close(errors_read)
        _child(work, told_write, errors_write)
    os.close(told_write)
    os.close(errors_write)
    content = {told_read: b"", errors_read: b""}
    open_ends = set(content)
    while open_ends:
        ready, _, _ = select.select(open_ends, [], [], max(0.0, limit - (time.monotonic() - started)))
        if not ready:
            os.kill(child, signal.SIGKILL)
            break
        for end in ready:
            piece = os.read(end, 1 << 16)
            content[end] += piece
            if not piece:
                open_ends.discard(end)
    os.close(told_read)
    os.close(errors_read)
    _, status, used = os.wait4(child, 0)
    told, answer = [], None
    for kind, value in _values(content[told_read]):
        if kind == "answer":
            answer = value
        else:
            told.append(value)
    text = content[errors_read].decode(errors="replace")
    return Done(os.waitstatus_to_exitcode(status), answer, told, text, used.ru_utime + used.ru_stime)


def _child(work: Callable[[Callable[[Any], None]], Any], write: int, errors: int) -> None:
    plain = os.write
    code = 0
    try:
        os.dup2(errors, 2)
        os.close(errors)
        sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)

        def tell(value: Any, kind: str = "told") -> None:
            text = pickle.dumps((kind, value))
            plain(write, len(text).to_bytes(4, "little") + text)

        tell(work(tell), "answer")
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        with contextlib.suppress(Exception):
            traceback.print_exc()
        code = CRASHED
    finally:
        with contextlib.suppress(Exception):
            sys.stderr.flush()
        os._exit(code)


def _values(content: bytes) -> list[tuple[str, Any]]:
    """The whole messages; a child that was killed may leave a torn one."""
    values = []
    while len(content) >= 4:
        size = int.from_bytes(content[:4], "little")
        if len(content) < 4 + size:
            break
        values.append(pickle.loads(content[4 : 4 + size]))
        content = content[4 + size :]
    return values
