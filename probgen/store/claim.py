"""Who may write a folder: one process at a time, whatever the file system's locks are worth.

A writer is a file `.writer-N` that says which process it is, made with a name that nobody had. The newest one counts.
Whoever comes next takes the number after it, if its process has let go or is dead; two who take the same number meet
in the file system, which gives it to one. The newest is never removed, so that no number comes twice.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from probgen.errors import RunError

_WRITER = re.compile(r"\.writer-(\d{6,})")
_TEMPORARY = re.compile(r"\..+\.(\d+)-[0-9a-f]{8}\.tmp")
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
        except OSError as error:
            raise RunError(f"{self.path} cannot be written: {error.strerror or error}") from None
        self._number = newest + 1
        for number in self._numbers():
            if number < self._number:
                self._writer(number).unlink(missing_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._stays:
            with suppress(OSError):  # something else lies there: then the folder stays
                self._writer(self._number).unlink()
                self.path.rmdir()
            return
        with suppress(OSError):  # where the disk is gone, whoever comes next sees that this process is
            os.truncate(self._writer(self._number), len(_LET_GO))

    def leave_nothing(self) -> None:
        """Let the folder go with the claim, if there is nothing else in it."""
        self._stays = False

    def sweep(self) -> None:
        """Remove what writers that died left half-written; the name of such a file says whose it is."""
        for leftover in (*self.path.glob(".*.tmp"), *self.path.glob("checkpoints/.*.tmp")):
            owner = _TEMPORARY.fullmatch(leftover.name)
            if owner and _started(owner[1]) is None:
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
        except ValueError:
            holder = {}
        here = _this_process()
        if holder.get("host") == here["host"] and _started(holder.get("process")) != holder.get("started"):
            return  # it is dead
        who = f"process {holder.get('process', '?')} on {holder.get('host', '?')}"
        raise RunError(
            f"{self.path} is being written by {who}; wait for it, or choose another --out"
            + ("" if holder.get("host") == here["host"] else f". If it is gone, remove {file}")
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
    temporary = path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    content = json.dumps(holder).encode()
    _write_new(temporary, content)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except (
        OSError
    ):  # a file system without hard links: a reader may see the file before its content, and waits
        with suppress(FileExistsError):
            _write_new(path, content)
            return True
        return False
    finally:
        os.unlink(temporary)
    return True


def _write_new(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        os.write(descriptor, content)
    finally:
        os.close(descriptor)


def _this_process() -> dict[str, Any]:
    return {"process": os.getpid(), "started": _started(os.getpid()), "host": os.uname().nodename}


def _started(process: Any) -> str | None:
    """What tells a process from a later one of the same number; None where there is none such."""
    try:
        os.kill(int(process), 0)
    except PermissionError:
        pass  # it is there, and another user's
    except (OSError, TypeError, ValueError):
        return None
    try:
        stat = Path(f"/proc/{int(process)}/stat").read_text()
        fields = stat.rpartition(")")[2].split()
        return None if fields[0] in "ZX" else f"{_boot()} {fields[19]}"  # a zombie is dead
    except (OSError, IndexError):
        return "alive"  # no /proc here: the number alone has to do


@cache
def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
