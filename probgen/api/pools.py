"""Work shared by processes: a pool of Dask workers behind one method, `Pool.each`.

The result of a job is a function of the job alone. So the number of workers and the order of the jobs do not affect
results. All workers must have the versions of this process, and use the same number of threads.
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
from contextlib import ExitStack, contextmanager
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

ANSWER = 10  # seconds to wait for the answer of a scheduler
START = 300  # seconds to wait for the start of processes; imports take most of this time
DEATHS = 3  # number of new attempts at a job that Dask gave up because its workers died


@contextmanager
def when_needed(cluster: int | str | Client | None) -> Iterator[Callable[[], Pool] | None]:
    """Yield a function that opens the pool of `pool_of` when it is first called, or None for no pool."""
    with ExitStack() as stack:

        @cache
        def pool() -> Pool:
            opened = stack.enter_context(pool_of(cluster))
            assert opened is not None
            return opened

        yield None if cluster is None else pool


@contextmanager
def pool_of(cluster: int | str | Client | None) -> Iterator[Pool | None]:
    """Open a pool of workers for the duration of the context.

    Args:
        cluster: None for no pool; a number of processes to start on this machine; the address of a running scheduler,
            e.g. "tcp://HOST:8786"; or a `distributed.Client`, which stays open.

    Yields:
        The pool, or None.

    Raises:
        InputError: When `cluster` is invalid, Dask is not installed, the scheduler does not answer or has no workers, or
            a worker has other versions than this process.
        RunError: When the processes do not start in time.
    """
    if cluster is None:
        yield None
        return
    try:
        from distributed import Client
    except ImportError:
        raise InputError("a pool of workers needs Dask. Run pip install 'probgen[scale]'.") from None
    if isinstance(cluster, Client):
        yield Pool(cluster)
    elif isinstance(cluster, str):
        with _quiet():
            try:
                client = Client(cluster, timeout=ANSWER, set_as_default=False)
            except (OSError, ValueError, TypeError) as error:
                raise InputError(
                    f"cluster = {cluster!r}: no scheduler answers at this address ({_line(error)})"
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
    """Silence the log of Dask in this context: errors of a connection are raised here and need no log."""
    logger = logging.getLogger("distributed.client")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextmanager
def _started(n: int) -> Iterator[Client]:
    """Start n processes with one thread each on this machine.

    The processes inherit the environment of this process. Variables that Dask sets here are removed at the end.
    """
    import dask
    from distributed import Client, LocalCluster

    before, theirs = set(os.environ), set[str]()
    quiet: dict[str, Any] = {
        "distributed.nanny.pre-spawn-environ": {},
        # measurements for Dask's dashboard, which is off: they cost 3 % of a core in this process
        "distributed.admin.tick.interval": "1s",
        "distributed.admin.system-monitor.interval": "10s",
    }
    try:
        with (
            tempfile.TemporaryDirectory(prefix="probgen-", ignore_cleanup_errors=True) as folder,
            dask.config.set(quiet),
            LocalCluster(
                n_workers=0,
                threads_per_worker=1,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",  # None would listen on all network interfaces
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
                raise RunError(
                    f"cluster = {n}: the processes did not start within {START} seconds. Start fewer processes."
                ) from None
            yield client
    finally:
        for name in theirs:
            os.environ.pop(name, None)


def dask_setup(worker: Any) -> None:
    """Ignore Ctrl-C in a worker process: the process that started the worker ends it. Dask calls this function."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class Pool:
    """The workers of a Dask client.

    Args:
        client: A connected client.

    Raises:
        InputError: When there are no workers, or a worker has other versions than this process.
    """

    def __init__(self, client: Client):
        self.client = client
        try:
            client.wait_for_workers(1, timeout=ANSWER)
        except TimeoutError:
            raise InputError(
                "the scheduler has no workers. Start at least one: dask worker tcp://HOST:8786."
            ) from None
        try:
            found = client.run(versions)
        except Exception as error:  # a worker without a package can raise any error
            raise InputError(f"a worker cannot report its versions: {_line(error)}") from None
        for worker, theirs in found.items():
            _refuse_others(theirs, versions(), worker)

    def each(
        self,
        work: Callable[..., Any],
        jobs: Iterable[tuple[Any, ...]],
        shared: tuple[Any, ...] = (),
        spare: int | None = None,
    ) -> Iterator[tuple[int, Any]]:
        """Yield the result of each job as soon as it is done.

        The next job is requested after a result was taken. If a worker dies, another worker does its job. When the
        iterator is closed, jobs that have started may still finish. Each warning of the workers is repeated here once.

        Args:
            work: A function in a module that workers can import. Its arguments must determine its result.
            jobs: Tuples of bytes, texts, numbers, dictionaries and tuples of these.
            shared: The first arguments of `work`, which are the same for all jobs. They are sent to each worker once.
            spare: Number of submitted jobs in addition to one per worker. The default is one more per worker, plus two.

        Yields:
            Pairs `(i, work(*shared, *job))`, where i is the index of the job.

        Raises:
            ProbgenError: When `work` raises such an error.
            RunError: When `work` raises another error, the workers die repeatedly, or the scheduler stops.
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
            # computed instead of scattered: Dask computes it again if its worker dies
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
                                f"job {i}: its workers died repeatedly. Give them more memory, or read their logs."
                            ) from None
                        running[submit(job)] = (i, job, deaths + 1)
                        continue
                    except CancelledError:
                        raise RunError("the scheduler has stopped. Start it, and repeat the call.") from None
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
    """Return a future that has ended, or raise `RunError` if there are no workers for a long time."""
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
                    f"there have been no workers for {START} seconds. Start workers, and repeat the call to resume it."
                ) from None


def versions() -> dict[str, str]:
    """Return the versions that affect the bits of a result, in addition to its arguments and the number of threads."""
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
            f"worker {worker} has {words}: its results would not be bit-identical. Install the versions of this process."
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
    """Do a job on a worker, and return its result and its warnings.

    It runs alone in its process, because the stack of Pyro and the generator of torch belong to the process.
    """
    _refuse_others(versions(), ours, platform.node())  # the worker may have joined after the first check
    with alone(), warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        # threads of Dask use this generator at the same time
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
