"""A folder of parts as one lazy Dataset: a part is read when some of its rows are needed."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from probgen.errors import FileError
from probgen.store.files import checked_path, read_request, seal_of
from probgen.store.parts import NUMBER, OF, PARTS, named, part_file
from probgen.store.trees import read_dataset

_CUT = {"samples": "sample", "scores": "row"}  # the dimension that is divided into parts


def open_parts(folder: str | Path) -> xr.Dataset:
    """Open the samples of `sample_to` or the scores of `score_to` as one lazy Dataset.

    Selected values (`isel`) are read when they are needed, one part at a time. Each part that is read is
    compared with its checksum; a damaged part then raises `FileError`. The names of rows (`row`) are not an
    index.

    Args:
        folder: The folder that `sample_to` or `score_to` wrote.

    Returns:
        The Dataset, without values in memory.

    Raises:
        InputError: When the path is empty.
        FileError: When the folder is not complete.
    """
    path = checked_path(folder, "folder")
    if not (path / PARTS).is_file():
        raise FileError(f"{path} holds no {PARTS}. Give a folder that sample_to or score_to wrote.")
    request = read_request(path / PARTS)
    try:
        n, count, cut = int(request["n"]), int(request["parts"]), _CUT[request["group"]]
        starts: Sequence[int] = (
            request["starts"] if "starts" in request else range(0, n, request["part_size"])
        )
    except (KeyError, TypeError, ValueError) as error:
        raise FileError(f"{path / PARTS} does not describe its parts: {error}") from None
    if (
        len(starts) != count
        or not count
        or starts[0] != 0
        or any(a >= b for a, b in zip(starts, [*starts[1:], n], strict=True))
    ):
        raise FileError(f"{path / PARTS} does not describe where its {count} parts begin")
    for i in range(count):
        if not part_file(path, i).is_file():
            raise FileError(
                f"{path} lacks part {i} of {count}. Repeat the call that writes the folder; it writes the missing parts."
            )
    parts = _Parts(path, request["group"], cut, starts, n)
    first = parts.read(0)
    variables: dict[Any, xr.Variable] = {}
    coords: dict[Any, xr.Variable] = {}
    for name, variable in first.variables.items():
        if variable.dims[:1] == (cut,):
            lazy = indexing.LazilyIndexedArray(_Joined(parts, str(name)))
            variable = xr.Variable(variable.dims, lazy, variable.attrs, variable.encoding)
        (coords if name in first.coords else variables)[name] = variable
    attrs = {name: value for name, value in first.attrs.items() if name not in (NUMBER, OF)}
    return xr.Dataset(variables, xr.Coordinates(coords, indexes={}), attrs)


class _Parts:
    """The files of a folder; the part that was read last is kept in memory."""

    def __init__(self, path: Path, group: str, cut: str, starts: Sequence[int], n: int):
        self.path, self.group, self.cut, self.n = path, group, cut, n
        self.asked = seal_of(path / PARTS)
        self.borders = [*starts, n]
        self._kept: tuple[int, xr.Dataset] | None = None

    def read(self, i: int) -> xr.Dataset:
        """Return part i; raise `FileError` for a damaged part."""
        kept = self._kept
        if kept is not None and kept[0] == i:
            return kept[1]
        self._kept = None  # frees the part before the next part is read
        file, rows = part_file(self.path, i), self.borders[i + 1] - self.borders[i]
        found = read_dataset(file, self.group)
        if found.sizes.get(self.cut) != rows or named(found) != (i, self.asked):
            raise FileError(
                f"{file} is not part {i} of this request with {rows} rows. Remove it and repeat the call that wrote it."
            )
        self._kept = (i, found)
        return found

    def touched(self, rows: range | np.ndarray) -> Iterator[tuple[int, Any, Any]]:
        """Yield for rows by number: the part, the rows within the part, and their positions in the result."""
        if isinstance(rows, range) and rows.step > 0:
            done = 0
            while done < len(rows):
                i = bisect_right(self.borders, rows[done]) - 1
                end = min(len(rows), done - (rows[done] - self.borders[i + 1]) // rows.step)
                first, last = rows[done] - self.borders[i], rows[end - 1] - self.borders[i]
                yield i, slice(first, last + 1, rows.step), slice(done, end)
                done = end
            return
        numbers = np.asarray(rows)
        of = np.searchsorted(self.borders, numbers, side="right") - 1
        for i in np.unique(of):
            places = np.flatnonzero(of == i)
            yield int(i), numbers[places] - self.borders[i], places


def _kind_of(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the common dtype of the parts: object for texts, because their widths differ between parts."""
    return np.dtype(object) if dtype.kind in "UT" else dtype


class _Joined(BackendArray):
    """One variable of all parts, in xarray's interface for file arrays."""

    def __init__(self, parts: _Parts, name: str):
        first = parts.read(0)[name]
        self.parts, self.name, self.dims = parts, name, first.dims
        self.dtype, self.shape = _kind_of(first.dtype), (parts.n, *first.shape[1:])

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        """Return some of the values."""
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._get)

    def _get(self, key: tuple[Any, ...]) -> np.ndarray:
        first, rest = key[0], dict(zip(self.dims[1:], key[1:], strict=True))
        single = isinstance(first, int | np.integer)
        if single:
            first = slice(int(first), int(first) + 1)
        rows = range(self.parts.n)[first] if isinstance(first, slice) else np.asarray(first)
        out: np.ndarray | None = None
        for i, inner, places in self.parts.touched(rows):
            variable = self.parts.read(i)[self.name].variable
            if _kind_of(variable.dtype) != self.dtype:
                raise FileError(
                    f"{part_file(self.parts.path, i)}: {self.name} has dtype {variable.dtype}, but {self.dtype} in part 0. Read the parts one by one."
                )
            values = variable.isel({self.dims[0]: inner, **rest}).values
            out = np.empty((len(rows), *values.shape[1:]), self.dtype) if out is None else out
            out[places] = values
        if out is None:  # no rows
            out = (
                self.parts.read(0)[self.name]
                .variable.isel({self.dims[0]: slice(0), **rest})
                .values.astype(self.dtype)
            )
        return out[0] if single else out
