"""The folder of a run: its writer, its request, its journal, its checkpoints and its results."""

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
# of a recipe: some of the scored rows, its page, and what its results lack in other files, written at its end
ROWS, REPORT, COMPLETE = "rows.h5", "report.html", "complete.json"
# the folders for results of analyses and for figures of the family
ANALYSES, PICTURES = "analyses", "pictures"
FILES = (REQUEST, MODEL, HISTORY, SAMPLES, SCORES, ROWS, REPORT, COMPLETE, "samples.png", "history.png")
_ONE_OF_MANY = re.compile(r"history-[A-Za-z0-9_-]+\.png|samples-\d+\.wav")
_CHECKPOINT = re.compile(r"(?P<stage>[A-Za-z0-9_-]+)-(?P<step>\d{6,})\.h5")


def model_file(path: Path) -> Path:
    """Return the file of a fitted model in a run folder, or the path itself if it is a file.

    Args:
        path: A run folder or a file.

    Returns:
        The path of the file.

    Raises:
        FileError: When the path does not exist, or when the folder has no fitted model.
    """
    if not path.exists():
        raise FileError(
            f"{path}: there is no such run. Give the folder that probgen fit or probgen run wrote."
        )
    if path.is_dir() and not (path / MODEL).exists():
        raise FileError(
            f"{path} holds no fitted model ({MODEL}). If the fit was interrupted, resume it with --resume."
        )
    return path / MODEL if path.is_dir() else path


def check_folder(path: Path) -> None:
    """Check that the path of a run is not a file; raise `RunError` if it is."""
    if path.exists() and not path.is_dir():
        raise RunError(f"{path} is a file. Give a folder for the run.")


class RunFolder(Claim):
    """A run on disk, held by one writer as a context manager.

    Args:
        path: The folder of the run.

    Raises:
        RunError: When another process holds the folder, or when the folder cannot be written.
    """

    def entered(self) -> None:
        """Create the folder for checkpoints."""
        super().entered()
        (self.path / "checkpoints").mkdir(exist_ok=True)

    # the request

    def write_request(self, request: dict[str, Any]) -> None:
        """Write the resolved request to `recipe.toml`."""
        write_request(self.path / REQUEST, request)

    def read_request(self) -> dict[str, Any] | None:
        """Return the request of the run, or None in a new folder."""
        return read_request(self.path / REQUEST) if (self.path / REQUEST).exists() else None

    # checkpoints

    def save(self, stage: str, step: int, structure: Any, arrays: list[Any], *, ended: bool) -> None:
        """Write a checkpoint and remove older ones; two checkpoints of an unfinished stage remain."""
        from probgen.store.trees import (
            write_arrays,
        )  # here, because refusing a folder needs neither h5py nor xarray

        write_arrays(self._checkpoint(stage, step), structure, arrays)
        for old in sorted(self.steps(stage))[: -1 if ended else -2]:
            self._checkpoint(stage, old).unlink(missing_ok=True)

    def restore(self, stage: str) -> bytes | None:
        """Return the content of the newest readable checkpoint of a stage, for `arrays_of`.

        Args:
            stage: The name of the stage.

        Returns:
            The content of the checkpoint; None if there is no checkpoint.

        Raises:
            FileError: When there are checkpoints and none is readable.
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
        """Return the steps of a stage that have a checkpoint."""
        matches = map(_CHECKPOINT.fullmatch, os.listdir(self.path / "checkpoints"))
        return [int(match["step"]) for match in matches if match and match["stage"] == stage]

    def erase(self) -> None:
        """Remove the files of the run, and no other files in the folder.

        The request is removed last: until then the folder is recognized as a run with the old request.
        """
        self.clear()
        many = [name for name in os.listdir(self.path) if _ONE_OF_MANY.fullmatch(name)]
        for folder in (ANALYSES, PICTURES):
            self._remove_folder(self.path / folder)
        for name in (*many, *FILES[1:], REQUEST):
            (self.path / name).unlink(missing_ok=True)

    def _remove_folder(self, folder: Path) -> None:
        """Remove a folder of the run with all its files; links are not followed."""
        if folder.is_symlink() or not folder.is_dir():
            return
        for file in folder.iterdir():
            if file.is_symlink() or file.is_file():
                file.unlink()
        with suppress(OSError):  # the folder contains another folder, which stays
            folder.rmdir()

    def abandon(self) -> None:
        """Remove the traces of a run that has done nothing."""
        for name in (HISTORY, REQUEST):
            (self.path / name).unlink(missing_ok=True)
        with suppress(OSError):  # not empty
            (self.path / "checkpoints").rmdir()
        self.leave_nothing()

    def results(self) -> list[str]:
        """Return the names of the files of a run that exist."""
        return [name for name in FILES if (self.path / name).exists()]

    def clear(self) -> None:
        """Remove all checkpoints, after the fit has ended and its model is written."""
        for file in (self.path / "checkpoints").iterdir():
            if _CHECKPOINT.fullmatch(file.name):
                file.unlink()
        sync_folder(self.path / "checkpoints")

    def _checkpoint(self, stage: str, step: int) -> Path:
        return self.path / "checkpoints" / f"{stage}-{step:06d}.h5"
