"""Arrays that are too large for one file: a folder of files, each whole and sealed, and what was asked for.

`parts.toml` is written first and says what the parts are parts of; the names of the parts follow from their numbers,
so that no path is ever read from a file. A part that is missing or damaged is one to be made again.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from probgen.errors import FileError, InputError
from probgen.store.claim import Claim
from probgen.store.files import read_file, read_request, without_none, write_request

if TYPE_CHECKING:
    import xarray as xr

PARTS = "parts.toml"


class Parts(Claim):
    """A folder of `count` parts, held by one writer. Errors: `InputError` where it is of another request; `RunError`."""

    def __init__(self, path: Path, request: dict[str, Any], count: int):
        super().__init__(path)
        self.request, self.count = without_none({**request, "parts": count}), count

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
        for name in sorted({*before, *self.request}):
            if before.get(name) != self.request.get(name):
                raise InputError(
                    f"{self.path} holds draws with {name} = {before.get(name)!r}, not {self.request.get(name)!r}: "
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
        return [self._part(i) for i in range(self.count)]

    def has(self, i: int) -> bool:
        """Whether a part is there, and whole."""
        try:
            read_file(self._part(i))
        except FileError:
            return False
        return True

    def write(self, i: int, group: str, dataset: xr.Dataset) -> None:
        """Write one part. Errors: `RunError`."""
        from probgen.store.trees import write_dataset  # xarray: to look at a folder needs none

        write_dataset(self._part(i), group, dataset.assign_attrs(part=i))

    def _part(self, i: int) -> Path:
        return self.path / f"part-{i:06d}.h5"
