"""load: a fitted model from a file, its family looked up among the registered ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import xarray as xr

from probgen.contract.event import Event
from probgen.contract.fitted import ARVIZ, Fitted
from probgen.contract.options import checked
from probgen.contract.seeds import generators_kept
from probgen.contract.state import check_state
from probgen.contract.surroundings import isolated
from probgen.errors import FileError, PluginError
from probgen.plugins.family import family
from probgen.store import trees
from probgen.store.files import checked_path
from probgen.store.folder import model_file


@isolated
def load(path: str | Path, family_: Any = None) -> Fitted:
    """Read a fitted model from a run folder or a `model.h5`.

    The family is looked up among the registered ones; give the class where it is the script's own. Errors:
    `FileError` for a file that is missing, damaged or not a model; `PluginError` if its family is not installed.
    """
    path = model_file(checked_path(path, "path"))
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
            shapes = fitted.definition.build(fitted.options, fitted.event)
    except PluginError:
        return  # it looks at values while it is built
    check_state(shapes, fitted.state, where)
