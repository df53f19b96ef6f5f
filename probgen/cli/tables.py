"""Tables as text for a terminal of any width: columns if they fit, otherwise one block of lines for each row.

A number is never cut: a narrow terminal gets fewer columns, or blocks.
"""

from __future__ import annotations

import math
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any

WIDE = 160  # width where the output is not a terminal, as in a file
UNBROKEN = 24  # up to so many characters, a cell is not broken into lines
GAP = "  "
RULE = "─"


def width_of_output() -> int:
    """Return the width of the terminal, or 160 if the output goes elsewhere and COLUMNS is not set."""
    if sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdecimal():
        return shutil.get_terminal_size().columns
    return WIDE


def printable(text: str) -> str:
    """Return a text with escaped control characters, so that a name in a file cannot control the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


def number(value: float, form: str) -> str:
    """Return the printed form of a number, with a word for NaN and infinity."""
    if math.isfinite(value):
        return format(value, form)
    return "undefined" if math.isnan(value) else "infinite" if value > 0 else "minus infinite"


def with_error(value: float | None, error: float | None, form: str = ".3f") -> str | None:
    """Return a number with its standard error, which one row does not have."""
    if value is None:
        return None
    known = error is not None and math.isfinite(error) and error > 0
    return number(value, form) + (f" ± {error:{form}}" if known else "")


def cell_of(value: Any) -> str:
    """Return the text of a cell: empty for None, four decimals for a number of usual size."""
    if value is None:
        return ""
    if isinstance(value, float):
        return number(value, ".4f" if 1e-3 <= abs(value) < 1e6 or value == 0 else ".4g")
    return printable(" ".join(str(value).split()))


def laid_out(
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    title: str = "",
    width: int = WIDE,
    spare: Sequence[str] = (),
) -> str:
    """Return a table as text, with numbers on the right.

    Args:
        rows: The rows. Missing cells are empty, and a column without a cell is left out.
        columns: The columns in their order. The first one names a row.
        title: The title, in lines of the width.
        width: Characters in a line.
        spare: Columns that a table may lack, the most dispensable first. Blocks have all columns.

    Returns:
        The lines. Each cell of up to 24 characters is in one line.
    """
    shown = [name for name in columns if any(row.get(name) is not None for row in rows)]
    cells = [{name: cell_of(row.get(name)) for name in shown} for row in rows]
    lines = wrapped(title, width) if title else []
    for left_out in range(len(spare) + 1):
        kept = [name for name in shown if name not in spare[:left_out]]
        widths = _widths(cells, kept, width)
        if widths is not None:
            right = {n for n in kept if all(isinstance(row.get(n), int | float | None) for row in rows)}
            return "\n".join([*lines, *_table(cells, widths, right)]) + "\n"
    return "\n".join([*lines, *_blocks(cells, shown, width)]) + "\n"


def wrapped(text: str, width: int, indent: str = "") -> list[str]:
    """Return the lines of a text. A word that is longer than a line, such as a path, is not broken."""
    words = text.split()
    lines = [text[: len(text) - len(text.lstrip())] + (words[0] if words else "")]
    for word in words[1:]:
        if _long(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(indent + word)
    return lines


def _head(name: str) -> str:
    return name.replace("_", " ")


def _widths(cells: Sequence[Mapping[str, str]], names: Sequence[str], width: int) -> dict[str, int] | None:
    """Return the widths of columns, or None if they do not fit. Long texts share the room that is left."""
    least, most = {}, {}
    for name in names:
        longest = max((_long(row[name]) for row in cells), default=0)
        head = max(map(_long, _head(name).split()), default=0)
        words = [_long(word) for row in cells for word in row[name].split()]
        breakable = longest > UNBROKEN
        least[name] = max(head, min(max(words, default=0), UNBROKEN) if breakable else longest)
        most[name] = max(_long(_head(name)), longest)
    room = width - sum(least.values()) - len(GAP) * (len(names) - 1)
    if room < 0:
        return None
    for name in sorted(names, key=lambda name: most[name] - least[name]):
        more = min(room, most[name] - least[name])
        least[name], room = least[name] + more, room - more
    return least


def _table(cells: Sequence[Mapping[str, str]], widths: Mapping[str, int], right: set[str]) -> list[str]:
    lines = []
    for row in ({name: _head(name) for name in widths}, None, *cells):
        if row is None:
            lines.append(RULE * (sum(widths.values()) + len(GAP) * (len(widths) - 1)))
            continue
        parts = {name: _folded(row[name], widths[name]) for name in widths}
        for i in range(max(map(len, parts.values()))):
            padded = []
            for name, part in parts.items():
                text = part[i] if i < len(part) else ""
                blank = " " * (widths[name] - _long(text))
                padded.append(blank + text if name in right else text + blank)
            lines.append(GAP.join(padded).rstrip())
    return lines


def _folded(text: str, width: int) -> list[str]:
    """Return the lines of a cell. A word that is longer than the cell is broken."""
    lines = []
    for line in wrapped(text, width):
        while _long(line) > width:
            count = max(1, next(n for n in range(len(line)) if _long(line[: n + 1]) > width))
            lines.append(line[:count])
            line = line[count:]
        lines.append(line)
    return lines


def _blocks(cells: Sequence[Mapping[str, str]], names: Sequence[str], width: int) -> list[str]:
    """Return a block for each row: the first cell, then a line for each of the others."""
    first, *others = names
    room = max((_long(_head(name)) for name in others), default=0)
    lines = []
    for row in cells:
        lines += wrapped(row[first], width)
        for name in others:
            if not row[name]:
                continue
            head = _head(name)
            beside = f"{GAP}{head}{' ' * (room - _long(head))}{GAP}{row[name]}"
            if _long(beside) <= width:
                lines.append(beside)
            else:
                lines += [f"{GAP}{_head(name)}", *wrapped(f"{2 * GAP}{row[name]}", width, 2 * GAP)]
    return lines


def _long(text: str) -> int:
    from rich.cells import cell_len  # of wide characters, too

    return cell_len(text)
