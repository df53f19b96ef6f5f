"""Shell completion: names from package metadata, and run folders. It does not import torch or Pyro."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from probgen.plugins.registry import Kind

DEPTH = 3  # depth of the search for runs below the typed folder
FOLDERS = 2000  # maximum number of searched folders


def families(incomplete: str) -> list[str]:
    """Return the matching registered families."""
    return _starting(incomplete, _names("families"))


def datasets(incomplete: str) -> list[str]:
    """Return the matching registered data sets. If there is none, the shell completes files."""
    return _starting(incomplete, _names("datasets"))


def analyses(incomplete: str) -> list[str]:
    """Return the matching registered analyses."""
    return _starting(incomplete, _names("analyses"))


def checkable(incomplete: str) -> list[str]:
    """Return the matching families and analyses, for `probgen plugins check`."""
    return _starting(incomplete, sorted({*_names("families"), *_names("analyses")}))


def recipes(incomplete: str) -> list[str]:
    """Return the matching recipes that come with probgen."""
    from probgen.recipes.catalog import shipped

    return _starting(incomplete, shipped())


def runs(incomplete: str) -> list[str]:
    """Return the folders with a fitted model below the typed folder."""
    typed, start = os.path.split(incomplete)
    found = _runs(os.path.expanduser(typed) or ".", start)  # Path.expanduser raises for an unknown user
    return sorted(os.path.join(typed, run) for run in found)


def _runs(place: str, start: str) -> Iterator[str]:
    """Yield run folders relative to a place, nearer folders first. The first part of each path begins with `start`."""
    from probgen.store.folder import MODEL

    waiting = deque((name, 1) for name in _folders(place) if name.startswith(start))
    for _ in range(FOLDERS):
        if not waiting:
            return
        folder, depth = waiting.popleft()
        if os.path.exists(os.path.join(place, folder, MODEL)):
            yield folder
        elif depth < DEPTH:
            inner = _folders(os.path.join(place, folder))
            waiting.extend((os.path.join(folder, name), depth + 1) for name in inner)


def _folders(place: str) -> list[str]:
    try:
        with os.scandir(place) as entries:
            return [entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
    except OSError:  # missing or not readable
        return []


def _names(kind: Kind) -> list[str]:
    from probgen.plugins.registry import registered

    return [name for name, plugins in registered(kind).items() if not all(p.blocked for p in plugins)]


def _starting(incomplete: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
