"""The call of `sample` that a request means. The page shows its result, and copies its text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import xarray as xr

from probgen.api.sampling import sample
from probgen.contract.definition import latents_of
from probgen.contract.fitted import Fitted
from probgen.contract.options import ConditionalMeanOptions, MeanOptions
from probgen.errors import InputError, did_you_mean
from probgen.explore.asking import Asked
from probgen.explore.controls import Control
from probgen.explore.spaces import Space

KEPT = 64  # samples whose codes are kept, so that a slider does not sample them again


@dataclass(frozen=True)
class Call:
    """The arguments of `probgen.sample`, as plain values.

    Attributes:
        n: The number of samples.
        seed: The seed of all random numbers.
        given: Conditions by name: texts, numbers and nested lists.
        options: Options of the family.
        device: The device to compute on; None for the CPU.
    """

    n: int
    seed: int
    given: Mapping[str, Any]
    options: Mapping[str, Any]
    device: str | None = None

    def made(self, fitted: Fitted) -> xr.Dataset:
        """Return the samples.

        Args:
            fitted: The fitted model.

        Returns:
            The samples with their latents.
        """
        return sample(
            fitted, self.n, given=self.given or None, seed=self.seed, device=self.device, **self.options
        )


class Calls:
    """From requests to calls, for one fitted model.

    Args:
        fitted: The fitted model.
        spaces: Its latent spaces.
        choices: The values of its latents that are one whole number.
        controls: The options of `sample`, by name.
        device: The device to compute on.
    """

    def __init__(
        self,
        fitted: Fitted,
        spaces: Mapping[str, Space],
        choices: Mapping[str, list[int]],
        controls: Mapping[str, Control],
        device: str | None,
    ):
        self.fitted, self.spaces, self.choices, self.controls = fitted, spaces, choices, controls
        self.device = device
        event = fitted.event
        parts = {"x": event, **event.given}
        self._dims = {name: part.dims for name, part in parts.items()} | latents_of(fitted.module)
        self._codes: dict[str, xr.Dataset] = {}

    def of(self, asked: Asked) -> Call:
        """Return the call of a request.

        A moved code is a condition of the call, as are the other latents of the same sample that select a model
        or a component.

        Args:
            asked: The request.

        Returns:
            The call.

        Raises:
            InputError: When a name or a value is not one of the model.
        """
        for name, value in asked.given.items():
            dims = self._dims.get(name)
            if dims is not None and _depth(value) != len(dims):
                raise InputError(f"given {name!r}: one condition is needed, with dimensions {list(dims)}.")
            if name in self.spaces and _shape(value) != self.spaces[name].shape:
                raise InputError(f"given {name!r}: a code has the shape {list(self.spaces[name].shape)}.")
        for name, value in asked.options.items():
            if name not in self.controls:
                raise InputError(f"option {name!r}: {did_you_mean(name, self.controls)}")
            self.controls[name].check(value)
        changed = {
            name: value for name, value in asked.options.items() if value != self.controls[name].default
        }
        # JSON has one kind of number, and a code has real ones
        real = {name: _floats(value) for name, value in asked.given.items() if name in self.spaces}
        asked = asked.model_copy(update={"given": {**asked.given, **real}})
        call = Call(asked.n, asked.seed, asked.given, changed, self.device)
        if asked.moves is None or not asked.moves.moved:
            return call
        moves = asked.moves
        if moves.latent not in self.spaces:
            raise InputError(f"latent = {moves.latent!r}: {did_you_mean(moves.latent, self.spaces)}")
        if "x" in asked.given:
            raise InputError("moves: codes cannot be moved while x is given. Leave one of them out.")
        first = self._drawn(replace(call, n=1))
        second = None if moves.mix is None else self._drawn(replace(call, n=1, seed=moves.mix))[moves.latent]
        space = self.spaces[moves.latent]
        code = space.moved(first[moves.latent].values[0], None if second is None else second.values[0], moves)
        selected = {name: int(first[name].values[0]) for name in self.choices if name in first}
        kept = {name: value for name, value in changed.items() if name in noise_free(self.fitted)}
        return replace(call, given={**asked.given, **selected, moves.latent: code.tolist()}, options=kept)

    def _drawn(self, call: Call) -> xr.Dataset:
        key = json.dumps([call.seed, dict(call.given), dict(call.options)])
        if key not in self._codes:
            while len(self._codes) >= KEPT:
                self._codes.pop(next(iter(self._codes)))
            self._codes[key] = call.made(self.fitted)
        return self._codes[key]


def _depth(value: Any) -> int:
    """Return the number of dimensions of nested lists; a text has the dimension time."""
    if isinstance(value, str):
        return 1
    return 1 + max(map(_depth, value), default=0) if isinstance(value, list | tuple) else 0


def _shape(value: Any) -> tuple[int, ...] | None:
    """Return the shape of nested lists of numbers; None if their lengths differ."""
    if not isinstance(value, list | tuple):
        return ()
    parts = {_shape(part) for part in value}
    part = parts.pop() if len(parts) == 1 else None
    return None if part is None else (len(value), *part)


def _floats(value: Any) -> Any:
    return list(map(_floats, value)) if isinstance(value, list | tuple) else float(value)


def noise_free(fitted: Fitted) -> tuple[str, ...]:
    """Return the option that replaces a sample by a mean, which has an effect with given latents, too.

    Args:
        fitted: The fitted model.

    Returns:
        The name in a tuple; empty if the family has no such option.
    """
    declared = fitted.definition.options("sample")
    return ("mean",) if issubclass(declared, MeanOptions | ConditionalMeanOptions) else ()
