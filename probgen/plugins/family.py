"""A loaded family."""

from __future__ import annotations

from collections.abc import Collection, Mapping
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
from probgen.plugins.declared import check_declared, options_class
from probgen.plugins.managed import manager
from probgen.plugins.registry import Plugin, find

HOOKS = ("fit", "sample", "score")
ACCEPTED = ("observed", "weight", "length", "label", "attribute", "size", "pair")
SUPPORTS = ("real", "binary", "count", "integer", "token", "mixed")


class Family:
    """A loaded family: its source, its hooks and its declared properties.

    Args:
        name: The registered name, or the name of a script's own definition.
        source: The module, object or class that defines the family.
        origin: The distribution and its version, or the module of a script's own definition.

    Attributes:
        name: The name.
        source: The module, object or class that defines the family.
        origin: The origin.
        where: The description of the family in messages.
        accepts: The inputs in addition to `x` that the family can use.
        supports: The supports that x may have.
        needed: The latents that `sample` requires in `given`, each with a description in words.
        dtype: The default dtype of the parameters.

    Raises:
        PluginError: When the source has no `Options` or `build`, when a declared value cannot be used, or when a hook
            is misspelled or not marked.
    """

    def __init__(self, name: str, source: Any, origin: str):
        self.name, self.source, self.origin = name, source, origin
        self.where = f"family {name!r} ({origin})"
        self._hooks = manager(source, FamilySpecs, HOOKS, self.where).hook
        for attribute in ("Options", "build"):
            if not hasattr(source, attribute):
                raise PluginError(f"{self.where} has no {attribute!r}. See docs/plugins.md.")
        self._options: dict[str, type[BaseModel]] = {
            "fit": options_class(source.Options, self.where, "Options"),
            "sample": options_class(source.SampleOptions, self.where, "SampleOptions")
            if isinstance(source, Samples)
            else NoOptions,
            "score": options_class(source.ScoreOptions, self.where, "ScoreOptions")
            if isinstance(source, Scores)
            else NoOptions,
        }
        self.accepts: frozenset[str] = (
            self._some("accepts", source.accepts, ACCEPTED) if isinstance(source, Accepting) else frozenset()
        )
        self.supports = (
            self._some("supports", source.supports, SUPPORTS) if isinstance(source, Supporting) else USUAL
        )
        self.needed = dict(source.needed) if isinstance(source, Dependent) else {}
        self.dtype = source.dtype if isinstance(source, Typed) else "float32"
        x_dtype = source.x_dtype if isinstance(source, Precise) else None
        for attribute, value in (("dtype", self.dtype), ("x_dtype", x_dtype)):
            if value not in ("float32", "float64", None):
                raise PluginError(f"{self.where}: {attribute} = {value!r}. Use 'float32' or 'float64'.")
        self._x_dtype: torch.dtype | None = {"float32": torch.float32, "float64": torch.float64}.get(
            x_dtype or ""
        )

    def _some(self, name: str, value: Any, known: tuple[str, ...]) -> frozenset[str]:
        """Return declared names, or raise `PluginError` if they are not a set of known names."""
        good = isinstance(value, Collection) and not isinstance(value, str)
        if not good or not set(value) <= set(known):
            raise PluginError(f"{self.where}: {name} = {value!r}. Use a set of: {', '.join(known)}.")
        return frozenset(value)

    def dtype_of_x(self, dtype: torch.dtype) -> torch.dtype:
        """Return the dtype in which hooks receive real x.

        Args:
            dtype: The dtype of the parameters.

        Returns:
            float64 for a family with `x_dtype = "float64"`; otherwise `dtype`.
        """
        return self._x_dtype or dtype

    def offers(self, hook: str) -> bool:
        """Return whether the family implements a hook.

        Args:
            hook: "fit", "sample" or "score".

        Returns:
            True if the family implements the hook.
        """
        return bool(getattr(self._hooks, hook).get_hookimpls())

    def takes(self, hook: str, argument: str) -> bool:
        """Return whether the implementation of a hook has an argument.

        Args:
            hook: "fit", "sample" or "score".
            argument: The name of the argument.

        Returns:
            True if the implementation has the argument.
        """
        return any(argument in impl.argnames for impl in getattr(self._hooks, hook).get_hookimpls())

    def require(self, hook: str) -> None:
        """Check that the family implements a hook.

        Args:
            hook: "fit", "sample" or "score".

        Raises:
            NotOffered: When the family does not implement the hook.
        """
        if not self.offers(hook):
            offered = ", ".join(name for name in HOOKS if self.offers(name)) or "nothing"
            raise NotOffered(f"family {self.name!r} does not implement {hook}. It implements: {offered}.")

    def options(self, hook: str) -> type[BaseModel]:
        """Return the class of the options of a hook.

        Args:
            hook: "fit", "sample" or "score".

        Returns:
            A pydantic class; `NoOptions` for a hook without options.
        """
        return self._options[hook]

    def build(self, options: BaseModel, event: Event, **models: Any) -> nn.Module:
        """Return the module in its initial state.

        Args:
            options: The options of the fit.
            event: The event of the data.
            **models: The fitted models that the family builds on, by the option that names their run.

        Returns:
            The torch module with initial parameters.

        Raises:
            PluginError: When the family raises an error that is not probgen's own, returns no module, or the
                module declares latents, places or dimensions that cannot be used.
        """
        with guarded(f"{self.where}, build", gradients=True):
            module = self.source.build(options, event, **models)
        if not isinstance(module, nn.Module):
            raise PluginError(f"{self.where}, build: returned no torch module. Return a torch.nn.Module.")
        check_declared(module, event, f"{self.where}, build")
        return module

    def call(self, hook: str, **arguments: Any) -> Any:
        """Call one hook; the global generators remain unchanged.

        Args:
            hook: "fit", "sample" or "score".
            **arguments: The arguments of the hook specification, by name.

        Returns:
            The result of the hook.

        Raises:
            PluginError: When the family raises an error that is not probgen's own; the original error is the
                cause.
        """
        with generators_kept(), guarded(f"{self.where}, {hook}", gradients=hook == "fit"):
            return getattr(self._hooks, hook)(**arguments)

    def prepared(self, data: xr.Dataset, options: BaseModel) -> xr.Dataset:
        """Return the data after the family's own `prepare`, if it has one.

        Args:
            data: The rows of a fit.
            options: The options of the fit.

        Returns:
            The same rows, changed by the family.
        """
        if not isinstance(self.source, Preparing):
            return data
        with guarded(f"{self.where}, prepare"):
            return self.source.prepare(data, options)

    def of_rows(self, options: BaseModel, rows: xr.Dataset) -> dict[str, Any]:
        """Return the conditions that samples of given rows require.

        Args:
            options: The options of the fit.
            rows: The rows to make samples of.

        Returns:
            Conditions of `sample` by name, one row each; empty for a family whose latents have priors.
        """
        if not isinstance(self.source, Dependent):
            return {}
        with guarded(f"{self.where}, of_rows"):
            return dict(self.source.of_rows(options, rows))

    def pictures(self, fitted: Any, data: xr.Dataset, **call: Any) -> Mapping[str, Any]:
        """Return the figures of the family, by name.

        Args:
            fitted: The fitted model.
            data: The rows of the fit, in the symbols of the fit.
            **call: `seed` and `device`.

        Returns:
            Matplotlib figures by name; empty for a family without figures.
        """
        if not isinstance(self.source, Illustrating):
            return {}
        with generators_kept("pictures"), guarded(f"{self.where}, pictures"):
            return self.source.pictures(fitted, data, **call)


def family(which: str | type | Any) -> Family:
    """Return a family by its registered name, or one that a script defines.

    Args:
        which: A registered name, a `Pair` class, or a module or object with the parts of a family.

    Returns:
        The loaded family.

    Raises:
        PluginError: When the name is not registered, or the family cannot be loaded.
    """
    if isinstance(which, str):
        return _named(find("families", which))
    named = which if hasattr(which, "__name__") else type(which)
    return Family(named.__name__, which, named.__module__ if hasattr(named, "__module__") else named.__name__)


@cache
def _named(plugin: Plugin) -> Family:
    return Family(plugin.name, plugin.load(), f"{plugin.distribution} {plugin.version}")
