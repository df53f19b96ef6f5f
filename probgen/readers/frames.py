"""Conversion of DataFrames to arrays: kind and use of each column, then values.

An ambiguous column is refused, and the message names the option that decides its kind.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from fnmatch import fnmatchcase
from shlex import quote
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from probgen.contract.columns import RARE, Column
from probgen.errors import InputError, did_you_mean, of_all
from probgen.readers.arrow import in_own_types
from probgen.readers.classes import OF_NUMBERS, code_of, name_of_class
from probgen.readers.described import attributes_of, marked

KINDS = ("real", "binary", "count", "integer", "category")
ROW_NAMES = ("rownames", "Unnamed: 0", "index", "")  # names of a first column that numbers the rows
MOST_CLASSES = 1000
MOST_RANGE = 1 << 16  # largest number of classes, and of levels of an integer column
SAID = 8  # largest number of names in a message
FEW = 20  # up to this number of rows, all classes may be different
DAY = 86_400_000_000  # microseconds
EXACT = 1 << 53  # whole numbers up to this one are exact in float64
YES_NO = ("False", "True")

DAY_FIRST = re.compile(r"\d{1,2}([./-])\d{1,2}\1(\d{2}|\d{4})([ T]\d{1,2}:\d{2}(:\d{2})?)?")  # or month first
WRITTEN = re.compile(
    r"[-+]?\d{1,3}([.,'\s]\d{2,3})*([.,]\d+)?([dD][-+]?\d+)?"
)  # a number with separators of thousands
WITH_SIGN = re.compile(
    r"([^\w\s.,+-]{1,2})?\s?[-+]?[\d.,]*\d\s?([^\d\s.,%]{1,3})?"
)  # such as $ 1.50 or 20 kg
PERCENT = re.compile(r"\s*[-+]?\d+([.,]\d+)?\s*%\s*")

Use = Literal["feature", "label", "weight", "index", "left out"]


@dataclass(frozen=True)
class Choices:
    """Options of the user for reading a table.

    Attributes:
        columns: Column names for a file without names. ("none",) numbers the columns, and ("header",) takes the names from the first line.
        sep: Separator of columns, one character.
        decimal: Decimal mark, "." or ",".
        encoding: Encoding of the text, such as "latin-1".
        na: Further marks of missing values.
        drop: Columns that are left out.
        label: Column of labels.
        weight: Column of row weights.
        index: Column of row names.
        rare: Least number of rows per class. Rarer classes, and classes that a model was not fitted to, become one class `(rare)`.
        kind: Kind of each column, by name or by a pattern such as `pixel*`: real, binary, count, integer, category, or the classes in order,
            `low < mid < high`.
        earlier: Options by which the file of a fit was read. They apply where the other options and the table permit it (`at`).

    Raises:
        InputError: When an option has a value that is not allowed.
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
    earlier: Choices | None = None

    def __post_init__(self) -> None:
        if self.decimal not in (None, ".", ","):
            raise InputError(f"decimal = {self.decimal!r}: must be a point or a comma")
        if self.sep is not None and len(self.sep) != 1:
            raise InputError(f"sep = {self.sep!r}: must be one character")
        if self.rare is not None and self.rare < 1:
            raise InputError(f"rare = {self.rare}: must be at least 1 row")
        for name, kind in self.kind.items():
            if kind not in KINDS and "<" not in kind:
                raise InputError(
                    f"kind: {name} = {kind!r}: not a kind; {did_you_mean(kind, KINDS)}, or ordered classes such as 'low < mid < high'"
                )

    @staticmethod
    def of(values: Mapping[str, Any] | None) -> Choices:
        """Create the options from a mapping.

        Args:
            values: Options by name. A single text is allowed for an option with several values.

        Returns:
            The options.

        Raises:
            InputError: When an option is unknown or has a value that is not allowed.
        """
        several = ("columns", "na", "drop")
        known = [each.name for each in fields(Choices) if each.name != "earlier"]
        for name in values or {}:
            if name not in known:
                raise InputError(f"table: {name!r} is not an option; {did_you_mean(name, known)}")
        given = {name: value for name, value in (values or {}).items() if value is not None}
        for name, value in given.items():
            if name in several:
                value = [value] if isinstance(value, str | int | float) else value
                if not isinstance(value, Sequence):
                    raise InputError(f"table: {name} = {value!r}: must be a list of texts")
                given[name] = tuple(map(str, value))
            elif (
                type(value) is not int
                if name == "rare"
                else not isinstance(value, Mapping if name == "kind" else str)
            ):
                what = {"kind": "a mapping from names to kinds", "rare": "a whole number"}.get(name, "a text")
                raise InputError(f"table: {name} = {value!r}: must be {what}")
        return Choices(**given)

    def first(self) -> str:
        """Return the name of the first option that is set, or ""."""
        return next(
            (each.name for each in fields(self) if getattr(self, each.name) not in (None, (), {})), ""
        )

    def chosen(self) -> dict[str, Any]:
        """Return the options that are set, as plain values.

        Returns:
            The options by name.
        """
        values = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "earlier"}
        plain = {
            n: list(v) if isinstance(v, Sequence) and not isinstance(v, str) else v for n, v in values.items()
        }
        return {
            n: dict(v) if isinstance(v, Mapping) else v for n, v in plain.items() if v not in (None, [], {})
        }

    def dropped(self, names: Sequence[str]) -> list[str]:
        """Return the columns that are left out. Each entry of `drop` is one name, or several names with commas between them.

        Args:
            names: Names of all columns of the table.

        Returns:
            The names of the columns to leave out.
        """
        parts = (
            [entry] if entry in names else [each.strip() for each in entry.split(",")] for entry in self.drop
        )
        return [each for part in parts for each in part]

    def at(self, names: Sequence[str]) -> Choices:
        """Return the options for a table with these columns, completed by those of the file of a fit.

        An earlier option does not apply to a column that the table lacks, or that another option of this table uses.
        `rare` is not repeated, because the model has the classes that remained.

        Args:
            names: Names of all columns of the table.

        Returns:
            The options, without `earlier`.
        """
        if self.earlier is None:
            return self
        before, own = self.earlier, {*self.dropped(names), self.label, self.weight, self.index}

        def free(name: str | None) -> str | None:
            return name if name in names and name not in own else None

        kinds = {
            pattern: kind
            for pattern, kind in before.kind.items()
            if pattern not in self.kind and _matches(pattern, names)
        }
        return replace(
            self,
            earlier=None,
            decimal=self.decimal or before.decimal,
            na=(*self.na, *before.na),
            drop=(*self.drop, *filter(free, before.dropped(names))),
            label=self.label or free(before.label),
            weight=self.weight or free(before.weight),
            index=self.index or free(before.index),
            kind={**self.kind, **kinds},
        )

    def kind_of(self, name: str) -> str | None:
        """Return the kind that is set for a column, by its name or by the first matching pattern.

        Args:
            name: Name of the column.

        Returns:
            The kind, or None if none is set.
        """
        if name in self.kind:
            return self.kind[name]
        return next((kind for pattern, kind in self.kind.items() if fnmatchcase(name, pattern)), None)


