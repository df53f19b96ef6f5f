"""Files with a checksum, which are written completely or not at all.

A crash or a full disk during a write can destroy an HDF5 file that is written in place. Therefore a file is
built in memory, written to a temporary name, synchronized and renamed: a reader sees the old file or the new
file. The last line of a file is the SHA-256 of the content before it. HDF5 ignores bytes after its end, and
TOML reads the line as a comment, so other readers can open these files. Truncation and damage are detected,
even in a copy of a file.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import tomllib
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import tomli_w

from probgen.errors import FileError, InputError, RunError
from probgen.store.processes import machine, started

_TEMPORARY = re.compile(r"\..+\.(\d+)-([0-9a-f]{8})-[0-9a-f]{8}\.tmp")
_MARK = b"\n# sha256 "
_SEAL = len(_MARK) + 64 + 1


def checked_path(path: str | Path, name: str) -> Path:
    """Return a path that a user has given.

    Args:
        path: The path.
        name: The name of the argument, for the message.

    Returns:
        The path.

    Raises:
        InputError: When the path is empty. An empty path would be the current folder.
    """
    if not str(path).strip() or "\0" in str(path):
        raise InputError(f"{name} = {str(path)!r}: a path is needed. Use '.' for the current folder.")
    return Path(path)


def write_file(path: Path, content: bytes | memoryview) -> None:
    """Write `content` and its checksum to `path`, completely or not at all; raise `RunError` on failure."""
    write_whole(path, content, _seal(content))


def sealed(content: bytes | memoryview) -> bytes:
    """Return the content with its checksum, as `write_file` writes them."""
    return b"".join((content, _seal(content)))


def seal_of(path: Path) -> str | None:
    """Return the SHA-256 at the end of a file without reading its content; None without such a file."""
    try:
        with path.open("rb") as file:
            file.seek(-_SEAL, os.SEEK_END)
            seal = file.read()
    except OSError:
        return None
    return seal[len(_MARK) : -1].decode() if seal.startswith(_MARK) else None


def write_whole(path: Path, *parts: bytes | memoryview) -> None:
    """Write `parts` consecutively to `path`, completely or not at all; raise `RunError` on failure."""
    if path.exists() and not path.is_file():  # a device or a pipe would be replaced by the file
        kind = "a folder" if path.is_dir() else "a device or a pipe"
        raise RunError(f"{path} could not be written: it is {kind}. Give the path of a file.")
    temporary = temporary_name(path)
    try:
        write_new(temporary, *parts)
        os.rename(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise RunError(f"{path} could not be written: {error.strerror or error}") from None


def write_fresh(path: Path, content: bytes) -> None:
    """Write a new file and its folders, completely or not at all.

    Args:
        path: The path of the file.
        content: The bytes.

    Raises:
        InputError: When the file exists.
        RunError: When the file cannot be written.
    """
    temporary = temporary_name(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_new(temporary, content)
        os.link(temporary, path)  # unlike a rename, it replaces nothing
        sync_folder(path.parent)
    except FileExistsError:
        raise InputError(
            f"{path} exists and is not replaced. Choose another name, or remove the file."
        ) from None
    except OSError as error:
        raise RunError(f"{path} could not be written: {error.strerror or error}") from None
    finally:
        with suppress(OSError):
            temporary.unlink()


def write_new(path: Path, *parts: bytes | memoryview) -> None:
    """Write a file that must not exist, and make it durable; raise `OSError` on failure."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        for part in parts:
            _write_all(descriptor, memoryview(part))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def temporary_name(path: Path) -> Path:
    """Return a new name next to `path` that identifies the writing process and its machine."""
    return path.with_name(f".{path.name}.{os.getpid()}-{_machine()}-{secrets.token_hex(4)}.tmp")


def is_leftover(name: str) -> bool:
    """Return whether this is the temporary name of a process of this machine that has ended."""
    match = _TEMPORARY.fullmatch(name)
    return match is not None and match[2] == _machine() and started(match[1]) is None


def _machine() -> str:
    return f"{zlib.crc32(machine().encode()):08x}"


def read_file(path: Path) -> bytes:
    """Return the content of a file that `write_file` wrote.

    Args:
        path: The path of the file.

    Returns:
        The content without the checksum.

    Raises:
        FileError: When the file is missing, cut off or damaged.
    """
    if path.exists() and not path.is_file():  # reading a pipe would wait
        raise FileError(
            f"{path} is {'a folder' if path.is_dir() else 'a device or a pipe'}. Give the path of a file."
        )
    try:
        whole = path.read_bytes()
    except OSError as error:
        raise FileError(f"{path}: {error.strerror or error}") from None
    content, seal = whole[:-_SEAL], whole[-_SEAL:]
    if not seal.startswith(_MARK):
        raise FileError(
            f"{path} is cut off or was not written by probgen: it does not end with a checksum. Use another copy."
        )
    if seal != _seal(content):
        raise FileError(f"{path} is damaged: the checksum does not match the content. Use another copy.")
    return content


def _seal(content: bytes | memoryview) -> bytes:
    return _MARK + hashlib.sha256(content).hexdigest().encode() + b"\n"


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, content: memoryview) -> None:
    while content:
        content = content[os.write(descriptor, content) :]


def write_request(path: Path, request: dict[str, Any]) -> None:
    """Write a mapping as TOML; values that are None are left out, because TOML has no None."""
    write_file(path, tomli_w.dumps(without_none(request)).encode())


def read_request(path: Path) -> dict[str, Any]:
    """Return the mapping that `write_request` wrote; raise `FileError` for another file."""
    try:
        return tomllib.loads(read_file(path).decode())
    except ValueError as error:
        raise FileError(f"{path} is not TOML: {error}") from None


def without_none(value: Any) -> Any:
    """Return nested mappings and lists without the entries of mappings that are None."""
    if isinstance(value, dict):
        return {str(name): without_none(item) for name, item in value.items() if item is not None}
    return [without_none(item) for item in value] if isinstance(value, list | tuple) else value
