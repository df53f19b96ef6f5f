"""Who may write a folder: one process at a time, whatever the file system's locks are worth.

A writer is a file `.writer-N` that says which process it is, made with a name that nobody had. The newest one counts.
Whoever comes next takes the number after it, if its process has let go or is dead; two who take the same number meet
in the file system, which gives it to one. The newest is never removed, so that no number comes twice.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from probgen.errors import RunError
from probgen.store.files import is_leftover, temporary_name, write_new
from probgen.store.processes import ALIVE, machine, started

_WRITER = re.compile(r"\.writer-(\d{6,})")
_LET_GO = b"{"  # what a writer leaves: its file is cut to the first byte


class Claim:
    """The right to write a folder, for as long as the context lasts; the folder is made where there is none.

    Errors: `RunError` where another process holds it, or the folder cannot be written.
    """

    def __init__(self, path: Path):
        self.path = path
        self._number = 0
        self._stays = True

    def __enter__(self) -> Self:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            newest = self._newest()
            if newest:
                self._require_gone(newest)
            if not _create(self._writer(newest + 1), _this_process()) or self._newest() != newest + 1:
                raise self._refused()
            self._number = newest + 1
            for number in self._numbers():
                if number < self._number:
                    self._writer(number).unlink(missing_ok=True)
            self.entered()
        except BaseException as error:
            if self._number:
                self.__exit__(None, None, None)
            if isinstance(error, OSError):
                raise RunError(f"{self.path} cannot be written: {error.strerror or error}") from None
            raise
        return self

    def entered(self) -> None:
        """What else is to be done before the folder is anybody's; if it fails, so does the claim."""
        self.sweep()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # where the disk is gone, whoever comes next sees that this process is
            if self._stays:
                os.truncate(self._writer(self._number), len(_LET_GO))
            else:
                self._writer(self._number).unlink()
                self.path.rmdir()  # something else lies there: then the folder stays

    def leave_nothing(self) -> None:
        """Let a folder that is new go with the claim. (One that had a writer before keeps the newest number.)"""
        self._stays = self._number > 1

    def sweep(self) -> None:
        """Remove what writers of this machine that died left half-written; the name of such a file says whose it is."""
        for leftover in (*self.path.glob(".*.tmp"), *self.path.glob("checkpoints/.*.tmp")):
            if is_leftover(leftover.name):
                leftover.unlink(missing_ok=True)

    def _require_gone(self, number: int) -> None:
        file = self._writer(number)
        try:
            text = file.read_bytes()
        except FileNotFoundError:  # a newer one has tidied up
            raise self._refused() from None
        if text == _LET_GO:
            return
        try:
            holder = dict(json.loads(text))
        except (ValueError, TypeError):
            holder = {}
        here = holder.get("machine") == machine()
        now = started(holder.get("process"))
        if here and now != ALIVE and now != holder.get("started"):
            return  # it is dead
        who = f"process {holder.get('process', '?')} on {holder.get('host', '?')}"
        raise RunError(
            f"{self.path} is being written by {who}; wait for it, or choose another --out"
            + ("" if here else f". If it is gone, remove {file}")
        )

    def _refused(self) -> RunError:
        return RunError(f"{self.path} was claimed by another process just now; wait for it")

    def _numbers(self) -> list[int]:
        return [int(match[1]) for match in map(_WRITER.fullmatch, os.listdir(self.path)) if match]

    def _newest(self) -> int:
        return max(self._numbers(), default=0)

    def _writer(self, number: int) -> Path:
        return self.path / f".writer-{number:06d}"


def _create(path: Path, holder: dict[str, Any]) -> bool:
    """Make a file that is whole from the first moment; whether the name was free."""
    temporary, content = temporary_name(path), json.dumps(holder).encode()
    try:
        write_new(temporary, content)
        os.link(temporary, path)
    except FileExistsError:
        return False
    except (
        PermissionError
    ):  # of a file system without hard links: a reader may see the file before its content, and waits
        with suppress(FileExistsError):
            write_new(path, content)
            return True
        return False
    finally:
        temporary.unlink(missing_ok=True)
    return True


def _this_process() -> dict[str, Any]:
    return {
        "process": os.getpid(), "started": started(os.getpid()), "machine": machine(), "host": os.uname().nodename,
    }  # fmt: skip
