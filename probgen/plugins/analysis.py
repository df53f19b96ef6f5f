"""A loaded analysis."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import xarray as xr
from pydantic import BaseModel

from probgen.contract.analysis import Analysis, Call, Comparing, Foreseeing, Rowless
from probgen.contract.event import Event
from probgen.contract.fitted import Fitted
from probgen.contract.seeds import generators_kept
from probgen.errors import PluginError
from probgen.plugins.calling import guarded
from probgen.plugins.declared import options_class
from probgen.plugins.registry import Plugin, find
from probgen.plugins.returned import named, results_of

PARTS = ("Options", "needs", "applies", "run", "figures")


class LoadedAnalysis:
    """A loaded analysis: its source and its declared properties.

    Args:
        name: The registered name, or the name of a script's own class or module.
        source: The module, class or object that defines the analysis.
        origin: The distribution and its version, or the name of the script's own class or module.

    Attributes:
        name: The name.
        origin: The origin.
        where: The description of the analysis in messages.
        source: The module, class or object that defines the analysis.
        several: Whether the analysis takes several models at once.
        rowless: Whether the analysis does not require rows.

    Raises:
        PluginError: When the source lacks a part of an analysis.
    """

    def __init__(self, name: str, source: Any, origin: str):
        self.name, self.origin = name, origin
        self.where = f"analysis {name!r} ({origin})"
        if not isinstance(source, Analysis):
            lacking = next(part for part in PARTS if not hasattr(source, part))
            raise PluginError(f"{self.where} has no {lacking!r}. See docs/plugins.md.")
        self.source = source
        options_class(source.Options, self.where, "Options")
        if not isinstance(source.needs, str):
            raise PluginError(
                f"{self.where}: needs = {source.needs!r}. Use a phrase, such as 'a latent vector'."
            )
        if "models" in self.options.model_fields:
            raise PluginError(
                f"{self.where}: the option name 'models' is reserved for recipes. Give the option another name."
            )
        self.several = isinstance(source, Comparing) and source.several
        self.rowless = isinstance(source, Rowless) and source.rowless

    @property
    def options(self) -> type[BaseModel]:
        """The class of the options."""
        return self.source.Options

    @property
    def needs(self) -> str:
        """The property that a model must have, in words."""
        return self.source.needs

    def applies(self, fitted: Fitted) -> bool:
        """Return whether the analysis can be applied to a fitted model.

        Args:
            fitted: The fitted model.

        Returns:
            True if the model has the required property.

        Raises:
            PluginError: When the analysis raises an error that is not probgen's own, or returns no bool.
        """
        with generators_kept("applies"), guarded(f"{self.where}, applies"):
            found = self.source.applies(fitted)
        if not isinstance(found, bool | np.bool_):
            raise PluginError(
                f"{self.where}, applies: returned {type(found).__name__}. Return True or False."
            )
        return bool(found)

    def check(self, event: Event, options: BaseModel) -> None:
        """Check, before a fit, that the options suit the data.

        Args:
            event: The event of the data.
            options: The options of the analysis.

        Raises:
            InputError: When the options do not suit the event.
        """
        if isinstance(self.source, Foreseeing):
            with guarded(f"{self.where}, check"):
                self.source.check(event, options)

    def run(
        self, fitted: Fitted | Mapping[str, Fitted], data: xr.Dataset | None, options: BaseModel, call: Call
    ) -> xr.Dataset:
        """Return the results of the analysis.

        Args:
            fitted: The fitted model; for an analysis of several models, the models by name.
            data: Checked rows; None for an analysis without rows.
            options: The options of the analysis.
            call: The seed, device and progress of samples and scores, and the reference rows.

        Returns:
            The results as named arrays.

        Raises:
            PluginError: When the analysis raises an error that is not probgen's own, or returns what a file cannot store.
        """
        with generators_kept(call.seed, "analysis"), guarded(f"{self.where}, run", gradients=True):
            found = self.source.run(fitted, data, options, call)
        return results_of(found, f"{self.where}, run")

    def figures(self, found: xr.Dataset) -> Mapping[str, Any]:
        """Return figures of the results.

        Args:
            found: The results.

        Returns:
            Matplotlib figures by name.

        Raises:
            PluginError: When the analysis raises an error that is not probgen's own, or returns no dict of names.
        """
        where = f"{self.where}, figures"
        with generators_kept("figures"), guarded(where):
            return named(self.source.figures(found), where, "a dict of Matplotlib figures")


def analysis(which: str | Any) -> LoadedAnalysis:
    """Return an analysis by its registered name, or one that a script defines.

    Args:
        which: A registered name, or a class, module or object with the parts of an analysis.

    Returns:
        The loaded analysis.

    Raises:
        PluginError: When the name is not registered, or the analysis cannot be loaded.
    """
    if isinstance(which, str):
        return _named(find("analyses", which))
    named = which if hasattr(which, "__name__") else type(which)
    name = named.__name__.rpartition(".")[2]
    return LoadedAnalysis(name, which, named.__name__)


@cache
def _named(plugin: Plugin) -> LoadedAnalysis:
    return LoadedAnalysis(plugin.name, plugin.load(), f"{plugin.distribution} {plugin.version}")
