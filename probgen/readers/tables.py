"""Readers for files of separated values. The format is inferred from the file, and an ambiguous file is refused."""

from __future__ import annotations

import csv
import gzip
import io
import lzma
import math
import re
import zlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from shlex import quote
from typing import Any

import pandas as pd
import xarray as xr

from probgen.contract.columns import Column
from probgen.errors import FileError, InputError
from probgen.readers.arrow import of_arrow, without_nullable
from probgen.readers.base import most_unpacked, reason, unpacked
from probgen.readers.frames import AS_THEY_ARE, Choices, check_columns, from_frame
from probgen.readers.parquet import Parquet, is_parquet, row_groups
from probgen.store.guard import UNPACKED

COLUMNS = 1 << 15
ARROW = (".parquet", ".pq", ".feather", ".arrow")
PACKED = ("", ".gz", ".xz", ".zst")
SUFFIXES = tuple(kind + packed for packed in PACKED for kind in (".csv", ".tsv", ".tab", ".data"))
GAPS = ("", "?", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "#N/A", "<NA>")
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
NAMELESS = "Unnamed: "
NAMED = 8  # largest number of lines in a message
LOOKED_AT = 200  # lines from which the separator is inferred
BOMS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb\xbf": "utf-8-sig"}
ZEROS = re.compile(r"[-+]?0\d+", re.ASCII)
LINE = re.compile(r"\r\n|\n|\r|$")
COMMA = re.compile(r"[-+]?\d+,\d+", re.ASCII)  # a number with a decimal comma
THOUSANDS = re.compile(r"[-+]?\d{1,3}(,\d{3})+", re.ASCII)
EURO = re.compile(r"[-+]?\d{1,3}(\.\d{3})+,\d+", re.ASCII)  # the comma must be decimal
POINTS = re.compile(r"[-+]?\d{1,3}\.\d{3}", re.ASCII)  # the point separates thousands if commas are decimal
BOTH = re.compile(
    r"[-+]?\d{1,3}(,\d{3})+\.\d+|[-+]?\d{1,3}(,\d{3}){2,}", re.ASCII
)  # the comma cannot be decimal


def arrow_file(
    path: Path,
    choices: Choices = AS_THEY_ARE,
    like: Sequence[Column] = (),
) -> xr.Dataset:
    """Read a Parquet, Feather or Arrow file, or a folder of Parquet files, as `x (row, feature)`.

    Args:
        path: Path of the file or folder.
        choices: How the table is read.
        like: Columns of a model. Columns with the same names are read in the same way.

    Returns:
        A Dataset with `x (row, feature)`.

    Raises:
        InputError: When an option applies only to text files, or a column is ambiguous.
        FileError: When the file cannot be read.
    """
    for name in ("columns", "sep", "decimal", "encoding"):
        if getattr(choices, name) is not None:
            raise InputError(f"{name} is only for text files, but {path} is a binary file. Leave {name} out.")
    if is_parquet(path) or path.is_dir():
        found = Parquet.of(path)
        if found.is_large:
            return row_groups(found, choices, like)
        return from_frame(found.frame(), str(path), choices, like)
    return from_frame(arrow_frame(path), str(path), choices, like)


def arrow_frame(path: Path) -> pd.DataFrame:
    """Read a Parquet, Feather or Arrow file, or a folder of Parquet files, as a DataFrame. Columns with missing values have nullable types.

    Args:
        path: Path of the file or folder.

    Returns:
        The DataFrame.

    Raises:
        InputError: When pyarrow is missing.
        FileError: When the file cannot be read.
    """
    if is_parquet(path) or path.is_dir():
        return Parquet.of(path).frame()
    try:
        import pyarrow.feather
    except ImportError:
        raise InputError(
            f"{path}: this format requires pyarrow. Install pyarrow with pip install pyarrow, or save the table as .csv."
        ) from None
    try:
        found = pyarrow.feather.read_table(path)
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise FileError(f"{path} cannot be read: {reason(error)}") from None
    return of_arrow(found, spent=True)


