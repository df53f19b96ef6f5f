"""Functions that all calls share: keyed seeds, devices, notifications of observers."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
import xarray as xr
from pydantic import BaseModel
from torch import Tensor

from probgen.contract.definition import Definition, latents_of
from probgen.contract.event import Event, is_image
from probgen.contract.fitted import Fitted
from probgen.contract.hookspecs import ObservedCall
from probgen.contract.run import Run
from probgen.contract.seeds import generators_kept
from probgen.contract.sizes import NUMBERS
from probgen.errors import InputError
from probgen.plugins.observers import Observers, observing


def shard_rows(event: Event, numbers: int | None = None) -> int:
    """Return how many rows or samples share a seed.

    This is a rule of the format: 2^17 numbers of x, but at least 256 and at most 8,192 rows.
    For images of any size, the minimum is one row.
    """
    if event.any_size:
        return min(max(1, NUMBERS // (numbers or event.size)), 8192)
    return min(max(256, (1 << 17) // event.size), 8192)


def numbers_of(fitted: Fitted, given: Mapping[str, Tensor]) -> int:
    """Return how many numbers a sample has. For images of any size, the given images determine it."""
    event = fitted.event
    if not event.any_size:
        return event.size
    scales = {name: part.scale or 1 for name, part in event.given.items() if part.is_image}
    scales |= {name: 1 for name, dims in latents_of(fitted.module).items() if is_image(dims)}
    sizes = [scale**2 * given[name].shape[-2:].numel() for name, scale in scales.items() if name in given]
    return event.channels * max(sizes, default=1)


def seeded(name: tuple[Any, ...], family: Definition, hook: str, **arguments: Any) -> Any:
    """Call a hook with generators seeded by `name`, and restore the generators."""
    with generators_kept(*name):
        return family.call(hook, **arguments)


def run_for(fitted: Fitted, seed: int, device: str | torch.device | None) -> Run:
    """Return the run of a call on a fitted model."""
    return Run(seed, device=checked_device(device), dtype=fitted.dtype)


@dataclass
class Outcome:
    """The result of a call, for observers; None until the call has one."""

    result: Fitted | xr.Dataset | None = None


@contextmanager
def told(observers: Observers, run: Run) -> Iterator[Outcome]:
    """Notify the observers of the start and the end of their call."""
    which = {"hook": observers.call.hook, "family": observers.call.family, "run": run}
    begun, outcome = time.monotonic(), Outcome()
    error: BaseException | None = None
    observers.tell("started", **which)
    try:
        yield outcome
    except BaseException as raised:
        error = raised
        raise
    finally:
        seconds = time.monotonic() - begun
        observers.tell("ended", **which, error=error, result=outcome.result, seconds=seconds)


def observed(
    hook: str,
    family: Definition,
    options: BaseModel,
    event: Event,
    data: Mapping[str, Any],
    folder: Path | None = None,
) -> ObservedCall:
    """Return a call for observers, with an id of its own."""
    return ObservedCall(hook, family.name, options, event, dict(data), folder, id=uuid4().hex)


@contextmanager
def shown(wanted: bool) -> Iterator[None]:
    """Show a progress bar in this context, if it is wanted."""
    if not wanted:
        yield
        return
    from probgen.plugins.progress import Progress

    with Progress() as bar, observing(bar):
        yield


def name_of(function: Any) -> str:
    """Return the name of a function or a callable object, for messages and results."""
    named = function if hasattr(function, "__name__") else type(function)
    return str(named.__name__)


def checked_device(device: str | torch.device | None) -> torch.device:
    """Return a device that can be used here, or raise `InputError`. The default is the CPU."""
    try:
        found = torch.device(device if device is not None else "cpu")
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"device = {device!r}: it cannot be used here ({reason}). Choose another device, e.g. cpu."
        ) from None
    if found.type == "meta":
        raise InputError(f"device = {device!r}: it stores no numbers. Choose another device, e.g. cpu.")
    return found


def checked_dtype(dtype: str | torch.dtype) -> torch.dtype:
    """Return float32 or float64 as a dtype of torch, or raise `InputError`."""
    known = {"float32": torch.float32, "float64": torch.float64}
    found = known.get(dtype) if isinstance(dtype, str) else dtype
    if found not in known.values():
        raise InputError(f"dtype = {dtype!r}: float32 or float64 is needed")
    assert isinstance(found, torch.dtype)
    return found
