"""fit: check the data once, claim the folder, call the hook, keep what comes out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
import xarray as xr
from torch import nn

from probgen.api.common import checked_device, checked_dtype, shown, told
from probgen.api.loading import digests_of, models_of, of_bytes, refuse_to_replace
from probgen.api.provenance import about, stamp
from probgen.contract.definition import Definition
from probgen.contract.event import Event
from probgen.contract.fitted import Fitted
from probgen.contract.options import checked
from probgen.contract.run import Run
from probgen.contract.seeds import checked_seed, generators_kept, key, seed_torch
from probgen.contract.state import first_not_finite, state_of
from probgen.contract.surroundings import isolated
from probgen.contract.world import World
from probgen.data.intake import prepare
from probgen.errors import DivergedError, InputError, PluginError, ProbgenError
from probgen.plugins.family import family as find_family
from probgen.plugins.observers import Observers
from probgen.store.files import checked_path, without_none
from probgen.store.folder import HISTORY, MODEL, RunFolder, check_folder


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
    """Learn p(x) from data.

    Under torchrun all processes call it alike, and all return the same; process 0 holds `out`, shows progress, and tells observers.

    family    a registered name, or a `Pair` class or other definition of the script's own
    data      whatever `probgen.data.as_dataset` takes
    valid     rows to choose by (early stop), of the same kind
    dtype     of the parameters; by default the family's own
    out       a folder for the run: journal, checkpoints and `model.h5`
    resume    go on with the fit in `out`; a run of other data, options, or seed is refused
    force     remove the run in `out` first
    progress  show a bar on stderr
    parts     in how many parts the gradient of a batch is worked out, each by one of the processes: with as many parts the result has the same bits on
              any number of processes up to it. By default the number of processes that the fit begins with
    options   of the family

    The global generators are as they were when it returns. Errors: `InputError`, `RunError`, `PluginError`,
    `DivergedError`, `Interrupted`.
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
    with generators_kept():
        seed_torch(key(seed, "build"))
        module = definition.build(wanted, event, **models).to(device, dtype)
    request = {
        "seed": seed,
        "dtype": str(dtype).removeprefix("torch."),
        "data": about(taken.dataset, taken.digest)
        | ({"valid_sha256": chosen_by.digest} if chosen_by else {}),
        "event": event.to_dict(),
        "models": {definition.name: {"family": definition.name, **wanted.model_dump(mode="json")}},
        **({"built_on": digests_of(models)} if models else {}),
    }
    world.check_same(
        {"data or options": json.dumps({**request, "parts": parts}, sort_keys=True, default=str)}
    )
    with ExitStack() as stack:
        stack.enter_context(shown(progress and world.first))
        observers, folder = Observers(), None
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
        tell = observers.tell if world.first else None
        run = Run(
            seed, device=device, dtype=dtype, folder=folder, out=place, tell=tell, world=world, parts=parts
        )
        stack.callback(run.close)
        with told(observers, "fit", definition, run), run.minding_signals():
            module.train()
            groups = definition.call("fit", module=module, data=taken.rows, options=wanted, run=run)
        with world.agreed():
            try:
                fitted = _fitted(definition, wanted, event, module, models, groups, run, request)
                if folder is not None:
                    fitted.save(folder.path / MODEL)
                    folder.clear()
            except (
                ValueError,
                TypeError,
            ) as error:  # of xarray: names, dimensions or types that a file cannot hold
                if isinstance(error, ProbgenError):
                    raise
                raise PluginError(
                    f"family {definition.name!r} ({definition.origin}), fit: what it learned or returned cannot be kept: "
                    f"{' '.join(str(error).split())}"
                ) from error
    return fitted


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
    groups = groups or {}
    if not isinstance(groups, Mapping) or not all(isinstance(group, xr.Dataset) for group in groups.values()):
        raise PluginError(
            f"family {definition.name!r} ({definition.origin}), fit: returned {type(groups).__name__}, "
            "not a dict of xarray Datasets, or None"
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
    """The folder of a fit, held, with its request written, and in how many parts it is done: what was asked for, then or now, or as many as there
    are processes. Errors: `RunError`, `InputError`.
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
                    f"{path} holds {folder.results()[0]}, and nothing says what of: replace it (--force), or choose another"
                )
            folder.write_request(request)
        elif not resume:
            raise InputError(
                f"{path} holds a run already: go on with it (--resume), replace it (--force), or choose another"
            )
        else:
            before, now = ({"parts": 1} | _flat(each) for each in (asked, without_none(request)))
            for name in sorted({*before, *now}):
                if before.get(name) != now.get(name) and name not in ("data.path", "data.name", "data.split"):
                    raise InputError(
                        f"{path} was begun with {name} = {before.get(name)!r}, not {now.get(name)!r}: "
                        "ask for the same, or choose another folder"
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
        raise InputError(f"parts = {parts!r}: a whole number from 1 is needed")
    return parts


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {name: value}
    return {k: v for key, item in value.items() for k, v in _flat(item, f"{name}.{key}".lstrip(".")).items()}
