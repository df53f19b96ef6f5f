"""Whole files, written at once or not at all, each with its own checksum.

HDF5 written in place is destroyed by a crash or a full disk at many points of the write. So a file is an image in
memory, written to a temporary name, synced, and renamed: a reader sees the old file or the new one. The last line of
a file is the SHA-256 of what stands before it. HDF5 ignores what follows its end, TOML reads it as a comment, so
plain readers open these files, and a file that was cut off or damaged anywhere is known wherever it was copied to.
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
    """A path that somebody has given as `name`. Errors: `InputError` for an empty one, which would be the current folder."""
    if not str(path).strip() or "\0" in str(path):
        raise InputError(f"{name} = {str(path)!r}: a path is needed; '.' is the current folder")
    return Path(path)


def write_file(path: Path, content: bytes | memoryview) -> None:
    """Write `content` and its checksum to `path`, whole or not at all. Errors: `RunError`."""
    write_whole(path, content, _seal(content))


def sealed(content: bytes | memoryview) -> bytes:
    """Content and its checksum, as they stand in such a file."""
    return b"".join((content, _seal(content)))


def seal_of(path: Path) -> str | None:
    """The SHA-256 that a file ends in, without a look at its content; None where there is no such file."""
    try:
        with path.open("rb") as file:
            file.seek(-_SEAL, os.SEEK_END)
            seal = file.read()
    except OSError:
        return None
    return seal[len(_MARK) : -1].decode() if seal.startswith(_MARK) else None


def write_whole(path: Path, *parts: bytes | memoryview) -> None:
    """Write `parts`, one after the other, to `path`, whole or not at all. Errors: `RunError`."""
    if path.exists() and not path.is_file():  # a device or a pipe would be replaced by the file
        kind = "a folder" if path.is_dir() else "a device or a pipe"
        raise RunError(f"{path} could not be written: it is {kind}; give a file")
    temporary = temporary_name(path)
    try:
        write_new(temporary, *parts)
        os.rename(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise RunError(f"{path} could not be written: {error.strerror or error}") from None


def write_fresh(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all, where none is, and the folders that it lies in. Errors: `InputError` for one that is there, `RunError`."""
    temporary = temporary_name(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_new(temporary, content)
        os.link(temporary, path)  # unlike a rename, it replaces nothing
        sync_folder(path.parent)
    except FileExistsError:
        raise InputError(f"{path} is there already, and is not replaced") from None
    except OSError as error:
        raise RunError(f"{path} could not be written: {error.strerror or error}") from None
    finally:
        with suppress(OSError):
            temporary.unlink()


def write_new(path: Path, *parts: bytes | memoryview) -> None:
    """Write a file that must not be there, and make it durable. Errors: `OSError`."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        for part in parts:
            _write_all(descriptor, memoryview(part))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def temporary_name(path: Path) -> Path:
    """A name beside `path` that nobody has, and that says which process of which machine is writing."""
    return path.with_name(f".{path.name}.{os.getpid()}-{_machine()}-{secrets.token_hex(4)}.tmp")


def is_leftover(name: str) -> bool:
    """Whether it is the temporary name of a process of this machine that is no more."""
    match = _TEMPORARY.fullmatch(name)
    return match is not None and match[2] == _machine() and started(match[1]) is None


def _machine() -> str:
    return f"{zlib.crc32(machine().encode()):08x}"


def read_file(path: Path) -> bytes:
    """The content of a file that `write_file` wrote. Errors: `FileError` if it is missing, cut off or damaged."""
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise FileError(
            f"{path} is {'a folder' if path.is_dir() else 'a device or a pipe'}; a file is needed"
        )
    try:
        whole = path.read_bytes()
    except OSError as error:
        raise FileError(f"{path}: {error.strerror or error}") from None
    content, seal = whole[:-_SEAL], whole[-_SEAL:]
    if not seal.startswith(_MARK):
        raise FileError(f"{path} is cut off, or was not written by probgen: it does not end in its checksum")
    if seal != _seal(content):
        raise FileError(f"{path} is damaged: its checksum is not that of its content")
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
    """A mapping as TOML; None has no place in TOML and is left out."""
    write_file(path, tomli_w.dumps(without_none(request)).encode())


def read_request(path: Path) -> dict[str, Any]:
    """The inverse of `write_request`. Errors: `FileError`."""
    try:
        return tomllib.loads(read_file(path).decode())
    except ValueError as error:
        raise FileError(f"{path} is not TOML: {error}") from None


def without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): without_none(item) for name, item in value.items() if item is not None}
    return [without_none(item) for item in value] if isinstance(value, list | tuple) else value