AS_THEY_ARE = Choices()


@dataclass(frozen=True)
class Read:
    """The result of reading one column.

    Attributes:
        name: Name of the column.
        use: How the column is used.
        gaps: Number of missing values.
        column: Description of the values of a feature or a label, or None.
        why: Reason for an inferred use, or "".
    """

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
    """Convert a DataFrame to `x (row, feature)`, with `label (row)` and `weight (row)` if present.

    Args:
        frame: The table.
        name: Name of the table, for error messages.
        choices: How the table is read.
        like: Columns of a model. Columns with the same names are read with the same kinds and classes.

    Returns:
        A Dataset with `x (row, feature)`.

    Raises:
        InputError: When a column is ambiguous, or a value contradicts the kind of its column.
    """
    names: object = frame.columns
    # column names that are not 0, 1, 2, ... count as names, for example years
    numbered = isinstance(names, pd.RangeIndex) and names.equals(pd.RangeIndex(len(names)))
    if numbered and not like and choices == AS_THEY_ARE:
        try:
            return _of_array(frame)
        except (TypeError, ValueError):
            pass  # not all columns are numeric
    frame = in_own_types(named(frame))
    choices = choices.at(list(frame.columns))
    frame = with_gaps(frame, choices.na)
    reads = read_columns(frame, name, choices, like)
    features = [each for each in reads if each.use == "feature"]
    if not features:
        raise InputError(
            f"{name} has no column to model. Leave at least one column that is not a label, a weight, an index or dropped."
        )
    columns = [each.column for each in features if each.column is not None]
    values = _all_numbers(frame, columns, name)
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


