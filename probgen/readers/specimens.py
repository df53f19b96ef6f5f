"""Representative values of columns, for tables that are read part by part: `frames.read_columns` gives the same result as for all values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from probgen.readers.frames import FEW, MOST_RANGE


class Specimen:
    """Representative values of one column: its extremes, or its different values and their frequencies.

    Args:
        least: Least frequency of a value that is not rare.
        classes: Whether all values are classes, regardless of their type.
        numbering: Whether the column is left out if it numbers the rows.

    Attributes:
        rows: Number of rows added so far.
        gaps: Number of missing values.
    """

    def __init__(self, least: int = 1, *, classes: bool = False, numbering: bool = False):
        self.rows = self.gaps = self._first = 0
        self.classes, self._least = classes, least
        self._some: pd.Series[Any] | None = None  # extremes
        self._counts: dict[Any, int] = {}
        self._categories: dict[Any, None] = {}
        self._dtype: Any = None
        self._mark: Any = None  # mark of missing values, if all have one
        self._empty = False
        self._numbering = numbering

    def add(self, values: pd.Series[Any], known: pd.Series[Any]) -> None:
        """Add the next rows of the column.

        Args:
            values: The rows, in a nullable type.
            known: The rows that are not missing.
        """
        dtype, gaps = values.dtype, len(values) - len(known)
        if gaps:
            self._empty |= bool(values.isna().any())
            self._mark = values.drop(known.index).iloc[0]
        self._numbering = self._numbering and self._goes_on(values)
        self.rows, self.gaps, self._dtype = self.rows + len(values), self.gaps + gaps, dtype
        if isinstance(dtype, pd.CategoricalDtype):
            self._categories |= dict.fromkeys(dtype.categories)
            self._count(known.astype(dtype.categories.dtype))
        elif dtype == object and not self.classes:  # neither numbers nor texts: one value shows the type
            self._some = known.iloc[:1] if self._some is None or self._some.empty else self._some
        elif self.classes or pd.api.types.is_string_dtype(dtype):
            self._count(known)
        else:
            before = [] if self._some is None else [self._some]
            self._some = _extremes(pd.concat([*before, _extremes(known)], ignore_index=True))

    def _goes_on(self, values: pd.Series[Any]) -> bool:
        """Return whether the column numbers the rows so far."""
        if not pd.api.types.is_integer_dtype(values.dtype) or values.isna().any():
            return False
        numbers = values.to_numpy(dtype=np.int64)
        self._first = self._first if self.rows else int(numbers[0])
        return self._first in (0, 1) and np.array_equal(
            numbers, self._first + self.rows + np.arange(len(numbers))
        )

    def _count(self, known: pd.Series[Any]) -> None:
        codes, different = pd.factorize(known)
        for value, n in zip(different, np.bincount(codes, minlength=len(different)).tolist(), strict=True):
            if (
                value in self._counts or len(self._counts) <= MOST_RANGE
            ):  # beyond this number the exact count does not matter
                self._counts[value] = self._counts.get(value, 0) + n

    def values(self, n: int = 0) -> pd.Series[Any]:
        """Return the values, at least `n`, in the type of the whole column. Missing values are replaced with their mark if all have one."""
        if self._numbering:
            return pd.Series(np.arange(max(n, 1)), dtype=self._dtype)
        if self._counts:
            enough = min(sum(self._counts.values()), 2 * len(self._counts) + FEW + 1)
            known = self._repeated(enough if self.gaps else max(enough, n))
        else:
            known = [] if self._some is None else list(self._some)
            known += [] if self.gaps else [known[0]] * (n - len(known))
        gap = None if self._empty else self._mark
        known += [gap] * max(n - len(known), 1) if self.gaps else []
        if isinstance(self._dtype, pd.CategoricalDtype):
            kind = pd.CategoricalDtype(list(self._categories), self._dtype.ordered)
            return pd.Series(pd.Categorical(known, dtype=kind))
        return pd.Series(known, dtype=self._dtype)

    def _repeated(self, n: int) -> list[Any]:
        """Return each value as often as necessary to show that it is not rare, but at most as often as it occurs.

        Common values are repeated until there are `n` values in all.
        """
        counts = np.fromiter(self._counts.values(), dtype=np.int64)
        copies = np.minimum(counts, self._least)
        left = n - int(copies.sum())
        for i in np.argsort(-counts, kind="stable"):
            if left <= 0:
                break
            more = min(left, int(counts[i] - copies[i]))
            copies[i] += more
            left -= more
        return [value for value, k in zip(self._counts, copies.tolist(), strict=True) for _ in range(k)]


def _extremes(known: pd.Series[Any]) -> pd.Series[Any]:
    """Return the highest value, the second lowest value, and the lowest value, twice if it occurs several times."""
    if not len(known):
        return known
    values = known.to_numpy()
    at_low = np.flatnonzero(values == values.min())
    above = np.flatnonzero(values > values.min())
    ends = [values.argmax(), above[values[above].argmin()]] if len(above) else []
    return known.iloc[[*dict.fromkeys(map(int, ends)), *at_low[:2]]].reset_index(drop=True)