def csv_file(
    path: Path,
    choices: Choices = AS_THEY_ARE,
    like: Sequence[Column] = (),
) -> xr.Dataset:
    """Read a file of separated values as `x (row, feature)`, with `label` and `weight` if present.

    Args:
        path: Path of the file.
        choices: How the table is read.
        like: Columns of a model. Columns with the same names are read in the same way.

    Returns:
        A Dataset with `x (row, feature)`.

    Raises:
        InputError: When the format or a column is ambiguous.
        FileError: When the file cannot be read.
    """
    return from_frame(table(path, choices, like), str(path), choices, like)


def table(
    path: Path,
    choices: Choices = AS_THEY_ARE,
    like: Sequence[Column] = (),
) -> pd.DataFrame:
    """Read a file of separated values as a DataFrame. Pandas infers the types; columns with missing values have nullable types.

    Args:
        path: Path of the file.
        choices: How the table is read.
        like: Columns of a model. Their names and classes resolve ambiguities of the file.

    Returns:
        The DataFrame.

    Raises:
        InputError: When separators, column names or decimal marks are ambiguous.
        FileError: When the file cannot be read.
    """
    known = {column.name: column for column in like}
    written = _written(path, choices, known)
    text, sep, head, body = written.text, written.sep, written.names, written.named
    choices = choices.at(head)
    if like:
        named = [name for name in head if name in known or not name.startswith(NAMELESS)]
        check_columns(named, str(path), choices, like)
    dropped = set(choices.dropped(head))
    left, leading, points = _check_rows(path, text, sep, len(head), body, written.skipped)
    unclear = [head[i] for i in sorted(points) if choices.kind_of(head[i]) is None and head[i] not in dropped]
    if sep == ";" and choices.decimal is None and unclear:
        raise InputError(
            f"{path}: column {unclear[0]!r} has only numbers such as 1.234, between semicolons, so the meaning of the point is not clear. Use --decimal '.' "
            "for a decimal point, or --decimal ',' for a separator of thousands."
        )
    kept = [name for i, name in enumerate(head) if i not in left]
    classes = _classes(kept, known, choices)
    texts = [name for name in kept if name in classes or _as_text(name, choices)]
    zeros = [head[i] for i in sorted(leading) if head[i] in kept and choices.kind_of(head[i]) is None]
    zeros = [name for name in zeros if name not in texts and name not in dropped and name not in known]
    if zeros:
        raise InputError(
            f"{path}: column {zeros[0]!r} has numbers with leading zeros. Use --kind {quote(zeros[0])}=category for classes, "
            f"--kind {quote(zeros[0])}=count for numbers, or --drop {quote(zeros[0])} to leave the column out."
        )
    marks = [*GAPS, *choices.na]
    how: dict[str, Any] = {
        "sep": sep,
        "header": None,
        "names": head,
        "usecols": [i for i in range(len(head)) if i not in left],
        "skiprows": 1 if body else 0,
        "skipinitialspace": all(name == name.strip() for names in classes.values() for name in names),
        "na_values": {name: [] if name in classes else marks for name in head},
        "keep_default_na": False,
        "dtype_backend": "numpy_nullable",
        "dtype": dict.fromkeys(texts, "string"),
        "index_col": False,
        "low_memory": False,  # otherwise the pieces of a large file can have different types
    }

    def read(decimal: str) -> pd.DataFrame:
        try:
            frame = pd.read_csv(io.StringIO(text, newline=""), decimal=decimal, **how)
        except (ValueError, OverflowError) as error:
            raise FileError(f"{path} cannot be read as a table: {reason(error)}") from None
        for name in frame.columns:
            if pd.api.types.is_string_dtype(frame[name].dtype):
                frame[name] = _cells(frame[name], classes.get(name, ()), marks)
        return frame

    frame = read(choices.decimal or ".")
    decimal = choices.decimal or _decimal(path, frame, texts)
    if decimal != (choices.decimal or "."):
        frame = read(decimal)
    return without_nullable(_with_numbers(path, frame, texts, decimal, choices.decimal is not None))


