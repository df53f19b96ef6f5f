"""Checks of what plugins declare: options, and the names of latents, places and dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from torch import nn

from probgen.contract.definition import Dimensioned, Latent, Placed
from probgen.contract.event import Event
from probgen.errors import PluginError

TAKEN = ("x", "observed", "sample", "row")  # names of other variables and dimensions of samples


def options_class(value: Any, where: str, name: str) -> type[BaseModel]:
    """Return a class of options, or raise `PluginError` if the value is not one.

    Args:
        value: The declared value.
        where: The plugin, for messages.
        name: The name of the attribute.

    Returns:
        The class.

    Raises:
        PluginError: When the value is not a pydantic class.
    """
    if not isinstance(value, type) or not issubclass(value, BaseModel):
        raise PluginError(f"{where}: {name} = {value!r}. Use a subclass of probgen.Options.")
    return value


def check_declared(module: nn.Module, event: Event, where: str) -> None:
    """Check the names and dimensions that a module declares.

    Args:
        module: The module that `build` returned.
        event: The event of the data.
        where: The plugin and its function, for messages.

    Raises:
        PluginError: When `latents`, `places` or `dims` is not a dict of names with tuples of dimensions, a latent has the
            name of another variable, or `dims` names an array that the state does not have.
    """
    latents = _checked(module.latents, where, "latents") if isinstance(module, Latent) else {}
    places = _checked(module.places, where, "places") if isinstance(module, Placed) else {}
    for name in (*latents, *places):
        if name in (*TAKEN, *event.dims, *event.given):
            raise PluginError(
                f"{where}: a latent or place is called {name!r}, the name of another variable or dimension. Give it another name."
            )
    if not isinstance(module, Dimensioned):
        return
    state = module.state_dict()
    for name, dims in _checked(module.dims, where, "dims").items():
        if name not in state:
            raise PluginError(
                f"{where}: module.dims names {name!r}, but the state has: {', '.join(state) or 'no array'}. Correct the name, or remove it."
            )
        if state[name].ndim != len(dims):
            raise PluginError(
                f"{where}: {name!r} has shape {tuple(state[name].shape)}, but module.dims names {dims}. Give one name per dimension."
            )


def _checked(value: Any, where: str, name: str) -> Mapping[str, tuple[str, ...]]:
    """Return a dict of names with tuples of dimensions, or raise `PluginError`."""
    if not isinstance(value, Mapping):
        raise PluginError(f"{where}: module.{name} = {value!r}. Use a dict, such as {{'z': ('latent',)}}.")
    for key, dims in value.items():
        if (
            not isinstance(dims, tuple)
            or not all(isinstance(dim, str) for dim in dims)
            or len(set(dims)) < len(dims)
        ):
            raise PluginError(
                f"{where}: module.{name}[{key!r}] = {dims!r}. Use a tuple of different names, such as ('latent',)."
            )
        if {"sample", "row"} & set(dims):
            raise PluginError(
                f"{where}: module.{name}[{key!r}] = {dims!r}: 'sample' and 'row' are the first dimensions. Use other names."
            )
    return value
