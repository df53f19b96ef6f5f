"""Parts of draws and of scores, made here one after the other, or by a pool of workers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import xarray as xr

from probgen.api.common import told
from probgen.api.pools import pool_of
from probgen.contract.definition import Definition
from probgen.contract.run import Run
from probgen.plugins.observers import Observers
from probgen.store.parts import Parts

PART = 16 << 20  # bytes of x in a part, about: a million rows of 16 columns are four parts


def fill(
    parts: Parts,
    client: Any,
    here: Callable[[int], xr.Dataset],
    work: Callable[..., str],
    shared: Callable[[], tuple[Any, ...]],
    job: Callable[[int], tuple[Any, ...]],
    hook: str,
    family: Definition,
    run: Run,
) -> None:
    """Make the parts that are not there.

    client        what `pool_of` takes
    here          part i, in this process
    work, shared, job  part i in another: `work(*shared(), parts.place, i, *job(i))` writes it, and returns its checksum

    Errors: those of both ways.
    """
    missing = [i for i in range(parts.count) if not parts.has(i)]
    if client is None:
        for i in missing:
            parts.write(i, here(i))
        return
    if not missing:
        return
    observers = Observers()
    with pool_of(client) as pool, told(observers, hook, family, run):
        assert pool is not None
        jobs = ((i, *job(i)) for i in missing)
        for done, (k, digest) in enumerate(pool.each(work, jobs, (*shared(), parts.place))):
            parts.received(missing[k], digest)
            observers.tell("step", run=run, stage=hook, step=done, metrics={})
    parts.sweep()  # what a worker that was killed had begun to write
