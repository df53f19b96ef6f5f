"""The hook specifications: the calls that a family and an observer implement."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pluggy

if TYPE_CHECKING:
    import numpy as np
    import torch
    import xarray as xr
    from pydantic import BaseModel
    from torch import Tensor, nn

    from probgen.contract.event import Event
    from probgen.contract.fitted import Fitted
    from probgen.contract.rows import Rows
    from probgen.contract.run import Run

hookspec = pluggy.HookspecMarker("probgen")
hookimpl = pluggy.HookimplMarker("probgen")


class FamilySpecs:
    """The three hooks of a family.

    A family implements the hooks that it offers and marks each of them with `@probgen.hookimpl`. An
    implementation may leave out arguments that it does not use. The arguments are checked before a hook is
    called, so a hook does not check them again.
    """

    @staticmethod
    @hookspec(firstresult=True)
    def fit(module: nn.Module, data: Rows, options: BaseModel, run: Run) -> dict[str, xr.Dataset] | None:
        """Train `module` in place.

        torch's default generator is seeded before every step of `run.train`, and it is restored after the
        call.

        Args:
            module: The module that `build` returned, on `run.device`, with its parameters in `run.dtype`.
            data: The training rows. `data.batch(t, size)` returns batch number t, and `data.chunks()` yields
                all rows.
            options: An instance of the `Options` class of the family.
            run: The call: its seed, its device, and the training loop `run.train`.

        Returns:
            Further results to store with the fitted model (`fitted.groups`), a Dataset per name; None for no
            results.
        """

    @staticmethod
    @hookspec(firstresult=True)
    def sample(
        fitted: Fitted, n: int, given: dict[str, Tensor], options: BaseModel, run: Run
    ) -> dict[str, Tensor]:
        """Return n samples from the fitted model.

        torch's default generator is seeded before the call, and gradients are not recorded.

        Args:
            fitted: The fitted model. `fitted.module` is the trained module on `run.device`, in eval mode.
            n: Number of samples in this shard.
            given: The values to condition on, by name, each of shape (n, ...): one row per sample. The values
                are conditions of `fitted.event.given`, lengths of conditions, and latents. For completion,
                `x` and the boolean `observed` are included.
            options: An instance of the `SampleOptions` class of the family.
            run: The call: its seed, its device and its dtype.

        Returns:
            The tensor `x` and a tensor per latent that `module.latents` names, each with first dimension n.
        """
        raise NotImplementedError

    @staticmethod
    @hookspec(firstresult=True)
    def score(fitted: Fitted, data: dict[str, Tensor], options: BaseModel, run: Run) -> xr.Dataset:
        """Return the score of each row of one shard.

        torch's default generator is seeded before the call, and gradients are not recorded.

        Args:
            fitted: The fitted model. `fitted.module` is the trained module on `run.device`, in eval mode.
            data: The rows of one shard as tensors by name, on `run.device`: `x` (row, *event dims), the
                conditions of `fitted.event.given`, and the inputs that the family accepts and the data have,
                such as `observed` (row, *event dims) and `length` (row,). Row weights are left out.
            options: An instance of the `ScoreOptions` class of the family.
            run: The call: its seed, its device and its dtype.

        Returns:
            A Dataset with dimension `row`. A family with a density or a bound returns the result of
            `probgen.log_prob`, in nats. A number that is not a likelihood has a name of its own.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class ObservedCall:
    """A call of probgen, as observers see it.

    Attributes:
        hook: "fit", "sample" or "score"; "" for a file that is written after the calls of a model.
        family: The registered name of the family; "" for a file of several models.
        options: The options of the hook; None without a call.
        event: The description of one datum; None without a call.
        data: The identity of the rows of a fit or score: `rows` (their number), `sha256`, and `name`, `split`
            and `path` if they are known. For samples: `samples` (their number) and `given` (names).
        folder: The folder of the run, if the call has one.
        model: The name of the model in a recipe, or "".
        recipe: The title of the recipe, or "".
        id: A name that no other call has; "" without a call.
    """

    hook: str = ""
    family: str = ""
    options: BaseModel | None = None
    event: Event | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    folder: Path | None = None
    model: str = ""
    recipe: str = ""
    id: str = ""


