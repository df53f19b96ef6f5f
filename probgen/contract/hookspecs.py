"""The hook specifications: the calls that a family and an observer implement."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    import xarray as xr
    from pydantic import BaseModel
    from torch import Tensor, nn

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


class ObserverSpecs:
    """The notifications that an observer receives from a run.

    An observer implements any of them, marks each with `@probgen.hookimpl`, and cannot change the run. An
    observer that raises an error is disabled for the rest of the call, with a warning.
    """

    @staticmethod
    @hookspec
    def started(hook: str, family: str, run: Run) -> None:
        """Receive the start of a hook call.

        Args:
            hook: "fit", "sample" or "score".
            family: The registered name of the family.
            run: The call that starts.
        """

    @staticmethod
    @hookspec
    def step(run: Run, stage: str, step: int, metrics: dict[str, float]) -> None:
        """Receive the end of a step: a step of a fit, or a shard or part of samples or scores.

        Args:
            run: The call that the step belongs to.
            stage: The stage of the fit; "sample" or "score" in the other hooks.
            step: The number of the step in its stage, from 0.
            metrics: The metrics of the step by name; empty in "sample" and "score".
        """

    @staticmethod
    @hookspec
    def ended(hook: str, family: str, run: Run, error: BaseException | None) -> None:
        """Receive the end of a hook call.

        Args:
            hook: "fit", "sample" or "score".
            family: The registered name of the family.
            run: The call that ended.
            error: The exception that ended the call; None if the call succeeded.
        """