def _all_numbers(frame: pd.DataFrame, columns: Sequence[Column], where: str) -> list[np.ndarray]:
    """Convert all columns to numbers. Raise one `InputError` with the first wrong cell of each column."""
    values, problems = [], []
    for column in columns:
        try:
            values.append(numbers(frame[column.name], column))
        except InputError as error:
            problems.append(error)
    if problems:
        raise of_all(where, problems)
    return values


def label_of(codes: np.ndarray) -> np.ndarray:
    """Return class numbers as labels, int64, with -1 for missing values."""
    return np.where(np.isfinite(codes), codes, -1).astype(np.int64)


def described_label(column: Column) -> dict[str, Any]:
    """Return the attributes of a label."""
    return {"levels": column.levels, "symbols": list(column.classes)}


def named(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a DataFrame with texts as column names."""
    every: list[object] = list(frame.columns)
    names = [" ".join(map(str, name)) if isinstance(name, tuple) else str(name) for name in every]
    return frame.set_axis(names, axis=1)


def _of_array(frame: pd.DataFrame) -> xr.Dataset:
    """Return a numeric DataFrame without column names as an array. Raise `TypeError` or `ValueError` if it is not numeric."""
    kinds = {np.dtype(getattr(dtype, "numpy_dtype", dtype)).kind for dtype in frame.dtypes}
    if not kinds <= set("biuf") or not frame.size:
        raise TypeError("not numeric")
    whole = len(kinds) == 1 and not frame.isna().to_numpy().any()
    dtypes = [np.dtype(getattr(dtype, "numpy_dtype", dtype)) for dtype in frame.dtypes]
    x = (
        frame.to_numpy(dtype=np.result_type(*dtypes))
        if whole
        else frame.to_numpy(dtype=np.float64, na_value=np.nan)
    )
    return xr.Dataset({"x": (("row", "feature"), x)}, index_of(frame))


def index_of(frame: pd.DataFrame) -> dict[str, Any]:
    """Return the row names as a coordinate, or {} if the rows are only numbered."""
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
    """Return how each column is read, in the order of the columns.

    Args:
        frame: The table, or representative values of its columns (`readers.specimens`).
        name: Name of the table, for error messages.
        choices: How the table is read.
        like: Columns of a model. Columns with the same names are read with the same kinds and classes.
        counted: Number of missing values by column, if `frame` has representative values only.

    Returns:
        One result per column.

    Raises:
        InputError: When a column is ambiguous. The message lists all ambiguous columns, with the options that decide.
    """
    names = [str(column) for column in frame.columns]
    if twice := sorted({n for n in names if names.count(n) > 1}):
        raise InputError(
            f"{name} has two columns {twice[0]!r}. Give each column a different name (--columns)."
        )
    choices = choices.at(names)
    check_columns(names, name, choices, like)
    if not len(frame):
        raise InputError(f"{name} has no rows. Give at least one row.")
    known = {column.name: column for column in like}
    if choices.rare and like and not any(RARE in column.classes for column in like):
        raise InputError(
            f"rare = {choices.rare}: the fit has already fixed the classes of the model. Leave rare out."
        )
    dropped = choices.dropped(names)
    reads, problems, wrong = [], [], []
    for i, column in enumerate(names):
        values = frame[column]
        gaps = int(values.isna().sum()) if counted is None else counted[column]
        use, why = _use_of(column, i, values, choices, known, dropped)
        if use == "feature" or use == "label":
            as_class = "category" if use == "label" else None
            asked = choices.kind_of(column)
            if use == "label" and asked in KINDS and asked != "category":
                raise InputError(
                    f"{name}: kind = {asked!r}: the label {column!r} always has classes. Leave the kind out."
                )
            try:
                found = _column(values, column, choices.kind_of(column) or as_class, known.get(column))
            except InputError as error:
                wrong.append(error)
                continue
            if choices.rare and use == "feature" and column not in known and isinstance(found, Column):
                found = _without_rare(found, values, choices.rare)
            if isinstance(found, str):
                problems.append((column, found))
            else:
                reads.append(Read(column, use, gaps, found, why))
        else:
            reads.append(Read(column, use, gaps, None, why))
    if problems or wrong:
        raise of_all(name, [*([InputError(_said(name, problems))] if problems else []), *wrong])
    categories = [
        read for read in reads if read.use == "feature" and read.column and read.column.support == "token"
    ]
    if choices.rare and not like and not categories:
        raise InputError(f"rare = {choices.rare}: {name} has no column of classes. Leave rare out.")
    return reads


def with_gaps(frame: pd.DataFrame, marks: Sequence[str]) -> pd.DataFrame:
    """Return a DataFrame with missing values in place of the marks, which may be numbers or texts."""
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


def check_columns(
    names: Sequence[str], where: str, choices: Choices = AS_THEY_ARE, like: Sequence[Column] = ()
) -> None:
    """Check the names of the columns of a table.

    Args:
        names: Names of all columns.
        where: Name of the table, for error messages.
        choices: How the table is read.
        like: Columns of a model, or none.

    Raises:
        InputError: When an option names a column that the table lacks, or when the features of the table are not the columns of the model.
    """
    roles = {"label": choices.label, "weight": choices.weight, "index": choices.index}
    asked = [(role, column) for role, column in roles.items() if column is not None]
    asked += [("drop", column) for column in choices.dropped(names)]
    for role, column in asked:
        if column not in names:
            raise InputError(f"{where} has no column {column!r} ({role}); {did_you_mean(column, names)}")
        if sum(other == column for _, other in asked) > 1:
            uses = ", ".join(role for role, other in asked if other == column)
            raise InputError(f"{where}: column {column!r} has several uses: {uses}. Choose one.")
    for pattern in choices.kind:
        if not _matches(pattern, names):
            raise InputError(f"{where} has no column {pattern!r} (kind); {did_you_mean(pattern, names)}")
    if like:
        wanted = [column.name for column in like]
        used = {column for _, column in asked} | ({"label"} if choices.label is None else set())
        free = [name for name in names[:1] if name in ROW_NAMES]  # it may number the rows
        same_names([name for name in names if name in wanted or name not in used], wanted, where, free)


def same_names(names: Sequence[str], wanted: Sequence[str], where: str, free: Collection[str] = ()) -> None:
    """Check that a table has the columns of a model.

    Args:
        names: Names of the columns of the table.
        wanted: Names of the columns of the model.
        where: Name of the table, for error messages.
        free: Columns that the table may have in addition.

    Raises:
        InputError: When a column is missing or unexpected. The message has all such columns, and the option that leaves columns out.
    """
    missing = [name for name in wanted if name not in names]
    extra = [name for name in names if name not in wanted and name not in free]
    if missing:
        has = f" The table has {_listed(extra)}, which the model does not use." if extra else ""
        raise InputError(f"{where} has no column {_listed(missing)}, which the model was fitted to.{has}")
    if extra:
        plain = all("," not in name for name in extra)
        drop = f"--drop {quote(','.join(extra))}" if plain else " ".join(f"--drop {quote(n)}" for n in extra)
        it = "it" if len(extra) == 1 else "them"
        raise InputError(
            f"{where}: the model was not fitted to column {_listed(extra)}. Leave {it} out ({drop})."
        )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:SAID])) + (", ..." if len(names) > SAID else "")


def _matches(pattern: str, names: Sequence[str]) -> bool:
    return pattern in names or any(fnmatchcase(name, pattern) for name in names)


def _use_of(
    column: str,
    i: int,
    values: pd.Series[Any],
    choices: Choices,
    known: Mapping[str, Column],
    dropped: Sequence[str],
) -> tuple[Use, str]:
    """Return how a column is used, and the reason for an inferred use."""
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
            "column 'weight' could be row weights or an ordinary column. Use --weight weight for row weights, or --kind weight=real for a column."
        )
    return "feature", ""


def _counts_rows(values: pd.Series[Any]) -> bool:
    if not pd.api.types.is_integer_dtype(values.dtype) or values.isna().any():
        return False
    numbers = values.to_numpy(dtype=np.int64)
    return bool((np.diff(numbers) == 1).all() and numbers[0] in (0, 1))


def _column(values: pd.Series[Any], column: str, kind: str | None, known: Column | None) -> Column | str:
    """Return the description of a column, or the problem that the user must solve as text."""
    dtype = str(values.dtype)
    if known is not None:
        return _as_known(known, kind)
    if values.isna().all():
        return "has no values: leave it out (--drop {0})"
    if kind is not None:
        return _as_asked(values, column, kind, dtype)
    if isinstance(values.dtype, pd.CategoricalDtype):
        classes = tuple(map(name_of_class, values.cat.categories))
        if len(set(classes)) != len(classes):
            return "has two classes of one name: rename one, or leave it out (--drop {0})"
        of = f"category of {values.cat.categories.dtype}"
        of = of if OF_NUMBERS.fullmatch(of) else "category"
        return Column(column, "token", len(classes), 0, classes, bool(values.cat.ordered), dtype=of)
    if pd.api.types.is_bool_dtype(values.dtype):
        return Column(column, "binary", classes=YES_NO, dtype=dtype)
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        return "has dates: leave it out (--drop {0}), use it as row names (--index {0}), or convert it to days since 1970 (--kind {0}=real)"
    if pd.api.types.is_complex_dtype(values.dtype):
        return "has complex numbers: leave it out (--drop {0})"
    if pd.api.types.is_integer_dtype(values.dtype):
        least, largest = int(values.min()), int(values.max())
        if max(-least, largest) > EXACT:
            return (
                "has whole numbers beyond 2**53, which are not exact in float64: leave it out (--drop {0}), use it as row names (--index {0}), "
                "or use the numbers as classes (--kind {0}=category)"
            )
        if (mark := _mark(values)) is not None:
            return mark
        if least >= 0:
            return Column(column, "binary" if largest <= 1 else "count", dtype=dtype)
        return Column(column, "real", dtype=dtype)
    if pd.api.types.is_float_dtype(values.dtype):
        return _mark(values) or Column(column, "real", dtype=dtype)
    if not pd.api.types.is_string_dtype(values.dtype) and values.dtype != object:
        return f"has type {dtype}: leave it out (--drop {{0}})"
    return _of_texts(values, column)


def _as_known(column: Column, kind: str | None) -> Column:
    """Return the column of a model. Raise `InputError` if the user requests another kind."""
    own = {"token": "category"}.get(column.support, column.support)
    fits = kind is None or kind == own
    if kind is not None and "<" in kind:
        fits = column.ordered and tuple(part.strip() for part in kind.split("<")) == column.classes
    if not fits:
        raise InputError(
            f"kind: {column.name} = {kind!r}: the model was fitted to {column}. Leave the option out, or fit again."
        )
    return column


def _mark(values: pd.Series[Any]) -> str | None:
    """Return the problem of a column with a possible mark of missing values, or None.

    The mark is a repeated negative whole number. Its distance to all other values is larger than the range of these values.
    """
    numbers = values.dropna().to_numpy(dtype=np.float64)
    different = np.unique(numbers[np.isfinite(numbers)])
    if len(different) < 3:
        return None
    low, second, high = different[0], different[1], different[-1]
    if low >= 0 or low != np.floor(low) or second - low <= high - second or (numbers == low).sum() < 2:
        return None
    return f"has {low:.0f} several times, far below all other values: mark it as missing (--na={low:.0f}), or accept it as a number (--kind {{0}}=real)"


def _of_texts(values: pd.Series[Any], column: str) -> Column | str:
    texts = values.dropna()
    if set(map(type, texts)) == {bool}:
        return Column(column, "binary", classes=YES_NO, dtype="bool")
    others = [each for each in texts if not isinstance(each, str)]
    if others:
        return (
            f"has both texts and values of type {type(others[0]).__name__}, such as {others[0]!r}: convert all to one type, or leave it out (--drop {{0}})"
            if len(others) < len(texts)
            else f"has values of type {type(others[0]).__name__}: leave it out (--drop {{0}})"
        )
    different = texts.unique()
    numeric = pd.to_numeric(pd.Series(different), errors="coerce").notna().to_numpy()
    if numeric.all():
        return "has numbers as text: set their kind (--kind {0}=real, count or category)"
    if _percentages(different):
        return "has percentages: use the numbers before % (--kind {0}=real), or leave it out (--drop {0})"
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
        return f"has numbers with {' and '.join(sorted(signs))}: remove these signs, leave it out (--drop {{0}}), or use them as classes (--kind {{0}}=category)"
    if like_numbers.mean() > 0.5 and len(different) > 2:
        if like_numbers.all():
            marked = next(str(each) for each, plain in zip(different, numeric, strict=True) if not plain)
            return f"has numbers and {marked!r}: choose the decimal mark (--decimal '.' or --decimal ','), or use them as classes (--kind {{0}}=category)"
        numeric = like_numbers
        odd = [str(each) for each in different[~numeric]][:3]
        return f"has numbers and {', '.join(map(repr, odd))}: mark missing values with --na {odd[0]!r}, or use all as classes (--kind {{0}}=category)"
    if all(DAY_FIRST.fullmatch(str(each)) for each in different):
        return (
            f"has dates such as {different[0]!r}, not in the form 2020-12-31: leave it out (--drop {{0}}), use it as row names (--index {{0}}), or use "
            "the dates as classes (--kind {0}=category)"
        )
    if _dates(different):
        return "has dates: leave it out (--drop {0}), use it as row names (--index {0}), or convert it to days since 1970 (--kind {0}=real)"
    if len(different) > MOST_CLASSES or (len(texts) > FEW and len(different) > len(texts) / 2):
        return f"has {len(different)} different texts: leave it out (--drop {{0}}), use it as row names (--index {{0}}), or accept the texts as classes (--kind {{0}}=category)"
    if len(different) == 1 and len(texts) < len(values):
        return (
            f"has only {str(different[0])!r} or no value, which could mean a second class: write this class into the table, leave the column out "
            "(--drop {0}), or accept one class with missing values (--kind {0}=category)"
        )
    return _classes(column, different, str(values.dtype))


def _without_rare(column: Column, values: pd.Series[Any], least: int) -> Column:
    """Return a category in which all rare classes form one class, the last."""
    if column.support != "token" or column.ordered:
        return column
    if RARE in column.classes:
        raise InputError(
            f"column {column.name!r} has a class {RARE!r}, but the option `rare` uses this name. Rename the class."
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
            f"column {column!r} has two classes of one name, {twice!r} (a number and a text, or two texts). Convert the values to one type."
        )
    return Column(column, "token", len(classes), 0, classes, dtype=dtype)


def _as_asked(values: pd.Series[Any], column: str, kind: str, dtype: str) -> Column:
    """Return a column of the requested kind. Raise `InputError` with the contradicting cell if the values do not fit."""
    if "<" in kind:
        classes = tuple(part.strip() for part in kind.split("<"))
        if len(set(classes)) != len(classes):
            raise InputError(f"kind: {column} = {kind!r}: two classes have one name. Name each class once.")
        return Column(column, "token", len(classes), 0, classes, True, dtype=dtype)
    if kind == "category":
        found = _classes(column, values.dropna().unique(), dtype)
        if (found.levels or 0) > MOST_RANGE:
            raise InputError(
                f"column {column!r} has {found.levels} classes, which are too many. Leave the column out (--drop)."
            )
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
            f"column {column!r}: the range from {least} to {largest} is too wide for integer. Use count or real (--kind {quote(column)}=count)."
        )
    return replace(plain, levels=largest - least + 1, least=least)


def numbers(values: pd.Series[Any], column: Column, first: int = 0) -> np.ndarray:
    """Convert a column to numbers. Classes become their class numbers.

    Args:
        values: The column (row,).
        column: The description of the column.
        first: Number of the first row, for error messages.

    Returns:
        Numbers (row,), float64, with NaN for missing values.

    Raises:
        InputError: When a cell does not fit the description. The message gives the row and the cell.
    """
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
                f"row {first + row}, column {column.name!r} = {said!r}: not a class of this column; {did_you_mean(said, codes)}"
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
            raise InputError(
                f"column {column.name!r}: {' '.join(str(error).split())[:120]}. Fix the dates, or leave the column out (--drop)."
            ) from None
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
            f"column {column.name!r} has periods. Convert the periods to start times with .dt.to_timestamp(), or leave the column out (--drop)."
        )
    read = pd.to_numeric(plain, errors="coerce")
    if pd.api.types.is_complex_dtype(read.dtype):
        raise InputError(
            f"column {column.name!r} has complex numbers, but its kind is {column.support}. Leave the column out (--drop)."
        )
    if pd.api.types.is_integer_dtype(read.dtype) and len(read) and not gaps.all():
        beyond = (read.abs() > EXACT).fillna(False).to_numpy(dtype=bool) | (read < -EXACT).fillna(
            False
        ).to_numpy(dtype=bool)
        if beyond.any():
            row = int(beyond.argmax())
            raise InputError(
                f"row {first + row}, column {column.name!r} = {values.iloc[row]}: beyond 2**53, so not exact in float64. Leave the column out (--drop)."
            )
    wrong = read.isna().to_numpy() & ~gaps
    if wrong.any():
        row = int(wrong.argmax())
        cell = values.iloc[row]
        hint = "Mark missing values with --na"
        if column.support == "binary" and values.nunique() == 2:
            hint = "Leave --kind out to use the two words as classes"
        elif DAY_FIRST.fullmatch(str(cell)):
            hint = "Write dates in the form 2020-12-31"
        raise InputError(
            f"row {first + row}, column {column.name!r} = {cell!r}: not a number, but the kind of the column is {column.support}. {hint}."
        )
    out[~gaps] = read.to_numpy(dtype=np.float64, na_value=np.nan)[~gaps]
    _check(out, values, column, first)
    return out


def _check(found: np.ndarray, values: pd.Series[Any], column: Column, first: int) -> None:
    """Raise `InputError` for a cell outside the support of its column. The limits of a model are checked later."""
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
            f"row {first + row}, column {column.name!r} = {values.iloc[row]}: must be {allowed} ({column.support})"
        )


def _dates(different: Any) -> bool:
    """Return whether all texts are dates in the form of ISO 8601."""
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
    """Stack columns side by side. The result has whole numbers if all columns have, and no value is missing."""
    x = np.stack(values, 1)
    whole = all(column.support != "real" for column in columns) and not np.isnan(x).any()
    return x.astype(np.int64) if whole else x


def names_of_rows(names: pd.Series[Any] | pd.Index[Any]) -> np.ndarray:
    """Return the names of rows: numbers and times unchanged, others as texts."""
    some: Any = (
        names.astype(object) if names.hasnans and pd.api.types.is_integer_dtype(names.dtype) else names
    )
    values = some.to_numpy()
    if values.dtype.kind in "biufM":
        return np.asarray(values)
    return np.array(["" if pd.isna(each) else str(each) for each in values])


def _said(where: str, problems: Sequence[tuple[str, str]]) -> str:
    """Return one line with the problems of all columns. Columns with the same problem are listed together."""
    parts = []
    for problem in dict.fromkeys(problem for _, problem in problems):
        alike = [column for column, other in problems if other == problem]
        some = f"{', '.join(map(repr, alike[:8]))}{', ...' if len(alike) > 8 else ''}"
        which = f"each of the columns {some}" if len(alike) > 1 else f"column {some}"
        if len(alike) > 1:  # kinds are set one by one
            problem = problem.replace("--kind {0}=", "--kind NAME=").replace("--index {0}", "--index NAME")
        parts.append(f"{which} {problem.replace('{0}', quote(','.join(alike)))}")
    return f"{where}: {'; '.join(parts)}"