@dataclass(frozen=True)
class ObservedRun:
    """A run, as observers see it: a copy, so that an observer cannot change the run.

    Attributes:
        seed: The seed of all random numbers of the call.
        device: The device for parameters and data.
        dtype: The dtype of parameters and of real data.
        parts: The number of parts of each batch.
        stage: The stage of the fit that is executed; "" before the first stage.
        t: The step that is executed, from 0.
        steps: The largest number of steps of the stage.
        converged: By stage, whether it has converged; None if its algorithm cannot determine this.
        notes: Sentences that a user should read about the result.
        history: A function that returns the metrics of all steps so far, as `fitted.history`.
    """

    seed: int
    device: torch.device
    dtype: torch.dtype
    parts: int
    stage: str
    t: int
    steps: int
    converged: Mapping[str, bool | None]
    notes: tuple[str, ...]
    history: Callable[[], xr.Dataset]

    @classmethod
    def of(cls, run: Run) -> Self:
        """Return the view of a run.

        Args:
            run: The run of the call.

        Returns:
            A copy of its values.
        """
        return cls(
            run.seed,
            run.device,
            run.dtype,
            run.parts,
            run.stage,
            run.t,
            run.steps,
            dict(run.converged),
            tuple(run.notes),
            run.history,
        )


class ObserverSpecs:
    """The notifications that an observer receives from a run.

    An observer implements any of them, marks each with `@probgen.hookimpl`, and cannot change the run. An
    implementation may leave out arguments that it does not use. An observer that raises an error is disabled for
    the rest of the call. A line on stderr and a line in the journal of the run name the observer and the error.
    """

    @staticmethod
    @hookspec
    def started(hook: str, family: str, run: ObservedRun, call: ObservedCall) -> None:
        """Receive the start of a hook call.

        Args:
            hook: "fit", "sample" or "score".
            family: The registered name of the family.
            run: The run of the call: seed, device, dtype, stage, steps and notes.
            call: The call: options, event, data, folder, and an id. All later hooks receive the same object.
        """

    @staticmethod
    @hookspec
    def restored(
        run: ObservedRun, stage: str, steps: int, metrics: dict[str, np.ndarray], call: ObservedCall
    ) -> None:
        """Receive the steps of a stage that a resumed fit restores and does not repeat.

        Args:
            run: The run of the call.
            stage: The stage of the fit.
            steps: The number of restored steps: they are 0, ..., steps - 1.
            metrics: The metrics by name, (step,); NaN for a step without the metric.
            call: The call.
        """

    @staticmethod
    @hookspec
    def step(run: ObservedRun, stage: str, step: int, metrics: dict[str, float], call: ObservedCall) -> None:
        """Receive the end of a step: a step of a fit, or a shard or part of samples or scores.

        Args:
            run: The run of the call that the step belongs to.
            stage: The stage of the fit; "sample" or "score" in the other hooks.
            step: The number of the step in its stage, from 0.
            metrics: The metrics of the step by name; empty in "sample" and "score".
            call: The call.
        """

    @staticmethod
    @hookspec
    def made(kind: str, path: Path, call: ObservedCall) -> None:
        """Receive a file that is complete.

        Args:
            kind: "model", "samples", "scores", "rows", "analysis", "picture", "search" or "report".
            path: The path of the file.
            call: The call that wrote the file. For a file that is written after the calls, only `folder`,
                `model`, `recipe` and `family` have values.
        """

    @staticmethod
    @hookspec
    def ended(
        hook: str,
        family: str,
        run: ObservedRun,
        error: BaseException | None,
        call: ObservedCall,
        result: Fitted | xr.Dataset | None,
        seconds: float,
    ) -> None:
        """Receive the end of a hook call.

        Args:
            hook: "fit", "sample" or "score".
            family: The registered name of the family.
            run: The run of the call that ended.
            error: The exception that ended the call; None if the call succeeded.
            call: The call.
            result: The fitted model, the samples or the scores; None after an error, and for parts by workers.
            seconds: The duration of the call.
        """
