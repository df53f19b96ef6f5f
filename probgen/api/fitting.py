"""The call `fit`: check the data once, claim the run folder, call the hook, store the result."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
import xarray as xr
from torch import nn
from torch.nn.parameter import is_lazy

from probgen.api.common import checked_device, checked_dtype, observed, seeded, shown, told
from probgen.api.loading import digests_of, models_of, of_bytes, refuse_to_replace
from probgen.api.provenance import about, stamp
from probgen.contract.definition import Definition
from probgen.contract.event import Event
from probgen.contract.fitted import Fitted
from probgen.contract.options import checked
from probgen.contract.run import Run
from probgen.contract.seeds import checked_seed, generators_kept
from probgen.contract.state import beside_state, first_not_finite, state_of
from probgen.contract.surroundings import isolated
from probgen.contract.world import World
from probgen.data.intake import notes_on_units, prepare
from probgen.errors import DivergedError, InputError, PluginError, ProbgenError
from probgen.plugins.family import family as find_family
from probgen.plugins.observers import Observers
from probgen.plugins.returned import named
from probgen.store.files import checked_path, without_none
from probgen.store.folder import HISTORY, MODEL, RunFolder, check_folder

# where the data came from and how they were read: equal digests mean equal data
SOURCE = ("data.path", "data.name", "data.split", "data.reading")


@isolated
def fit(
    family: str | type | Any,
    data: Any,
    *,
    valid: Any = None,
    seed: int = 0,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    force: bool = False,
    progress: bool = False,
    parts: int | None = None,
    **options: Any,
) -> Fitted:
    """Fit a family to data: learn p(x).

    Under torchrun, every process makes the same call and returns the same model. Process 0 alone writes to
    `out`, shows progress, and notifies observers. The global random generators are unchanged when `fit` returns.

    Args:
        family: A registered name, or a definition in your script, e.g. a `Pair` class.
        data: The rows to fit to, in any form that `probgen.data.as_dataset` accepts.
        valid: Validation rows, e.g. for early stopping, in the same forms.
        seed: Seed of all random numbers.
        device: The device to compute on, e.g. "cuda". The default is "cpu".
        dtype: Type of the parameters, float32 or float64. The default is set by the family.
        out: A folder for the run: request, journal, checkpoints and `model.h5`. By default, no file is written.
        resume: Resume the fit in `out`, with bit-identical results. A fit that is complete is loaded. A run with
            another seed, other data or other options is refused.
        force: Remove the run in `out` first.
        progress: Show a progress bar on stderr.
        parts: Number of parts of each batch; one process computes the gradient of one or more parts. With the
            same `parts`, the result is bit-identical on any number of processes up to `parts`. The default is
            the number of processes at the start of the fit.
        **options: Options of the family.

    Returns:
        The fitted model.

    Raises:
        InputError: When the data, an option or another argument is invalid, or `out` contains another run.
        RunError: When the run folder is in use or cannot be written.
        PluginError: When the family is not installed, or returns an invalid result.
        DivergedError: When a parameter or the loss is no longer finite.
        Interrupted: When a signal ends the fit. The state is saved in `out`.
    """
    place = None if out is None else checked_path(out, "out")
    definition = find_family(family)
    definition.require("fit")
    seed = checked_seed(seed)
    wanted = checked(definition.options("fit"), options, f"family {definition.name!r}")
    dtype = checked_dtype(dtype if dtype is not None else definition.dtype)
    device = checked_device(device)
    world = World.joined()
    how: dict[str, Any] = {"seed": seed, "device": device, "dtype": dtype, "world": world}
    with world.agreed():
        parts = _checked_parts(parts)
    world.check_same({"data or options": f"{definition.name} {wanted} {valid is None}"})
    taken = prepare(data, definition, options=wanted, **how)
    event, chosen_by = taken.event, None
    with world.agreed():
        models = models_of(wanted)
        if place is not None:
            refuse_to_replace(place, models, wanted)
    if valid is not None:
        chosen_by = prepare(valid, definition, event=event, **how)
        taken.rows.valid = chosen_by.rows
    with generators_kept(seed, "build"):
        module = definition.build(wanted, event, **models).to(device, dtype)
    rows = about(taken.dataset, taken.digest) | ({"valid_sha256": chosen_by.digest} if chosen_by else {})
    request = {
        "seed": seed,
        "dtype": str(dtype).removeprefix("torch."),
        "data": rows,
        "event": event.to_dict(),
        "models": {definition.name: {"family": definition.name, **wanted.model_dump(mode="json")}},
        **({"built_on": digests_of(models)} if models else {}),
    }
    world.check_same(
        {"data or options": json.dumps({**request, "parts": parts}, sort_keys=True, default=str)}
    )
    with ExitStack() as stack:
        stack.enter_context(shown(progress and world.first))
        call = observed("fit", definition, wanted, event, rows, place)
        observers, folder = Observers(call, heard=world.first), None
        with world.agreed():
            if place is not None and world.first:
                folder, parts = stack.enter_context(
                    _claimed(place, request, parts, world.size, resume, force)
                )
        ended = folder is not None and resume and (folder.path / MODEL).exists()
        known = world.from_first(json.dumps({"parts": parts or world.size, "ended": ended}).encode())
        parts, ended = json.loads(known).values()
        if ended:
            fitted = of_bytes(
                world.from_first((place / MODEL).read_bytes() if place and world.first else None), family
            )
            if folder is not None:
                folder.clear()
            return fitted
        run = Run(
            seed,
            device=device,
            dtype=dtype,
            folder=folder,
            out=place,
            tell=observers.tell,
            world=world,
            parts=parts,
        )
        stack.callback(run.close)
        run.notes += notes_on_units(taken.dataset, event)
        with told(observers, run) as outcome:
            where = f"family {definition.name!r} ({definition.origin}), fit"
            before = _Before.of(module, where)
            with run.minding_signals():
                module.train()
                groups = seeded(
                    (seed, "fit"), definition, "fit", module=module, data=taken.rows, options=wanted, run=run
                )
            with world.agreed():
                before.compare(module, where)
                try:
                    fitted = _fitted(definition, wanted, event, module, models, groups, run, request)
                    if folder is not None:
                        fitted.save(folder.path / MODEL)
                        folder.clear()
                except (ValueError, TypeError) as error:
                    # xarray raises these for names, dimensions or types that a file cannot store
                    if isinstance(error, ProbgenError):
                        raise
                    raise PluginError(
                        f"family {definition.name!r} ({definition.origin}), fit: its parameters or its results cannot be stored: "
                        f"{' '.join(str(error).split())}"
                    ) from error
            outcome.result = fitted
            if folder is not None:
                observers.made("model", folder.path / MODEL)
    return fitted


@dataclass(frozen=True)
class _Before:
    """What a module has before its fit.

    Attributes:
        arrays: The shapes of the arrays of the state by name.
        beside: Digests of the numbers outside the state by name.
    """

    arrays: dict[str, tuple[int, ...]]
    beside: dict[str, str]

    @classmethod
    def of(cls, module: nn.Module, where: str) -> Self:
        state = module.state_dict()
        for name, array in state.items():
            if is_lazy(array):
                raise PluginError(
                    f"{where}: array {name!r} of the state has no shape yet. Register it in `build` in its final shape."
                )
        return cls({name: tuple(t.shape) for name, t in state.items()}, beside_state(module))

    def compare(self, module: nn.Module, where: str) -> None:
        """Refuse another state than the built one, and warn of numbers that the fit changed outside the state."""
        now = _Before.of(module, where)
        for name in sorted(self.arrays.keys() | now.arrays.keys()):
            if self.arrays.get(name) != now.arrays.get(name):
                built, fitted = (
                    f"has shape {arrays[name]}" if name in arrays else "does not exist"
                    for arrays in (self.arrays, now.arrays)
                )
                raise PluginError(
                    f"{where}: array {name!r} of the state {fitted} after the fit, and {built} after `build`. "
                    "Register it in `build` in its final shape."
                )
        lost = [name for name, digest in now.beside.items() if self.beside.get(name) != digest]
        if lost:
            warnings.warn(
                f"{where} changed {', '.join(map(repr, lost))} of the module, which is not in its state_dict, so the "
                "fitted model loses it. Register it as a buffer (persistent=False if only the fit needs it).",
                stacklevel=4,
            )


def _fitted(
    definition: Definition,
    options: Any,
    event: Event,
    module: nn.Module,
    models: Mapping[str, Fitted],
    groups: Any,
    run: Run,
    request: dict[str, Any],
) -> Fitted:
    where = f"family {definition.name!r} ({definition.origin}), fit"
    groups = named({} if groups is None else groups, where, "None, or a dict of xarray Datasets")
    for name, group in groups.items():
        if not isinstance(group, xr.Dataset):
            raise PluginError(
                f"{where}: {name!r} is of type {type(group).__name__}. Return a dict of xarray Datasets."
            )
    culprit = first_not_finite(module.state_dict())
    if culprit is not None:
        raise DivergedError(f"{definition.name}: {culprit!r} is not finite at the end of the fit")
    provenance = {
        **stamp(definition, run.seed),
        "dtype": request["dtype"],
        "device": str(run.device),
        "data": request["data"],
        "converged": run.converged,
        "notes": run.notes,
        **({"parts": run.parts} if run.parts > 1 else {}),
        **({"models": request["built_on"]} if models else {}),
    }
    return Fitted(
        definition.name,
        options,
        event,
        state_of(module),
        dict(groups),
        run.history(),
        provenance,
        definition,
        models,
    )


@contextmanager
def _claimed(
    path: Path, request: dict[str, Any], parts: int | None, size: int, resume: bool, force: bool
) -> Iterator[tuple[RunFolder, int]]:
    """Claim the folder of a fit, write its request, and yield the folder and the number of parts.

    The number of parts is the argument, the number in the stored request, or the number of processes. The function
    raises `InputError` if the folder contains another run.
    """
    check_folder(path)
    with RunFolder(path) as folder:
        if force:
            folder.erase()
        asked = folder.read_request()
        parts = parts or (size if asked is None else asked.get("parts", 1))
        request = {**request, **({"parts": parts} if parts > 1 else {})}
        if asked is None:
            if folder.results():
                raise InputError(
                    f"{path} contains {folder.results()[0]}, but no request. Replace it (--force), or choose another folder."
                )
            folder.write_request(request)
        elif not resume:
            raise InputError(
                f"{path} already contains a run. Resume it (--resume), replace it (--force), or choose another folder."
            )
        else:
            before, now = ({"parts": 1} | _flat(each) for each in (asked, without_none(request)))
            for name in sorted({*before, *now}):
                if before.get(name) != now.get(name) and not name.startswith(SOURCE):
                    raise InputError(
                        f"{path} was started with {name} = {before.get(name)!r}, but {name} = {now.get(name)!r} was "
                        f"requested. Use {name} = {before.get(name)!r}, or choose another folder."
                    )
        try:
            yield folder, parts
        except Exception:
            done = (path / HISTORY).exists() and (path / HISTORY).stat().st_size
            if asked is None and not done and not (path / MODEL).exists():
                folder.abandon()
            raise


def _checked_parts(parts: object) -> int | None:
    if parts is not None and (type(parts) is not int or parts < 1):
        raise InputError(f"parts = {parts!r}: a whole number of at least 1 is needed")
    return parts


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {name: value}
    return {k: v for key, item in value.items() for k, v in _flat(item, f"{name}.{key}".lstrip(".")).items()}
