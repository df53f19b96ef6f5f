"""The interface of an analysis: work on a fitted model beyond fit, sample and score.

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
    """The call of an analysis.

    Attributes:
        seed: The seed of every sample and score: `probgen.sample(fitted, 64, **call.common)`.
        device: The device of every sample and score.
        progress: Whether samples and scores show a progress bar.
        reference: The rows that the model was fitted to, in the symbols of the fit; None if they are not
            known.
        title: The title of the figures.
        folder: The folder of the run with its earlier results; None without a run.
    """

    seed: int = 0
    device: Any = None
    progress: bool = False
    reference: xr.Dataset | None = None
    title: str = ""
    folder: Path | None = None

    @property
    def common(self) -> dict[str, Any]:
        """The arguments that `probgen.sample` and `probgen.score` share: seed, device and progress."""
        return {"seed": self.seed, "device": self.device, "progress": self.progress}


@runtime_checkable
class Analysis(Protocol):
    """An analysis of a fitted model."""

    @property
    def Options(self) -> type[BaseModel]:
        """A `probgen.Options` class."""
        ...

    @property
    def needs(self) -> str:
        """The property that a model must have, in words: "a latent vector"."""
        ...

    def applies(self, fitted: Any) -> bool:
        """Return whether the analysis can be applied to a fitted model.

        Args:
            fitted: A `Fitted`.

        Returns:
            True if the model has the required property.
        """

    def run(self, fitted: Any, data: Any, options: Any, call: Call) -> xr.Dataset:
        """Return the results as named arrays.

        A variable without dimensions is a figure for which a recipe can state an expected value.

        Args:
            fitted: A `Fitted`; for an analysis of several models, `{name: Fitted}`.
            data: Checked rows in the symbols of the fit. An analysis that is `rowless` may receive None.
            options: An instance of `Options`.
            call: The seed, device and progress of samples and scores, and the reference rows.

        Returns:
            The results.

        Raises:
            NotOffered: When the model lacks a property that the analysis needs.
        """

    def figures(self, found: xr.Dataset) -> Mapping[str, Any]:
        """Return figures of the results, by name.

        Args:
            found: The results. `Event.of(found)` is the event of the model.

        Returns:
            Matplotlib figures by name.
        """


@runtime_checkable
class Comparing(Protocol):
    """An analysis of several models at once."""

    @property
    def several(self) -> bool:
        """True."""
        ...


@runtime_checkable
class Rowless(Protocol):
    """An analysis that does not require rows; without rows, its `data` is None."""

    @property
    def rowless(self) -> bool:
        """True."""
        ...


@runtime_checkable
class Foreseeing(Protocol):
    """An analysis that checks its options before the fit."""

    def check(self, event: Event, options: Any) -> None:
        """Check that the options suit the data.

        Args:
            event: The event of the data.
            options: An instance of `Options`.

        Raises:
            InputError: When the options do not suit the event.
        """
