"""The call `load`: read a fitted model from a file, and find its family among the registered families."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import torch
import xarray as xr
from pydantic import BaseModel

from probgen.contract.event import Event
from probgen.contract.fitted import ARVIZ, Fitted
from probgen.contract.options import checked, references
from probgen.contract.seeds import generators_kept
from probgen.contract.state import check_state, digest_of
from probgen.contract.surroundings import isolated
from probgen.errors import FileError, InputError, PluginError
from probgen.plugins.family import family
from probgen.store import trees
from probgen.store.files import checked_path, sealed
from probgen.store.folder import MODEL, model_file


@isolated
def load(path: str | Path, family_: Any = None, *, models: Mapping[str, Fitted] | None = None) -> Fitted:
    """Read a fitted model from a run folder or a `model.h5` file.

    Args:
        path: The run folder, or the file.
        family_: The class of the family, if it is defined in your script. By default, the family is found by its name
            among the registered families.
        models: Models that this model builds on, by option, e.g. {"generator": fitted}. They are needed if their runs
            are not found.

    Returns:
        The fitted model.

    Raises:
        FileError: When the file is missing, damaged or not a model, or when a model that it builds on is missing or
            has changed.
        InputError: When `models` contains a model that this model does not build on.
        PluginError: When the family is not installed.
    """
    return _load(path, family_, dict(models or {}), ())


def of_bytes(content: bytes, family_: Any = None, *, models: Mapping[str, Fitted] | None = None) -> Fitted:
    """Return the fitted model from the bytes of a `model.h5` file, as `load` does."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / MODEL).write_bytes(content)
        return load(Path(folder), family_, models=models)


Packed: TypeAlias = tuple[bytes, tuple[tuple[str, "Packed"], ...]]


def packed(fitted: Fitted) -> Packed:
    """Return a model in a form for other processes: the bytes of its file, and of the models that it builds on.

    It raises `InputError` if another family is registered under the name of the family, and `PluginError` if no family
    is registered under this name.
    """
    if fitted.definition.origin != family(fitted.family).origin:
        raise InputError(
            f"family {fitted.family!r} is defined in your script, so workers cannot find it. Register it as a plugin."
        )
    below = tuple((name, packed(model)) for name, model in fitted.models.items())
    return sealed(trees.content_of(fitted.to_tree())), below


@lru_cache(maxsize=2)
def unpacked(model: Packed) -> Fitted:
    """Return the model from its form for other processes, and cache it for the next call."""
    content, below = model
    return of_bytes(content, models={name: unpacked(each) for name, each in below})


