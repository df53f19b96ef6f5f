"""Arrays that are too large for one file: a folder of files, each whole and sealed, and what was asked for.

`parts.toml` is written first and says what the parts are parts of; the names of the parts follow from their numbers,
so that no path is ever read from a file. A part that is missing or damaged is one to be made again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import xarray as xr

from probgen.errors import FileError, InputError
from probgen.store.claim import Claim
from probgen.store.files import read_file, read_request, without_none, write_request
from probgen.store.trees import write_dataset

PARTS = "parts.toml"


class Parts(Claim):
    """A folder of `count` parts, held by one writer. Errors: `InputError` where it is of another request; `RunError`."""

    def __init__(self, path: Path, request: dict[str, Any], count: int):
        super().__init__(path)
        self.request, self.count = without_none({**request, "parts": count}), count

    def __enter__(self) -> Self:
        super().__enter__()
        try:
            self._agree()
            self.sweep()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _agree(self) -> None:
        asked = self.path / PARTS
        if not asked.exists():
            write_request(asked, self.request)
            return
        before = read_request(asked)
        for name in sorted({*before, *self.request}):
            if before.get(name) != self.request.get(name):
                raise InputError(
                    f"{self.path} holds draws with {name} = {before.get(name)!r}, not {self.request.get(name)!r}: "
                    "ask for the same, or choose another folder"
                )

    @property
    def files(self) -> list[Path]:
        """All parts, in order."""
        return [self._file(i) for i in range(self.count)]

    def has(self, i: int) -> bool:
        """Whether a part is there, and whole."""
        try:
            read_file(self._file(i))
        except FileError:
            return False
        return True

    def write(self, i: int, group: str, dataset: xr.Dataset) -> None:
        """Write one part. Errors: `RunError`."""
        write_dataset(self._file(i), group, dataset.assign_attrs(part=i))

    def _file(self, i: int) -> Path:
        return self.path / f"part-{i:06d}.h5"