def column_names(path: Path, choices: Choices = AS_THEY_ARE, like: Sequence[Column] = ()) -> list[str]:
    """Return the column names of a file of separated values.

    Args:
        path: Path of the file.
        choices: How the table is read.
        like: Columns of a model.

    Returns:
        The names in their order. Columns without a name are numbered.

    Raises:
        InputError: When separators or column names are ambiguous.
        FileError: When the file cannot be read.
    """
    return _written(path, choices, {column.name: column for column in like}).names


@dataclass(frozen=True)
class _Written:
    """The text of a table without the lines before it, its separator and column names, and whether its first line has the names."""

    text: str
    sep: str
    names: list[str]
    named: bool
    skipped: int


def _written(path: Path, choices: Choices, known: Mapping[str, Column]) -> _Written:
    """Find out how a table is written. What the user chose is used first, then the names of a model, then the choices for the file of its fit."""
    text = _decoded(path, choices)
    lines = LINE.split(text)
    first = next((i for i, line in enumerate(lines) if line.strip()), None)
    if first is None:
        raise InputError(f"{path} is empty. Give a file with at least one row.")
    some, before = lines[first : first + LOOKED_AT], choices.earlier or AS_THEY_ARE
    sep = choices.sep or _naming(some, known) or before.sep or _separator(path, some)
    skipped = _comments(path, lines, first, sep, choices, known)
    ends = [0, *(end.end() for end in islice(LINE.finditer(text), skipped))]
    text = text[ends[-1] :]
    names, named = _names(path, text, sep, choices, known)
    return _Written(text, sep, names, named, skipped)


def _chosen(choices: Choices, known: Collection[str], *firsts: Sequence[str]) -> Sequence[str] | None:
    """Return the chosen column names. Those of the file of a fit are not used if a first line has the names of the model."""
    before = choices.earlier.columns if choices.earlier else None
    if choices.columns is not None or before is None or any(set(known) <= set(first) for first in firsts):
        return choices.columns
    return before if before in (("none",), ("header",)) or len(before) == len(firsts[0]) else None


def _classes(
    names: Sequence[str], known: Mapping[str, Column], choices: Choices
) -> dict[str, tuple[str, ...]]:
    """Return the class names that a model or the user has defined, by column."""
    found = {name: known[name].classes for name in names if name in known and known[name].support == "token"}
    said = {name: choices.kind_of(name) or "" for name in names if name not in found}
    ordered = {
        name: tuple(part.strip() for part in kind.split("<")) for name, kind in said.items() if "<" in kind
    }
    return found | ordered


def _cells(cells: pd.Series[Any], classes: Sequence[str], marks: Sequence[str]) -> pd.Series[Any]:
    """Strip spaces and remove marks of missing values, except in texts that are class names."""
    plain = cells.str.strip()
    plain = plain.where(~cells.isin(classes), cells)
    return plain.mask(plain.isin([mark for mark in marks if mark not in classes]))


