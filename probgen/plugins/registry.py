"""Plugins: found by entry points, listed from metadata alone, imported when used.

Five groups: `probgen.families`, `probgen.datasets`, `probgen.analyses`, `probgen.attributes`, `probgen.observers`. Our own are
registered in the same way as a stranger's, in this project's `pyproject.toml`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import Distribution, EntryPoint, entry_points
from typing import Any, Literal

from probgen.errors import PluginError, did_you_mean

Kind = Literal["families", "datasets", "analyses", "attributes", "observers"]
SINGULAR: dict[Kind, str] = {
    "families": "family",
    "datasets": "data set",
    "analyses": "analysis",
    "attributes": "function of attributes",
    "observers": "observer",
}


@dataclass(frozen=True)
class Plugin:
    """One registered thing, as its distribution's metadata tell; nothing of it is imported."""

    kind: Kind
    name: str
    target: str  # "package.module:attribute"
    distribution: str
    version: str
    entry: EntryPoint

    @property
    def blocked(self) -> bool:
        """Whether `PROBGEN_DISABLE_PLUGINS` names it, its distribution, or all that is not probgen's own."""
        names = {name.strip() for name in os.environ.get("PROBGEN_DISABLE_PLUGINS", "").split(",")}
        return bool({self.name, self.distribution} & names) or (
            "*" in names and self.distribution != "probgen"
        )

    def load(self) -> Any:
        """Import it. Errors: `PluginError`, which names distribution, entry point and cause."""
        try:
            return self.entry.load()
        except (Exception, SystemExit) as error:
            raise PluginError(
                f"{self} cannot be imported: {type(error).__name__}: {' '.join(str(error).split())}. "
                f"Mend it, or remove it: pip uninstall {self.distribution}"
            ) from error

    def __str__(self) -> str:
        return f"{SINGULAR[self.kind]} {self.name!r} ({self.target}, {self.distribution} {self.version})"


def registered(kind: Kind) -> dict[str, list[Plugin]]:
    """Everything registered in a group, by name, in order; more than one under a name is a clash."""
    return _registered(tuple(sys.path))[kind]


@cache
def _registered(path: tuple[str, ...]) -> dict[Kind, dict[str, list[Plugin]]]:
    """Reading all metadata takes 20 ms; they are read again only where the path has changed."""
    everything = entry_points()
    return {kind: _of_kind(kind, everything.select(group=f"probgen.{kind}")) for kind in SINGULAR}


def _of_kind(kind: Kind, entries: Iterable[EntryPoint]) -> dict[str, list[Plugin]]:
    found: dict[str, list[Plugin]] = {}
    named: dict[Distribution | None, tuple[str, str]] = {None: ("?", "?")}  # each access parses a file
    for entry in entries:
        if entry.dist is not None and entry.dist not in named:
            named[entry.dist] = entry.dist.name, entry.dist.version
        found.setdefault(entry.name, []).append(
            Plugin(kind, entry.name, entry.value, *named[entry.dist], entry)
        )
    return {name: sorted(found[name], key=lambda plugin: plugin.distribution) for name in sorted(found)}


def find(kind: Kind, name: str) -> Plugin:
    """The one plugin of this name. Errors: `PluginError` if there is none, more than one, or it is blocked."""
    everything = registered(kind)
    if name not in everything:
        hint = did_you_mean(name, everything, "If a plugin provides it, install the plugin")
        raise PluginError(f"no {SINGULAR[kind]} is called {name!r}; {hint}")
    candidates = [plugin for plugin in everything[name] if not plugin.blocked]
    if not candidates:
        raise PluginError(f"{everything[name][0]} is blocked by PROBGEN_DISABLE_PLUGINS")
    if len(candidates) > 1:
        raise PluginError(
            f"more than one {SINGULAR[kind]} is called {name!r}: {' and '.join(map(str, candidates))}. "
            f"Uninstall one, or block it: PROBGEN_DISABLE_PLUGINS={candidates[-1].distribution}"
        )
    return candidates[0]
