"""The call of a hook: seeds, device, and the training loop with its journal, checkpoints and signals."""

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
BESIDE = {"stage", "step", "seconds", "sent", "rounds", "crc"}  # fields of journal lines that are not metrics
# metrics with these names are in nats per row
NATS = ("loss", "valid_loss", "reconstruction", "kl", "log_likelihood", "objective", "elbo")


# The convergence test of a stage that took all its steps: from the metrics (step,), whether the stage has converged
# (None: unknown), and the reason.
Judge = Callable[[Mapping[str, np.ndarray]], tuple[bool | None, str]]


class Stateful(Protocol):
    """An object with a state: a network, an optimizer, an average, the best weights, a patience counter."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state as nested dicts, lists and tuples of tensors, arrays, numbers, text and None."""
        ...

    def load_state_dict(self, state_dict: Any, /) -> Any:
        """Set the state to a result of `state_dict`."""
        ...


class Run:
    """One call of a hook, with its seed, its device and its training loop.

    Args:
        seed: The seed of all random numbers of the call.
        device: The device for parameters and data.
        dtype: The dtype of parameters and of real data.
        folder: The folder for the journal and the checkpoints; None to store nothing.
        out: The folder that messages name if this process does not write it.
        tell: A function that notifies observers.
        world: The processes of the fit; by default this process alone.
        parts: The number of parts in which `descend` computes the gradient of a batch.

    Attributes:
        seed: The seed of all random numbers of the call.
        device: The device for parameters and data.
        dtype: The dtype of parameters and of real data.
        world: The processes of the fit.
        parts: The number of parts in which `descend` computes the gradient of a batch.
        part: The number of the part that is being computed.
        share: The share of the batch that this part has, from 0 to 1.
        stage: The stage that `train` executes.
        t: The step that `train` executes, from 0.
        steps: The largest number of steps of the stage.
        converged: By stage, whether it has converged; None if its algorithm cannot determine this.
        notes: Sentences that a user should read about the result. A family may append sentences.
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
        self._turn = 0  # number of descents in this step
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
        self._remarks: list[str] = []
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
        """Return a seed for a generator of another library: a function of the run's seed and `name`.

        Args:
            *name: Names and numbers that identify the use of the seed.

        Returns:
            A seed of 32 bits.
        """
        return key(self.seed, *name) % 2**32

    def numpy(self, *name: object) -> np.random.Generator:
        """Return a new NumPy generator, seeded with a function of the run's seed and `name`.

        Args:
            *name: Names and numbers that identify the use of the generator.

        Returns:
            The generator.
        """
        return np.random.default_rng(key(self.seed, *name))

    # processes

    def sum(self, n: int, block: Callable[[int], Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """Return block(0) + ... + block(n - 1) by name, computed by all processes.

        The result is bit-identical for any number of processes.

        Args:
            n: The number of blocks, at least 1.
            block: A function that computes the tensors of a block from its number alone. All blocks return
                tensors of the same names, shapes and dtypes.

        Returns:
            The sums by name.
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
        """Compute the gradient of the mean loss of a batch.

        The gradient is stored in `grad` of the weights. If the batch has several parts, each part is computed
        by one of the processes. The generators of a part are seeded with (seed, stage, t, number of earlier
        descents in the step, part). If there is one part, it is the whole batch, and no generator is seeded.

        Args:
            nets: The modules whose buffers `work` may change; the changes by the parts are averaged.
            weights: The parameters for which the gradient is computed.
            work: A function that selects its rows with `run.rows(batch)` and stores the gradient of their
                mean loss in the weights. `work` returns numbers, which are averaged, and tensors (row, ...),
                which are concatenated.

        Returns:
            The results of `work` for the whole batch, by name.

        Raises:
            InputError: When there are more processes than parts.
        """
        turn, self._turn = self._turn, self._turn + 1
        if self.world.size > self.parts:
            raise InputError(
                f"parts = {self.parts}: {self.world.size} processes are more than the parts of a batch. Use at most {self.parts} processes, or start a new fit with parts = {self.world.size}."
            )
        if self.parts == 1:
            return dict(work())
        return in_parts(self, nets, weights, work, turn)

    def rows(
        self, batch: Mapping[str, Tensor], counts: Callable[..., Tensor] | None = None, unit: int = 1
    ) -> dict[str, Tensor]:
        """Return the rows of the part that is being computed.

        Args:
            batch: The tensors of the batch by name: (row, ...).
            counts: A function of tensors of rows by name that returns the weight of these rows in the mean loss.
                The default is the sum of row weights, or the number of rows without weights.
            unit: The number of consecutive rows that stay in one part.

        Returns:
            The tensors of the part by name.

        Raises:
            InputError: When the batch has fewer rows, or groups of `unit` rows, than parts.
        """
        if self.parts == 1:
            return dict(batch)
        n = len(next(iter(batch.values()))) // unit
        if n < self.parts:
            raise InputError(
                f"parts = {self.parts}: a batch of {n * unit} rows has fewer {'rows' if unit == 1 else f'groups of {unit} rows'}. Use fewer parts, or a larger batch."
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
        """Call `step(0)`, `step(1)`, ... up to `steps` times, or until the metrics have a true `done`.

        The state on which step t depends is in `keep` or follows from t: torch's generator is seeded with
        (seed, stage, t) before each step. A fit that was interrupted after any step can therefore be resumed
        with bit-identical results. A stage that had ended is restored and skipped. A stage that ends before
        its last step has converged. For a stage that takes all its steps, `judge` determines from the history
        whether it has converged.

        Args:
            step: A function of the step number t that trains one step and returns metrics by name.
            steps: The largest number of steps.
            keep: By name, the objects whose state the checkpoints store: networks, optimizers, averages.
                Every resume needs the same names.
            stage: The name of the stage, unique in the fit: letters, digits, "-" and "_".
            judge: The convergence test of the algorithm; None for an algorithm without a test, such as a
                game.

        Raises:
            PluginError: When the name of a stage or of a metric is not permitted.
            DivergedError: When a metric or a kept array is not finite.
            RunError: When the run cannot be written, or when processes have different numbers.
            FileError: When a checkpoint is damaged, or its names are not those of `keep`.
            Interrupted: After the step in which a signal came; the checkpoint is then written.
        """
        if not STAGE.fullmatch(stage) or stage in self._stages:
            raise PluginError(
                f"stage = {stage!r}: the name is used twice, or has other characters than letters, digits, '-' and '_'. Give each stage its own name."
            )
        self._stages.add(stage)
        self.stage, self.steps = stage, steps
        t, ended = self._restore(stage, keep)
        while t < steps and not ended:
            seed_torch(key(self.seed, stage, t))
            self.t, self._turn = t, 0
            metrics = self._numbers(step(t))
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
        """Return whether a process received a signal, and whether a checkpoint is due.

        All processes return the same values.
        """
        stop = self._signal is not None
        due = self._folder is not None and time.monotonic() - self._saved >= self._pause
        if self.world.size == 1:
            return stop, due
        said = self.world.all(stop, due).any(0)
        return bool(said[0]), bool(said[1])

    def _conclude(self, t: int, judge: Judge | None) -> None:
        """Store whether the stage has converged.

        Only the history is used, so that a resumed fit has the same result.
        """
        self.converged[self.stage] = None
        if judge is None:
            return
        converged, why = (True, "") if t < self.steps else judge(self._metrics(self.stage))
        self.converged[self.stage] = converged
        if not converged:
            of = "" if self.stage == "fit" else f"{self.stage}: "
            self.notes.append(
                f"{of}{'not converged' if converged is False else 'convergence is unknown'}: {why}"
            )

    def _metrics(self, stage: str) -> dict[str, np.ndarray]:
        lines = [line for line in self._lines if line["stage"] == stage]
        names = {name for line in lines for name in line} - BESIDE
        return {name: np.array([line.get(name, math.nan) for line in lines]) for name in names}

    def _numbers(self, metrics: Any) -> dict[str, float]:
        """Return the metrics of a step as numbers, or raise `PluginError`."""
        if not isinstance(metrics, Mapping):
            raise PluginError(
                f"{self.stage}: the step returned {type(metrics).__name__}. Return a dict of numbers, such as {{'loss': loss}}."
            )
        found = {}
        for name, value in metrics.items():
            try:
                found[str(name)] = float(value)
            except (TypeError, ValueError, RuntimeError):  # torch raises each of them
                shape = f" of shape {tuple(value.shape)}" if isinstance(value, np.ndarray | Tensor) else ""
                raise PluginError(
                    f"{self.stage}: the metric {name!r} is {type(value).__name__}{shape}. Return one number."
                ) from None
        return found

    def _check(self, metrics: Mapping[str, float], keep: Mapping[str, Stateful], t: int) -> None:
        for name, value in metrics.items():
            if name in BESIDE:
                raise PluginError(
                    f"{self.stage}: the metric name {name!r} is reserved. Give the metric another name."
                )
            if not math.isfinite(value):
                culprit = first_not_finite({n: kept.state_dict() for n, kept in keep.items()})
                also = f"; the first array that is not finite is {culprit!r}" if culprit else ""
                raise DivergedError(
                    f"{self.stage} step {t}: {name} is {value}{also}. A lower learning_rate, or more "
                    "regularization, may help."
                )

    def _record(self, t: int, metrics: dict[str, float]) -> None:
        line = {"stage": self.stage, "step": t, **metrics}
        self._lines.append(line)
        if self._journal is not None:
            beside = {"seconds": round(time.monotonic() - self._started, 3)}
            if self.world.size > 1:
                beside |= {"sent": self.world.sent, "rounds": self.world.rounds}
            self._journal.write({**line, **beside})
            self._write_remarks()
        if self._tell is not None:
            self._tell("step", run=self, stage=self.stage, step=t, metrics=metrics)

    def remark(self, sentence: str) -> None:
        """Write a sentence to the journal, if there is one; it does not become a part of the result.

        Args:
            sentence: The sentence.
        """
        self._remarks.append(sentence)
        if self._lines:  # a fit without a step leaves no journal
            self._write_remarks()

    def _write_remarks(self) -> None:
        while self._remarks:
            sentence = self._remarks.pop(0)
            if self._journal is not None:
                self._journal.write({"remark": sentence})

    # checkpoints

    def _save(self, keep: Mapping[str, Stateful], t: int, ended: bool) -> None:
        if self.world.size == 1 and self._folder is None:
            return
        arrays: list[np.ndarray] = []
        state = {name: kept.state_dict() for name, kept in keep.items()}
        culprit = first_not_finite(state)
        if culprit is not None:
            raise DivergedError(
                f"{self.stage} step {t}: {culprit!r} is not finite; the last checkpoint is kept. A lower learning_rate may help."
            )
        structure = {"step": t, "ended": ended, "state": flatten(state, arrays)}
        self._check_same(arrays, t)
        with self.world.agreed():
            if self._folder is not None and self._journal is not None:
                self._journal.sync()
                self._folder.save(self.stage, t, structure, arrays, ended=ended)
                self._saved = time.monotonic()

    def _check_same(self, arrays: list[np.ndarray], t: int) -> None:
        """Raise `RunError` if processes have different numbers, for example because of other libraries."""
        if self.world.size == 1:
            return
        digest = digest_of({str(i): array for i, array in enumerate(arrays)})
        all_of_them = self.world.all(float(int(digest[:12], 16)))[:, 0]
        other = (all_of_them != all_of_them[0]).nonzero()
        if len(other):
            raise RunError(
                f"{self.stage} step {t}: process {int(other[0])} has other numbers than process 0; the last checkpoint is kept. Use the same "
                "processor type, libraries and number of threads for all processes."
            )

    def _restore(self, stage: str, keep: Mapping[str, Stateful]) -> tuple[int, bool]:
        """Return the step at which the stage continues, and whether the stage had ended."""
        with self.world.agreed():
            content = self._folder.restore(stage) if self._folder is not None else None
        content = self.world.from_first(content)
        if not content:
            return 0, False
        structure, arrays = arrays_of(content, f"the checkpoint of stage {stage!r}")
        state = unflatten(structure["state"], arrays)
        if state.keys() != keep.keys():
            raise FileError(
                f"the checkpoint of stage {stage!r} stores {sorted(state)}, but the family needs {sorted(keep)}. Start a new fit."
            )
        for name, kept in keep.items():
            kept.load_state_dict(state[name])
        t = int(structure["step"])
        self._lines += [line for line in self._earlier if line["stage"] == stage and line["step"] < t]
        if self._tell is not None:
            self._tell("restored", run=self, stage=stage, steps=t, metrics=self._metrics(stage))
        return t, bool(structure["ended"])

    # signals

    @contextmanager
    def minding_signals(self) -> Iterator[None]:
        """Let SIGINT and SIGTERM end the fit after the current step; a second signal ends it immediately.

        The context has an effect only if there is a folder for checkpoints, and only in the main thread (a
        rule of Python).

        Raises:
            Interrupted: When a signal came after the last step.
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
        if self._signal is not None:  # it came after the last step, whose checkpoint is enough to resume from
            self._stop(len(self._lines))

    def _stop(self, t: int) -> None:
        number = self._signal or signal.SIGTERM  # without a signal here, another process received one
        where = "" if self._out is None else f", saved in {self._out}. Resume with --resume (resume=True)."
        raise Interrupted(
            f"{signal.Signals(number).name}: {self.stage} stopped after step {t} of {self.steps}{where}",
            number,
        )

    # results

    def history(self) -> xr.Dataset:
        """Return the metrics of every step.

        Returns:
            A variable (step,) per metric, with the coordinates `step` (its number within the stage) and
            `stage`.
        """
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
        """Close the journal."""
        if self._journal is not None:
            self._journal.close()


def _together(like: Mapping[str, Tensor]) -> dict[torch.dtype, list[str]]:
    """Return the groups of tensors that are summed as one tensor, by their common dtype.

    All tensors form one group if they hold few numbers, which one round transfers; otherwise tensors of one
    dtype do.
    """
    dtypes = [value.dtype for value in like.values()]
    if sum(value.numel() for value in like.values()) <= SMALL:
        return {functools.reduce(torch.promote_types, dtypes): list(like)}
    return {
        dtype: [name for name, value in like.items() if value.dtype == dtype]
        for dtype in dict.fromkeys(dtypes)
    }


def _pause() -> float:
    """Return the number of seconds between checkpoints."""
    text = os.environ.get("PROBGEN_CHECKPOINT_SECONDS", "60")
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:
        raise InputError(f"PROBGEN_CHECKPOINT_SECONDS = {text!r}: a number of seconds is needed, such as 60")
    return seconds
