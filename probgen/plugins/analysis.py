"""An analysis behind its interface."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import xarray as xr
from pydantic import BaseModel

from probgen.contract.analysis import Analysis, Call, Comparing, Foreseeing, Rowless
from probgen.contract.event import Event
from probgen.contract.fitted import Fitted
from probgen.contract.seeds import generators_kept
from probgen.errors import PluginError
from probgen.plugins.calling import guarded
from probgen.plugins.registry import Plugin, find

PARTS = ("Options", "needs", "applies", "run", "figures")


class LoadedAnalysis:
    """A loaded analysis: its source, and what it declares. Errors: `PluginError` for a source that lacks a part."""

    def __init__(self, name: str, source: Any, origin: str):
        self.name, self.origin = name, origin
        self.where = f"analysis {name!r} ({origin})"
        if not isinstance(source, Analysis):
            lacking = next(part for part in PARTS if not hasattr(source, part))
            raise PluginError(f"{self.where} has no {lacking!r}; see docs/plugins.md")
        self.source = source
        if "models" in self.options.model_fields:
            raise PluginError(
                f"{self.where}: an option cannot be called 'models', by which a recipe says which models an analysis is of"
            )
        self.several = isinstance(source, Comparing) and source.several
        self.rowless = isinstance(source, Rowless) and source.rowless

    @property
    def options(self) -> type[BaseModel]:
        """The class of its options."""
        return self.source.Options

    @property
    def needs(self) -> str:
        """What a model must have."""
        return self.source.needs

    def applies(self, fitted: Fitted) -> bool:
        """Whether the model has what is needed. Errors: `PluginError`."""
        with generators_kept(), guarded(f"{self.where}, applies"):
            return bool(self.source.applies(fitted))

    def check(self, event: Event, options: BaseModel) -> None:
        """What cannot suit the data, before a fit. Errors: `InputError`."""
        if isinstance(self.source, Foreseeing):
            with guarded(f"{self.where}, check"):
                self.source.check(event, options)

    def run(
        self, fitted: Fitted | Mapping[str, Fitted], data: xr.Dataset | None, options: BaseModel, call: Call
    ) -> xr.Dataset:
        """The results. Errors: `PluginError`, with the cause, for whatever it raises that is not probgen's own."""
        with generators_kept(), guarded(f"{self.where}, run", gradients=True):
            found = self.source.run(fitted, data, options, call)
        if not isinstance(found, xr.Dataset):
            raise PluginError(f"{self.where}, run: returned {type(found).__name__}, not a Dataset")
        return found

    def figures(self, found: xr.Dataset) -> Mapping[str, Any]:
        """Figures of the results, by name. Errors: as of `run`."""
        with generators_kept(), guarded(f"{self.where}, figures"):
            return self.source.figures(found)


def analysis(which: str | Any) -> LoadedAnalysis:
    """An analysis by its registered name, or one of the script's own. Errors: `PluginError`."""
    if isinstance(which, str):
        return _named(find("analyses", which))
    named = which if hasattr(which, "__name__") else type(which)
    name = named.__name__.rpartition(".")[2]
    return LoadedAnalysis(name, which, named.__name__)


@cache
def _named(plugin: Plugin) -> LoadedAnalysis:
    return LoadedAnalysis(plugin.name, plugin.load(), f"{plugin.distribution} {plugin.version}")
