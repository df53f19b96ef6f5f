"""What `probgen.fit` returns: a model that is learnt, as values."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from pydantic import BaseModel
from torch import nn

from probgen.calling import call_build
from probgen.errors import FileError, PluginError, RunError
from probgen.event import Event
from probgen.options import checked
from probgen.plugins import Family, family
from probgen.seeds import generators_kept
from probgen.state import check_state, load_state
from probgen.store import folder, trees

# groups of these names stand where ArviZ looks for them
ARVIZ = (
    "posterior", "posterior_predictive", "log_likelihood", "sample_stats", "prior", "prior_predictive", "observed_data",
    "constant_data",
)  # fmt: skip


def _place(group: str) -> str:
    return f"/{group}" if group in ARVIZ else f"/probgen/groups/{group}"


@dataclass(frozen=True)
class Fitted:
    """A fitted model.

    family      its registered name
    options     what it was fitted with
    event       what one datum is
    state       every learnt array, by name (the module's `state_dict`)
    groups      further results of the fit, by name
    history     the metrics of every step: dimension `step`, with the `stage` it belongs to
    provenance  how it came to be: versions, seed, digest of the data, ...
    """

    family: str
    options: BaseModel
    event: Event
    state: xr.Dataset
    groups: dict[str, xr.Dataset]
    history: xr.Dataset
    provenance: dict[str, Any]
    definition: Family = field(repr=False, compare=False)

    @cached_property
    def module(self) -> nn.Module:
        """The module with its state, in eval mode; built when first asked for, global generators untouched."""
        with generators_kept():
            module = call_build(self.definition, self.options, self.event)
        module.to(self.dtype)  # for buffers that are not part of the state
        load_state(module, self.state, f"fitted {self.family}")
        return module.eval()

    @property
    def dtype(self) -> torch.dtype:
        """Of the model: that of its first floating array."""
        kinds = (np.asarray(array).dtype for array in self.state.variables.values())
        return next(
            (torch.float64 if k == np.float64 else torch.float32 for k in kinds if k.kind == "f"),
            torch.float32,
        )

    def save(self, path: str | Path) -> None:
        """Write it to one HDF5 file, whole or not at all. Errors: `RunError`."""
        path = Path(path)
        if not path.parent.is_dir():
            raise RunError(f"{path} cannot be written: there is no folder {path.parent}")
        trees.write_tree(path, self.to_tree())

    def to_tree(self) -> xr.DataTree:
        """As a tree of named arrays; `docs/files.md` describes it."""
        about = {
            "family": self.family,
            "options": trees.to_json(self.options.model_dump(mode="json")),
            "event": trees.to_json(self.event.to_dict()),
            "provenance": trees.to_json(self.provenance),
        }
        groups = {_place(name): group for name, group in self.groups.items()}
        return xr.DataTree.from_dict(
            {
                "/": xr.Dataset(attrs={"title": f"{self.family} fitted by probgen"}),
                "/probgen": xr.Dataset(attrs=about),
                "/probgen/state": self.state,
                "/probgen/history": self.history,
                **groups,
            }
        )


def load(path: str | Path, family_: Any = None) -> Fitted:
    """Read a fitted model from a run folder or a `model.h5`.

    The family is looked up among the registered ones; give the class where it is the script's own. Errors:
    `FileError` for a file that is missing, damaged or not a model; `PluginError` if its family is not installed.
    """
    path = Path(path)
    if not path.exists():
        raise FileError(f"{path}: No such file or directory")
    if path.is_dir():
        if not (path / folder.MODEL).exists():
            raise FileError(
                f"{path} holds no fitted model ({folder.MODEL}); was the fit interrupted? use --resume"
            )
        path = path / folder.MODEL
    tree = trees.read_tree(path)
    try:
        about = dict(tree["/probgen"].attrs)
        state, history = tree["/probgen/state"].to_dataset(), tree["/probgen/history"].to_dataset()
        name = str(about["family"])
        texts = {part: trees.from_json(about[part], str(path)) for part in ("options", "event", "provenance")}
        event = Event.from_dict(texts["event"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FileError(f"{path} is not a fitted model: {error.args[0]} is missing or wrong") from None
    definition = family(name if family_ is None else family_)
    if definition.name != name:
        raise FileError(f"{path} holds a {name!r}, not a {definition.name!r}")
    own = tree["/probgen"].children.get("groups", xr.DataTree()).children
    groups = {**{name: tree[name] for name in ARVIZ if name in tree.children}, **own}
    fitted = Fitted(
        name,
        checked(definition.options("fit"), texts["options"], f"{path}: options"),
        event,
        state,
        {group: node.to_dataset() for group, node in groups.items()},
        history,
        texts["provenance"],
        definition,
    )
    _refuse_other_shapes(fitted, str(path))
    try:
        _ = fitted.module  # so that a state that does not fit is refused here and not later
    except PluginError as error:
        raise FileError(f"{path}: {error}") from error
    return fitted


def _refuse_other_shapes(fitted: Fitted, where: str) -> None:
    """Compare the state with a module that is only shapes, before a file's options decide how much memory one takes."""
    try:
        with generators_kept(), torch.device("meta"):
            shapes = call_build(fitted.definition, fitted.options, fitted.event)
    except PluginError:
        return  # it looks at values while it is built
    check_state(shapes, fitted.state, where)
