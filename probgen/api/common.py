"""What all calls share: keyed seeds, devices, telling observers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from probgen.contract.definition import Definition, latents_of
from probgen.contract.event import Event, is_image
from probgen.contract.fitted import Fitted
from probgen.contract.run import Run
from probgen.contract.seeds import generators_kept, key, seed_torch
from probgen.contract.sizes import NUMBERS
from probgen.errors import InputError
from probgen.plugins.observers import Observers, observing


def shard_rows(event: Event, numbers: int | None = None) -> int:
    """Rows or draws that share a seed, a rule of the format: 2^17 numbers of x, but from 256 to 8,192 rows.

    Of images of any size with so many numbers they are fewer, at least one.
    """
    if event.any_size:
        return min(max(1, NUMBERS // (numbers or event.size)), 8192)
    return min(max(256, (1 << 17) // event.size), 8192)


def numbers_of(fitted: Fitted, given: Mapping[str, Tensor]) -> int:
    """How many numbers a draw has, whose size may follow from the images that are given."""
    event = fitted.event
    if not event.any_size:
        return event.size
    scales = {name: part.scale or 1 for name, part in event.given.items() if part.is_image}
    scales |= {name: 1 for name, dims in latents_of(fitted.module).items() if is_image(dims)}
    sizes = [scale**2 * given[name].shape[-2:].numel() for name, scale in scales.items() if name in given]
    return event.channels * max(sizes, default=1)


def seeded(name: tuple[Any, ...], family: Definition, hook: str, **arguments: Any) -> Any:
    with generators_kept():
        seed_torch(key(*name))
        return family.call(hook, **arguments)


def run_for(fitted: Fitted, seed: int, device: str | torch.device | None) -> Run:
    return Run(seed, device=checked_device(device), dtype=fitted.dtype)


@contextmanager
def told(observers: Observers, hook: str, family: Definition, run: Run) -> Iterator[None]:
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
def shown(wanted: bool) -> Iterator[None]:
    if not wanted:
        yield
        return
    from probgen.plugins.progress import Progress

    with Progress() as bar, observing(bar):
        yield


def name_of(function: Any) -> str:
    """What a function, or an object that is called like one, is called in messages and results."""
    named = function if hasattr(function, "__name__") else type(function)
    return str(named.__name__)


def checked_device(device: str | torch.device | None) -> torch.device:
    try:
        found = torch.device(device if device is not None else "cpu")
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"device = {device!r} cannot be used here: {reason}") from None
    if found.type == "meta":
        raise InputError(f"device = {device!r} holds no numbers: cpu, cuda, ...")
    return found


def checked_dtype(dtype: str | torch.dtype) -> torch.dtype:
    known = {"float32": torch.float32, "float64": torch.float64}
    found = known.get(dtype) if isinstance(dtype, str) else dtype
    if found not in known.values():
        raise InputError(f"dtype = {dtype!r}: float32 or float64")
    assert isinstance(found, torch.dtype)
    return found
