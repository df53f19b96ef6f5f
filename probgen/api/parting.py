"""Parts of samples and of scores, computed one after the other here, or by a pool of workers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import xarray as xr

from probgen.api.common import told
from probgen.api.pools import Pool
from probgen.contract.hookspecs import ObservedCall
from probgen.contract.run import Run
from probgen.plugins.observers import Observers, made
from probgen.store.parts import Parts

# about the bytes of x in a part: a million rows of 16 columns fill four parts
PART, LARGE = 16 << 20, 64 << 20
PARTS = 64  # from this number on parts are larger, up to LARGE: each costs the client some milliseconds


def part_bytes(total: int) -> int:
    """Return about how many bytes of x a part has, of so many in all: a function of the request alone."""
    return min(max(PART, total // PARTS), LARGE)


def fill(
    parts: Parts,
    pool: Callable[[], Pool] | None,
    here: Callable[[int], xr.Dataset],
    work: Callable[..., str],
    shared: Callable[[], tuple[Any, ...]],
    job: Callable[[int], tuple[Any, ...]],
    call: ObservedCall,
    run: Run,
) -> None:
    """Compute and write the missing parts.

    Args:
        parts: The folder of parts.
        pool: Opens the pool of workers, or None to compute in this process.
        here: Returns part i, computed in this process.
        work: Computes a part on a worker: `work(*shared(), parts.place, i, *job(i))` writes part i and returns its
            checksum.
        shared: Returns the first arguments of `work`, which are the same for all parts.
        job: Returns the last arguments of `work` for part i.
        call: The call that observers are notified of.
        run: The run that observers are notified of.

    Raises:
        ProbgenError: When a part cannot be computed or written.
    """
    missing = [i for i in range(parts.count) if not parts.has(i)]
    if pool is None:
        for i in missing:
            parts.write(i, here(i))
            made(parts.group, parts.files[i])
        return
    if not missing:
        return
    observers = Observers(call)
    with told(observers, run):
        jobs = ((i, *job(i)) for i in missing)
        for done, (k, digest) in enumerate(pool().each(work, jobs, (*shared(), parts.place))):
            parts.received(missing[k], digest)
            observers.made(parts.group, parts.files[missing[k]])
            observers.tell("step", run=run, stage=call.hook, step=done, metrics={})
    parts.sweep()  # remove incomplete files of workers that were killed
