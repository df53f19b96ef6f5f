"""fit, sample, score, compare: check the input once, shard it, call the hook, stamp what comes out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from probgen.calling import call, call_build
from probgen.data import as_dataset, check, event_of
from probgen.errors import DivergedError, InputError, PluginError, RunError
from probgen.event import Event
from probgen.fitted import Fitted, load
from probgen.given import conditions
from probgen.observers import Observers, observing
from probgen.options import checked
from probgen.plugins import Family
from probgen.plugins import family as find_family
from probgen.provenance import about, stamp
from probgen.rows import Rows, numpy_dtype
from probgen.run import Run
from probgen.seeds import checked_seed, generators_kept, key, seed_torch
from probgen.state import first_not_finite, state_of
from probgen.store.folder import HISTORY, MODEL, RunFolder, without_none

SHARD = 256  # rows or draws that share a seed: a constant of the format
AT_ONCE = 16 * SHARD  # rows of an exact score that go over together


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
    **options: Any,
) -> Fitted:
    """Learn p(x) from data.

    family    a registered name, or a `Pair` class or other definition of the script's own
    data      whatever `probgen.data.as_dataset` takes
    valid     rows to choose by (early stop), of the same kind
    dtype     of the parameters; by default the family's own
    out       a folder for the run: journal, checkpoints and `model.h5`
    resume    go on with the fit in `out`; a run of other data, options, or seed is refused
    force     remove the run in `out` first
    progress  show a bar on stderr
    options   of the family

    The global generators are as they were when it returns. Errors: `InputError`, `RunError`, `PluginError`,
    `DivergedError`, `Interrupted`.
    """
    definition = find_family(family)
    definition.require("fit")
    seed = checked_seed(seed)
    wanted = checked(definition.options("fit"), options, f"family {definition.name!r}")
    dtype = _dtype(dtype if dtype is not None else getattr(definition.definition, "dtype", "float32"))
    device = _device(device)
    dataset = as_dataset(data)
    event = event_of(dataset, getattr(wanted, "given", ()))

    def checked_rows(dataset: xr.Dataset, valid: Rows | None = None) -> tuple[Rows, str]:
        missing, digest = check(dataset, event, definition.accepts, definition.name, numpy_dtype(dtype))
        rows = Rows(
            dataset,
            event,
            missing=missing,
            seed=seed,
            device=device,
            dtype=dtype,
            valid=valid,
            beside=definition.accepts,
        )
        return rows, digest

    rows_valid, digest_valid = checked_rows(as_dataset(valid)) if valid is not None else (None, None)
    rows, digest = checked_rows(dataset, rows_valid)
    with generators_kept():
        seed_torch(key(seed, "build"))
        module = call_build(definition, wanted, event).to(device, dtype)
    request = {
        "seed": seed,
        "dtype": str(dtype).removeprefix("torch."),
        "data": about(dataset, digest) | ({"valid_sha256": digest_valid} if digest_valid else {}),
        "event": event.to_dict(),
        "models": {definition.name: {"family": definition.name, **wanted.model_dump(mode="json")}},
    }
    with ExitStack() as stack:
        stack.enter_context(_progress(progress))
        observers = Observers()
        folder = stack.enter_context(_claimed(out, request, resume, force)) if out is not None else None
        if folder is not None and resume and (folder.path / MODEL).exists():
            folder.clear()
            return load(folder.path, family)
        run = Run(seed, device=device, dtype=dtype, folder=folder, observers=observers)
        stack.callback(run.close)
        with _told(observers, "fit", definition, run), run.minding_signals():
            module.train()
            groups = call(definition, "fit", module=module, data=rows, options=wanted, run=run)
        fitted = _fitted(definition, wanted, event, module, groups, run, request)
        if folder is not None:
            fitted.save(folder.path / MODEL)
            folder.clear()
    return fitted


def _fitted(
    definition: Family,
    options: Any,
    event: Event,
    module: nn.Module,
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
    )


@contextmanager
def _claimed(out: str | Path, request: dict[str, Any], resume: bool, force: bool) -> Iterator[RunFolder]:
    """The folder of a fit, held, with its request written. Errors: `RunError`, `InputError`."""
    path = Path(out)
    if path.exists() and not path.is_dir():
        raise RunError(f"{path} is a file; a run needs a folder")
    with RunFolder(path) as folder:
        if force:
            folder.erase()
        asked = folder.read_request()
        if asked is None:
            folder.write_request(request)
        elif not resume:
            raise InputError(
                f"{path} holds a run already: go on with it (--resume), replace it (--force), or choose another"
            )
        else:
            before, now = _flat(asked), _flat(without_none(request))
            for name in sorted({*before, *now}):
                if before.get(name) != now.get(name) and name not in ("data.path", "data.name", "data.split"):
                    raise InputError(
                        f"{path} was begun with {name} = {before.get(name)!r}, not {now.get(name)!r}: "
                        "ask for the same, or choose another folder"
                    )
        try:
            yield folder
        except Exception:
            if not (path / HISTORY).exists() or not (path / HISTORY).stat().st_size:
                folder.erase()  # nothing was done: as if it had not been asked
            raise


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {name: value}
    return {k: v for key, item in value.items() for k, v in _flat(item, f"{name}.{key}".lstrip(".")).items()}


def sample(
    fitted: Fitted,
    n: int = 1,
    *,
    given: Mapping[str, Any] | xr.Dataset | None = None,
    seed: int = 0,
    device: str | torch.device | None = None,
    progress: bool = False,
    **options: Any,
) -> xr.Dataset:
    """Draw from p(x), freely or given something.

    n      how many draws; with `row` in `given`, for each row
    given  what to condition on, by name: `x` (NaN, or `observed` = 0, where it is to be completed), `label`, a
           latent. Without rows it is one condition for all draws.

    Returns `x (sample, ...)`, or `x (sample, row, ...)`, and the latents. Draws come in shards of 256, each with a
    seed of its own. Errors: `InputError`, `NotOffered`, `PluginError`.
    """
    family = fitted.definition
    family.require("sample")
    seed = checked_seed(seed)
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise InputError(f"n = {n!r}: a whole number of at least 1 is needed")
    wanted = checked(family.options("sample"), options, f"family {family.name!r}, sample")
    run = _run_for(fitted, seed, device)
    tensors, rows, per_row = conditions(fitted, given, run)
    total = n * rows
    parts = []
    observers = Observers()
    with _progress(progress), _told(observers, "sample", family, run), torch.no_grad():
        fitted.module.to(run.device)
        for shard, start in enumerate(range(0, total, SHARD)):
            index = torch.arange(start, min(start + SHARD, total)) % rows
            part = {name: tensor[index.to(tensor.device)] for name, tensor in tensors.items()}
            drawn = _seeded(
                (seed, "sample", shard), family, "sample", fitted=fitted, n=len(index), given=part,
                options=wanted, run=run,
            )  # fmt: skip
            parts.append(_checked_draws(drawn, family, len(index)))
            observers.tell("step", run=run, stage="sample", step=shard, metrics={})
    names = getattr(fitted.module, "latents", {})
    variables = {}
    for name in parts[0]:
        array = np.concatenate([part[name] for part in parts])
        dims = fitted.event.dims if name == "x" else _latent_dims(names, name, array.ndim - 1)
        if name == "x" and fitted.event.discrete:
            array = _compact(array, fitted.event)
        if per_row:
            array = array.reshape(n, rows, *array.shape[1:])
        variables[name] = (("sample", "row", *dims) if per_row else ("sample", *dims), array)
    attrs = {**stamp(family, seed), "given": " ".join(sorted(map(str, given or {})))}
    return xr.Dataset(variables, attrs=attrs)


def _checked_draws(drawn: Any, family: Family, n: int) -> dict[str, np.ndarray]:
    where = f"family {family.name!r} ({family.origin}), sample"
    if not isinstance(drawn, dict) or "x" not in drawn:
        raise PluginError(f"{where}: returned {type(drawn).__name__}, not a dict of tensors with 'x'")
    for name, tensor in drawn.items():
        if not isinstance(tensor, Tensor) or tensor.shape[:1] != (n,):
            shape = tuple(tensor.shape) if isinstance(tensor, Tensor) else type(tensor).__name__
            raise PluginError(f"{where}: {name!r} is {shape}; its first dimension must be {n}")
    return {name: tensor.detach().cpu().numpy() for name, tensor in drawn.items()}


def _latent_dims(named: Mapping[str, tuple[str, ...]], name: str, ndim: int) -> tuple[str, ...]:
    dims = named.get(name)
    return (
        tuple(dims) if dims is not None and len(dims) == ndim else tuple(f"{name}_{i}" for i in range(ndim))
    )


def _compact(array: np.ndarray, event: Event) -> np.ndarray:
    """Whole numbers in the smallest type that holds all levels; a density on integers keeps its real draws."""
    if array.dtype.kind == "f" and not (array == np.floor(array)).all():
        return array
    return array.astype(np.min_scalar_type(max(1, (event.levels or 2) - 1)))


def score(
    fitted: Fitted,
    data: Any,
    *,
    seed: int = 0,
    device: str | torch.device | None = None,
    progress: bool = False,
    **options: Any,
) -> xr.Dataset:
    """Say how likely each row is, in nats, and what kind of number that is.

    Returns `log_prob (row)` with attributes `kind`, `estimator`, `units`, `measure`, `event_size`, `given`,
    `observed`, `rows`; `log_prob_se (row)` where it is a Monte Carlo number; or what else the family's number is
    called. Errors: `InputError`, `NotOffered`, `PluginError`.
    """
    family = fitted.definition
    family.require("score")
    seed = checked_seed(seed)
    wanted = checked(family.options("score"), options, f"family {family.name!r}, score")
    run = _run_for(fitted, seed, device)
    dataset = as_dataset(data)
    for_the_fit = {"weight", "label"} - fitted.event.given.keys()
    dataset = dataset.drop_vars(for_the_fit, errors="ignore")
    missing, digest = check(dataset, fitted.event, family.accepts, family.name, numpy_dtype(run.dtype))
    rows = Rows(dataset, fitted.event, missing=missing, device=run.device, dtype=run.dtype)
    parts: list[xr.Dataset] = []
    observers = Observers()
    with _progress(progress), _told(observers, "score", family, run), torch.no_grad():
        fitted.module.to(run.device)
        for shard, chunk in enumerate(_shards(rows, parts)):
            part = _seeded(
                (seed, "score", shard), family, "score", fitted=fitted, data=chunk, options=wanted, run=run
            )
            parts.append(_checked_scores(part, family, len(chunk["x"])))
            observers.tell("step", run=run, stage="score", step=shard, metrics={})
    scores = xr.concat(parts, "row", data_vars="all", combine_attrs="override")
    facts = {
        "units": "nat",
        "event_size": fitted.event.size,
        "given": " ".join(fitted.event.given),
        "observed": "some" if missing or "observed" in dataset else "all",
        "rows": digest,
    }
    for variable in scores.data_vars.values():
        if "kind" in variable.attrs:
            variable.attrs.update(facts)
    scores.attrs = {
        **stamp(family, seed),
        **{k: dataset.attrs[k] for k in ("name", "split") if k in dataset.attrs},
    }
    return scores


def _shards(rows: Rows, parts: list[xr.Dataset]) -> Iterator[dict[str, Tensor]]:
    """The rows in shards; once the first has shown that scores are exact, many shards at a time."""
    first = True
    held: list[dict[str, Tensor]] = []
    for chunk in rows.chunks(SHARD):
        if first:
            yield chunk
            first = False
            continue
        exact = parts[0].get("log_prob", xr.DataArray()).attrs.get("kind") == "exact"
        if not exact:
            yield chunk
            continue
        held.append(chunk)
        if len(held) * SHARD >= AT_ONCE:
            yield _joined(held)
            held = []
    if held:
        yield _joined(held)


def _joined(chunks: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.cat([chunk[name] for chunk in chunks]) for name in chunks[0]}


def _checked_scores(part: Any, family: Family, n: int) -> xr.Dataset:
    where = f"family {family.name!r} ({family.origin}), score"
    if not isinstance(part, xr.Dataset):
        raise PluginError(f"{where}: returned {type(part).__name__}, not a Dataset; use probgen.log_prob()")
    if part.sizes.get("row") != n:
        raise PluginError(
            f"{where}: returned {dict(part.sizes)} for {n} rows; the first dimension must be 'row'"
        )
    if "log_prob" in part and "kind" not in part["log_prob"].attrs:
        raise PluginError(
            f"{where}: 'log_prob' does not say what kind of number it is; use probgen.log_prob()"
        )
    return part


# what all calls share


def _seeded(name: tuple[Any, ...], family: Family, hook: str, **arguments: Any) -> Any:
    with generators_kept():
        seed_torch(key(*name))
        return call(family, hook, **arguments)


def _run_for(fitted: Fitted, seed: int, device: str | torch.device | None) -> Run:
    return Run(seed, device=_device(device), dtype=fitted.dtype)


@contextmanager
def _told(observers: Observers, hook: str, family: Family, run: Run) -> Iterator[None]:
    observers.tell("started", hook=hook, family=family.name, run=run)
    error: BaseException | None = None
    try:
        yield
    except BaseException as raised:
        error = raised
        raise
    finally:
        observers.tell("ended", hook=hook, family=family.name, run=run, error=error)


@contextmanager
def _progress(wanted: bool) -> Iterator[None]:
    if not wanted:
        yield
        return
    from probgen.progress import Progress

    with Progress() as bar, observing(bar):
        yield


def _device(device: str | torch.device | None) -> torch.device:
    try:
        found = torch.device(device if device is not None else "cpu")
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"device = {device!r} cannot be used here: {reason}") from None
    return found


def _dtype(dtype: str | torch.dtype) -> torch.dtype:
    found = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if found not in (torch.float32, torch.float64):
        raise InputError(f"dtype = {dtype!r}: float32 or float64")
    assert isinstance(found, torch.dtype)
    return found
