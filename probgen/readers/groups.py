"""Rows on disk in groups that are decoded as a whole: chunks of HDF5 and Zarr, row groups of Parquet."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

LAZY = 256 << 20  # bytes above which data are read slice by slice, and are never in memory as a whole
LEAST = 1 << 20  # least bytes per group: several smaller chunks form one group


class Groups(BackendArray):
    """An array with its first dimension in groups.

    The last decoded group stays in memory, so that reading rows in order decodes each group once.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        ends: np.ndarray,
        decode: Callable[[int], np.ndarray],
    ):
        """Describe the groups.

        Args:
            shape: Shape of the array.
            dtype: Type of the values.
            ends: Row at which each group ends (group,).
            decode: Function that returns the values of a group, given its number.
        """
        self.shape, self.dtype = shape, dtype
        self._ends, self._decode = ends, decode
        self._kept: tuple[int, np.ndarray] | None = None

    def __getitem__(self, key: indexing.ExplicitIndexer) -> np.ndarray:
        found: np.ndarray = indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )
        return found

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        """Read values by an outer index: a number, a slice, or an array of numbers for each dimension."""
        first, rest = key[0], key[1:]
        one = not isinstance(first, slice | np.ndarray)
        rows = range(self.shape[0])[first] if isinstance(first, slice) else np.atleast_1d(first)
        found = self._in_order(rows) if isinstance(rows, range) and rows.step == 1 else self._some(rows)
        for axis, part in enumerate(rest, 1):
            if not isinstance(part, slice | np.ndarray):
                part = np.array([part])
            found = found[(slice(None),) * axis + (part,)]
        gone = (one, *(not isinstance(part, slice | np.ndarray) for part in rest))
        return found[tuple(0 if number else slice(None) for number in gone)]

    def _in_order(self, rows: range) -> np.ndarray:
        out = np.empty((len(rows), *self.shape[1:]), self.dtype)
        done = 0
        while done < len(rows):
            row = rows.start + done
            group = int(np.searchsorted(self._ends, row, side="right"))
            stop = min(rows.stop, int(self._ends[group]))
            start = self._start(group)
            out[done : done + stop - row] = self._group(group)[row - start : stop - start]
            done += stop - row
        return out

    def _some(self, rows: Any) -> np.ndarray:
        rows = np.asarray(rows)
        out = np.empty((len(rows), *self.shape[1:]), self.dtype)
        of = np.searchsorted(self._ends, rows, side="right")
        for group in np.unique(of):
            at = of == group
            out[at] = self._group(int(group))[rows[at] - self._start(int(group))]
        return out

    def _start(self, group: int) -> int:
        return int(self._ends[group - 1]) if group else 0

    def _group(self, group: int) -> np.ndarray:
        if self._kept is None or self._kept[0] != group:
            self._kept = None  # free the old group before the new one is decoded
            self._kept = group, self._decode(group)
        return self._kept[1]


def variable_of(groups: Groups, dims: tuple[str, ...], attrs: dict[str, Any] | None = None) -> xr.Variable:
    """Return a variable that is read only when its values are used."""
    return xr.Variable(dims, indexing.LazilyIndexedArray(groups), attrs)


def in_groups(dataset: xr.Dataset, path: Path) -> xr.Dataset:
    """Return a lazy Dataset with chunks that are decoded as groups, once each if rows are read in order.

    A small Dataset, and variables without chunks, are unchanged.
    """
    if dataset.nbytes <= LAZY:
        return dataset
    return dataset.assign(
        {
            name: variable if (grouped := _in_groups(variable.variable, path)) is None else grouped
            for name, variable in dataset.data_vars.items()
        }
    )


def _in_groups(variable: xr.Variable, path: Path) -> xr.Variable | None:
    chunks = variable.encoding.get("chunksizes") or variable.encoding.get("chunks")
    if not chunks or not variable.size:
        return None
    rows, row_bytes = variable.shape[0], max(1, variable.nbytes // variable.shape[0])
    each = int(chunks[0]) * max(1, LEAST // (int(chunks[0]) * row_bytes))
    say_large(path, min(each, rows) * row_bytes, "chunks", "of fewer rows")
    ends = np.minimum(np.arange(each, rows + each, each), rows)

    def decode(group: int) -> np.ndarray:
        return np.asarray(variable[group * each : (group + 1) * each].values)

    grouped = variable_of(
        Groups(variable.shape, variable.dtype, ends, decode), tuple(map(str, variable.dims)), variable.attrs
    )
    grouped.encoding = variable.encoding
    return grouped


def say_large(path: Path, nbytes: int, what: str, better: str) -> None:
    """Warn about groups that are larger than the limit for data in memory."""
    if nbytes > LAZY:
        warnings.warn(
            f"{path} has {what} of {nbytes >> 20} MiB, and reading one row loads a whole group. Write the file with {what} {better}.",
            stacklevel=3,
        )
