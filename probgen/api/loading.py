"""load: a fitted model from a file, its family looked up among the registered ones."""

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
    """Read a fitted model from a run folder or a `model.h5`.

    family  is looked up among the registered ones; give the class where it is the script's own
    models  those that it builds on, by option, where they are not where they were: {"generator": fitted}

    Errors: `FileError` for a file that is missing, damaged or not a model, and where what it builds on is gone or another one;
    `PluginError` if its family is not installed.
    """
    return _load(path, family_, dict(models or {}), ())


def of_bytes(content: bytes, family_: Any = None, *, models: Mapping[str, Fitted] | None = None) -> Fitted:
    """The same of what such a file holds. Errors: `FileError`, `PluginError`."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / MODEL).write_bytes(content)
        return load(Path(folder), family_, models=models)


Packed: TypeAlias = tuple[bytes, tuple[tuple[str, "Packed"], ...]]


def packed(fitted: Fitted) -> Packed:
    """A model as it travels to another process: what its file holds, and the same of those that it builds on.

    Errors: `InputError` for a family that other processes do not find, `PluginError`.
    """
    if fitted.definition.origin != family(fitted.family).origin:
        raise InputError(
            f"{fitted.family} is a class of the script's own, which workers do not find: register it"
        )
    below = tuple((name, packed(model)) for name, model in fitted.models.items())
    return sealed(trees.content_of(fitted.to_tree())), below


@lru_cache(maxsize=2)
def unpacked(model: Packed) -> Fitted:
    """The inverse, kept for the next call. Errors: `FileError`, `PluginError`."""
    content, below = model
    return of_bytes(content, models={name: unpacked(each) for name, each in below})


def _load(path: str | Path, family_: Any, models: dict[str, Fitted], within: tuple[Path, ...]) -> Fitted:
    """within: the files that build on this one."""
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
        _ = fitted.module  # so that a state that does not fit is refused here and not later
    except PluginError as error:
        raise FileError(f"{path}: {error}") from error
    return fitted


def models_of(options: BaseModel) -> dict[str, Fitted]:
    """The models that a fit builds on, by the option that names their run. Errors: `FileError`, `InputError`, `PluginError`."""
    found = {}
    for name, run in references(options).items():
        if not Path(run).exists():
            raise InputError(f"{name} = {run!r}: there is no such run")
        found[name] = load(run)
    return found


def refuse_to_replace(place: Path, models: Mapping[str, Fitted], options: BaseModel) -> None:
    """Errors: `InputError` for a folder that holds what a fit builds on, or what that builds on."""
    for name, run in references(options).items():
        file = Path(run).resolve()
        if place.resolve() in (file, file.parent):
            raise InputError(
                f"out = {str(place)!r} holds {name} = {run!r}, which the fit builds on: choose another folder"
            )
    for model in models.values():
        refuse_to_replace(place, model.models, model.options)


def digests_of(models: Mapping[str, Fitted]) -> dict[str, str]:
    """SHA-256 of the state of each."""
    return {name: digest_of(model.state) for name, model in models.items()}


def _models_as_they_were(
    options: BaseModel, digests: Mapping[str, str], known: dict[str, Fitted], within: tuple[Path, ...]
) -> dict[str, Fitted]:
    """What a fitted model builds on: given, or where it was, or beside the run, as in a folder that was moved.

    Errors: `FileError` where it is gone, or is not the one that it was; `InputError` for a model that nothing asks for.
    """
    path = within[-1]
    wanted = references(options, fit=False)
    for name in known:
        if name not in wanted:
            raise InputError(
                f"models: {path} builds on {', '.join(wanted) or 'no other model'}, not on {name!r}"
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
                f"{path} builds on {name} = {run!r}, which is not there, nor is {moved}: put it there, or load it and give it, "
                f"probgen.load(path, models={{{name!r}: ...}})"
            )
        else:
            models = _readable(places, within)
        same = next((model for model in models if digest_of(model.state) == digests.get(name)), None)
        if same is None:
            raise FileError(
                f"{path} was fitted with another {name} than {places[0] if places else 'that'} is now: fit it again"
            )
        found[name] = same
    return found


def _readable(places: list[Path], within: tuple[Path, ...]) -> Iterator[Fitted]:
    """The models of files, each read when it is asked for, without those that cannot be. Errors: `FileError`, of the last one, where none can."""
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
    """Compare the state with a module that is only shapes, before a file's options decide how much memory one takes."""
    try:
        with generators_kept(), torch.device("meta"):
            shapes = fitted.definition.build(fitted.options, fitted.event, **fitted.models)
    except PluginError:
        return  # it looks at values while it is built
    check_state(shapes, fitted.state, where)