def _with_numbers(
    path: Path, frame: pd.DataFrame, texts: Sequence[str], decimal: str, said: bool
) -> pd.DataFrame:
    """Convert texts to numbers in columns of numbers with separators of thousands, and in columns with further marks of missing values.

    Unless the user chose the decimal mark (`said`), a column with only points is refused if other columns have decimal commas.
    """
    mark = "." if decimal == "," else ","
    plain = re.compile(rf"[-+]?(\d+([{decimal}]\d*)?|[{decimal}]\d+)([eE][-+]?\d+)?", re.ASCII)
    grouped = re.compile(rf"[-+]?\d{{1,3}}([{mark}]\d{{3}})+([{decimal}]\d+)?", re.ASCII)
    for name in frame.columns:
        if name in texts or not pd.api.types.is_string_dtype(frame[name].dtype):
            continue
        cells = [str(cell) for cell in frame[name].dropna().unique()]
        parted = [cell for cell in cells if grouped.fullmatch(cell)]
        if not cells or not all(plain.fullmatch(cell) or grouped.fullmatch(cell) for cell in cells):
            points = [cell for cell in cells if "." in cell and not grouped.fullmatch(cell)]
            if decimal == "," and points and all(map(_is_number, [cell.replace(",", ".") for cell in cells])):
                raise InputError(
                    f"{path}: column {name!r} has {points[0]!r}, but the decimal mark is a comma. Use --decimal '.' for decimal points."
                )
            continue
        if parted and decimal == "," and not said and not any("," in cell for cell in cells):
            raise InputError(
                f"{path}: column {name!r} has {parted[0]!r}, but other columns have decimal commas. Choose the decimal mark (--decimal ',' or '.')."
            )
        written = frame[name].str.replace(mark, "", regex=False).str.replace(decimal, ".", regex=False)
        frame[name] = pd.to_numeric(written, dtype_backend="numpy_nullable")
    return frame


def _as_text(name: str, choices: Choices) -> bool:
    kind = choices.kind_of(name) or ""
    return kind == "category" or "<" in kind or name in (choices.label, choices.index)


def _decoded(path: Path, choices: Choices) -> str:
    """Return the text of a file, unpacked if necessary. Raise `FileError`, or `InputError` if the encoding must be set."""
    try:
        raw = path.read_bytes()
        suffix = path.suffix.lower()
        if suffix == ".gz":
            raw = unpacked(raw)
        elif suffix == ".xz":
            raw = _bounded(lzma.LZMAFile(io.BytesIO(raw)), len(raw))  # noqa: SIM115 (`_bounded` closes it)
        elif suffix == ".zst":
            raw = _bounded(_zstd(path), len(raw))
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise FileError(f"{path} cannot be read: {reason(error)}") from None
    encoding = (
        choices.encoding
        or next((name for bom, name in BOMS.items() if raw.startswith(bom)), None)
        or (choices.earlier.encoding if choices.earlier else None)
        or "utf-8-sig"
    )
    try:
        text = raw.decode(encoding)
    except LookupError:
        raise InputError(
            f"encoding = {encoding!r}: not a known encoding. Use for example utf-8, utf-16, latin-1 or cp1252."
        ) from None
    except UnicodeDecodeError as error:
        if choices.encoding:
            raise InputError(
                f"{path} is not a text in {encoding}: {reason(error)}. Choose another --encoding."
            ) from None
        raise InputError(
            f"{path} is not a text in UTF-8. Set the encoding: --encoding latin-1, cp1252 or utf-16."
        ) from None
    if "\0" in text:
        raise FileError(
            f"{path} is not a text: it has zero bytes. For a text in UTF-16, use --encoding utf-16-le or utf-16-be."
        )
    return text


def _zstd(path: Path) -> Any:
    """Open a stream of the unpacked content. Raise `InputError` if pyarrow is missing, or `OSError`."""
    try:
        import pyarrow
    except ImportError:
        raise InputError(
            f"{path}: this format requires pyarrow. Install pyarrow with pip install pyarrow, or unpack the file first."
        ) from None
    return pyarrow.input_stream(str(path), compression="zstd")


def _bounded(stream: Any, packed: int) -> bytes:
    """Return the unpacked content of a stream. Raise `ValueError` for a decompression bomb."""
    with stream:
        raw: bytes = stream.read(most_unpacked(packed) + 1)
    if len(raw) > most_unpacked(packed):
        raise ValueError(UNPACKED)
    return raw


def _rows(text: str, sep: str, *, spaces: bool = False) -> Any:
    """Return a reader of the csv module: rows as lists of texts, and `line_num`. `spaces` keeps the spaces after separators."""
    return csv.reader(io.StringIO(text, newline=""), delimiter=sep, skipinitialspace=not spaces)


