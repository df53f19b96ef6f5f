"""The folder of a run: who may write it, its request, its journal, its checkpoints, its results."""

from __future__ import annotations

import fcntl
import os
import re
import tomllib
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import tomli_w

from probgen.errors import FileError, RunError
from probgen.store.files import read_file, sync_folder, write_file
from probgen.store.trees import read_arrays, write_arrays

REQUEST, MODEL, HISTORY = "recipe.toml", "model.h5", "history.jsonl"
SAMPLES, SCORES, COMPLETIONS, CONDITIONALS = "samples.h5", "scores.h5", "completions.h5", "conditionals.h5"
LATENT = "latent.h5"
PICTURES = (
    "samples", "completions", "conditionals", "history", "codes", "reconstructions", "interpolations", "walks", "grid",
)  # fmt: skip
FILES = (
    REQUEST, MODEL, HISTORY, SAMPLES, SCORES, COMPLETIONS, CONDITIONALS, LATENT,
    *(f"{name}.png" for name in PICTURES),
)  # fmt: skip
_CHECKPOINT = re.compile(r"(?P<stage>[A-Za-z0-9_-]+)-(?P<step>\d{6,})\.h5")


class RunFolder:
    """A run on disk, held by one writer: used as a context manager, it refuses a second one.

    Errors: `RunError` where the folder is held by another process or cannot be written.
    """

    def __init__(self, path: Path):
        self.path = path
        self._lock: IO[str] | None = None

    def __enter__(self) -> Self:
        try:
            (self.path / "checkpoints").mkdir(parents=True, exist_ok=True)
            self._lock = (self.path / ".lock").open("a+")
        except OSError as error:
            raise RunError(f"{self.path} cannot be written: {error.strerror}") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if not isinstance(error, BlockingIOError):
                self._lock.close()
                raise RunError(
                    f"{self.path} cannot be locked: {error.strerror}; use a local file system"
                ) from None
            self._lock.seek(0)
            holder = self._lock.read().strip() or "another process"
            self._lock.close()
            raise RunError(
                f"{self.path} is being written by {holder}; wait for it, or choose another --out"
            ) from None
        self._lock.truncate(0)
        self._lock.write(f"process {os.getpid()} on {os.uname().nodename}")
        self._lock.flush()
        self._sweep()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock is not None:
            self._lock.close()  # and with it goes the lock, as it does when the process dies

    def _sweep(self) -> None:
        """Remove what writers that died left half-written; the name of such a file says whose it is."""
        for folder in (self.path, self.path / "checkpoints"):
            for leftover in folder.glob(".*.tmp"):
                owner = leftover.name.removesuffix(".tmp").rpartition(".")[2].partition("-")[0]
                if not (owner.isdigit() and Path(f"/proc/{owner}").exists()):
                    leftover.unlink(missing_ok=True)

    # what was asked

    def write_request(self, request: dict[str, Any]) -> None:
        """Write `recipe.toml`: what was asked, resolved."""
        write_request(self.path / REQUEST, request)

    def read_request(self) -> dict[str, Any] | None:
        """What was asked, or None in a new folder."""
        return read_request(self.path / REQUEST) if (self.path / REQUEST).exists() else None

    # checkpoints

    def save(self, stage: str, step: int, structure: Any, arrays: list[Any], *, ended: bool) -> None:
        """Write a checkpoint, then drop those it makes needless: of a stage that goes on, two stay."""
        write_arrays(self._checkpoint(stage, step), structure, arrays)
        for old in sorted(self.steps(stage))[: -1 if ended else -2]:
            self._checkpoint(stage, old).unlink(missing_ok=True)

    def restore(self, stage: str) -> tuple[Any, list[Any]] | None:
        """The newest checkpoint of a stage that can be read, or None where there is none.

        Errors: `FileError` if there are some and none can be read.
        """
        failure = None
        for step in sorted(self.steps(stage), reverse=True):
            try:
                return read_arrays(self._checkpoint(stage, step))
            except FileError as error:
                failure = error
        if failure is not None:
            raise failure
        return None

    def steps(self, stage: str) -> list[int]:
        """The steps of a stage that have a checkpoint."""
        matches = map(_CHECKPOINT.fullmatch, os.listdir(self.path / "checkpoints"))
        return [int(match["step"]) for match in matches if match and match["stage"] == stage]

    def erase(self) -> None:
        """Remove the run: the files that a run has, and nothing else that may lie in the folder."""
        self.clear()
        for name in FILES:
            (self.path / name).unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove all checkpoints: the fit has ended and its model is written."""
        for file in (self.path / "checkpoints").iterdir():
            if _CHECKPOINT.fullmatch(file.name):
                file.unlink()
        sync_folder(self.path / "checkpoints")

    def _checkpoint(self, stage: str, step: int) -> Path:
        return self.path / "checkpoints" / f"{stage}-{step:06d}.h5"


def write_request(path: Path, request: dict[str, Any]) -> None:
    """A mapping as TOML; None has no place in TOML and is left out."""
    write_file(path, tomli_w.dumps(without_none(request)).encode())


def read_request(path: Path) -> dict[str, Any]:
    """The inverse of `write_request`. Errors: `FileError`."""
    try:
        return tomllib.loads(read_file(path).decode())
    except ValueError as error:
        raise FileError(f"{path} is not TOML: {error}") from None


def without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): without_none(item) for name, item in value.items() if item is not None}
    return [without_none(item) for item in value] if isinstance(value, list | tuple) else value
