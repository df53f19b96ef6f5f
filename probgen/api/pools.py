"""Work shared by processes: a pool of Dask workers behind one function, `Pool.each`.

What a worker does is a function of its job alone, so that neither the number of workers nor the order in which they are done can be
seen in a result. All of them must have the versions of this process, and work with as many threads as it does.
"""

from __future__ import annotations

import logging
import os
import platform
import signal
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from probgen.contract.surroundings import alone
from probgen.errors import InputError, ProbgenError, RunError

if TYPE_CHECKING:
    from distributed import Client, Future

ANSWER = 10  # seconds within which a scheduler answers
START = 300  # seconds within which processes have started; what they import takes most of it
DEATHS = 3  # times that a job is tried anew after Dask gave it up, as its workers died


@contextmanager
def pool_of(cluster: int | str | Client | None) -> Iterator[Pool | None]:
    """A pool for as long as the context lasts.

    cluster  None for no pool; how many processes are started on this machine; the address of a scheduler that is running,
             "tcp://HOST:8786"; or a `distributed.Client`, which stays open

    Errors: `InputError` for another value, a scheduler that does not answer, and workers with other versions than this process.
    """
    if cluster is None:
        yield None
        return
    try:
        from distributed import Client
    except ImportError:
        raise InputError("a pool of workers needs Dask: pip install 'probgen[scale]'") from None
    if isinstance(cluster, Client):
        yield Pool(cluster)
    elif isinstance(cluster, str):
        with _quiet():
            try:
                client = Client(cluster, timeout=ANSWER, set_as_default=False)
            except (OSError, ValueError, TypeError) as error:
                raise InputError(
                    f"cluster = {cluster!r}: no scheduler answers there ({_line(error)})"
                ) from None
            with client:
                yield Pool(client)
    elif type(cluster) is int and cluster >= 1:
        with _started(cluster) as client:
            yield Pool(client)
    else:
        raise InputError(
            f"cluster = {cluster!r}: a number of processes, the address of a scheduler, or a distributed.Client is needed"
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """What goes wrong with a connection is raised here, and need not be logged as well."""
    logger = logging.getLogger("distributed.client")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextmanager
def _started(n: int) -> Iterator[Client]:
    """So many processes of one thread on this machine. They have the environment of this process, and it has none of theirs."""
    import dask
    from distributed import Client, LocalCluster

    before, theirs = set(os.environ), set[str]()
    quiet: dict[str, Any] = {"distributed.nanny.pre-spawn-environ": {}}
    try:
        with (
            tempfile.TemporaryDirectory(prefix="probgen-", ignore_cleanup_errors=True) as folder,
            dask.config.set(quiet),
            LocalCluster(
                n_workers=0,
                threads_per_worker=1,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",  # None would listen to all of the network
                scheduler_kwargs={"dashboard": False},
                silence_logs=logging.CRITICAL,
                local_directory=folder,
                preload=[__name__],  # for `dask_setup`
            ) as cluster,
            Client(cluster, set_as_default=False) as client,
        ):
            theirs = os.environ.keys() - before
            cluster.scale(n)
            try:
                client.wait_for_workers(n, timeout=START)
            except TimeoutError:
                raise RunError(f"{n} processes have not started within {START} seconds") from None
            yield client
    finally:
        for name in theirs:
            os.environ.pop(name, None)


def dask_setup(worker: Any) -> None:
    """What Dask calls in a process of `_started`: Ctrl-C is for the process that started it, which ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class Pool:
    """The workers of a Dask client. Errors: `InputError` where there are none, or one has other versions than this process."""

    def __init__(self, client: Client):
        self.client = client
        try:
            client.wait_for_workers(1, timeout=ANSWER)
        except TimeoutError:
            raise InputError(
                "the scheduler has no workers: start some, dask worker tcp://HOST:8786"
            ) from None
        try:
            found = client.run(versions)
        except Exception as error:  # whatever a worker that lacks a package raises
            raise InputError(f"a worker cannot say which versions it has: {_line(error)}") from None
        for worker, theirs in found.items():
            _refuse_others(theirs, versions(), worker)

    def each(
        self,
        work: Callable[..., Any],
        jobs: Iterable[tuple[Any, ...]],
        shared: tuple[Any, ...] = (),
        spare: int | None = None,
    ) -> Iterator[tuple[int, Any]]:
        """`(i, work(*shared, *job))` for each job, as they are done.

        work    a function of a module that workers can import, whose result is determined by its arguments
        jobs    tuples of bytes, text, numbers, dictionaries and tuples of these; asked for when they are needed
        shared  what all jobs have in common, sent to a worker once

        spare   jobs under way beside one a worker; by default one more a worker, and two

        A job is asked for when the result that made room for it was taken. One whose worker dies is done by another. What has begun when the iterator is
        closed may still be done. What workers warn of is said here, once. Errors: those of probgen as `work` raises them; `RunError` for others, and where workers die of a job.
        """
        import dask
        from distributed import KilledWorker

        def submit(job: tuple[Any, ...]) -> Future:
            return client.submit(_done, versions(), torch.get_num_threads(), work, common, job, pure=False)

        client = self.client
        quiet: dict[str, Any] = {"distributed.admin.large-graph-warning-threshold": "1TiB"}
        queue = enumerate(jobs)
        running: dict[Future, tuple[int, tuple[Any, ...], int]] = {}
        told: set[str] = set()
        with dask.config.set(quiet):
            # computed and not scattered: where the worker that holds it dies, it is made again
            common = client.submit(_same, shared, pure=False)
            try:
                workers = len(client.nthreads())
                for i, job in islice(queue, workers + (workers + 2 if spare is None else spare)):
                    running[submit(job)] = (i, job, 0)
                while running:
                    future = _ended(client, list(running))
                    i, job, deaths = running.pop(future)
                    try:
                        result, said = future.result()
                    except ProbgenError:
                        raise
                    except KilledWorker:
                        if deaths == DEATHS:
                            raise RunError(
                                f"job {i}: its workers died, again and again; give them more memory, or look at their logs"
                            ) from None
                        running[submit(job)] = (i, job, deaths + 1)
                        continue
                    except CancelledError:
                        raise RunError("the scheduler is gone: start it, and do the same again") from None
                    except Exception as error:
                        raise RunError(f"job {i} failed: {_line(error)}") from error
                    for text in said:
                        if text not in told:
                            told.add(text)
                            warnings.warn(text, stacklevel=3)
                    yield i, result
                    for k, following in islice(queue, 1):
                        running[submit(following)] = (k, following, 0)
            finally:
                client.cancel([common, *running])


def _ended(client: Client, futures: list[Future]) -> Future:
    """One of them that has ended. Errors: `RunError` where there are no workers for long."""
    from distributed import wait

    missed = time.monotonic()
    while True:
        try:
            with client.as_current():
                done: Future = next(iter(wait(futures, timeout=ANSWER, return_when="FIRST_COMPLETED").done))
            return done
        except TimeoutError:
            if client.nthreads():
                missed = time.monotonic()
            elif time.monotonic() - missed > START:
                raise RunError(
                    f"there have been no workers for {START} seconds: start some, and do the same again, which goes on"
                ) from None


def versions() -> dict[str, str]:
    """What the bits of a result depend on beside its arguments and the number of threads."""
    return dict(_versions())


@cache
def _versions() -> tuple[tuple[str, str], ...]:
    return (
        ("probgen", version("probgen")),
        ("torch", torch.__version__),
        ("numpy", np.__version__),
        ("Python", ".".join(platform.python_version_tuple()[:2])),
        ("processor", f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"),
    )


def _refuse_others(theirs: dict[str, str], ours: dict[str, str], worker: str) -> None:
    other = [name for name in ours if theirs.get(name) != ours[name]]
    if other:
        words = ", ".join(f"{name} {theirs.get(name)}, not {ours[name]}" for name in other)
        raise InputError(
            f"worker {worker} has {words}: results would have other bits; give it what this process has"
        )


def _same(shared: tuple[Any, ...]) -> tuple[Any, ...]:
    return shared


def _done(
    ours: dict[str, str],
    threads: int,
    work: Callable[..., Any],
    shared: tuple[Any, ...],
    job: tuple[Any, ...],
) -> tuple[Any, list[str]]:
    """A job on a worker, and what it warned of: alone in its process, as Pyro's stack and torch's generator belong to the process."""
    _refuse_others(versions(), ours, platform.node())  # it may have joined after the others were asked
    with alone(), warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        # Dask's own threads draw from it meanwhile
        warnings.filterwarnings("ignore", ".* changed Python's global generator", UserWarning)
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            found = work(*shared, *job)
        finally:
            torch.set_num_threads(before)
    return found, [str(each.message) for each in said if issubclass(each.category, UserWarning)]


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
