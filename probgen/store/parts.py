"""Arrays that are too large for one file: a folder of files, each with a checksum, and the request for them.

`parts.toml` is written first and describes the request. The names of the parts follow from their numbers, so
that no path is read from a file. A part that is missing or damaged is written again.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from probgen.errors import FileError, InputError, RunError
from probgen.store.claim import Claim
from probgen.store.files import read_request, seal_of, without_none, write_request

if TYPE_CHECKING:
    import xarray as xr

PARTS = "parts.toml"
NUMBER, OF = "part", "request_sha256"  # attributes of a part


class Parts(Claim):
    """A folder of `count` parts of samples or scores, held by one writer.

    Args:
        path: The folder.
        group: "samples" or "scores".
        request: The request for the parts, by name.
        count: The number of parts.

    Raises:
        InputError: When the folder holds the parts of another request.
        RunError: When another process holds the folder, or when the folder cannot be written.
    """

    def __init__(self, path: Path, group: str, request: dict[str, Any], count: int):
        super().__init__(path)
        self.group, self.count = group, count
        self.request = without_none({**request, "group": group, "parts": count})

    def entered(self) -> None:
        """Compare the request with the request of the folder, or write it to a new folder."""
        super().entered()
        asked = self.path / PARTS
        if not asked.exists():
            others = sorted(p.name for p in self.path.iterdir() if not p.name.startswith("."))
            if others:
                raise InputError(
                    f"{self.path} holds {others[0]!r} and no {PARTS}. Choose an empty or a new folder."
                )
            write_request(asked, self.request)
            return
        before = read_request(asked)
        if before.get("group") != self.group:
            raise InputError(f"{self.path} holds no {self.group}. Choose another folder.")
        for name in sorted({*before, *self.request}):
            if before.get(name) != self.request.get(name):
                raise InputError(
                    f"{self.path} holds {self.group} with {name} = {before.get(name)!r}, but {name} = {self.request.get(name)!r} was requested. "
                    "Use the same value, or choose another folder."
                )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not any(file.exists() for file in self.files):  # without parts, no trace of the request remains
            with suppress(OSError):
                (self.path / PARTS).unlink()
            self.leave_nothing()
        super().__exit__(kind, error, trace)

    @property
    def files(self) -> list[Path]:
        """The paths of all parts, in order."""
        return [part_file(self.path, i) for i in range(self.count)]

    @property
    def place(self) -> tuple[str, str]:
        """The folder and the checksum of the request, for another process that writes parts."""
        return str(self.path.resolve()), str(seal_of(self.path / PARTS))

    def has(self, i: int) -> bool:
        """Return whether a part exists, is complete, and is part i of this request."""
        from probgen.store.trees import read_dataset  # here, because inspecting a folder does not need xarray

        try:
            found = read_dataset(part_file(self.path, i), self.group)
        except FileError:
            return False
        return named(found) == (i, self.place[1])

    def write(self, i: int, dataset: xr.Dataset) -> None:
        """Write one part; raise `RunError` on failure."""
        write_part(self.place, self.group, i, dataset)

    def received(self, i: int, digest: str) -> None:
        """Compare the file with the checksum that another process reports; raise `RunError` if not equal."""
        if seal_of(part_file(self.path, i)) != digest:
            raise RunError(
                f"{part_file(self.path, i)} was written to another file system. Give the workers access to the file system of this process."
            )


def named(part: xr.Dataset) -> tuple[object, object]:
    """Return the number of a part, and the checksum of the request that it belongs to."""
    return part.attrs.get(NUMBER), part.attrs.get(OF)


def part_file(folder: Path, i: int) -> Path:
    """Return the path of part i in a folder."""
    return folder / f"part-{i:06d}.h5"


def write_part(place: tuple[str, str], group: str, i: int, dataset: xr.Dataset) -> str:
    """Write part i to a folder that is held by this process or, for a worker, by its main process.

    Args:
        place: The property `Parts.place`.
        group: "samples" or "scores".
        i: The number of the part.
        dataset: The content of the part.

    Returns:
        The checksum of the file.

    Raises:
        RunError: When the file cannot be written, or when the folder does not hold this request (any more).
    """
    from probgen.store.trees import write_dataset  # here, because inspecting a folder does not need xarray

    folder, asked = Path(place[0]), place[1]
    if seal_of(folder / PARTS) != asked:
        raise RunError(
            f"{folder} on {os.uname().nodename} is not the folder of this request. Give the workers access to the file system of the main "
            "process."
        )
    write_dataset(part_file(folder, i), group, dataset.assign_attrs({NUMBER: i, OF: asked}))
    return str(seal_of(part_file(folder, i)))
