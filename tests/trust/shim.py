"""Every call that changes a file, counted, with something done to one of them.

probgen writes through `os` alone, which `test_every_byte_passes_through_the_shim` holds it to, so that replacing
these functions is enough to stop a run anywhere.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from typing import Any, Self

CHANGES = ("open", "write", "fsync", "rename", "link", "unlink", "truncate", "ftruncate", "mkdir")
Action = Callable[[int, str, Callable[..., Any], tuple[Any, ...]], Any]


class Shim:
    """Replaces the functions of `os` that change files.

    `action(n, name, function, arguments)` is called at each; what it returns, if anything, is the result of the call.
    """

    def __init__(self, action: Action | None = None):
        self.action = action
        self.calls: list[str] = []
        self.bytes: dict[str, bytes] = {}
        self._files: dict[int, str] = {}
        self._plain = {name: getattr(os, name) for name in CHANGES}

    def __enter__(self) -> Self:
        for name in CHANGES:
            setattr(os, name, self._counted(name))
        return self

    def __exit__(self, *_: object) -> None:
        for name, function in self._plain.items():
            setattr(os, name, function)

    def _counted(self, name: str) -> Callable[..., Any]:
        plain = self._plain[name]

        def counted(*arguments: Any, **named: Any) -> Any:
            if name == "open" and not arguments[1] & (os.O_CREAT | os.O_TRUNC):
                return plain(*arguments, **named)
            if name == "write" and arguments[0] not in self._files:
                return plain(*arguments, **named)  # a pipe, the terminal
            n = len(self.calls)
            self.calls.append(name)
            done = self.action(n, name, plain, arguments) if self.action is not None else None
            result = done if done is not None else plain(*arguments, **named)
            self._note(name, arguments, result)
            return result

        return counted

    def _note(self, name: str, arguments: tuple[Any, ...], result: Any) -> None:
        """What every file holds, as far as it was written here."""
        if name == "open":
            self._files[result] = os.fspath(arguments[0])
            self.bytes.setdefault(os.fspath(arguments[0]), b"")
        elif name == "write":
            self.bytes[self._files[arguments[0]]] += bytes(arguments[1][:result])
        elif name in ("rename", "link"):
            self.bytes[os.fspath(arguments[1])] = self.bytes[os.fspath(arguments[0])]
        elif name == "truncate":
            path = os.fspath(arguments[0])
            self.bytes[path] = self.bytes[path][: arguments[1]]


def kill_at(point: int, half: bool) -> Action:
    """End the process before call number `point`; of a write, after half of it."""

    def action(n: int, name: str, plain: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        if n == point:
            if half and name == "write":
                plain(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
            os.kill(os.getpid(), signal.SIGKILL)

    return action


def full_from(point: int, half: bool) -> Action:
    """From call number `point` on there is no space: nothing is made or written; the first write may be a short one."""

    def action(n: int, name: str, plain: Callable[..., Any], arguments: tuple[Any, ...]) -> int | None:
        if n < point or name in ("unlink", "truncate", "ftruncate", "rename"):
            return None
        if (
            half and n == point and name == "write"
        ):  # as the system has it: what there was room for, and no error yet
            return int(plain(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2]))
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return action
