"""The command `probgen show`: the contents of a run or a file."""

from __future__ import annotations

import json as jsons
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from probgen.cli import completion
from probgen.cli.common import Json, place, put
from probgen.cli.tables import printable, width_of_output, wrapped

LONGEST = 200  # characters of a value that are shown


def command(
    path: Annotated[
        Path,
        typer.Argument(
            parser=place,
            autocompletion=completion.runs,
            help="A run folder, or a file of a run.",
        ),
    ],
    json: Json = False,
) -> None:
    """Show the contents of a run or file.

    It is safe to use while a fit is running.

    Example: probgen show runs/iris
    """
    from probgen.errors import InputError

    if not path.exists():
        raise InputError(f"{path}: there is no such file or folder")
    found = _folder(path) if path.is_dir() else _file(path)
    put(found, json, lambda: typer.echo("\n".join(_lines(found, width_of_output()))))


def _folder(path: Path) -> dict[str, Any]:
    from probgen.errors import InputError
    from probgen.store import folder
    from probgen.store.files import read_request
    from probgen.store.journal import read_journal, read_remarks
    from probgen.store.parts import PARTS

    found: dict[str, Any] = {}
    if (path / folder.REQUEST).exists():
        found["asked"] = read_request(path / folder.REQUEST)
    parts = path / PARTS
    if parts.exists():
        found["asked"] = read_request(parts)
        found["parts"] = f"{len(list(path.glob('part-*.h5')))} of {found['asked']['parts']}"
    runs = sorted(p.name for p in path.iterdir() if p.is_dir() and (p / folder.REQUEST).exists())
    if runs:
        found["runs"] = runs
    if not found:
        raise InputError(f"{path} is not a run folder: it contains no {folder.REQUEST}")
    lines = read_journal(path / folder.HISTORY)
    if lines:
        found["steps"] = len(lines)
        found["last step"] = {name: value for name, value in lines[-1].items() if name != "crc"}
    remarks = read_remarks(path / folder.HISTORY)
    if remarks:
        found["remarks"] = remarks
    for name in (folder.MODEL, folder.SAMPLES, folder.SCORES):
        if (path / name).exists():
            found[name] = _file(path / name)
    results = sorted(
        f"{part}/{p.name}" for part in (folder.ANALYSES, folder.PICTURES) for p in (path / part).glob("*.*")
    )
    if results:
        found["results"] = results
    if lines and folder.MODEL not in found:
        found["state"] = (
            "the fit is not complete: it is running, or was interrupted (resume it with --resume)"
        )
    return found


def _file(path: Path) -> dict[str, Any]:
    from probgen.store.files import read_request
    from probgen.store.trees import read_tree

    if path.suffix == ".toml":
        return read_request(path)
    found: dict[str, Any] = {}
    for node in read_tree(path).subtree:
        attributes = {str(k): v for k, v in node.attrs.items() if k != "probgen_schema"}
        arrays = {str(name): _told(array) for name, array in node.variables.items()}
        if node.path != "/" and (attributes or arrays):
            found[node.path] = {**attributes, **arrays}
    return found


def _told(array: Any) -> str:
    """Return the type, sizes, unit and meaning of an array in a line: "float64 (component 3, feature 4), nat"."""
    sizes = ", ".join(f"{name} {size}" for name, size in array.sizes.items())
    facts = [array.attrs[name] for name in ("units", "long_name") if array.attrs.get(name)]
    return ", ".join([f"{array.dtype} ({sizes})" if sizes else str(array.dtype), *map(str, facts)])


def _lines(value: Mapping[str, Any], width: int, depth: int = 0) -> list[str]:
    """Return a tree as lines of the width of the terminal: what is nested is indented, and texts with JSON are trees.

    A list of sentences has one line for each.
    """
    lines, indent = [], "  " * depth
    for name, item in value.items():
        item = _read(item)
        head = f"{indent}{printable(str(name))}"
        if isinstance(item, Mapping) and item:
            lines += [head, *_lines(item, width, depth + 1)]
        elif isinstance(item, list) and any(isinstance(part, Mapping) for part in item):
            numbered = {str(part.get("name", i)): part for i, part in enumerate(item)}
            lines += [head, *_lines(numbered, width, depth + 1)]
        else:
            sentences = isinstance(item, list) and any(" " in str(part) for part in item)
            for part in (
                item if sentences else [", ".join(map(str, item)) if isinstance(item, list) else item]
            ):
                text = printable(" ".join(str(part).split()))
                if len(text) > LONGEST:  # between two words: half a number would be another number
                    text = (
                        text[: text[: LONGEST + 1].rfind(" ")]
                        if " " in text[: LONGEST + 1]
                        else text[:LONGEST]
                    ) + " ..."
                lines += wrapped(f"{head}: {text}", width, f"{indent}    ")
    return lines


def _read(item: Any) -> Any:
    """Return what a text with JSON says, or the item."""
    if not (isinstance(item, str) and item[:1] in ("{", "[")):
        return item
    try:
        return jsons.loads(item)
    except ValueError:
        return item
