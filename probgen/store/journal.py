"""The history of a fit while it is going: a line a step, safe to read at any moment.

Each line is a JSON object that ends in the CRC-32 of what stands before it. A process that dies may leave a torn last
line: it is cut off before the next is written, and readers drop it. Steps that are done again after a resume are
written again; the last line for a step stands.
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
    """An append-only file of JSON lines."""

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
        """Append one line. Errors: `RunError`."""
        body = json.dumps(line)[:-1]
        content = f'{body}, "crc": {zlib.crc32(body.encode())}}}\n'.encode()
        try:
            while content:
                content = content[os.write(self._descriptor, content) :]
        except OSError as error:
            raise RunError(f"{self.path} could not be written: {error.strerror}") from None

    def sync(self) -> None:
        """Make what was written durable. Errors: `RunError`."""
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise RunError(f"{self.path} could not be written: {error.strerror}") from None

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)


def read_journal(path: Path) -> list[dict[str, Any]]:
    """Its lines in order, the last one for each step only. Errors: `FileError` for a damaged line."""
    lines: dict[tuple[str, int], dict[str, Any]] = {}
    for line in _read(path)[0]:
        place = (line["stage"], line["step"])
        lines.pop(place, None)
        lines[place] = line
    return list(lines.values())


def _read(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The whole lines, and how many bytes they take."""
    if not path.exists():
        return [], 0
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    texts, torn = content[:whole].split(b"\n")[:-1], content[whole:]
    if _is_line(torn[:-1]):  # a line that was torn ends before its end, and has nothing after it
        texts.append(torn)
    return [_line(text, path, i) for i, text in enumerate(texts)], whole


def _is_line(text: bytes) -> bool:
    body, _, crc = text.rpartition(b', "crc": ')
    return crc == b"%d}" % zlib.crc32(body)


def _line(text: bytes, path: Path, number: int) -> dict[str, Any]:
    if not _is_line(text):
        raise FileError(f"{path} is damaged in line {number + 1}")
    line: dict[str, Any] = json.loads(text.rpartition(b', "crc": ')[0] + b"}")
    return line
