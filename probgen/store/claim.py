"""Exclusive access to a folder: one process at a time may write, without locks of the file system.

A writer is a file `.writer-N` that identifies a process, created with a name that did not exist. The writer
with the highest number counts. The next process takes the following number, if the process of the current
writer has released the folder or has ended. If two processes take the same number, the file system gives it
to one of them. The highest number is never removed, so that no number is used twice.
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
_LET_GO = b"{"  # the content after a release: the file of the writer is cut to its first byte


class Claim:
    """The right to write a folder within a context; the folder is created if it does not exist.

    Args:
        path: The folder.

    Raises:
        RunError: When another process holds the folder, or when the folder cannot be written.
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
        """Complete the claim before other processes rely on it.

        A subclass adds its own steps. If a step fails, the claim fails.
        """
        self.sweep()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # if the disk is gone, the next process finds that this process has ended
            if self._stays:
                os.truncate(self._writer(self._number), len(_LET_GO))
            else:
                self._writer(self._number).unlink()
                self.path.rmdir()  # fails for a folder with other files, which then stays

    def leave_nothing(self) -> None:
        """Remove a new folder at the end of the claim.

        A folder that had a writer before keeps the highest number.
        """
        self._stays = self._number > 1

    def sweep(self) -> None:
        """Remove the temporary files of ended processes of this machine.

        The name of a temporary file identifies the process.
        """
        for leftover in (*self.path.glob(".*.tmp"), *self.path.glob("checkpoints/.*.tmp")):
            if is_leftover(leftover.name):
                leftover.unlink(missing_ok=True)

    def _require_gone(self, number: int) -> None:
        file = self._writer(number)
        try:
            text = file.read_bytes()
        except FileNotFoundError:  # a newer writer has removed it
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
            return  # the process has ended
        who = f"process {holder.get('process', '?')} on {holder.get('host', '?')}"
        raise RunError(
            f"{self.path} is being written by {who}. Wait for this process, or choose another --out"
            + ("." if here else f"; if the process has ended, remove {file}.")
        )

    def _refused(self) -> RunError:
        return RunError(f"{self.path} was claimed by another process just now. Wait for this process.")

    def _numbers(self) -> list[int]:
        return [int(match[1]) for match in map(_WRITER.fullmatch, os.listdir(self.path)) if match]

    def _newest(self) -> int:
        return max(self._numbers(), default=0)

    def _writer(self, number: int) -> Path:
        return self.path / f".writer-{number:06d}"


def _create(path: Path, holder: dict[str, Any]) -> bool:
    """Create a file that is complete from the first moment, and return whether the name was free."""
    temporary, content = temporary_name(path), json.dumps(holder).encode()
    try:
        write_new(temporary, content)
        os.link(temporary, path)
    except FileExistsError:
        return False
    except PermissionError:  # a file system without hard links: a reader may see an empty file, and waits
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
