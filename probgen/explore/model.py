"""A fitted model as the page shows it: what it offers, and the answers to requests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from probgen.api.loading import load
from probgen.api.scoring import score
from probgen.contract.definition import latents_of
from probgen.contract.fitted import Fitted
from probgen.contract.options import ConditionalsOptions, checked
from probgen.errors import InputError, ProbgenError
from probgen.explore.asking import Asked, asked_of
from probgen.explore.calls import Call, Calls, noise_free
from probgen.explore.controls import (
    Control,
    conditions_of,
    controls_of,
    described_event,
    finite,
    usual_condition,
    view_of,
)
from probgen.explore.rows import Data, data_of, has_encoder, plain
from probgen.explore.spaces import Space, choices_of, first_draws, spaces_of

PIECE = 16  # steps of the first piece of a sequence; each further piece doubles what there is
LENGTH = 200  # steps of a sequence whose length the request leaves open


@dataclass(frozen=True)
class Model:
    """A fitted model with what its page needs.

    Attributes:
        run: The folder of the run, or the file of the model.
        fitted: The fitted model.
        device: The device to compute on; None for the CPU.
        data: The rows of the fit, or None.
        missing: The reason why there are no rows, or "".
        spaces: The latent spaces by name.
        choices: The values of latents that are one whole number.
        limits: The lowest and the highest value of x, as colors.
        incomplete: The reason why x cannot be completed, or "".
    """

    run: Path
    fitted: Fitted
    device: str | None
    data: Data | None
    missing: str
    spaces: dict[str, Space]
    choices: dict[str, list[int]]
    limits: tuple[float, float]
    incomplete: str

    @cached_property
    def controls(self) -> dict[str, Control]:
        """The options of `sample`, by name."""
        return controls_of(self.fitted.definition.options("sample"))

    @cached_property
    def calls(self) -> Calls:
        """The calls of requests."""
        return Calls(self.fitted, self.spaces, self.choices, self.controls, self.device)

    @cached_property
    def streams(self) -> bool:
        """Whether x is a sequence that is drawn piece by piece."""
        return "length" in self.controls and None in self.fitted.event.shape

    @cached_property
    def surprises(self) -> bool:
        """Whether the family has the log-probability of each value given the values before it."""
        return issubclass(self.fitted.definition.options("score"), ConditionalsOptions)

    @cached_property
    def coded(self) -> list[str]:
        """The latents in which the codes of rows are known."""
        return list(self.spaces) if self.data is not None and has_encoder(self.fitted) else []

    def described(self) -> dict[str, Any]:
        """Return what the page builds its controls from, as JSON values."""
        fitted = self.fitted
        return {
            "run": self.run.name,
            "family": fitted.family,
            "notes": fitted.notes,
            "event": described_event(fitted.event),
            "limits": [finite(value) for value in self.limits],
            "conditions": [
                *conditions_of(fitted.event),
                *({"name": name, "kind": "row"} for name in fitted.definition.needed),
            ],
            "given": self.usual_given(),
            "choices": self.choices,
            "controls": [asdict(control) for control in self.controls.values()],
            "noiseless": list(noise_free(fitted)),
            "spaces": [
                {
                    "latent": space.latent,
                    "layers": space.layers,
                    "shares": [round(float(share), 5) for share in space.shares],
                    "attributes": space.attributes,
                }
                for space in self.spaces.values()
            ],
            "rows": 0 if self.data is None else len(self.data),
            "missing": self.missing,
            "incomplete": self.incomplete,
            "codes": self.coded,
            "streams": self.streams,
            "surprises": self.surprises,
        }

    def drawn(self, asked: Asked) -> np.ndarray:
        """Return the x of a request.

        Args:
            asked: The request.

        Returns:
            The samples: (sample, *event).
        """
        return np.ascontiguousarray(self.calls.of(asked).made(self.fitted)["x"].values)

    def pieces(self, asked: Asked) -> Iterator[dict[str, Any]]:
        """Yield a growing sequence: the same call with a growing length, whose last result is that of the request.

        Args:
            asked: The request.

        Yields:
            `start`, the number of values that did not change; `x`, the values after them; and `surprise`, their
            negative log-probability in bits, or None where it is not known.
        """
        if not self.streams:
            raise InputError("x is not a sequence of varying length. Use a sample.")
        call = replace(self.calls.of(asked), n=1)
        # the same refusals as in the call that is copied
        asked_for = checked(self.fitted.definition.options("sample"), dict(call.options), self.fitted.family)
        length = asked_for.model_dump()["length"] or LENGTH
        before = np.zeros(0)
        for steps in _growing(length):
            some = replace(call, options={**call.options, "length": steps})
            drawn = some.made(self.fitted)
            x = drawn["x"].values[0]
            same = before == x[: len(before)] if len(before) <= len(x) else np.zeros(1, dtype=bool)
            start = len(before) if same.all() else int(np.argmin(same))
            yield {"start": start, "x": x[start:].tolist(), "surprise": self._surprise(drawn, call, start)}
            before = x

    def _surprise(self, drawn: xr.Dataset, call: Call, start: int) -> list[float | None] | None:
        if not self.surprises:
            return None
        rows = drawn[["x"]].rename(sample="row").assign(length=("row", [drawn.sizes["time"]]))
        for name, part in self.fitted.event.given.items():
            value = call.given[name]
            if part.is_text:
                return None  # the length of the text would be needed, too
            rows[name] = (("row", *part.dims), np.asarray(value)[None])
        found = score(self.fitted, rows, device=self.device, conditionals=True)
        bits = -found["site_log_prob"].values.reshape(-1)[start:] / np.log(2)
        return [None if np.isnan(bit) else round(float(bit), 3) for bit in bits]

    def warm(self) -> None:
        """Draw once, so that the first request of the page does not wait for imports."""
        asked = asked_of({"given": self.usual_given()})
        if self.streams:
            for _ in zip(self.pieces(asked), range(2), strict=False):
                pass
        else:
            self.drawn(asked)

    def usual_given(self) -> dict[str, Any]:
        """Return conditions for the first sample: those of the first row, or usual values."""
        known = {} if self.data is None else self.data.row(0, self.fitted)
        usual = {name: usual_condition(part) for name, part in self.fitted.event.given.items()}
        kept = [
            *(name for name in usual if not self.fitted.event.given[name].is_text),
            *self.fitted.definition.needed,
        ]
        return usual | {name: known[name] for name in kept if name in known}


def _growing(length: int) -> Iterator[int]:
    steps = PIECE
    while steps < length:
        yield steps
        steps *= 2
    yield length


def opened(run: Path, device: str | None) -> Model:
    """Load a fitted model, and find out what it offers.

    Args:
        run: The folder of a run, or the file of a model.
        device: The device to compute on; None for the CPU.

    Returns:
        The model.

    Raises:
        FileError: When the model cannot be read.
        PluginError: When its family is not installed.
        NotOffered: When the family does not sample.
    """
    return shown(load(run), run, device)


def shown(fitted: Fitted, run: Path, device: str | None) -> Model:
    """Find out what a fitted model offers.

    Args:
        fitted: The fitted model.
        run: The folder of the run, or the file of the model.
        device: The device to compute on; None for the CPU.

    Returns:
        The model.

    Raises:
        NotOffered: When the family does not sample.
    """
    fitted.definition.require("sample")
    data, missing = data_of(fitted)
    spaces: dict[str, Space] = {}
    choices: dict[str, list[int]] = {}
    x = None if data is None else data.dataset["x"].values[:1000]
    if _has_codes(fitted):
        drawn = first_draws(fitted, dict.fromkeys(noise_free(fitted), True), device)
        spaces = {space.latent: space for space in spaces_of(fitted, drawn, run)}
        choices = choices_of(drawn, latents_of(fitted.module))
        x = drawn["x"].values if x is None else x
    model = Model(run, fitted, device, data, missing, spaces, choices, _limits(fitted, x), "")
    return replace(model, incomplete=_incomplete(model))


def _has_codes(fitted: Fitted) -> bool:
    """Return whether latents can have directions or values to choose from: vectors, layers of vectors, single values."""
    small = any(len(dims) <= 2 for dims in latents_of(fitted.module).values())
    return small and not fitted.event.any_size and not fitted.definition.needed


def _limits(fitted: Fitted, x: np.ndarray | None) -> tuple[float, float]:
    event = fitted.event
    if event.levels or event.support == "binary":
        return 0.0, float((event.levels or 2) - 1)
    return (0.0, 1.0) if x is None or not x.size else (float(np.nanmin(x)), float(np.nanmax(x)))


def _incomplete(model: Model) -> str:
    """Return why x cannot be completed, or "": one x is completed, as quickly as the options allow."""
    fitted = model.fitted
    if None in fitted.event.shape or view_of(fitted.event) in ("text", "sound"):
        return "Rows of one shape are completed; sequences are continued."
    given = model.usual_given()
    try:
        x = (
            model.drawn(asked_of({"given": given}))[0]
            if model.data is None
            else model.data.dataset["x"].values[0]
        )
        known = np.arange(x.size).reshape(x.shape) < x.size // 2
        least = {
            name: control.least
            for name, control in model.controls.items()
            if control.kind == "whole" and "part" in control.when and control.least is not None
        }
        half = plain(np.where(known, x.astype(float), np.nan))
        model.drawn(asked_of({"given": {**given, "x": half}, "options": least}))
    except InputError as error:
        return str(error)
    except ProbgenError as error:
        return f"Completion failed: {error}"
    return ""
