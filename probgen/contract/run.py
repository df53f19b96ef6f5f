"""What a hook is handed: seeds, device, and the loop of a fit with its journal, checkpoints and signals."""

from __future__ import annotations

import functools
import json
import math
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from probgen.contract.descent import counted, in_parts
from probgen.contract.seeds import key, seed_torch
from probgen.contract.state import digest_of, first_not_finite, flatten, unflatten
from probgen.contract.world import SMALL, World
from probgen.errors import DivergedError, FileError, InputError, Interrupted, PluginError, RunError
from probgen.store.folder import HISTORY, RunFolder
from probgen.store.journal import Journal, read_journal
from probgen.store.trees import arrays_of

STAGE = re.compile(r"[A-Za-z0-9_-]+")
BESIDE = {"stage", "step", "seconds", "sent", "rounds", "crc"}  # in lines of the journal, and no metrics
# metrics of these names are in nats a row
NATS = ("loss", "valid_loss", "reconstruction", "kl", "log_likelihood", "objective", "elbo")


# why a stage that used up its steps has converged (True), has not (False), or nobody knows (None), from its metrics (step,)
Judge = Callable[[Mapping[str, np.ndarray]], tuple[bool | None, str]]


class Stateful(Protocol):
    """Whatever has a state: a network, an optimizer, an average, the best weights so far, a count of patience."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: Any, /) -> Any: ...


class Run:
    """One call of a hook: the only thing that knows devices and processes.

    seed, device, dtype   as asked for; `dtype` is that of parameters and of real data
    world                 the processes of a fit
    parts, part, share    of each batch whose gradient is worked out (`descend`): how many, which one is being done, and how much of the batch it is
    stage, t, steps       the stage and step that `train` is in, and how many steps it may take
    converged             of each stage whether it has, as far as its algorithm can say
    notes                 what a user should know of the result, a sentence each; a family may add some
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        folder: RunFolder | None = None,
        out: Path | None = None,
        tell: Callable[..., None] | None = None,
        world: World | None = None,
        parts: int = 1,
    ):
        self.world, self.parts, self.part, self.share = world or World(), parts, 0, 1.0
        self._turn = 0  # descents of this step
        self.seed, self.device, self.dtype = seed, torch.device(device), dtype
        self.stage, self.t, self.steps = "", 0, 0
        self.converged: dict[str, bool | None] = {}
        self.notes: list[str] = []
        self._stages: set[str] = set()
        self._folder = folder
        self._out = folder.path if folder is not None else out
        self._tell = tell
        self._lines: list[dict[str, Any]] = []
        self._earlier: list[dict[str, Any]] = []
        self._journal: Journal | None = None
        with self.world.agreed():
            if folder is not None:
                self._earlier = read_journal(folder.path / HISTORY)
                self._journal = Journal(folder.path / HISTORY)
        if self.world.size > 1:
            self._earlier = json.loads(self.world.from_first(json.dumps(self._earlier).encode()))
        self._signal: int | None = None
        self._started = self._saved = time.monotonic()
        self._pause = _pause()

    # randomness

    def key(self, *name: object) -> int:
        """A seed of 32 bits for somebody else's generator: a function of the run's seed and `name`."""
        return key(self.seed, *name) % 2**32

    def numpy(self, *name: object) -> np.random.Generator:
        """A NumPy generator of its own: a function of the run's seed and `name`."""
        return np.random.default_rng(key(self.seed, *name))

    # processes

    def sum(self, n: int, block: Callable[[int], Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """block(0) + ... + block(n - 1) by name, each done by one of the processes: the same bits however many there are.

        What a block gives follows from its number alone, and all give tensors of the same shapes. n is at least 1.
        """
        like: dict[str, Tensor] = {}

        def flat(i: int) -> list[Tensor]:
            like.update(block(i))
            return [
                torch.cat([like[name].detach().reshape(-1).to(dtype) for name in names])
                for dtype, names in _together(like).items()
            ]

        found: dict[str, Tensor] = {}
        for whole, names in zip(self.world.sum(n, flat), _together(like).values(), strict=True):
            parts = whole.split([like[name].numel() for name in names])
            found |= {
                name: part.view(like[name].shape).to(like[name].dtype)
                for name, part in zip(names, parts, strict=True)
            }
        return {name: found[name] for name in like}

    def descend(
        self, nets: Iterable[nn.Module], weights: Sequence[Tensor], work: Callable[[], Mapping[str, Tensor]]
    ) -> dict[str, Tensor]:
        """The gradient of the mean loss of a batch, left in the weights; and what `work` returns, of the whole batch.

        nets     whose buffers `work` may change: what the parts leave is averaged
        weights  that the gradient is of
        work     takes its rows by `run.rows(batch)`, leaves the gradient of their mean loss in the weights, and returns numbers, which are
                 averaged, and tensors (row, ...), which are put together

        A batch of several parts has generators of its own for each of them, seeded with (seed, stage, t, descents before in the step, part); each is
        done by one of the processes. One part is the batch, and nothing is seeded anew. Errors: `InputError` for more processes than parts.
        """
        turn, self._turn = self._turn, self._turn + 1
        if self.world.size > self.parts:
            raise InputError(
                f"parts = {self.parts}: {self.world.size} processes are more than a batch has parts; take {self.parts} or fewer, or begin anew with parts = {self.world.size}"
            )
        if self.parts == 1:
            return dict(work())
        return in_parts(self, nets, weights, work, turn)

    def rows(
        self, batch: Mapping[str, Tensor], counts: Callable[..., Tensor] | None = None, unit: int = 1
    ) -> dict[str, Tensor]:
        """The rows of the part that is being done.

        batch   tensors (row, ...), by name
        counts  of some rows, named as they are, what they count in means of the loss; by default their weights, or how many they are
        unit    rows that stay together
        """
        if self.parts == 1:
            return dict(batch)
        n = len(next(iter(batch.values()))) // unit
        if n < self.parts:
            raise InputError(
                f"parts = {self.parts}: a batch of {n * unit} rows has fewer{'' if unit == 1 else f' than so many times {unit}'}"
            )
        rows = slice(n * self.part // self.parts * unit, n * (self.part + 1) // self.parts * unit)
        found = {name: tensor[rows] for name, tensor in batch.items()}
        counts = counts or counted
        self.share = float(counts(**found)) / float(counts(**batch))
        return found

    # the loop

    def train(
        self,
        step: Callable[[int], Mapping[str, Tensor | float]],
        steps: int,
        *,
        keep: Mapping[str, Stateful],
        stage: str = "fit",
        judge: Judge | None = None,
    ) -> None:
        """Call `step(0)`, `step(1)`, ... up to `steps` times, or until its metrics have a true `done`.

        Everything that step t depends on is in `keep`, or follows from t: torch's generator is seeded with
        (seed, stage, t) before each step. So a fit that was interrupted anywhere goes on to the same bits. A stage
        that had ended is restored and skipped. A stage that ends before its steps do has converged; of one that does not
        `judge` says whether it has, where the algorithm has one: the losses of a game say nothing. Errors: `DivergedError` where a metric is not finite; `Interrupted`
        after the step in which a signal came, when everything is saved.
        """
        if not STAGE.fullmatch(stage) or stage in self._stages:
            raise PluginError(
                f"stage {stage!r}: each stage of a fit needs a name of its own, of letters, digits, '-', '_'"
            )
        self._stages.add(stage)
        self.stage, self.steps = stage, steps
        t, ended = self._restore(stage, keep)
        while t < steps and not ended:
            seed_torch(key(self.seed, stage, t))
            self.t, self._turn = t, 0
            metrics = {name: float(value) for name, value in step(t).items()}
            ended = bool(metrics.pop("done", False))
            self._check(metrics, keep, t)
            self._record(t, metrics)
            t += 1
            stop, due = self._heard()
            if stop or due:
                self._save(keep, t, ended)
            if stop:
                self._stop(t)
        self._save(keep, t, True)
        self._conclude(t, judge)
        seed_torch(key(self.seed, stage, "after"))

    def _heard(self) -> tuple[bool, bool]:
        """Whether a process was told to stop, and whether a checkpoint is due: all stop and save after the same step."""
        stop = self._signal is not None
        due = self._folder is not None and time.monotonic() - self._saved >= self._pause
        if self.world.size == 1:
            return stop, due
        said = self.world.all(stop, due).any(0)
        return bool(said[0]), bool(said[1])

    def _conclude(self, t: int, judge: Judge | None) -> None:
        """Whether the stage has converged: from its history alone, so that a fit that went on says the same."""
        self.converged[self.stage] = None
        if judge is None:
            return
        converged, why = (True, "") if t < self.steps else judge(self._metrics(self.stage))
        self.converged[self.stage] = converged
        if not converged:
            of = "" if self.stage == "fit" else f"{self.stage}: "
            self.notes.append(
                f"{of}{'not converged' if converged is False else 'nobody knows whether it converged'}: {why}"
            )

    def _metrics(self, stage: str) -> dict[str, np.ndarray]:
        lines = [line for line in self._lines if line["stage"] == stage]
        names = {name for line in lines for name in line} - BESIDE
        return {name: np.array([line.get(name, math.nan) for line in lines]) for name in names}

    def _check(self, metrics: Mapping[str, float], keep: Mapping[str, Stateful], t: int) -> None:
        for name, value in metrics.items():
            if name in BESIDE:
                raise PluginError(f"{self.stage}: a metric cannot be called {name!r}")
            if not math.isfinite(value):
                culprit = first_not_finite({n: kept.state_dict() for n, kept in keep.items()})
                also = f"; the first array that is not finite is {culprit!r}" if culprit else ""
                raise DivergedError(
                    f"{self.stage} step {t}: {name} is {value}{also}. A lower learning_rate, or more "
                    "regularization, may help"
                )

    def _record(self, t: int, metrics: dict[str, float]) -> None:
        line = {"stage": self.stage, "step": t, **metrics}
        self._lines.append(line)
        if self._journal is not None:
            beside = {"seconds": round(time.monotonic() - self._started, 3)}
            if self.world.size > 1:
                beside |= {"sent": self.world.sent, "rounds": self.world.rounds}
            self._journal.write({**line, **beside})
        if self._tell is not None:
            self._tell("step", run=self, stage=self.stage, step=t, metrics=metrics)

    # checkpoints

    def _save(self, keep: Mapping[str, Stateful], t: int, ended: bool) -> None:
        if self.world.size == 1 and self._folder is None:
            return
        arrays: list[np.ndarray] = []
        state = {name: kept.state_dict() for name, kept in keep.items()}
        culprit = first_not_finite(state)
        if culprit is not None:
            raise DivergedError(
                f"{self.stage} step {t}: {culprit!r} is not finite; the last checkpoint is kept"
            )
        structure = {"step": t, "ended": ended, "state": flatten(state, arrays)}
        self._check_same(arrays, t)
        with self.world.agreed():
            if self._folder is not None and self._journal is not None:
                self._journal.sync()
                self._folder.save(self.stage, t, structure, arrays, ended=ended)
                self._saved = time.monotonic()

    def _check_same(self, arrays: list[np.ndarray], t: int) -> None:
        """Errors: `RunError` where processes have come to different numbers, as other machines or libraries may make them."""
        if self.world.size == 1:
            return
        digest = digest_of({str(i): array for i, array in enumerate(arrays)})
        all_of_them = self.world.all(float(int(digest[:12], 16)))[:, 0]
        other = (all_of_them != all_of_them[0]).nonzero()
        if len(other):
            raise RunError(
                f"{self.stage} step {t}: process {int(other[0])} has other numbers than process 0, which has another processor, library or number of "
                "threads; the last checkpoint is kept"
            )

    def _restore(self, stage: str, keep: Mapping[str, Stateful]) -> tuple[int, bool]:
        """Where the stage goes on, and whether it had ended."""
        with self.world.agreed():
            content = self._folder.restore(stage) if self._folder is not None else None
        content = self.world.from_first(content)
        if not content:
            return 0, False
        structure, arrays = arrays_of(content, f"the checkpoint of stage {stage!r}")
        state = unflatten(structure["state"], arrays)
        if state.keys() != keep.keys():
            raise FileError(f"the checkpoint of stage {stage!r} keeps {sorted(state)}, not {sorted(keep)}")
        for name, kept in keep.items():
            kept.load_state_dict(state[name])
        t = int(structure["step"])
        self._lines += [line for line in self._earlier if line["stage"] == stage and line["step"] < t]
        return t, bool(structure["ended"])

    # signals

    @contextmanager
    def minding_signals(self) -> Iterator[None]:
        """Let SIGINT and SIGTERM end the fit after the step; a second one ends it at once.

        Only where there is a folder to save to, and only in the main thread (Python allows no other).
        """
        nobody = self._folder is None and self.world.size == 1
        if nobody or threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

        def remember(number: int, frame: FrameType | None) -> None:
            self._signal = number
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

        try:
            for number in before:
                signal.signal(number, remember)
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        if (
            self._signal is not None
        ):  # it came after the last step: what the fit had saved is enough to go on from
            self._stop(len(self._lines))

    def _stop(self, t: int) -> None:
        number = self._signal or signal.SIGTERM  # of another process
        where = "" if self._out is None else f", saved in {self._out}; go on with --resume (resume=True)"
        raise Interrupted(
            f"{signal.Signals(number).name}: {self.stage} stopped after step {t} of {self.steps}{where}",
            number,
        )

    # what is left of it

    def history(self) -> xr.Dataset:
        """The metrics of every step: dimension `step`, with coordinates `step` (within its stage) and `stage`."""
        names = sorted({name for line in self._lines for name in line} - BESIDE)
        variables = {
            name: (
                "step",
                np.array([line.get(name, math.nan) for line in self._lines], dtype=np.float64),
                {"units": "nat", "long_name": "mean over rows"} if name in NATS else {},
            )
            for name in names
        }
        coordinates = {
            "step": np.array([line["step"] for line in self._lines], dtype=np.int64),
            "stage": ("step", np.array([line["stage"] for line in self._lines], dtype=str)),
        }
        return xr.Dataset(variables, coordinates)

    def close(self) -> None:
        """Let go of the journal."""
        if self._journal is not None:
            self._journal.close()


def _together(like: Mapping[str, Tensor]) -> dict[torch.dtype, list[str]]:
    """Which tensors are summed as one, and as what: all where they are few numbers, which one round carries; else those of one type."""
    dtypes = [value.dtype for value in like.values()]
    if sum(value.numel() for value in like.values()) <= SMALL:
        return {functools.reduce(torch.promote_types, dtypes): list(like)}
    return {
        dtype: [name for name, value in like.items() if value.dtype == dtype]
        for dtype in dict.fromkeys(dtypes)
    }


def _pause() -> float:
    """Seconds between checkpoints. Errors: `InputError`."""
    text = os.environ.get("PROBGEN_CHECKPOINT_SECONDS", "60")
    try:
        return float(text)
    except ValueError:
        raise InputError(f"PROBGEN_CHECKPOINT_SECONDS = {text!r}: a number of seconds is needed") from None