def _first(text: str, sep: str, known: Collection[str]) -> list[str]:
    """Return the fields of the first line that is not empty. Surrounding spaces are kept only in column names of a model."""
    cells: list[str]
    exact: list[str]
    cells, exact = (
        next((row for row in _rows(text, sep, spaces=spaces) if any(cell.strip() for cell in row)), [])
        for spaces in (False, True)
    )
    exact = exact if len(exact) == len(cells) else cells  # quotes after spaces change the number of fields
    called = ((raw, cell, cell.strip()) for raw, cell in zip(exact, cells, strict=True))
    return [next((name for name in names if name in known), names[-1]) for names in called]


def _naming(lines: Sequence[str], known: Collection[str]) -> str | None:
    """Return the separator that gives the column names of a model, if there is one."""
    naming = [sep for sep in SEPARATORS if any(set(known) <= set(_first(line, sep, known)) for line in lines)]
    return naming[0] if len(known) > 1 and len(naming) == 1 else None


def _separator(path: Path, lines: Sequence[str]) -> str:
    """Infer the separator: it gives the same number of fields in all lines. Raise `InputError` if two separators do."""
    if Path(path.stem if path.suffix.lower() in PACKED[1:] else path).suffix.lower() in (
        ".tsv",
        ".tab",
    ):
        return "\t"
    text = "\n".join(line for line in lines if line.strip() and not line.startswith("#")) or "\n".join(lines)
    widths: dict[str, Counter[int]] = {}
    for sep in SEPARATORS:
        try:
            counts = Counter(len(row) for row in _rows(text, sep) if row)
        except csv.Error:
            continue
        if max(counts, default=1) > 1:
            widths[sep] = counts
    even = [sep for sep, counts in widths.items() if len(counts) == 1]
    if len(even) > 1 and "," in even:  # decimal commas between semicolons or tabs
        cells = [cell for row in _rows(text, next(sep for sep in even if sep != ",")) for cell in row]
        if any(COMMA.fullmatch(cell.strip()) for cell in cells):
            even.remove(",")
    if len(even) == 1:
        return even[0]
    if not even and not widths:
        _refuse_other_marks(path, text)
        return ","  # any separator, because there is a single column
    if not even:  # `_check_rows` reports the lines with another number of fields
        return max(widths, key=lambda sep: (widths[sep].most_common(1)[0][1], max(widths[sep])))
    said = " or ".join(SEPARATORS[sep] for sep in even)
    raise InputError(
        f"{path}: {said} could separate its columns. Choose the separator, such as --sep '{even[0]}'."
    )


def _refuse_other_marks(path: Path, text: str) -> None:
    """Raise `InputError` if spaces or colons could separate columns: equally many fields in all lines, most of them numbers."""
    for mark, name in ((" ", "spaces"), (":", "colons")):
        rows = [[cell for cell in line.split(mark) if cell] for line in text.split("\n")[1:] if line.strip()]
        cells = [cell for row in rows for cell in row]
        numbers = sum(map(_is_number, cells))
        if len({len(row) for row in rows}) == 1 and len(rows[0]) > 1 and 2 * numbers > len(cells):
            raise InputError(
                f"{path}: {name} could separate its columns. If so, use --sep '{mark}'; otherwise name the single column with --columns NAME."
            )


def _comments(
    path: Path, lines: Sequence[str], first: int, sep: str, choices: Choices, known: Collection[str]
) -> int:
    """Return the number of lines at the start that are empty, or are comments with #.

    Raise `InputError` for a comment that could name the columns.
    """
    skipped = first
    while skipped < len(lines) - 1 and (
        lines[skipped].startswith("#") or not lines[skipped].strip(sep + " ")
    ):
        if not lines[skipped].strip(sep + " "):  # empty fields are not names
            skipped += 1
            continue
        below = next(
            (line for line in lines[skipped + 1 :] if line.strip() and not line.startswith("#")), None
        )
        if below is None or (
            lines[skipped].count(sep) == below.count(sep) > 0
            and not _is_remark(path, lines[skipped : skipped + LOOKED_AT], sep, choices, known)
        ):
            break
        skipped += 1
    return skipped


