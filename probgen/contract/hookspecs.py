"""What a family offers and what an observer hears: a signature and a sentence each."""

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
    """The hooks of a family; an implementation may name fewer arguments."""

    @staticmethod
    @hookspec(firstresult=True)
    def fit(module: nn.Module, data: Rows, options: BaseModel, run: Run) -> dict[str, xr.Dataset] | None:
        """Train `module` in place; return further groups to keep, by name."""

    @staticmethod
    @hookspec(firstresult=True)
    def sample(
        fitted: Fitted, n: int, given: dict[str, Tensor], options: BaseModel, run: Run
    ) -> dict[str, Tensor]:
        """Draw `x` and the latents, each with first dimension n; `given` has one row a draw."""
        raise NotImplementedError

    @staticmethod
    @hookspec(firstresult=True)
    def score(fitted: Fitted, data: dict[str, Tensor], options: BaseModel, run: Run) -> xr.Dataset:
        """Say how likely each row of one shard is: `log_prob (row)`, or what else the number is."""
        raise NotImplementedError


class ObserverSpecs:
    """What an observer is told; it changes nothing."""

    @staticmethod
    @hookspec
    def started(hook: str, family: str, run: Run) -> None:
        """A hook of a family is about to be called."""

    @staticmethod
    @hookspec
    def step(run: Run, stage: str, step: int, metrics: dict[str, float]) -> None:
        """A step of a fit is done."""

    @staticmethod
    @hookspec
    def ended(hook: str, family: str, run: Run, error: BaseException | None) -> None:
        """The call is over; `error` is what ended it, or None."""
