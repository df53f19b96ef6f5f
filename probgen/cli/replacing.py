"""Results of an earlier command are replaced only by the same command, or with --force."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from probgen.errors import FileError, InputError

if TYPE_CHECKING:
    import xarray as xr

ASKED = "request"  # attribute of the results
Force = Annotated[bool, typer.Option("--force", help="Replace an existing file of results.")]


def check_replaced(target: Path, group: str, request: Mapping[str, Any], force: bool) -> bool:
    """Check that a file of results may be replaced.

    Args:
        target: The file.
        group: "samples" or "scores".
        request: What the command computes, as plain values.
        force: Whether the user allows it in any case.

    Returns:
        Whether there is such a file.

    Raises:
        InputError: When the file has the results of another request.
    """
    from probgen.store.trees import read_dataset

    if not target.exists() or force:
        return target.exists()
    try:
        before = json.loads(read_dataset(target, group).attrs.get(ASKED, "{}"))
    except (FileError, ValueError):
        before = {}
    now = json.loads(_text(request))
    name = next((name for name in now if before.get(name) != now[name]), None)
    if name is None:
        return True
    said = "already exists"
    if before:
        said = f"has {group} with {name} = {before.get(name)!r}, but {name} = {now[name]!r} was requested"
    raise InputError(f"{target} {said}. Replace the file (--force), or write to another file (--out).")


def with_request(results: xr.Dataset, request: Mapping[str, Any]) -> xr.Dataset:
    """Return results with the request, for `check_replaced` of a later command."""
    return results.assign_attrs({ASKED: _text(request)})


def _text(request: Mapping[str, Any]) -> str:
    return json.dumps(request, default=str)
