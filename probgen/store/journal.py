"""The history of a fit in progress: one line per step, readable at any moment.

Each line is a JSON object that ends with the CRC-32 of the content before it. A process that is killed may
leave an incomplete last line: this line is cut off before the next line is written, and readers ignore it. A
resume may repeat steps, which are then written again; the last line of a step is valid. A line with `remark`
and without a step is a sentence about the run, for example on a failed observer.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from probgen.errors import FileError, RunError


class Journal:
    """An append-only file of JSON lines.

    Args:
        path: The path of the file.

    Raises:
        RunError: When the file cannot be written.
        FileError: When a complete line is damaged.
    """

    def __init__(self, path: Path):
        self.path = path
        _, whole = _read(path)
        try:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o666)
            os.ftruncate(self._descriptor, whole)
            os.lseek(self._descriptor, whole, os.SEEK_SET)
        except OSError as error:
            raise RunError(f"{path} could not be written: {error.strerror}") from None

    def write(self, line: Mapping[str, Any]) -> None:
        """Append one line; raise `RunError` on failure."""
        body = json.dumps(line)[:-1]
        content = f'{body}, "crc": {zlib.crc32(body.encode())}}}\n'.encode()
        try:
            while content:
                content = content[os.write(self._descriptor, content) :]
        except OSError as error:
            raise RunError(f"{self.path} could not be written: {error.strerror}") from None

    def sync(self) -> None:
        """Make the written lines durable; raise `RunError` on failure."""
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise RunError(f"{self.path} could not be written: {error.strerror}") from None

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def read_journal(path: Path) -> list[dict[str, Any]]:
    """Return the lines of steps in order, the last line of each step; raise `FileError` for a damaged line."""
    lines: dict[tuple[str, int], dict[str, Any]] = {}
    for line in _read(path)[0]:
        if "step" not in line:
            continue  # a remark
        place = (line["stage"], line["step"])
        lines.pop(place, None)
        lines[place] = line
    return list(lines.values())


def read_new(path: Path, after: int, most: int = 1 << 20) -> tuple[list[dict[str, Any]], int, bool]:
    """Return the complete lines that follow a byte, for a reader of a running fit.

    The lines are in the order of their writing: after a resume, steps come again, and the last line of a step is valid.

    Args:
        path: The path of the file.
        after: The end of what was read before; 0 for the beginning.
        most: The largest number of bytes to read; at least one line must fit.

    Returns:
        The lines, the end of what was read, and whether the file has begun again, so that earlier lines are void.

    Raises:
        FileError: When a line is damaged.
    """
    try:
        with path.open("rb") as file:
            again = after > 0
            if 0 < after <= os.fstat(file.fileno()).st_size:
                file.seek(after - 1)
                again = file.read(1) != b"\n"  # a fit that was started again has another journal
            start = 0 if again else after
            file.seek(start)
            content = file.read(most)
    except FileNotFoundError:
        return [], 0, after > 0
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror}") from None
    whole = content.rfind(b"\n") + 1
    texts = content[:whole].split(b"\n")[:-1]
    lines = [_line(text, path, i) for i, text in enumerate(texts)]
    return [line for line in lines if "remark" not in line], start + whole, again


def read_remarks(path: Path) -> list[str]:
    """Return the remarks in order, for example on a failed observer; raise `FileError` for a damaged line."""
    return [str(line["remark"]) for line in _read(path)[0] if "remark" in line]


def _read(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Return the complete lines, and the number of their bytes."""
    if not path.exists():
        return [], 0
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    texts, torn = content[:whole].split(b"\n")[:-1], content[whole:]
    if _is_line(
        torn[:-1]
    ):  # a complete line and one more byte: its line feed is damaged, and the write was not torn
        texts.append(torn)
    return [_line(text, path, i) for i, text in enumerate(texts)], whole


def _is_line(text: bytes) -> bool:
    body, _, crc = text.rpartition(b', "crc": ')
    return crc == b"%d}" % zlib.crc32(body)


def _line(text: bytes, path: Path, number: int) -> dict[str, Any]:
    try:
        line = json.loads(text.rpartition(b', "crc": ')[0] + b"}") if _is_line(text) else None
    except (ValueError, RecursionError):
        line = None
    if not isinstance(line, dict):
        raise FileError(
            f"{path} is damaged in line {number + 1}. Start the fit again with --force (force=True)."
        )
    return line
