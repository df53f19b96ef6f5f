"""Notification of observers: one after the other; an observer that fails is named and disabled."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from probgen.contract.fitted import Fitted
from probgen.contract.hookspecs import ObservedCall, ObservedRun, ObserverSpecs
from probgen.errors import PluginError
from probgen.plugins.managed import manager
from probgen.plugins.registry import registered

if TYPE_CHECKING:
    from probgen.contract.run import Run

HOOKS = ("started", "restored", "step", "made", "ended")

_extra: ContextVar[tuple[Any, ...]] = ContextVar("observers", default=())
_known: ContextVar[ObservedCall] = ContextVar("known", default=ObservedCall())  # noqa: B039 (it is frozen)


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


@contextmanager
def belonging(**known: Any) -> Iterator[None]:
    """State what is known of the calls and files within the context.

    Args:
        **known: `folder`, `model`, `recipe` and `family`, as in `ObservedCall`.
    """
    token = _known.set(replace(_known.get(), **known))
    try:
        yield
    finally:
        _known.reset(token)


def made(kind: str, *paths: Path) -> None:
    """Notify observers of files that no hook call writes.

    Args:
        kind: The kind of the files, as in `ObserverSpecs.made`.
        *paths: The files.
    """
    if paths:
        Observers().made(kind, *paths)


class Observers:
    """The observers of one call: the registered observers, and those of `observing`.

    Args:
        call: The call.
        heard: Whether there are observers: on several processes, the first one alone notifies them.

    Attributes:
        call: The call, with what `belonging` states about it.
    """

    def __init__(self, call: ObservedCall | None = None, *, heard: bool = True) -> None:
        known = _known.get()
        self.call = known
        if call is not None:
            folder = call.folder or known.folder
            self.call = replace(call, folder=folder, model=known.model, recipe=known.recipe)
        self._hooks: dict[str, Any] = {}
        self._unsaid: list[str] = []  # sentences for the journal of a run that has not started
        for name, found in (_registered_observers() if heard else {}).items():
            self._add(name, found)
        for observer in _extra.get() if heard else ():
            self._add(f"observer {len(self._hooks)} of the script ({type(observer).__name__})", observer)

    def _add(self, name: str, found: Any) -> None:
        try:
            if isinstance(found, PluginError):
                raise found
            self._hooks[name] = manager(found, ObserverSpecs, HOOKS, name).hook
        except PluginError as error:
            self._say(f"{error} The call continues without this observer.")

    def tell(self, what: str, /, **arguments: Any) -> None:
        """Call one hook of every observer.

        Args:
            what: The name of the hook.
            **arguments: The arguments of the hook, except for `call`.
        """
        run: Run | None = arguments.get("run")
        for name, hooks in list(self._hooks.items()):
            seen = {argument: _seen(argument, value) for argument, value in arguments.items()}
            try:
                getattr(hooks, what)(**seen, call=self.call)
            except (Exception, SystemExit) as error:
                del self._hooks[name]
                self._say(f"{name} failed in {what!r} and is disabled: {_reason(error)}")
        while self._unsaid and run is not None:
            run.remark(self._unsaid.pop(0))

    def made(self, kind: str, *paths: Path) -> None:
        """Notify the observers of files.

        Args:
            kind: The kind of the files, as in `ObserverSpecs.made`.
            *paths: The files.
        """
        for path in paths:
            self.tell("made", kind=kind, path=path)

    def _say(self, sentence: str) -> None:
        """Write a line to stderr: a warning would be lost where warnings are filtered."""
        self._unsaid.append(sentence)
        if sys.stderr is not None:
            with suppress(OSError, ValueError):  # a closed stream
                print(f"probgen: {sentence}", file=sys.stderr, flush=True)


def _reason(error: BaseException) -> str:
    """Return the kind and the text of an error, on one line that cannot control a terminal."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # the text of an error is code of the observer, too
        text = "its text cannot be read"
    said = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in said)


def _seen(argument: str, value: Any) -> Any:
    """Return what an observer receives of a run, of metrics or of a result: copies, or arrays that are read-only."""
    if argument == "run":
        return ObservedRun.of(value)
    if argument == "metrics":
        return {name: np.copy(each) if isinstance(each, np.ndarray) else each for name, each in value.items()}
    if isinstance(value, xr.Dataset):
        return _read_only(value)
    if isinstance(value, Fitted):  # the copy builds a module of its own, if an observer asks for one
        return replace(
            value,
            state=_read_only(value.state),
            history=_read_only(value.history),
            groups={name: _read_only(group) for name, group in value.groups.items()},
            provenance=deepcopy(value.provenance),
        )
    return value


def _read_only(found: xr.Dataset) -> xr.Dataset:
    """Return a shallow copy of a Dataset, whose arrays cannot be written."""
    views = {name: variable.values.view() for name, variable in found.data_vars.items()}
    for view in views.values():
        view.flags.writeable = False
    return found.copy(data=views)


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
