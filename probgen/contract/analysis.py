"""What an analysis declares: what is done with a fitted model beyond fit, sample and score.

An analysis is a module, a class or an object in the entry-point group `probgen.analyses`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import xarray as xr
    from pydantic import BaseModel

    from probgen.contract.event import Event


@dataclass(frozen=True)
class Call:
    """How an analysis is called.

    seed, device, progress  of every sample and score that it takes: `probgen.sample(fitted, 64, **call.common)`
    reference               the rows that the model was fitted to, in the symbols of the fit, or None if they are not known
    title                   for the figures
    folder                  the run, whose earlier results can be read, or None if there is none
    """

    seed: int = 0
    device: Any = None
    progress: bool = False
    reference: xr.Dataset | None = None
    title: str = ""
    folder: Path | None = None

    @property
    def common(self) -> dict[str, Any]:
        """Arguments that `probgen.sample` and `probgen.score` share."""
        return {"seed": self.seed, "device": self.device, "progress": self.progress}


@runtime_checkable
class Analysis(Protocol):
    """One analysis.

    Options  a `probgen.Options` class
    needs    what a model must have, in words: "a latent vector"
    """

    @property
    def Options(self) -> type[BaseModel]: ...

    @property
    def needs(self) -> str: ...

    def applies(self, fitted: Any) -> bool:
        """Whether a fitted model has what is needed."""

    def run(self, fitted: Any, data: Any, options: Any, call: Call) -> xr.Dataset:
        """The results, as named arrays. Numbers without dimensions are figures that a recipe may expect something of.

        fitted  a `Fitted`; of an analysis of several models `{name: Fitted}`
        data    rows that were checked, in the symbols of the fit; None where there are none, of an analysis that is `rowless`

        Errors: `NotOffered` for what the model turns out not to offer.
        """

    def figures(self, found: xr.Dataset) -> Mapping[str, Any]:
        """Matplotlib figures of the results, by name. `Event.of(found)` is the event of the model."""


@runtime_checkable
class Comparing(Protocol):
    """An analysis of several models at once: `several = True`."""

    @property
    def several(self) -> bool: ...


@runtime_checkable
class Rowless(Protocol):
    """An analysis that can do without rows, and then gets None for them: `rowless = True`."""

    @property
    def rowless(self) -> bool: ...


@runtime_checkable
class Foreseeing(Protocol):
    """An analysis that refuses before the fit what cannot suit the data."""

    def check(self, event: Event, options: Any) -> None:
        """Errors: `InputError`."""