def _is_remark(path: Path, lines: Sequence[str], sep: str, choices: Choices, known: Collection[str]) -> bool:
    """Return whether a first line with #, and as many fields as the next line, is a comment. Raise `InputError` if it could name the columns."""
    here, rest = ("\n".join(line for line in part if line.strip()) for part in (lines, lines[1:]))
    first, second = (_first(text, sep, known) for text in (here, rest))
    columns = _chosen(choices, known, first, second)
    if columns == ("header",) or (known and set(known) <= set(first)):
        return False
    if columns is not None or (known and set(known) <= set(second)):
        return list(columns or ()) != first
    if _is_above_numbers(first, here, sep):
        return False
    if _is_above_numbers(second, rest, sep):
        return True
    raise InputError(
        f"{path}: its first line begins with # and could be column names or a comment. Use --columns header for names, or name the columns with --columns a,b,..."
    )


def _names(
    path: Path, text: str, sep: str, choices: Choices, known: Collection[str]
) -> tuple[list[str], bool]:
    """Return the column names, and whether the first line has them. Raise `InputError` if this is ambiguous."""
    first = _first(text, sep, known)
    if len(first) > COLUMNS:
        raise FileError(f"{path} has more than {COLUMNS} columns. Save the table as .npy.")
    columns = _chosen(choices, known, first)
    if columns is not None and columns != ("header",):
        names = [f"column {i + 1}" for i in range(len(first))] if columns == ("none",) else []
        names = names or list(columns)
        if len(names) != len(first):
            raise InputError(
                f"{path} has {len(first)} columns, but --columns has {len(names)} names. Give one name per column."
            )
        if twice := [name for name, n in Counter(names).items() if n > 1]:
            raise InputError(f"--columns has the name {twice[0]!r} twice. Give each column a different name.")
        if first != names and sorted(first) == sorted(names):
            raise InputError(
                f"{path} has the column names {','.join(first)}, which --columns gives in another order. Leave --columns out, or use the order of the file."
            )
        return names, first == names or _is_above_numbers(first, text, sep)
    numbers = [cell for cell in first if _is_number(cell)]
    models = bool(known) and set(known) <= set(first)
    if numbers and columns is None and not models and not _is_above_numbers(first, text, sep):
        raise InputError(
            f"{path}: its first line should have the column names, but it has the number {numbers[0]}. Name the columns with --columns a,b,..., "
            f"number them with --columns none, or accept the line as names with --columns header."
        )
    named = [cell for cell in first if cell or cell in known]
    if twice := [cell for cell, n in Counter(named).items() if n > 1]:
        raise InputError(
            f"{path} has two columns {twice[0]!r}. Give different names with --columns a,b,..., or, if the first "
            "line is a row, number the columns with --columns none."
        )
    return [cell if cell or cell in known else f"{NAMELESS}{i}" for i, cell in enumerate(first)], True


def _is_above_numbers(first: Sequence[str], text: str, sep: str) -> bool:
    """Return whether a first line has a text above a column of numbers, so that it is not a row."""
    rows = [row for row in islice(_rows(text, sep), 1, LOOKED_AT) if len(row) == len(first)]
    for cell, below in zip(first, zip(*rows, strict=True), strict=False):
        known = [each for each in below if each.strip() not in GAPS]
        if cell and not _is_number(cell) and known and all(map(_is_number, known)):
            return True
    return False


