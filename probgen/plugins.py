"""Plugins: found by entry points, listed from metadata alone, imported when used.

Three groups: `probgen.families`, `probgen.datasets`, `probgen.observers`. Our own families and data sets are
registered in the same way as a stranger's, in this project's `pyproject.toml`.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

import pluggy

from probgen.errors import NotOffered, PluginError, did_you_mean
from probgen.hookspecs import FamilySpecs, ObserverSpecs

Kind = Literal["families", "datasets", "observers"]
SINGULAR: dict[Kind, str] = {"families": "family", "datasets": "data set", "observers": "observer"}
HOOKS = ("fit", "sample", "score")


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
    return _registered(kind, tuple(sys.path))


@cache
def _registered(kind: Kind, path: tuple[str, ...]) -> dict[str, list[Plugin]]:
    """Reading metadata takes 10 ms; they are read again only where the path has changed."""
    found: dict[str, list[Plugin]] = {}
    for entry in entry_points(group=f"probgen.{kind}"):
        name, version = (entry.dist.name, entry.dist.version) if entry.dist else ("?", "?")
        found.setdefault(entry.name, []).append(Plugin(kind, entry.name, entry.value, name, version, entry))
    return {name: sorted(found[name], key=lambda plugin: plugin.distribution) for name in sorted(found)}


def find(kind: Kind, name: str) -> Plugin:
    """The one plugin of this name. Errors: `PluginError` if there is none, more than one, or it is blocked."""
    everything = registered(kind)
    if name not in everything:
        raise PluginError(
            f"no {SINGULAR[kind]} is called {name!r}; {did_you_mean(name, everything)}. If a plugin brings it, install that"
        )
    candidates = [plugin for plugin in everything[name] if not plugin.blocked]
    if not candidates:
        raise PluginError(f"{everything[name][0]} is blocked by PROBGEN_DISABLE_PLUGINS")
    if len(candidates) > 1:
        raise PluginError(
            f"more than one {SINGULAR[kind]} is called {name!r}: {' and '.join(map(str, candidates))}. "
            f"Uninstall one, or block it: PROBGEN_DISABLE_PLUGINS={candidates[-1].distribution}"
        )
    return candidates[0]


class Family:
    """A loaded family: its definition (a module, an object or a `Pair` class) and its hooks."""

    def __init__(self, name: str, definition: Any, origin: str):
        self.name = name
        self.definition = definition
        self.origin = origin
        self._manager = _manager(definition, FamilySpecs, HOOKS, f"family {name!r} ({origin})")
        for attribute in ("Options", "build"):
            if not hasattr(definition, attribute):
                raise PluginError(f"family {name!r} ({origin}) has no {attribute!r}; see docs/plugins.md")

    @property
    def accepts(self) -> frozenset[str]:
        """What it can use beside `x`: a subset of {"observed", "weight"}."""
        return frozenset(getattr(self.definition, "accepts", ()))

    def offers(self, hook: str) -> bool:
        """Whether it implements the hook."""
        return bool(getattr(self._manager.hook, hook).get_hookimpls())

    def require(self, hook: str) -> None:
        """Errors: `NotOffered` if it does not implement the hook."""
        if not self.offers(hook):
            offered = ", ".join(name for name in HOOKS if self.offers(name)) or "nothing"
            raise NotOffered(f"family {self.name!r} does not {hook}; it offers {offered}")

    def options(self, hook: str) -> Any:
        """The class of the hook's options."""
        from probgen.options import NoOptions

        attribute = {"fit": "Options", "sample": "SampleOptions", "score": "ScoreOptions"}[hook]
        return getattr(self.definition, attribute, NoOptions)

    def hook(self, name: str, **arguments: Any) -> Any:
        """Call one of its hooks."""
        return getattr(self._manager.hook, name)(**arguments)


def family(which: str | type | Any) -> Family:
    """A family by its registered name, or from a definition of the script's own (a `Pair` class, an object)."""
    if isinstance(which, str):
        return _named(find("families", which))
    name = getattr(which, "__name__", type(which).__name__)
    return Family(name, which, getattr(which, "__module__", name))


@cache
def _named(plugin: Plugin) -> Family:
    definition = plugin.load()
    return Family(plugin.name, definition, f"{plugin.distribution} {plugin.version}")


def observers() -> dict[str, Any]:
    """The registered observers that are not blocked; one that cannot be imported stands as its `PluginError`."""
    loaded: dict[str, Any] = {}
    for plugins in registered("observers").values():
        for plugin in plugins:
            if not plugin.blocked:
                try:
                    loaded[str(plugin)] = plugin.load()
                except PluginError as error:
                    loaded[str(plugin)] = error
    return loaded


def observer_hooks(observer: Any, name: str) -> Any:
    """The hooks of one observer, to be called by name. Errors: `PluginError` for a misspelt one."""
    return _manager(observer, ObserverSpecs, ("started", "step", "ended"), name).hook


def _manager(definition: Any, specs: type, hooks: tuple[str, ...], name: str) -> pluggy.PluginManager:
    """A manager for this one definition. Errors: `PluginError` for a hook that is misspelt or lacks its marker."""
    manager = pluggy.PluginManager("probgen")
    manager.add_hookspecs(specs)
    try:
        manager.register(definition, name)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        reason = " ".join(str(error).split())
        raise PluginError(f"{name}: {reason}; the hooks are {', '.join(hooks)}") from None
    marked = {hook for hook in hooks if getattr(manager.hook, hook).get_hookimpls()}
    unmarked = [hook for hook in hooks if callable(getattr(definition, hook, None)) and hook not in marked]
    if unmarked:
        raise PluginError(f"{name}: {unmarked[0]!r} lacks its marker: put @probgen.hookimpl above it")
    return manager