def _load(path: str | Path, family_: Any, models: dict[str, Fitted], within: tuple[Path, ...]) -> Fitted:
    """Read a model. `within` lists the files that build on it, so that a cycle is refused."""
    path = model_file(checked_path(path, "path"))
    tree = trees.read_tree(path)
    try:
        about = dict(tree["/probgen"].attrs)
        state, history = tree["/probgen/state"].to_dataset(), tree["/probgen/history"].to_dataset()
        name = str(about["family"])
        texts = {part: trees.from_json(about[part], str(path)) for part in ("options", "event", "provenance")}
        event = Event.from_dict(texts["event"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FileError(f"{path} is not a fitted model: {error.args[0]} is missing or invalid") from None
    definition = family(name if family_ is None else family_)
    if definition.name != name:
        raise FileError(f"{path} contains a model of family {name!r}, not of {definition.name!r}")
    wanted = checked(definition.options("fit"), texts["options"], f"{path}: options")
    own = tree["/probgen"].children.get("groups", xr.DataTree()).children
    groups = {**{name: tree[name] for name in ARVIZ if name in tree.children}, **own}
    fitted = Fitted(
        name,
        wanted,
        event,
        state,
        {group: node.to_dataset() for group, node in groups.items()},
        history,
        texts["provenance"],
        definition,
        _models_as_they_were(wanted, texts["provenance"].get("models", {}), models, (*within, path)),
    )
    _refuse_other_shapes(fitted, str(path))
    try:
        _ = fitted.module  # an unsuitable state is refused here, not later
    except PluginError as error:
        raise FileError(f"{path}: {error}") from error
    return fitted


def models_of(options: BaseModel) -> dict[str, Fitted]:
    """Return the models that a fit builds on, by the option that names their run."""
    found = {}
    for name, run in references(options).items():
        if not Path(run).exists():
            raise InputError(f"{name} = {run!r}: there is no such run. Give the path of a run folder.")
        found[name] = load(run)
    return found


def refuse_to_replace(place: Path, models: Mapping[str, Fitted], options: BaseModel) -> None:
    """Raise `InputError` if a folder contains a model that the fit builds on, directly or indirectly."""
    for name, run in references(options).items():
        file = Path(run).resolve()
        if place.resolve() in (file, file.parent):
            raise InputError(
                f"out = {str(place)!r}: it contains {name} = {run!r}, which the fit builds on. Choose another folder."
            )
    for model in models.values():
        refuse_to_replace(place, model.models, model.options)


def digests_of(models: Mapping[str, Fitted]) -> dict[str, str]:
    """Return the SHA-256 digest of the state of each model."""
    return {name: digest_of(model.state) for name, model in models.items()}


def _models_as_they_were(
    options: BaseModel, digests: Mapping[str, str], known: dict[str, Fitted], within: tuple[Path, ...]
) -> dict[str, Fitted]:
    """Return the models that a fitted model builds on.

    Each is a given model, or is read from its stored path, or from a folder next to the run, e.g. after a move.

    It raises `FileError` if such a model is missing or has changed, and `InputError` if a given model is not needed.
    """
    path = within[-1]
    wanted = references(options, fit=False)
    for name in known:
        if name not in wanted:
            raise InputError(
                f"models: {path} builds on {', '.join(wanted) or 'no other model'}, not on {name!r}. Leave {name!r} out."
            )
    found = {}
    for name, run in wanted.items():
        moved = path.parent.parent / Path(run).name
        there = [place / MODEL if place.is_dir() else place for place in (Path(run), moved)]
        there = [file for file in there if file.exists()]
        places = [file for file in there if file.resolve() not in {each.resolve() for each in within}]
        models: Iterable[Fitted]
        if name in known:
            models = [known[name]]
        elif there and not places:
            raise FileError(f"{path} builds on {name} = {run!r}, which builds on itself")
        elif not places:
            raise FileError(
                f"{path} builds on {name} = {run!r}, but neither {run} nor {moved} exists. Restore the run, or give the "
                f"model: probgen.load(path, models={{{name!r}: ...}})."
            )
        else:
            models = _readable(places, within)
        same = next((model for model in models if digest_of(model.state) == digests.get(name)), None)
        if same is None:
            raise FileError(
                f"{path} was fitted with another {name} than {places[0] if places else 'the given model'}. "
                f"Restore the earlier {name}, or fit {path} again."
            )
        found[name] = same
    return found


def _readable(places: list[Path], within: tuple[Path, ...]) -> Iterator[Fitted]:
    """Yield the models of the files that can be read, or raise `FileError` if no file can be read."""
    found = False
    for place in places:
        try:
            model = _load(place, None, {}, within)
        except FileError:
            if place is places[-1] and not found:
                raise
            continue
        found = True
        yield model


def _refuse_other_shapes(fitted: Fitted, where: str) -> None:
    """Compare the state with a module on the meta device, before the options in a file can claim much memory."""
    try:
        with generators_kept(), torch.device("meta"):
            shapes = fitted.definition.build(fitted.options, fitted.event, **fitted.models)
    except PluginError:
        return  # this family reads values while it is built, which the meta device does not have
    check_state(shapes, fitted.state, where)
