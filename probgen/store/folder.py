"""The folder of a run: who may write it, its request, its journal, its checkpoints, its results."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from probgen.errors import FileError, RunError
from probgen.store.claim import Claim
from probgen.store.files import read_file, read_request, sync_folder, write_request

REQUEST, MODEL, HISTORY = "recipe.toml", "model.h5", "history.jsonl"
SAMPLES, SCORES = "samples.h5", "scores.h5"
ROWS, REPORT = "rows.h5", "report.html"  # of a recipe: some of the scored rows, and its page
ANALYSES, PICTURES = (
    "analyses",
    "pictures",
)  # folders: of results of analyses, of figures that a family brings
FILES = (REQUEST, MODEL, HISTORY, SAMPLES, SCORES, ROWS, REPORT, "samples.png", "history.png")
_ONE_OF_MANY = re.compile(r"history-[A-Za-z0-9_-]+\.png|samples-\d+\.wav")
_CHECKPOINT = re.compile(r"(?P<stage>[A-Za-z0-9_-]+)-(?P<step>\d{6,})\.h5")


def model_file(path: Path) -> Path:
    """The file of a fitted model: of a run folder, or the path itself. Errors: `FileError`."""
    if not path.exists():
        raise FileError(f"{path}: No such file or directory")
    if path.is_dir() and not (path / MODEL).exists():
        raise FileError(f"{path} holds no fitted model ({MODEL}); was the fit interrupted? use --resume")
    return path / MODEL if path.is_dir() else path


def check_folder(path: Path) -> None:
    """Errors: `RunError` where a run cannot be, since there is a file."""
    if path.exists() and not path.is_dir():
        raise RunError(f"{path} is a file; a run needs a folder")


class RunFolder(Claim):
    """A run on disk, held by one writer: used as a context manager, it refuses a second one.

    Errors: `RunError` where the folder is held by another process or cannot be written.
    """

    def entered(self) -> None:
        """Make room for checkpoints."""
        super().entered()
        (self.path / "checkpoints").mkdir(exist_ok=True)

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
        from probgen.store.trees import write_arrays  # h5py and xarray: a refusal of a folder needs neither

        write_arrays(self._checkpoint(stage, step), structure, arrays)
        for old in sorted(self.steps(stage))[: -1 if ended else -2]:
            self._checkpoint(stage, old).unlink(missing_ok=True)

    def restore(self, stage: str) -> bytes | None:
        """What the newest checkpoint of a stage that can be read holds, for `arrays_of`; None where there is none.

        Errors: `FileError` if there are some and none can be read.
        """
        failure = None
        for step in sorted(self.steps(stage), reverse=True):
            try:
                return read_file(self._checkpoint(stage, step))
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
        """Remove the run: the files that a run has, and nothing else that may lie in the folder.

        What was asked goes last: until then the folder is known for a run, of the old request.
        """
        self.clear()
        many = [name for name in os.listdir(self.path) if _ONE_OF_MANY.fullmatch(name)]
        for folder in (ANALYSES, PICTURES):
            self._remove_folder(self.path / folder)
        for name in (*many, *FILES[1:], REQUEST):
            (self.path / name).unlink(missing_ok=True)

    def _remove_folder(self, folder: Path) -> None:
        """A folder of ours with all files in it; a link is not followed."""
        if folder.is_symlink() or not folder.is_dir():
            return
        for file in folder.iterdir():
            if file.is_symlink() or file.is_file():
                file.unlink()
        with suppress(OSError):  # somebody keeps a folder of his own in it
            folder.rmdir()

    def abandon(self) -> None:
        """As if a run that has done nothing had not been asked for."""
        for name in (HISTORY, REQUEST):
            (self.path / name).unlink(missing_ok=True)
        with suppress(OSError):  # not empty
            (self.path / "checkpoints").rmdir()
        self.leave_nothing()

    def results(self) -> list[str]:
        """The files of a run that are there."""
        return [name for name in FILES if (self.path / name).exists()]

    def clear(self) -> None:
        """Remove all checkpoints: the fit has ended and its model is written."""
        for file in (self.path / "checkpoints").iterdir():
            if _CHECKPOINT.fullmatch(file.name):
                file.unlink()
        sync_folder(self.path / "checkpoints")

    def _checkpoint(self, stage: str, step: int) -> Path:
        return self.path / "checkpoints" / f"{stage}-{step:06d}.h5"