def _check_rows(
    path: Path, text: str, sep: str, width: int, named: bool, skipped: int
) -> tuple[set[int], set[int], set[int]]:
    """Return three sets of columns: without name and value, with leading zeros, and with only numbers such as 1.234.

    Raise `InputError` for a row with another number of fields.
    """
    empty, zeros, points = set(range(width)), set(), set(range(width))
    some: set[int] = set()
    gap: int | None = None
    odd: list[tuple[int, int]] = []  # lines with another number of fields
    try:
        reader = _rows(text, sep)
        for number, row in enumerate(reader):
            if not any(cell.strip() for cell in row):
                if width == 1 and gap is None:
                    gap = reader.line_num + skipped
                if row and len(row) > 1 and len(row) != width:
                    odd.append((reader.line_num + skipped, len(row)))
                continue
            if gap is not None:
                raise InputError(
                    f"{path}, line {gap}: an empty line could be a missing value of the single column. Write NA there, or delete the line."
                )
            if len(row) != width:
                odd.append((reader.line_num + skipped, len(row)))
                continue
            if named and number == 0:
                empty -= {i for i, cell in enumerate(row) if cell.strip()}
                continue
            if empty:
                empty -= {i for i in empty if row[i].strip()}
            for i, cell in enumerate(row):
                if i in points and cell.strip() not in GAPS:
                    some.add(i)
                    if not POINTS.fullmatch(cell.strip()):
                        points.discard(i)
                if ZEROS.fullmatch(cell):
                    zeros.add(i)
    except csv.Error as error:
        raise FileError(f"{path} cannot be read as a table: {reason(error)}") from None
    if odd:
        raise InputError(_odd_lines(path, odd, width))
    return empty, zeros, points & some


def _odd_lines(path: Path, odd: Sequence[tuple[int, int]], width: int) -> str:
    table = f"the table has {_counted(width, 'column')}"
    if len(odd) == 1:
        line, n = odd[0]
        return f"{path}, line {line}: {_counted(n, 'field')}, but {table}. Fix the line, or set the separator with --sep."
    some = ", ".join(f"line {line}: {_counted(n, 'field')}" for line, n in odd[:NAMED])
    more = ", ..." if len(odd) > NAMED else ""
    return f"{path} has {len(odd)} lines of other lengths ({some}{more}), but {table}. Fix the lines, or set the separator with --sep."


def _counted(n: int, what: str) -> str:
    return f"{n} {what}{'s' if n != 1 else ''}"


def _decimal(path: Path, frame: pd.DataFrame, texts: Sequence[str]) -> str:
    """Infer the decimal mark from columns with commas that pandas read as texts. Raise `InputError` if it is ambiguous."""
    found: dict[str, str] = {}
    for name in frame.columns:
        if name in texts or not pd.api.types.is_string_dtype(frame[name].dtype):
            continue
        cells = [str(cell) for cell in frame[name].dropna().unique()]
        commas = [cell for cell in cells if "," in cell]
        if not commas or not all(
            COMMA.fullmatch(cell) or _is_number(cell) or BOTH.fullmatch(cell) or EURO.fullmatch(cell)
            for cell in cells
        ):
            continue
        if any(BOTH.fullmatch(cell) for cell in commas):
            found["."] = name
        elif any(EURO.fullmatch(cell) for cell in commas):
            found[","] = name
        elif all(THOUSANDS.fullmatch(cell) for cell in commas):
            raise InputError(
                f"{path}: column {name!r} has {commas[0]!r}, so the meaning of the comma is not clear. Use --decimal ',' for a decimal comma, "
                "or --decimal '.' for a separator of thousands."
            )
        elif any("." in cell for cell in cells):
            raise InputError(
                f"{path}: column {name!r} has {commas[0]!r} and also decimal points. Choose the decimal mark (--decimal ',' or '.')."
            )
        else:
            found[","] = name
    if len(found) > 1:
        raise InputError(
            f"{path}: columns {found['.']!r} and {found[',']!r} have different decimal marks. Choose the decimal mark (--decimal ',' or '.')."
        )
    return next(iter(found), ".")


def _is_number(text: str) -> bool:
    """Return whether a text is a number in digits. The words nan and infinity are not numbers here, because columns may have these names."""
    try:
        return math.isfinite(float(text.strip().strip("\"'"))) and "_" not in text and text.isascii()
    except ValueError:
        return False
