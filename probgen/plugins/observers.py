"""Notification of observers: one after the other; an observer that fails is named and disabled."""

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
    """Add observers for the calls within the context, without registration.

    Args:
        *observers: Modules or objects with observer hooks.
    """
    token = _extra.set((*_extra.get(), *observers))
    try:
        yield
    finally:
        _extra.reset(token)


class Observers:
    """The observers of one call: the registered observers, and those of `observing`."""

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
            warnings.warn(f"{error} The call continues without this observer.", stacklevel=5)

    def tell(self, what: str, /, **arguments: Any) -> None:
        """Call one hook of every observer.

        Args:
            what: The name of the hook.
            **arguments: The arguments of the hook.
        """
        for name, hooks in list(self._hooks.items()):
            try:
                getattr(hooks, what)(**arguments)
            except (Exception, SystemExit) as error:
                del self._hooks[name]
                warnings.warn(
                    f"{name} failed in {what!r} and is disabled: {type(error).__name__}: {error}",
                    stacklevel=3,
                )


def _registered_observers() -> dict[str, Any]:
    """Return the registered observers that are not blocked, by name.

    The value of an observer that cannot be imported is its `PluginError`.
    """
    loaded: dict[str, Any] = {}
    for plugins in registered("observers").values():
        for plugin in plugins:
            if not plugin.blocked:
                try:
                    loaded[str(plugin)] = plugin.load()
                except PluginError as error:
                    loaded[str(plugin)] = error
    return loaded
