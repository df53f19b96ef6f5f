"""Data frames: what each column is, and what it is used as; then arrays.

A guess that could be wrong is refused, with the option that decides it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from fnmatch import fnmatchcase
from shlex import quote
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from probgen.contract.columns import RARE, Column
from probgen.errors import InputError, did_you_mean
from probgen.readers.arrow import in_own_types
from probgen.readers.classes import OF_NUMBERS, code_of, name_of_class
from probgen.readers.described import attributes_of, marked

KINDS = ("real", "binary", "count", "integer", "category")
ROW_NAMES = ("rownames", "Unnamed: 0", "index", "")  # of a first column that numbers the rows
MOST_CLASSES = 1000
MOST_RANGE = 1 << 16  # of classes, and of whole numbers that have a probability each
FEW = 20  # rows of which all may have different classes
DAY = 86_400_000_000  # microseconds
EXACT = 1 << 53  # whole numbers up to here are exact in float64
YES_NO = ("False", "True")

DAY_FIRST = re.compile(r"\d{1,2}([./-])\d{1,2}\1(\d{2}|\d{4})([ T]\d{1,2}:\d{2}(:\d{2})?)?")  # or the month
WRITTEN = re.compile(
    r"[-+]?\d{1,3}([.,'\s]\d{2,3})*([.,]\d+)?([dD][-+]?\d+)?"
)  # a number with marks of thousands
WITH_SIGN = re.compile(r"([^\w\s.,+-]{1,2})?\s?[-+]?[\d.,]*\d\s?([^\d\s.,%]{1,3})?")  # as $ 1.50, or 20 kg
PERCENT = re.compile(r"\s*[-+]?\d+([.,]\d+)?\s*%\s*")

Use = Literal["feature", "label", "weight", "index", "left out"]


@dataclass(frozen=True)
class Choices:
    """What you say of a table.

    columns  names for the columns of a file that has none; ("none",) numbers them, ("header",) takes the first line for them
    sep, decimal, encoding  how a file is written: what parts columns, the decimal mark, and the encoding of the text
    na      further marks of gaps
    drop    columns that are left out
    label, weight, index  the column that is the label, that weighs rows, that names them
    rare    classes that fewer rows have become one, `(rare)`, as do those that a model has not seen
    kind    by name, or by a pattern as `pixel*`: real, binary, count, integer, category, or the classes in their order, `low < mid < high`
    """

    columns: Sequence[str] | None = None
    sep: str | None = None
    decimal: str | None = None
    encoding: str | None = None
    na: Sequence[str] = ()
    drop: Sequence[str] = ()
    label: str | None = None
    weight: str | None = None
    index: str | None = None
    rare: int | None = None
    kind: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.decimal not in (None, ".", ","):
            raise InputError(f"decimal = {self.decimal!r}: a point or a comma is needed")
        if self.sep is not None and len(self.sep) != 1:
            raise InputError(f"sep = {self.sep!r}: one character is needed")
        if self.rare is not None and self.rare < 1:
            raise InputError(f"rare = {self.rare}: a number of rows from 1 is needed")
        for name, kind in self.kind.items():
            if kind not in KINDS and "<" not in kind:
                raise InputError(
                    f"kind: {name} = {kind!r}; {did_you_mean(kind, KINDS)}, or ordered classes, 'low < mid < high'"
                )

    @staticmethod
    def of(values: Mapping[str, Any] | None) -> Choices:
        """From options by name; a text where several are allowed is one of them. Errors: `InputError`."""
        several, known = ("columns", "na", "drop"), [each.name for each in fields(Choices)]
        for name in values or {}:
            if name not in known:
                raise InputError(f"table: {name!r} is no option; {did_you_mean(name, known)}")
        given = {name: value for name, value in (values or {}).items() if value is not None}
        for name, value in given.items():
            if name in several:
                value = [value] if isinstance(value, str | int | float) else value
                if not isinstance(value, Sequence):
                    raise InputError(f"table: {name} = {value!r}: a list of texts is needed")
                given[name] = tuple(map(str, value))
            elif (
                type(value) is not int
                if name == "rare"
                else not isinstance(value, Mapping if name == "kind" else str)
            ):
                what = {"kind": "names and kinds", "rare": "a whole number"}.get(name, "a text")
                raise InputError(f"table: {name} = {value!r}: {what} is needed")
        return Choices(**given)

    def first(self) -> str:
        """The name of an option that is chosen; "" where none is."""
        return next(
            (each.name for each in fields(self) if getattr(self, each.name) not in (None, (), {})), ""
        )

    def dropped(self, names: Sequence[str]) -> list[str]:
        """The columns that are left out: each entry is a name, or several with commas between them."""
        parts = (
            [entry] if entry in names else [each.strip() for each in entry.split(",")] for entry in self.drop
        )
        return [each for part in parts for each in part]

    def kind_of(self, name: str) -> str | None:
        """What is said of a column: by its name, else by the first pattern that it matches."""
        if name in self.kind:
            return self.kind[name]
        return next((kind for pattern, kind in self.kind.items() if fnmatchcase(name, pattern)), None)


AS_THEY_ARE = Choices()


@dataclass(frozen=True)
class Read:
    """What was made of one column. column: its values, where it is a feature or a label; why: in words, where it was a guess."""

    name: str
    use: Use
    gaps: int = 0
    column: Column | None = None
    why: str = ""


def from_frame(
    frame: pd.DataFrame,
    name: str = "the table",
    choices: Choices = AS_THEY_ARE,
    like: Sequence[Column] = (),
) -> xr.Dataset:
    """A table as `x (row, feature)`, with `label (row)` and `weight (row)` where there are any.

    like  columns of a model: those of the same name are read as they were. Errors: `InputError`.
    """
    names: object = frame.columns
    numbered = isinstance(names, pd.RangeIndex) and names.equals(pd.RangeIndex(len(names)))  # years are names
    if numbered and not like and choices == AS_THEY_ARE:
        try:
            return _of_array(frame)
        except (TypeError, ValueError):
            pass  # columns without names that are no numbers
    frame = with_gaps(in_own_types(named(frame)), choices.na)
    reads = read_columns(frame, name, choices, like)
    features = [each for each in reads if each.use == "feature"]
    if not features:
        raise InputError(f"{name} has no column to model")
    columns = [each.column for each in features if each.column is not None]
    values = [numbers(frame[each.name], column) for each, column in zip(features, columns, strict=True)]
    variables: dict[str, Any] = {"x": (("row", "feature"), _stacked(values, columns), attributes_of(columns))}
    for each in reads:
        if each.use == "label" and each.column is not None:
            codes = label_of(numbers(frame[each.name], each.column))
            variables["label"] = ("row", codes, described_label(each.column))
        if each.use == "weight":
            variables["weight"] = ("row", numbers(frame[each.name], Column(each.name, "real")))
    coords: dict[str, Any] = {"feature": [column.name for column in columns]}
    index = next((frame[each.name] for each in reads if each.use == "index"), None)
    called = {"row": ("row", names_of_rows(index), {"name": str(index.name)})} if index is not None else {}
    coords |= called or index_of(frame)
    return marked(xr.Dataset(variables, coords))


def label_of(codes: np.ndarray) -> np.ndarray:
    """Classes by number as labels, int64: -1 for a gap."""
    return np.where(np.isfinite(codes), codes, -1).astype(np.int64)


def described_label(column: Column) -> dict[str, Any]:
    """The attributes of a label."""
    return {"levels": column.levels, "symbols": list(column.classes)}


def named(frame: pd.DataFrame) -> pd.DataFrame:
    """The same with texts for names."""
    every: list[object] = list(frame.columns)
    names = [" ".join(map(str, name)) if isinstance(name, tuple) else str(name) for name in every]
    return frame.set_axis(names, axis=1)


def _of_array(frame: pd.DataFrame) -> xr.Dataset:
    """A frame that was made of an array, and whose columns have no names, as that array. Errors: `TypeError`, `ValueError`."""
    kinds = {np.dtype(getattr(dtype, "numpy_dtype", dtype)).kind for dtype in frame.dtypes}
    if not kinds <= set("biuf") or not frame.size:
        raise TypeError("no numbers")
    whole = len(kinds) == 1 and not frame.isna().to_numpy().any()
    dtypes = [np.dtype(getattr(dtype, "numpy_dtype", dtype)) for dtype in frame.dtypes]
    x = (
        frame.to_numpy(dtype=np.result_type(*dtypes))
        if whole
        else frame.to_numpy(dtype=np.float64, na_value=np.nan)
    )
    return xr.Dataset({"x": (("row", "feature"), x)}, index_of(frame))


def index_of(frame: pd.DataFrame) -> dict[str, Any]:
    """What rows are called, if it is more than their numbers."""
    numbered = frame.index.name is None and frame.index.equals(pd.RangeIndex(len(frame)))
    if frame.index.nlevels > 1 or numbered:
        return {}
    attrs = {"name": str(frame.index.name)} if frame.index.name is not None else {}
    return {"row": ("row", names_of_rows(frame.index), attrs)}


def read_columns(
    frame: pd.DataFrame,
    name: str,
    choices: Choices,
    like: Sequence[Column] = (),
    counted: Mapping[str, int] | None = None,
) -> list[Read]:
    """What is made of each column, in their order. counted: gaps, where the frame is of specimens (`readers.specimens`). Errors: `InputError`."""
    names = [str(column) for column in frame.columns]
    if twice := sorted({n for n in names if names.count(n) > 1}):
        raise InputError(
            f"{name} has two columns {twice[0]!r}: names must differ; give other names (--columns)"
        )
    _check_names(names, name, choices)
    if not len(frame):
        raise InputError(f"{name} has no rows")
    known = {column.name: column for column in like}
    if choices.rare and like and not any(RARE in column.classes for column in like):
        raise InputError(f"rare = {choices.rare}: the classes of a model are those of its fit, leave it out")
    dropped = choices.dropped(names)
    reads, problems = [], []
    for i, column in enumerate(names):
        values = frame[column]
        gaps = int(values.isna().sum()) if counted is None else counted[column]
        use, why = _use_of(column, i, values, choices, known, dropped)
        if use == "feature" or use == "label":
            as_class = "category" if use == "label" else None
            asked = choices.kind_of(column)
            if use == "label" and asked in KINDS and asked != "category":
                raise InputError(
                    f"{name}: the label {column!r} has classes, and kind = {asked!r} is none of them: leave it out"
                )
            found = _column(values, column, choices.kind_of(column) or as_class, known.get(column))
            if choices.rare and use == "feature" and column not in known and isinstance(found, Column):
                found = _without_rare(found, values, choices.rare)
            if isinstance(found, str):
                problems.append((column, found))
            else:
                reads.append(Read(column, use, gaps, found, why))
        else:
            reads.append(Read(column, use, gaps, None, why))
    if problems:
        raise InputError(_said(name, problems))
    categories = [
        read for read in reads if read.use == "feature" and read.column and read.column.support == "token"
    ]
    if choices.rare and not like and not categories:
        raise InputError(f"rare = {choices.rare}: {name} has no column of classes")
    return reads


def with_gaps(frame: pd.DataFrame, marks: Sequence[str]) -> pd.DataFrame:
    """The same without the values that mark gaps, be they numbers or texts."""
    numbers = []
    for mark in marks:
        with suppress(ValueError):
            numbers.append(float(mark))

    def without(column: pd.Series[Any]) -> pd.Series[Any]:
        if pd.api.types.is_bool_dtype(column.dtype):
            hits = column.astype("str").isin(marks)
        else:
            numeric = pd.api.types.is_numeric_dtype(column.dtype)
            hits = column.isin(numbers if numeric else [*marks, *numbers])
        if not hits.any():
            return column
        whole = pd.api.types.is_integer_dtype(column.dtype) or pd.api.types.is_bool_dtype(column.dtype)
        return (column.convert_dtypes() if whole else column).mask(hits)

    if not marks:
        return frame
    columns = [without(frame.iloc[:, i]) for i in range(frame.shape[1])]
    return pd.concat(columns, axis=1).set_axis(frame.columns, axis=1)


def _check_names(names: list[str], where: str, choices: Choices) -> None:
    roles = {"label": choices.label, "weight": choices.weight, "index": choices.index}
    asked = [(role, column) for role, column in roles.items() if column is not None]
    asked += [("drop", column) for column in choices.dropped(names)]
    for role, column in asked:
        if column not in names:
            raise InputError(f"{where} has no column {column!r} ({role}); {did_you_mean(column, names)}")
        if sum(other == column for _, other in asked) > 1:
            uses = ", ".join(role for role, other in asked if other == column)
            raise InputError(f"{where}: column {column!r} is asked for twice, as {uses}")
    for pattern in choices.kind:
        if not any(pattern == column or fnmatchcase(column, pattern) for column in names):
            raise InputError(f"{where} has no column {pattern!r} (kind); {did_you_mean(pattern, names)}")


def _use_of(
    column: str,
    i: int,
    values: pd.Series[Any],
    choices: Choices,
    known: Mapping[str, Column],
    dropped: Sequence[str],
) -> tuple[Use, str]:
    """What a column is used as, and why where nobody has said it."""
    roles: dict[str | None, Use] = {
        choices.label: "label",
        choices.weight: "weight",
        choices.index: "index",
        **dict.fromkeys(dropped, "left out"),
    }
    if column in roles:
        return roles[column], ""
    if column in known or choices.kind_of(column) is not None:
        return "feature", ""
    if i == 0 and column in ROW_NAMES and choices.index is None and _counts_rows(values):
        return "left out", "it numbers the rows"
    if column == "label" and choices.label is None:
        return "label", "by its name"
    if column == "weight" and choices.weight is None:
        raise InputError(
            "column 'weight' may weigh rows (--weight weight), or be a column as others (--kind weight=real): say which"
        )
    return "feature", ""


def _counts_rows(values: pd.Series[Any]) -> bool:
    if not pd.api.types.is_integer_dtype(values.dtype) or values.isna().any():
        return False
    numbers = values.to_numpy(dtype=np.int64)
    return bool((np.diff(numbers) == 1).all() and numbers[0] in (0, 1))


def _column(values: pd.Series[Any], column: str, kind: str | None, known: Column | None) -> Column | str:
    """What a column is, or what has to be said of it."""
    dtype = str(values.dtype)
    if known is not None:
        return _as_known(known, kind)
    if values.isna().all():
        return "has no value: leave it out (--drop {0})"
    if kind is not None:
        return _as_asked(values, column, kind, dtype)
    if isinstance(values.dtype, pd.CategoricalDtype):
        classes = tuple(map(name_of_class, values.cat.categories))
        if len(set(classes)) != len(classes):
            return "has two classes of one name: give them other names, or leave it out (--drop {0})"
        of = f"category of {values.cat.categories.dtype}"
        of = of if OF_NUMBERS.fullmatch(of) else "category"
        return Column(column, "token", len(classes), 0, classes, bool(values.cat.ordered), dtype=of)
    if pd.api.types.is_bool_dtype(values.dtype):
        return Column(column, "binary", classes=YES_NO, dtype=dtype)
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        return "holds dates: leave it out (--drop {0}), name rows by it (--index {0}), or count days from 1970 (--kind {0}=real)"
    if pd.api.types.is_complex_dtype(values.dtype):
        return "holds complex numbers: leave it out (--drop {0})"
    if pd.api.types.is_integer_dtype(values.dtype):
        least, largest = int(values.min()), int(values.max())
        if max(-least, largest) > EXACT:
            return (
                "holds whole numbers beyond 2**53, which are not exact: leave it out (--drop {0}), name rows by it (--index {0}), "
                "or take them for classes (--kind {0}=category)"
            )
        if (mark := _mark(values)) is not None:
            return mark
        if least >= 0:
            return Column(column, "binary" if largest <= 1 else "count", dtype=dtype)
        return Column(column, "real", dtype=dtype)
    if pd.api.types.is_float_dtype(values.dtype):
        return _mark(values) or Column(column, "real", dtype=dtype)
    if not pd.api.types.is_string_dtype(values.dtype) and values.dtype != object:
        return f"holds {dtype}: leave it out (--drop {{0}})"
    return _of_texts(values, column)


def _as_known(column: Column, kind: str | None) -> Column:
    """The column of a model. Errors: `InputError` where another kind is asked for."""
    own = {"token": "category"}.get(column.support, column.support)
    fits = kind is None or kind == own
    if kind is not None and "<" in kind:
        fits = column.ordered and tuple(part.strip() for part in kind.split("<")) == column.classes
    if not fits:
        raise InputError(
            f"kind: {column.name} = {kind!r}, and the model was fitted to {column}: leave the option out, or fit again"
        )
    return column


def _mark(values: pd.Series[Any]) -> str | None:
    """What to say of a negative whole number that comes again and again, farther below all others than these are apart: a mark of gaps."""
    numbers = values.dropna().to_numpy(dtype=np.float64)
    different = np.unique(numbers[np.isfinite(numbers)])
    if len(different) < 3:
        return None
    low, second, high = different[0], different[1], different[-1]
    if low >= 0 or low != np.floor(low) or second - low <= high - second or (numbers == low).sum() < 2:
        return None
    return f"holds {low:.0f} several times, far below all else: say that it marks gaps (--na={low:.0f}), or that it is a number (--kind {{0}}=real)"


def _of_texts(values: pd.Series[Any], column: str) -> Column | str:
    texts = values.dropna()
    if set(map(type, texts)) == {bool}:
        return Column(column, "binary", classes=YES_NO, dtype="bool")
    others = [each for each in texts if not isinstance(each, str)]
    if others:
        return (
            f"holds {type(others[0]).__name__} beside texts, as {others[0]!r}: make it one kind, or leave it out (--drop {{0}})"
            if len(others) < len(texts)
            else f"holds {type(others[0]).__name__}: leave it out (--drop {{0}})"
        )
    different = texts.unique()
    numeric = pd.to_numeric(pd.Series(different), errors="coerce").notna().to_numpy()
    if numeric.all():
        return "holds numbers as text: say what they are (--kind {0}=real, count or category)"
    if _percentages(different):
        return "holds percentages: take the numbers before % (--kind {0}=real), or leave it out (--drop {0})"
    like_numbers = np.array(
        [bool(numeric[i]) or bool(WRITTEN.fullmatch(str(each))) for i, each in enumerate(different)]
    )
    signs = {
        sign
        for each in different
        if (found := WITH_SIGN.fullmatch(str(each)))
        for sign in found.group(1, 2)
        if sign
    }
    if signs and len(different) > 2 and all(WITH_SIGN.fullmatch(str(each)) for each in different):
        return f"holds numbers with {' and '.join(sorted(signs))}: take these signs away, leave it out (--drop {{0}}), or take them for classes (--kind {{0}}=category)"
    if like_numbers.mean() > 0.5 and len(different) > 2:
        if like_numbers.all():
            marked = next(str(each) for each, plain in zip(different, numeric, strict=True) if not plain)
            return f"holds numbers, and {marked!r}: say which mark is decimal (--decimal . or --decimal ,), or take them for classes (--kind {{0}}=category)"
        numeric = like_numbers
        odd = [str(each) for each in different[~numeric]][:3]
        return f"holds numbers, and {', '.join(map(repr, odd))}: a mark of gaps is said by --na {odd[0]!r}, classes by --kind {{0}}=category"
    if all(DAY_FIRST.fullmatch(str(each)) for each in different):
        return (
            f"holds dates as {different[0]!r}, and not as 2020-12-31: leave it out (--drop {{0}}), name rows by it (--index {{0}}), or take them for "
            "classes (--kind {0}=category)"
        )
    if _dates(different):
        return "holds dates: leave it out (--drop {0}), name rows by it (--index {0}), or count days from 1970 (--kind {0}=real)"
    if len(different) > MOST_CLASSES or (len(texts) > FEW and len(different) > len(texts) / 2):
        return f"holds {len(different)} different texts: leave it out (--drop {{0}}), name rows by it (--index {{0}}), or take them for classes (--kind {{0}}=category)"
    if len(different) == 1 and len(texts) < len(values):
        return (
            f"holds {str(different[0])!r} or nothing, which may mean another class: write that into the table, leave the column out (--drop {{0}}), "
            "or take it as it is (--kind {0}=category)"
        )
    return _classes(column, different, str(values.dtype))


def _without_rare(column: Column, values: pd.Series[Any], least: int) -> Column:
    """A category whose rare classes are one, at the end."""
    if column.support != "token" or column.ordered:
        return column
    if RARE in column.classes:
        raise InputError(
            f"column {column.name!r} has a class that is called {RARE!r}, which `rare` makes: call it otherwise"
        )
    often = values.dropna().map(name_of_class).value_counts()
    kept = tuple(name for name in column.classes if often.get(name, 0) >= least)
    if len(kept) == len(column.classes):
        return column
    return replace(column, levels=len(kept) + 1, classes=(*kept, RARE))


def _classes(column: str, different: Any, dtype: str) -> Column:
    numbers = pd.to_numeric(pd.Series(list(different)), errors="coerce")
    names = [name_of_class(each) for each in different]
    order = (
        np.argsort(numbers.to_numpy()) if numbers.notna().all() else np.argsort(np.array(names, dtype=object))
    )
    classes = tuple(names[i] for i in order)
    if len(set(classes)) != len(classes):
        twice = next(name for name in classes if classes.count(name) > 1)
        raise InputError(
            f"column {column!r} has two classes of one name, {twice!r}: a number and a text, or two texts; make them one kind"
        )
    return Column(column, "token", len(classes), 0, classes, dtype=dtype)


def _as_asked(values: pd.Series[Any], column: str, kind: str, dtype: str) -> Column:
    """A column of the kind that was asked for. Errors: `InputError`, with the cell that contradicts."""
    if "<" in kind:
        classes = tuple(part.strip() for part in kind.split("<"))
        if len(set(classes)) != len(classes):
            raise InputError(f"kind: {column} = {kind!r}: two classes of one name")
        return Column(column, "token", len(classes), 0, classes, True, dtype=dtype)
    if kind == "category":
        found = _classes(column, values.dropna().unique(), dtype)
        if (found.levels or 0) > MOST_RANGE:
            raise InputError(f"column {column!r}: {found.levels} classes are too many; leave it out (--drop)")
        return found
    asked: Any = kind
    plain = Column(column, asked, None if kind != "integer" else 1, dtype=dtype)
    known = numbers(values, plain)
    known = known[np.isfinite(known)]
    if kind != "integer" or not known.size:
        return plain
    least, largest = int(known.min()), int(known.max())
    if largest - least >= MOST_RANGE:
        raise InputError(
            f"column {column!r}: {least} to {largest} is too wide a range: say count or real (--kind {quote(column)}=count)"
        )
    return replace(plain, levels=largest - least + 1, least=least)


def numbers(values: pd.Series[Any], column: Column, first: int = 0) -> np.ndarray:
    """A column as float64, NaN where there is no value; classes by number. first: the number of its first row. Errors: `InputError`, with the cell that is none."""
    gaps = values.isna().to_numpy()
    out = np.full(len(values), np.nan)
    if column.support == "token" or (column.classes and not pd.api.types.is_numeric_dtype(values.dtype)):
        codes = {name: i for i, name in enumerate(column.classes)}
        labels, different = pd.factorize(values)
        found = np.array([code_of(each, column, codes) for each in different] or [-1])
        new = ~gaps & (found[labels] < 0)
        if new.any():
            row = int(new.argmax())
            said = name_of_class(values.iloc[row])
            raise InputError(
                f"row {first + row}, column {column.name!r}: {said!r} is none of its classes; {did_you_mean(said, codes)}"
            )
        out[~gaps] = found[labels[~gaps]]
        return out
    if pd.api.types.is_float_dtype(values.dtype):
        out = values.to_numpy(dtype=np.float64, na_value=np.nan, copy=True)
        _check(out, values, column, first)
        return out
    dated = pd.api.types.is_datetime64_any_dtype(values.dtype)
    if dated or (values.dtype.kind not in "biuf" and _dates(values.dropna().unique())):
        try:
            days = pd.to_datetime(values, format=None if dated else "ISO8601", utc=True)
            micro = days.dt.tz_localize(None).astype("datetime64[us]").to_numpy()
        except (ValueError, OverflowError) as error:
            raise InputError(f"column {column.name!r}: {' '.join(str(error).split())[:120]}") from None
        out[~gaps] = micro[~gaps].astype(np.int64) / DAY
        return out
    plain = values
    if not pd.api.types.is_numeric_dtype(values.dtype) and _percentages(values.dropna().unique()):
        plain = values.str.rstrip("% ").str.replace(",", ".", regex=False)
    if pd.api.types.is_timedelta64_dtype(values.dtype):
        out[~gaps] = values[~gaps].dt.total_seconds().to_numpy(dtype=np.float64) / 86_400
        return out
    if isinstance(values.dtype, pd.PeriodDtype):
        raise InputError(
            f"column {column.name!r} holds periods: take their beginnings, .dt.to_timestamp(), or leave it out (--drop)"
        )
    read = pd.to_numeric(plain, errors="coerce")
    if pd.api.types.is_complex_dtype(read.dtype):
        raise InputError(f"column {column.name!r} holds complex numbers, and the column is {column.support}")
    if pd.api.types.is_integer_dtype(read.dtype) and len(read) and not gaps.all():
        beyond = (read.abs() > EXACT).fillna(False).to_numpy(dtype=bool) | (read < -EXACT).fillna(
            False
        ).to_numpy(dtype=bool)
        if beyond.any():
            row = int(beyond.argmax())
            raise InputError(
                f"row {first + row}, column {column.name!r}: {values.iloc[row]} is beyond 2**53 and not exact as a number"
            )
    wrong = read.isna().to_numpy() & ~gaps
    if wrong.any():
        row = int(wrong.argmax())
        cell = values.iloc[row]
        hint = "a mark of gaps is said by --na"
        if column.support == "binary" and values.nunique() == 2:
            hint = "two words are classes: leave --kind out"
        elif DAY_FIRST.fullmatch(str(cell)):
            hint = "dates are read as 2020-12-31"
        raise InputError(
            f"row {first + row}, column {column.name!r}: {cell!r} is no number, and the column is {column.support}; {hint}"
        )
    out[~gaps] = read.to_numpy(dtype=np.float64, na_value=np.nan)[~gaps]
    _check(out, values, column, first)
    return out


def _check(found: np.ndarray, values: pd.Series[Any], column: Column, first: int) -> None:
    """Errors: `InputError` for a cell that is not of its support; what a model allows is checked later."""
    known = ~np.isnan(found)
    fine = np.isfinite(found)
    allowed = "a finite number"
    if column.support in ("count", "integer", "binary"):
        fine &= found == np.floor(found)
        allowed = "a whole number"
    if column.support == "count":
        fine &= found >= 0
        allowed = "a whole number from 0"
    if column.support == "binary":
        fine &= (found == 0) | (found == 1)
        allowed = "0 or 1"
    wrong = known & ~fine
    if wrong.any():
        row = int(wrong.argmax())
        raise InputError(
            f"row {first + row}, column {column.name!r}: {values.iloc[row]}; allowed is {allowed} ({column.support})"
        )


def _dates(different: Any) -> bool:
    """Whether texts are dates as ISO 8601 has them."""
    some = [str(each) for each in different[:FEW]]
    if not some or not all(len(each) >= 8 and each[:4].isdigit() and each[4] in "-/" for each in some):
        return False
    return bool(
        pd.to_datetime(
            pd.Series([str(each) for each in different]), errors="coerce", format="ISO8601", utc=True
        )
        .notna()
        .all()
    )


def _percentages(different: Any) -> bool:
    texts = [each for each in different if isinstance(each, str)]
    return bool(texts) and len(texts) == len(different) and all(PERCENT.fullmatch(text) for text in texts)


def _stacked(values: list[np.ndarray], columns: Sequence[Column]) -> np.ndarray:
    """Columns side by side; as whole numbers where all are such and none is missing."""
    x = np.stack(values, 1)
    whole = all(column.support != "real" for column in columns) and not np.isnan(x).any()
    return x.astype(np.int64) if whole else x


def names_of_rows(names: pd.Series[Any] | pd.Index[Any]) -> np.ndarray:
    """What rows are called: numbers and times as they are, else texts."""
    some: Any = (
        names.astype(object) if names.hasnans and pd.api.types.is_integer_dtype(names.dtype) else names
    )
    values = some.to_numpy()
    if values.dtype.kind in "biufM":
        return np.asarray(values)
    return np.array(["" if pd.isna(each) else str(each) for each in values])


def _said(where: str, problems: Sequence[tuple[str, str]]) -> str:
    """One line for all columns, those of which the same has to be said together."""
    parts = []
    for problem in dict.fromkeys(problem for _, problem in problems):
        alike = [column for column, other in problems if other == problem]
        some = f"{', '.join(map(repr, alike[:8]))}{', ...' if len(alike) > 8 else ''}"
        which = f"each of the columns {some}" if len(alike) > 1 else f"column {some}"
        if len(alike) > 1:  # kinds are said one by one
            problem = problem.replace("--kind {0}=", "--kind NAME=").replace("--index {0}", "--index NAME")
        parts.append(f"{which} {problem.replace('{0}', quote(','.join(alike)))}")
    return f"{where}: {'; '.join(parts)}"
