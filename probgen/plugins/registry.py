"""The registry of plugins: found by entry points, listed from metadata alone, imported at their first use.

There are five groups: `probgen.families`, `probgen.datasets`, `probgen.analyses`, `probgen.attributes` and
`probgen.observers`. The built-in plugins are registered in the same way as third-party plugins, in this
project's `pyproject.toml`.
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
    """A registered plugin, described by the metadata of its distribution and not imported.

    Attributes:
        kind: The group without "probgen.".
        name: The registered name.
        target: The object to import: "package.module:attribute".
        distribution: The name of the distribution.
        version: The version of the distribution.
        entry: The entry point.
    """

    kind: Kind
    name: str
    target: str
    distribution: str
    version: str
    entry: EntryPoint

    @property
    def blocked(self) -> bool:
        """Whether `PROBGEN_DISABLE_PLUGINS` contains the name or the distribution of the plugin.

        `*` stands for all plugins except probgen's own.
        """
        names = {name.strip() for name in os.environ.get("PROBGEN_DISABLE_PLUGINS", "").split(",")}
        return bool({self.name, self.distribution} & names) or (
            "*" in names and self.distribution != "probgen"
        )

    def load(self) -> Any:
        """Import the plugin.

        Returns:
            The object of the entry point.

        Raises:
            PluginError: When the import fails; the message names the distribution, the entry point and the
                cause.
        """
        try:
            return self.entry.load()
        except (Exception, SystemExit) as error:
            raise PluginError(
                f"{self} cannot be imported: {type(error).__name__}: {' '.join(str(error).split())}. "
                f"Fix it, or remove it with `pip uninstall {self.distribution}`."
            ) from error

    def __str__(self) -> str:
        return f"{SINGULAR[self.kind]} {self.name!r} ({self.target}, {self.distribution} {self.version})"


def registered(kind: Kind) -> dict[str, list[Plugin]]:
    """Return all plugins of a group by name, in order; several plugins with one name are a conflict."""
    return _registered(tuple(sys.path))[kind]


@cache
def _registered(path: tuple[str, ...]) -> dict[Kind, dict[str, list[Plugin]]]:
    """Return all plugins by group.

    Reading the metadata takes 20 ms and is repeated only for another `sys.path`.
    """
    everything = entry_points()
    return {kind: _of_kind(kind, everything.select(group=f"probgen.{kind}")) for kind in SINGULAR}


def _of_kind(kind: Kind, entries: Iterable[EntryPoint]) -> dict[str, list[Plugin]]:
    found: dict[str, list[Plugin]] = {}
    # a cache, because each access to the name of a distribution parses a file
    named: dict[Distribution | None, tuple[str, str]] = {None: ("?", "?")}
    for entry in entries:
        if entry.dist is not None and entry.dist not in named:
            named[entry.dist] = entry.dist.name, entry.dist.version
        found.setdefault(entry.name, []).append(
            Plugin(kind, entry.name, entry.value, *named[entry.dist], entry)
        )
    return {name: sorted(found[name], key=lambda plugin: plugin.distribution) for name in sorted(found)}


def find(kind: Kind, name: str) -> Plugin:
    """Return the plugin with a name.

    Args:
        kind: The group without "probgen.".
        name: The registered name.

    Returns:
        The plugin.

    Raises:
        PluginError: When there is no such plugin, when it is blocked, or when several have the name.
    """
    everything = registered(kind)
    if name not in everything:
        hint = did_you_mean(name, everything, "If a plugin provides it, install the plugin.")
        raise PluginError(f"no {SINGULAR[kind]} is called {name!r}; {hint}")
    candidates = [plugin for plugin in everything[name] if not plugin.blocked]
    if not candidates:
        raise PluginError(
            f"{everything[name][0]} is blocked by PROBGEN_DISABLE_PLUGINS. Change that variable to use it."
        )
    if len(candidates) > 1:
        raise PluginError(
            f"more than one {SINGULAR[kind]} is called {name!r}: {' and '.join(map(str, candidates))}. "
            f"Uninstall one of them, or block it with PROBGEN_DISABLE_PLUGINS={candidates[-1].distribution}"
        )
    return candidates[0]
