"""Telling observers what a run does: one by one, and one that fails is named and switched off."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from probgen.contract.hookspecs import ObserverSpecs
from probgen.errors import PluginError
from probgen.plugins.managed import manager
from probgen.plugins.registry import registered

HOOKS = ("started", "step", "ended")

_extra: ContextVar[tuple[Any, ...]] = ContextVar("observers", default=())


@contextmanager
def observing(*observers: Any) -> Iterator[None]:
    """Add observers of the script's own for the calls made inside; no registration is needed."""
    token = _extra.set((*_extra.get(), *observers))
    try:
        yield
    finally:
        _extra.reset(token)


class Observers:
    """Everyone who listens to one call: the registered observers, and those of `observing`."""

    def __init__(self) -> None:
        self._hooks: dict[str, Any] = {}
        for name, found in _registered_observers().items():
            self._add(name, found)
        for observer in _extra.get():
            self._add(f"observer {len(self._hooks)} of the script ({type(observer).__name__})", observer)

    def _add(self, name: str, found: Any) -> None:
        try:
            if isinstance(found, PluginError):
                raise found
            self._hooks[name] = manager(found, ObserverSpecs, HOOKS, name).hook
        except PluginError as error:
            warnings.warn(f"{error}. The work goes on without it", stacklevel=5)

    def tell(self, what: str, /, **arguments: Any) -> None:
        """Call one hook of each."""
        for name, hooks in list(self._hooks.items()):
            try:
                getattr(hooks, what)(**arguments)
            except (Exception, SystemExit) as error:
                del self._hooks[name]
                warnings.warn(
                    f"{name} failed in {what!r} and is switched off: {type(error).__name__}: {error}",
                    stacklevel=3,
                )


def _registered_observers() -> dict[str, Any]:
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
