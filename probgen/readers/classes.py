"""Names of classes."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from probgen.contract.columns import RARE, Column

OF_NUMBERS = re.compile(r"(category of )?(bool(?:ean)?|(?:u?int|float|U?Int|Float)\d+)")  # types of columns

# the usual notation of a number
NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d*)?([eE][-+]?\d+)?", re.ASCII)


def name_of_class(value: Any) -> str:
    """Return the class name of a value. Whole numbers have no decimal point."""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)


def code_of(value: Any, column: Column, codes: dict[str, int]) -> int:
    """Return the class number of a value, or -1 for an unknown class. A number has the same class with and without a point: 2 and 2.0."""
    return next((codes[name] for name in _names(value, column) if name in codes), codes.get(RARE, -1))


def _names(value: Any, column: Column) -> Iterator[str]:
    """Yield possible class names of a value, the most likely first. A text counts as a number if the column had numbers."""
    yield name_of_class(value)
    of = OF_NUMBERS.fullmatch(column.dtype)
    text = (
        isinstance(value, str) and of is not None and not of[2].startswith("bool") and NUMBER.fullmatch(value)
    )
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if (text or number) and math.isfinite(float(value)) and not _is_changed(value):
        yield name_of_class(float(value))
        yield repr(float(value))


def _is_changed(value: Any) -> bool:
    """Return whether a conversion to float changes a whole number."""
    return str(value).lstrip("-").isdecimal() and int(float(value)) != int(value)
