"""Arrays that are too large for one file: a folder of files, each whole and sealed, and what was asked for.

`parts.toml` is written first and says what the parts are parts of; the names of the parts follow from their numbers,
so that no path is ever read from a file. A part that is missing or damaged is one to be made again.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from probgen.errors import FileError, InputError, RunError
from probgen.store.claim import Claim
from probgen.store.files import read_file, read_request, seal_of, without_none, write_request

if TYPE_CHECKING:
    import xarray as xr

PARTS = "parts.toml"


class Parts(Claim):
    """A folder of `count` parts of `group`, samples or scores, held by one writer.

    Errors: `InputError` where it is of another request; `RunError`.
    """

    def __init__(self, path: Path, group: str, request: dict[str, Any], count: int):
        super().__init__(path)
        self.group, self.count = group, count
        self.request = without_none({**request, "group": group, "parts": count})

    def entered(self) -> None:
        """Agree with what was asked for before, or say what is asked for."""
        super().entered()
        asked = self.path / PARTS
        if not asked.exists():
            others = sorted(p.name for p in self.path.iterdir() if not p.name.startswith("."))
            if others:
                raise InputError(
                    f"{self.path} holds {others[0]!r} and no {PARTS}: choose a folder of its own"
                )
            write_request(asked, self.request)
            return
        before = read_request(asked)
        if before.get("group") != self.group:
            raise InputError(f"{self.path} holds no {self.group}: choose another folder")
        what = "draws" if self.group == "samples" else self.group
        for name in sorted({*before, *self.request}):
            if before.get(name) != self.request.get(name):
                raise InputError(
                    f"{self.path} holds {what} with {name} = {before.get(name)!r}, not {self.request.get(name)!r}: "
                    "ask for the same, or choose another folder"
                )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not any(
            file.exists() for file in self.files
        ):  # nothing was drawn: as if it had not been asked for
            with suppress(OSError):
                (self.path / PARTS).unlink()
            self.leave_nothing()
        super().__exit__(kind, error, trace)

    @property
    def files(self) -> list[Path]:
        """All parts, in order."""
        return [part_file(self.path, i) for i in range(self.count)]

    @property
    def place(self) -> tuple[str, str]:
        """Where another process writes parts to: the folder, and the checksum of what was asked for."""
        return str(self.path.resolve()), str(seal_of(self.path / PARTS))

    def has(self, i: int) -> bool:
        """Whether a part is there, and whole."""
        try:
            read_file(part_file(self.path, i))
        except FileError:
            return False
        return True

    def write(self, i: int, dataset: xr.Dataset) -> None:
        """Write one part. Errors: `RunError`."""
        write_part(self.place, self.group, i, dataset)

    def received(self, i: int, digest: str) -> None:
        """Hold what another process says that it wrote against what is there. Errors: `RunError`."""
        if seal_of(part_file(self.path, i)) != digest:
            raise RunError(
                f"{part_file(self.path, i)} was written elsewhere: workers need the file system of this process"
            )


def part_file(folder: Path, i: int) -> Path:
    """Where part i of a folder is."""
    return folder / f"part-{i:06d}.h5"


def write_part(place: tuple[str, str], group: str, i: int, dataset: xr.Dataset) -> str:
    """Write part i to a folder that is held by this process, or by the one that this one works for; its checksum.

    place  `Parts.place`
    Errors: `RunError`, also where the folder is not of this request (any more).
    """
    from probgen.store.trees import write_dataset  # xarray: to look at a folder needs none

    folder, asked = Path(place[0]), place[1]
    if seal_of(folder / PARTS) != asked:
        raise RunError(
            f"{folder} on {os.uname().nodename} is not the folder that these parts were asked for in: workers need the file system of "
            "the process that they work for"
        )
    write_dataset(part_file(folder, i), group, dataset.assign_attrs(part=i))
    return str(seal_of(part_file(folder, i)))
