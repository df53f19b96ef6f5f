"""Files of separated values: how they are written is found out, and what could be one thing or another is refused."""

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
from probgen.readers.frames import AS_THEY_ARE, Choices, from_frame
from probgen.readers.parquet import Parquet, is_parquet, row_groups
from probgen.store.guard import UNPACKED

COLUMNS = 1 << 15
ARROW = (".parquet", ".pq", ".feather", ".arrow")
PACKED = ("", ".gz", ".xz", ".zst")
SUFFIXES = tuple(kind + packed for packed in PACKED for kind in (".csv", ".tsv", ".tab", ".data"))
GAPS = ("", "?", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "#N/A", "<NA>")
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
LOOKED_AT = 200  # lines by which separators are told
BOMS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb\xbf": "utf-8-sig"}
ZEROS = re.compile(r"[-+]?0\d+", re.ASCII)
LINE = re.compile(r"\r\n|\n|\r|$")
COMMA = re.compile(r"[-+]?\d+,\d+", re.ASCII)  # a number as some countries write it
THOUSANDS = re.compile(r"[-+]?\d{1,3}(,\d{3})+", re.ASCII)
EURO = re.compile(r"[-+]?\d{1,3}(\.\d{3})+,\d+", re.ASCII)  # no decimal point
POINTS = re.compile(r"[-+]?\d{1,3}\.\d{3}", re.ASCII)  # thousands, where commas are decimal
BOTH = re.compile(r"[-+]?\d{1,3}(,\d{3})+\.\d+|[-+]?\d{1,3}(,\d{3}){2,}", re.ASCII)  # no decimal comma


def arrow_file(
    path: Path,
    choices: Choices = AS_THEY_ARE,
    like: Sequence[Column] = (),
) -> xr.Dataset:
    """A Parquet, Feather or Arrow file, or a folder of Parquet files, as `x (row, feature)`. Errors: `InputError`, `FileError`."""
    for name in ("columns", "sep", "decimal", "encoding"):
        if getattr(choices, name) is not None:
            raise InputError(f"{name} is of text files, which {path} is not")
    if is_parquet(path) or path.is_dir():
        found = Parquet.of(path)
        if found.is_large:
            return row_groups(found, choices, like)
        return from_frame(found.frame(), str(path), choices, like)
    return from_frame(arrow_frame(path), str(path), choices, like)


def arrow_frame(path: Path) -> pd.DataFrame:
    """The same as a frame, of nullable types. Errors: `InputError` where pyarrow is missing, `FileError`."""
    if is_parquet(path) or path.is_dir():
        return Parquet.of(path).frame()
    try:
        import pyarrow.feather
    except ImportError:
        raise InputError(f"{path}: needs pyarrow: pip install pyarrow, or save it as .csv") from None
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
    """A file as `x (row, feature)` and what is beside it. Errors: `InputError`, `FileError`."""
    return from_frame(table(path, choices, like), str(path), choices, like)


