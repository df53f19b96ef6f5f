"""A family behind its hooks."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
import xarray as xr
from pydantic import BaseModel
from torch import nn

from probgen.contract.definition import (
    USUAL,
    Accepting,
    Dependent,
    Illustrating,
    Precise,
    Preparing,
    Samples,
    Scores,
    Supporting,
    Typed,
)
from probgen.contract.event import Event
from probgen.contract.hookspecs import FamilySpecs
from probgen.contract.options import NoOptions
from probgen.contract.seeds import generators_kept
from probgen.errors import NotOffered, PluginError
from probgen.plugins.calling import guarded
from probgen.plugins.managed import manager
from probgen.plugins.registry import Plugin, find

HOOKS = ("fit", "sample", "score")


class Family:
    """A loaded family: its source (a module, an object or a `Pair` class), its hooks, and what it declares.

    Errors: `PluginError` for a source without `Options` or `build`, or with a hook that is misspelled.
    """

    def __init__(self, name: str, source: Any, origin: str):
        self.name, self.source, self.origin = name, source, origin
        self.where = f"family {name!r} ({origin})"
        self._hooks = manager(source, FamilySpecs, HOOKS, self.where).hook
        for attribute in ("Options", "build"):
            if not hasattr(source, attribute):
                raise PluginError(f"{self.where} has no {attribute!r}; see docs/plugins.md")
        self._options: dict[str, type[BaseModel]] = {
            "fit": source.Options,
            "sample": source.SampleOptions if isinstance(source, Samples) else NoOptions,
            "score": source.ScoreOptions if isinstance(source, Scores) else NoOptions,
        }
        self.accepts = frozenset(source.accepts) if isinstance(source, Accepting) else frozenset()
        self.supports = frozenset(source.supports) if isinstance(source, Supporting) else USUAL
        self.needed = dict(source.needed) if isinstance(source, Dependent) else {}
        self.dtype = source.dtype if isinstance(source, Typed) else "float32"
        self._x_dtype = getattr(torch, source.x_dtype) if isinstance(source, Precise) else None

    def dtype_of_x(self, dtype: torch.dtype) -> torch.dtype:
        """Of real x that it is handed, where its parameters have a dtype."""
        return self._x_dtype or dtype

    def offers(self, hook: str) -> bool:
        """Whether it implements the hook."""
        return bool(getattr(self._hooks, hook).get_hookimpls())

    def require(self, hook: str) -> None:
        """Errors: `NotOffered` if it does not implement the hook."""
        if not self.offers(hook):
            offered = ", ".join(name for name in HOOKS if self.offers(name)) or "nothing"
            raise NotOffered(f"family {self.name!r} does not {hook}; it offers {offered}")

    def options(self, hook: str) -> type[BaseModel]:
        """The class of the hook's options."""
        return self._options[hook]

    def build(self, options: BaseModel, event: Event, **models: Any) -> nn.Module:
        """The module in its initial state. Errors: `PluginError`, as for `call`."""
        with guarded(f"{self.where}, build", gradients=True):
            module = self.source.build(options, event, **models)
        if not isinstance(module, nn.Module):
            raise PluginError(f"{self.where}, build: returned no torch module")
        return module

    def call(self, hook: str, **arguments: Any) -> Any:
        """The result of one hook; the global generators are as before.

        Errors: `PluginError`, with the cause, for whatever the family raises that is not an error of probgen's own.
        """
        with generators_kept(), guarded(f"{self.where}, {hook}", gradients=hook == "fit"):
            return getattr(self._hooks, hook)(**arguments)

    def prepared(self, data: xr.Dataset, options: BaseModel) -> xr.Dataset:
        """The data as the family wants them described."""
        if not isinstance(self.source, Preparing):
            return data
        with guarded(f"{self.where}, prepare"):
            return self.source.prepare(data, options)

    def of_rows(self, options: BaseModel, rows: xr.Dataset) -> dict[str, Any]:
        """What a draw is given that is to be made of each row."""
        if not isinstance(self.source, Dependent):
            return {}
        with guarded(f"{self.where}, of_rows"):
            return dict(self.source.of_rows(options, rows))

    def pictures(self, fitted: Any, data: xr.Dataset, **call: Any) -> Mapping[str, Any]:
        """Figures that the family brings, by name."""
        if not isinstance(self.source, Illustrating):
            return {}
        with generators_kept(), guarded(f"{self.where}, pictures"):
            return self.source.pictures(fitted, data, **call)


def family(which: str | type | Any) -> Family:
    """A family by its registered name, or from a definition of the script's own (a `Pair` class, an object)."""
    if isinstance(which, str):
        return _named(find("families", which))
    named = which if hasattr(which, "__name__") else type(which)
    return Family(named.__name__, which, named.__module__ if hasattr(named, "__module__") else named.__name__)


@cache
def _named(plugin: Plugin) -> Family:
    return Family(plugin.name, plugin.load(), f"{plugin.distribution} {plugin.version}")
