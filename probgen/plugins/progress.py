"""The progress bar on stderr: the observer of `progress=True` and of the command line."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from probgen.contract.hookspecs import ObservedRun, hookimpl


class Progress:
    """A progress bar with one line per stage: the steps, the time, and the metrics of the last step."""

    def __init__(self) -> None:
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(bar_width=16),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[metrics]}"),
            console=Console(stderr=True),
        )
        self._tasks: dict[str, TaskID] = {}
        self._family = ""
        self._shown = 0.0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    @hookimpl
    def started(self, hook: str, family: str) -> None:
        """Store the name of the family for the bars."""
        self._family = family

    @hookimpl
    def step(self, run: ObservedRun, stage: str, step: int, metrics: dict[str, float]) -> None:
        """Update the bar of the stage, at most ten times per second."""
        now = time.monotonic()
        new = stage not in self._tasks
        if now - self._shown < 0.1 and step + 1 < run.steps and not new:
            return
        self._shown = now
        if new:
            self._finish()
            self._tasks[stage] = self._bar.add_task(f"{self._family} {stage}", total=run.steps, metrics="")
        text = "  ".join(f"{name} {value:.5g}" for name, value in metrics.items())
        self._bar.update(self._tasks[stage], completed=step + 1, total=run.steps, metrics=text)

    @hookimpl
    def ended(self) -> None:
        """Complete the bar of the last stage."""
        self._finish()

    def _finish(self) -> None:
        """Complete all bars: a stage may end before its last step."""
        for task in self._bar.tasks:
            self._bar.update(task.id, total=task.completed)
