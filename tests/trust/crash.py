"""A whole run, ended at every change of a file, read, and gone on with."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import probgen
from probgen.api import sampling
from probgen.contract.state import digest_of
from probgen.errors import FileError
from probgen.store.files import read_request
from probgen.store.folder import HISTORY, MODEL, REQUEST, RunFolder
from probgen.store.journal import read_journal
from probgen.store.trees import read_dataset, read_tree, write_dataset
from tests.trust.child import run
from tests.trust.shim import Shim, full_from, kill_at

X = np.random.default_rng(0).standard_normal((60, 2))
BITS = np.random.default_rng(1).random((60, 4)) < 0.5
SCENARIOS: dict[str, dict[str, Any]] = {
    "mixture, EM, two restarts": {"family": "mixture", "data": X, "components": 2, "restarts": 2, "steps": 12, "tolerance": 0.0},
    "mixture, over an older run": {"family": "mixture", "data": X, "components": 3, "steps": 3, "tolerance": 0.0, "over": True},
    "mixture, SVI": {"family": "mixture", "data": X, "method": "svi", "steps": 40, "batch_size": 16},
    "nade, with the best of valid rows": {"family": "nade", "data": BITS, "valid": BITS[:20], "hidden": 4, "steps": 40, "batch_size": 20},
}  # fmt: skip


@dataclass
class Tally:
    """What was found."""

    points: int = 0
    faults: list[str] = field(default_factory=list)


def whole_run(folder: Path, scenario: dict[str, Any], tell: Callable[[Any], None]) -> dict[str, str]:
    """Fit with a checkpoint every step, draw in three parts, score; told what is acknowledged; digests in the end."""
    os.environ["PROBGEN_CHECKPOINT_SECONDS"] = "0"
    sampling.part_bytes = lambda total: 1
    sampling.shard_rows = lambda event, numbers=None: 256  # 600 draws are three parts
    wanted = dict(scenario)
    family, data = wanted.pop("family"), wanted.pop("data")

    class First:
        seen = False

        @probgen.hookimpl
        def step(self, run: Any, stage: str, step: int) -> None:
            if stage != "sample" and stage != "score" and not self.seen:
                self.seen = True
                tell(("began", stage, step))

    save = RunFolder.save

    def saved(self: RunFolder, stage: str, step: int, *rest: Any, **named: Any) -> None:
        save(self, stage, step, *rest, **named)
        tell(("saved", stage, step))

    RunFolder.save = saved  # type: ignore[method-assign]
    how = {"resume": True}
    if wanted.pop("over", False):  # a run of other options is there, and goes
        if not (folder / "run").exists():
            RunFolder.save = save  # type: ignore[method-assign]
            probgen.fit("independent", data, out=folder / "run")
            RunFolder.save = saved  # type: ignore[method-assign]
        asked = folder / "run" / REQUEST
        if asked.exists() and "independent" in read_request(asked)["models"]:
            how = {"force": True}
    with probgen.observing(First()):
        fitted = probgen.fit(family, data, out=folder / "run", **how, **wanted)
    tell(("fitted", digest_of(fitted.state), digest_of(fitted.history)))
    parts = probgen.sample_to(folder / "draws", fitted, 600, seed=1)
    tell(("drawn", len(parts)))
    scores = probgen.score(fitted, data)
    write_dataset(folder / "run" / "scores.h5", "scores", scores)
    tell(("scored",))
    return {
        "state": digest_of(fitted.state),
        "history": digest_of(fitted.history),
        "draws": " ".join(digest_of(read_dataset(part, "samples")) for part in parts),
        "scores": digest_of(read_dataset(folder / "run" / "scores.h5", "scores")),
    }


def read_all(folder: Path) -> list[str]:
    """Read every file of a run that was ended, as a user would; what cannot be read."""
    faults = []
    readers: list[tuple[str, Callable[[Path], Any]]] = [
        (f"run/{REQUEST}", read_request),
        (f"run/{MODEL}", probgen.load),
        (f"run/{HISTORY}", read_journal),
        ("run/scores.h5", lambda path: read_dataset(path, "scores")),
        *((f"draws/part-{i:06d}.h5", lambda path: read_dataset(path, "samples")) for i in range(3)),
    ]
    for name, reader in readers:
        if (folder / name).exists():
            try:
                reader(folder / name)
            except FileError as error:
                faults.append(f"unreadable: {error}")
    return faults


def lost(told: list[Any], folder: Path, resumed: list[Any]) -> list[str]:
    """What was acknowledged before the end, and is not there after it."""
    faults = []
    kinds = {entry[0] for entry in told}
    if "fitted" in kinds and not (folder / "run" / MODEL).exists():
        faults.append("lost: the model")
    if "drawn" in kinds and not (folder / "draws" / "part-000002.h5").exists():
        faults.append("lost: the draws")
    if "scored" in kinds and not (folder / "run" / "scores.h5").exists():
        faults.append("lost: the scores")
    saved = [entry[1:] for entry in told if entry[0] == "saved"]
    began = [entry[1:] for entry in resumed if entry[0] == "began"]
    if saved and began:
        (stage, step), (stage_again, step_again) = saved[-1], began[0]
        if stage_again == stage and step_again < step:
            faults.append(f"lost: {stage} had saved step {step}, and went on at {step_again}")
        if stage_again in [s for s, _ in saved] and stage_again != stage:
            faults.append(f"lost: {stage} had been reached, and {stage_again} was done again")
    return faults


def points_of(scenario: dict[str, Any], folder: Path) -> tuple[list[str], dict[str, str]]:
    """The calls of an uninterrupted run, and its results."""

    def work(tell: Callable[[Any], None]) -> Any:
        with Shim() as shim:
            result = whole_run(folder, scenario, lambda _: None)
        return shim.calls, result

    done = run(work)
    if done.code:
        raise RuntimeError(done.errors)
    calls, results = done.answer
    return calls, results


def crash(name: str, points: Iterable[int] | None = None, every: int = 1) -> Tally:
    """End a run at its points, before the call and half-way through it, and go on each time."""
    scenario = SCENARIOS[name]
    tally = Tally()
    with place() as folder:
        calls, expected = points_of(scenario, folder)
    for point in points if points is not None else range(0, len(calls), every):
        for half in (False, True):
            if half and calls[point] != "write":
                continue
            with place() as folder:

                def ended(
                    tell: Callable[[Any], None], half: bool = half, point: int = point, folder: Path = folder
                ) -> Any:
                    with Shim(kill_at(point, half)):
                        return whole_run(folder, scenario, tell)

                first = run(ended)
                tally.points += 1
                where = f"{name}, {'half-way through' if half else 'before'} call {point} ({calls[point]})"
                faults = [] if first.code == -9 else [f"ended with {first.code}: {first.errors[-300:]}"]
                faults += run(lambda tell, folder=folder: read_all(folder)).answer or []
                again = run(lambda tell, folder=folder: whole_run(folder, scenario, tell))
                faults += lost(first.told, folder, again.told)
                if again.code or again.answer != expected:
                    faults.append(f"resumed to something else, or not at all: {again.errors[-300:]}")
                left = [str(p) for p in folder.rglob(".*.tmp")]
                if left:
                    faults.append(f"left behind: {left}")
                tally.faults += [f"{where}: {fault}" for fault in faults]
    return tally


COMMANDS = (
    ["fit", "mixture", "--data", "iris", "--out", "run", "--set", "components=2", "--quiet"],
    ["sample", "run", "-n", "300", "--quiet"],
    ["score", "run", "--data", "iris", "--quiet"],
    ["sample", "run", "-n", "300", "--out", "draws", "--png", "draws.png", "--quiet"],
)


def command(arguments: list[str], folder: Path) -> Any:
    """The command line in this process; ends with its exit code."""
    import sys

    from probgen.cli import main

    os.environ["PROBGEN_CHECKPOINT_SECONDS"] = "0"
    os.chdir(folder)
    sys.argv = ["probgen", *arguments]
    main()


def disk_full(every: int = 1) -> Tally:
    """Every command, with a disk that is full from each of its changes on: one line, code 1, what was there is whole."""
    tally = Tally()
    for i, arguments in enumerate(COMMANDS):
        with place() as start:
            for before in COMMANDS[:i]:
                done = run(lambda tell, a=before, p=start: command(a, p))
                assert not done.code, done.errors
            with place() as folder:
                _copy(start, folder)

                def counted(
                    tell: Callable[[Any], None], folder: Path = folder, arguments: list[str] = arguments
                ) -> Any:
                    with Shim() as shim, suppress(SystemExit):
                        command(arguments, folder)
                    return shim.calls

                calls = run(counted).answer
                expected = run(lambda tell, p=folder: results(p)).answer
            for point in range(0, len(calls), every):
                if calls[point] in ("unlink", "truncate", "ftruncate", "rename"):
                    continue
                for half in (False, True) if calls[point] == "write" else (False,):
                    with place() as folder:
                        _copy(start, folder)

                        def full(
                            tell: Callable[[Any], None],
                            folder: Path = folder,
                            point: int = point,
                            half: bool = half,
                            arguments: list[str] = arguments,
                        ) -> Any:
                            with Shim(full_from(point, half)):
                                command(arguments, folder)

                        done = run(full)
                        tally.points += 1
                        where = f"{arguments[0]}, {'half-way through' if half else 'at'} call {point} ({calls[point]})"
                        if (
                            done.code != 1
                            or len(done.errors.strip().splitlines()) != 1
                            or "No space left" not in done.errors
                        ):
                            tally.faults.append(f"{where}: code {done.code}: {done.errors[-300:]}")
                        tally.faults += [
                            f"{where}: {fault}" for fault in run(lambda tell, p=folder: read_all(p)).answer
                        ]
                        resume = [*arguments, "--resume"] if arguments[0] == "fit" else arguments
                        again = run(lambda tell, a=resume, p=folder: command(a, p))
                        if again.code:
                            tally.faults.append(f"{where}: with space again: {again.errors[-300:]}")
                        elif run(lambda tell, p=folder: results(p)).answer != expected:
                            tally.faults.append(f"{where}: with space again: other results")
    return tally


def results(folder: Path) -> dict[str, str]:
    """SHA-256 over the arrays of every file of results, by its place."""
    return {str(path.relative_to(folder)): arrays_of(path) for path in sorted(folder.rglob("*.h5"))}


def arrays_of(path: Path) -> str:
    """SHA-256 over all arrays of a file."""
    nodes = read_tree(path).subtree
    return digest_of(
        {f"{node.path}/{name}": v.values for node in nodes for name, v in node.variables.items()}
    )


def size_limits(limits: Iterable[int]) -> Tally:
    """The same with a limit of the system on the size of files (`RLIMIT_FSIZE`), which no shim stands between."""
    import resource

    tally = Tally()
    for limit in limits:
        with place() as folder:

            def limited(tell: Callable[[Any], None], folder: Path = folder, limit: int = limit) -> Any:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
                command(COMMANDS[0], folder)

            done = run(limited)
            tally.points += 1
            lines = done.errors.strip().splitlines()
            if (
                done.code != 1
                or len(lines) > 1
                or (lines and "could not be written" not in lines[0] and "cannot be written" not in lines[0])
            ):
                tally.faults.append(f"limit {limit}: code {done.code}: {done.errors[-300:]}")
            tally.faults += run(lambda tell, p=folder: read_all(p)).answer
    return tally


@contextmanager
def place() -> Iterator[Path]:
    """A folder for a while; in memory where that can be had."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
        yield Path(folder)


def _copy(start: Path, folder: Path) -> None:
    shutil.copytree(start, folder, dirs_exist_ok=True)