def table(
    path: Path,
    choices: Choices = AS_THEY_ARE,
    like: Sequence[Column] = (),
) -> pd.DataFrame:
    """A file as a frame, its columns as pandas takes them, of nullable types.

    like  columns of a model: their names and classes are what they are called there, also where a file could mean something else by them

    Errors: `FileError`; `InputError` where its separators, names or decimal points could be one thing or another.
    """
    text = _decoded(path, choices)
    lines = LINE.split(text)
    first = next((i for i, line in enumerate(lines) if line.strip()), None)
    if first is None:
        raise InputError(f"{path} is empty")
    known = {column.name: column for column in like}
    sep = choices.sep or _separator(path, lines[first : first + LOOKED_AT], known)
    skipped = _comments(path, lines, first, sep, choices, known)
    ends = [0, *(end.end() for end in islice(LINE.finditer(text), skipped))]
    text = text[ends[-1] :]
    head, body = _names(path, text, sep, choices, known)
    dropped = set(choices.dropped(head))
    left, leading, points = _check_rows(path, text, sep, len(head), body, skipped)
    unclear = [head[i] for i in sorted(points) if choices.kind_of(head[i]) is None and head[i] not in dropped]
    if sep == ";" and choices.decimal is None and unclear:
        raise InputError(
            f"{path}: column {unclear[0]!r} has numbers as 1.234 alone, between semicolons: say whether the point is a decimal one (--decimal .) or one "
            "of thousands (--decimal ,)"
        )
    kept = [name for i, name in enumerate(head) if i not in left]
    classes = _classes(kept, known, choices)
    texts = [name for name in kept if name in classes or _as_text(name, choices)]
    zeros = [head[i] for i in sorted(leading) if head[i] in kept and choices.kind_of(head[i]) is None]
    zeros = [name for name in zeros if name not in texts and name not in dropped and name not in known]
    if zeros:
        raise InputError(
            f"{path}: column {zeros[0]!r} has numbers with leading zeros: they are classes (--kind {quote(zeros[0])}=category), or numbers "
            f"(--kind {quote(zeros[0])}=count), or left out (--drop {quote(zeros[0])})"
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
        "low_memory": False,  # or each piece of a large file has columns of types of its own
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


def _classes(
    names: Sequence[str], known: Mapping[str, Column], choices: Choices
) -> dict[str, tuple[str, ...]]:
    """Of columns whose classes a model or you have named, what these are called."""
    found = {name: known[name].classes for name in names if name in known and known[name].support == "token"}
    said = {name: choices.kind_of(name) or "" for name in names if name not in found}
    ordered = {
        name: tuple(part.strip() for part in kind.split("<")) for name, kind in said.items() if "<" in kind
    }
    return found | ordered


def _cells(cells: pd.Series[Any], classes: Sequence[str], marks: Sequence[str]) -> pd.Series[Any]:
    """Texts without spaces around them and without marks of gaps, but where a class is called so."""
    plain = cells.str.strip()
    plain = plain.where(~cells.isin(classes), cells)
    return plain.mask(plain.isin([mark for mark in marks if mark not in classes]))


def _with_numbers(
    path: Path, frame: pd.DataFrame, texts: Sequence[str], decimal: str, said: bool
) -> pd.DataFrame:
    """The same with numbers where texts are numbers with marks of thousands, or what gaps were told of late.

    said  whether somebody said which mark is decimal; else points beside decimal commas are refused
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
                    f"{path}: column {name!r} has {points[0]!r}, and the decimal mark is a comma (--decimal .)"
                )
            continue
        if parted and decimal == "," and not said and not any("," in cell for cell in cells):
            raise InputError(
                f"{path}: column {name!r} has {parted[0]!r}, and other columns decimal commas: say which mark is decimal (--decimal , or .)"
            )
        written = frame[name].str.replace(mark, "", regex=False).str.replace(decimal, ".", regex=False)
        frame[name] = pd.to_numeric(written, dtype_backend="numpy_nullable")
    return frame


def _as_text(name: str, choices: Choices) -> bool:
    kind = choices.kind_of(name) or ""
    return kind == "category" or "<" in kind or name in (choices.label, choices.index)


def _decoded(path: Path, choices: Choices) -> str:
    """The text of a file, packed or not. Errors: `FileError`; `InputError` where its encoding has to be said."""
    try:
        raw = path.read_bytes()
        suffix = path.suffix.lower()
        if suffix == ".gz":
            raw = unpacked(raw)
        elif suffix == ".xz":
            raw = _bounded(lzma.LZMAFile(io.BytesIO(raw)), len(raw))  # noqa: SIM115 (it is closed there)
        elif suffix == ".zst":
            raw = _bounded(_zstd(path), len(raw))
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise FileError(f"{path} cannot be read: {reason(error)}") from None
    encoding = (
        choices.encoding
        or next((name for bom, name in BOMS.items() if raw.startswith(bom)), None)
        or "utf-8-sig"
    )
    try:
        text = raw.decode(encoding)
    except LookupError:
        raise InputError(f"encoding = {encoding!r} is not known: utf-8, utf-16, latin-1, cp1252") from None
    except UnicodeDecodeError as error:
        if choices.encoding:
            raise InputError(f"{path} is no text in {encoding}: {reason(error)}") from None
        raise InputError(
            f"{path} is no text in UTF-8: say how it is written, --encoding latin-1, cp1252 or utf-16"
        ) from None
    if "\0" in text:
        raise FileError(
            f"{path} is no text: it holds bytes that are 0; if it is in UTF-16, say which, --encoding utf-16-le or utf-16-be"
        )
    return text


def _zstd(path: Path) -> Any:
    """A stream of what is in it. Errors: `InputError` where pyarrow is missing, `OSError`."""
    try:
        import pyarrow
    except ImportError:
        raise InputError(f"{path}: needs pyarrow: pip install pyarrow, or unpack it first") from None
    return pyarrow.input_stream(str(path), compression="zstd")


def _bounded(stream: Any, packed: int) -> bytes:
    """What a stream unpacks, if it is no bomb. Errors: `ValueError`."""
    with stream:
        raw: bytes = stream.read(most_unpacked(packed) + 1)
    if len(raw) > most_unpacked(packed):
        raise ValueError(UNPACKED)
    return raw


def _rows(text: str, sep: str, *, spaces: bool = False) -> Any:
    """The reader of the csv module: rows as lists of texts, and `line_num`. spaces: whether those after a separator are kept."""
    return csv.reader(io.StringIO(text, newline=""), delimiter=sep, skipinitialspace=not spaces)


def _first(text: str, sep: str, known: Collection[str]) -> list[str]:
    """The fields of the first line that has some, without spaces around them, but where a column of a model is called so."""
    cells: list[str]
    exact: list[str]
    cells, exact = (
        next((row for row in _rows(text, sep, spaces=spaces) if any(cell.strip() for cell in row)), [])
        for spaces in (False, True)
    )
    exact = exact if len(exact) == len(cells) else cells  # quotes after spaces
    called = ((raw, cell, cell.strip()) for raw, cell in zip(exact, cells, strict=True))
    return [next((name for name in names if name in known), names[-1]) for names in called]


def _separator(path: Path, lines: Sequence[str], known: Collection[str]) -> str:
    """What parts the fields: the mark by which a line has the names of a model's columns, or by which all lines have equally many. Errors: `InputError` where two do."""
    if Path(path.stem if path.suffix.lower() in PACKED[1:] else path).suffix.lower() in (
        ".tsv",
        ".tab",
    ):
        return "\t"
    naming = [sep for sep in SEPARATORS if any(set(known) <= set(_first(line, sep, known)) for line in lines)]
    if len(known) > 1 and len(naming) == 1:
        return naming[0]
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
        return ","  # one column
    if not even:  # rows that are ragged are told by their numbers
        return max(widths, key=lambda sep: (widths[sep].most_common(1)[0][1], max(widths[sep])))
    said = " or ".join(SEPARATORS[sep] for sep in even)
    raise InputError(f"{path}: {said} may part its columns: say which, --sep '{even[0]}'")


def _refuse_other_marks(path: Path, text: str) -> None:
    """Errors: `InputError` for lines that a space or a colon parts in equally many fields, most of them numbers."""
    for mark, name in ((" ", "spaces"), (":", "colons")):
        rows = [[cell for cell in line.split(mark) if cell] for line in text.split("\n")[1:] if line.strip()]
        cells = [cell for row in rows for cell in row]
        numbers = sum(map(_is_number, cells))
        if len({len(row) for row in rows}) == 1 and len(rows[0]) > 1 and 2 * numbers > len(cells):
            raise InputError(
                f"{path}: {name} may part its columns: say so, --sep '{mark}', or name the one column, --columns NAME"
            )


def _comments(
    path: Path, lines: Sequence[str], first: int, sep: str, choices: Choices, known: Collection[str]
) -> int:
    """How many lines at the beginning are empty, or remarks that begin with #. Errors: `InputError` for one that could name the columns as well."""
    skipped = first
    while skipped < len(lines) - 1 and (
        lines[skipped].startswith("#") or not lines[skipped].strip(sep + " ")
    ):
        if not lines[skipped].strip(sep + " "):  # fields without a value are no names
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
    """Whether a first line with # and as many fields as those below says nothing of columns. Errors: `InputError` where it could."""
    here, rest = ("\n".join(line for line in part if line.strip()) for part in (lines, lines[1:]))
    first, second = (_first(text, sep, known) for text in (here, rest))
    if choices.columns == ("header",) or (known and set(known) <= set(first)):
        return False
    if choices.columns is not None or (known and set(known) <= set(second)):
        return list(choices.columns or ()) != first
    if _is_above_numbers(first, here, sep):
        return False
    if _is_above_numbers(second, rest, sep):
        return True
    raise InputError(
        f"{path}: its first line begins with # and may name the columns (--columns header) or be a remark: then name them by --columns a,b,..."
    )


def _names(
    path: Path, text: str, sep: str, choices: Choices, known: Collection[str]
) -> tuple[list[str], bool]:
    """The names of columns, and whether the first line holds them. Errors: `InputError`."""
    first = _first(text, sep, known)
    if len(first) > COLUMNS:
        raise FileError(f"{path} has more than {COLUMNS} columns; give an .npy file")
    if choices.columns is not None and choices.columns != ("header",):
        names = [f"column {i + 1}" for i in range(len(first))] if choices.columns == ("none",) else []
        names = names or list(choices.columns)
        if len(names) != len(first):
            raise InputError(f"{path} has {len(first)} columns, and --columns names {len(names)}")
        if twice := [name for name, n in Counter(names).items() if n > 1]:
            raise InputError(f"--columns names {twice[0]!r} twice: names must differ")
        if first != names and sorted(first) == sorted(names):
            raise InputError(
                f"{path} names its columns itself, in another order, {','.join(first)}: leave --columns out, or give these names"
            )
        return names, first == names or _is_above_numbers(first, text, sep)
    numbers = [cell for cell in first if _is_number(cell)]
    models = bool(known) and set(known) <= set(first)
    if numbers and choices.columns is None and not models and not _is_above_numbers(first, text, sep):
        raise InputError(
            f"{path}: its first line holds the number {numbers[0]}, and it should name the columns: name them by --columns a,b,..., "
            f"number them by --columns none, or take it for names by --columns header"
        )
    named = [cell for cell in first if cell or cell in known]
    if twice := [cell for cell, n in Counter(named).items() if n > 1]:
        raise InputError(
            f"{path} has two columns {twice[0]!r}: names must differ; give others by --columns a,b,..., or number them, if the first "
            "line is a row, by --columns none"
        )
    return [cell if cell or cell in known else f"Unnamed: {i}" for i, cell in enumerate(first)], True


def _is_above_numbers(first: Sequence[str], text: str, sep: str) -> bool:
    """Whether a first line has a text above a column of numbers, and so is none of the rows."""
    rows = [row for row in islice(_rows(text, sep), 1, LOOKED_AT) if len(row) == len(first)]
    for cell, below in zip(first, zip(*rows, strict=True), strict=False):
        known = [each for each in below if each.strip() not in GAPS]
        if cell and not _is_number(cell) and known and all(map(_is_number, known)):
            return True
    return False


def _check_rows(
    path: Path, text: str, sep: str, width: int, named: bool, skipped: int
) -> tuple[set[int], set[int], set[int]]:
    """Columns that have neither name nor value, those with leading zeros, and those of numbers as 1.234 alone. Errors: `InputError` for a row of another length."""
    empty, zeros, points = set(range(width)), set(), set(range(width))
    some: set[int] = set()
    gap: int | None = None
    try:
        reader = _rows(text, sep)
        for number, row in enumerate(reader):
            if not any(cell.strip() for cell in row):
                if width == 1 and gap is None:
                    gap = reader.line_num + skipped
                if row and len(row) > 1 and len(row) != width:
                    raise InputError(
                        f"{path}, line {reader.line_num + skipped}: {len(row)} fields where there are {width} columns"
                    )
                continue
            if gap is not None:
                raise InputError(
                    f"{path}, line {gap}: nothing, which may be a gap of the one column: write NA there, or take the line out"
                )
            if len(row) != width:
                raise InputError(
                    f"{path}, line {reader.line_num + skipped}: {_counted(len(row), 'field')} where there are {_counted(width, 'column')}: "
                    "mend it, or say what parts the columns, --sep"
                )
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
    return empty, zeros, points & some


def _counted(n: int, what: str) -> str:
    return f"{n} {what}{'s' if n != 1 else ''}"


def _decimal(path: Path, frame: pd.DataFrame, texts: Sequence[str]) -> str:
    """The decimal mark, where pandas has found texts that are numbers with commas. Errors: `InputError` where it could be either."""
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
                f"{path}: column {name!r} has {commas[0]!r}: say whether the comma is a decimal one (--decimal ,) or one of thousands (--decimal .)"
            )
        elif any("." in cell for cell in cells):
            raise InputError(
                f"{path}: column {name!r} has {commas[0]!r} beside decimal points: say which is decimal (--decimal , or .)"
            )
        else:
            found[","] = name
    if len(found) > 1:
        raise InputError(
            f"{path}: columns {found['.']!r} and {found[',']!r} are written in two ways: say which mark is decimal (--decimal , or .)"
        )
    return next(iter(found), ".")


def _is_number(text: str) -> bool:
    """Whether it is a number that is written in digits: a column may be called nan, or infinity."""
    try:
        return math.isfinite(float(text.strip().strip("\"'"))) and "_" not in text and text.isascii()
    except ValueError:
        return False
