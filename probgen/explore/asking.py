"""What the page may ask for: a checked request, with bounds on sizes and times."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field

from probgen.contract.options import Options, checked
from probgen.errors import InputError

SAMPLES = 64  # most samples in a request
SEEDS = 2**32
SLIDERS = 64  # most directions that a request may move along
REACH = 10.0  # the farthest move, in deviations
NUMBERS = 1 << 18  # most numbers in the conditions of a request
SYMBOLS = 4000  # most characters of a text in a request
LARGEST = 1e30  # the largest number of a condition
DEPTH = 8  # most dimensions of a condition

Layers = tuple[int, int] | None


class Moves(Options):
    """Moves of the code of a sample.

    Attributes:
        latent: The latent that is moved.
        by: Moves along the directions of the space, in deviations of codes.
        attributes: Moves across boundaries by attribute, in deviations along the normal.
        hold: Attributes that these moves keep fixed.
        layers: The first and the last layer that moves; None for all.
        mix: The seed of a second sample that provides `mixed`; None for none.
        mixed: The first and the last layer of the second sample.
    """

    latent: str
    by: tuple[float, ...] = Field((), max_length=SLIDERS)
    attributes: dict[str, float] = Field(default_factory=dict)
    hold: tuple[str, ...] = Field((), max_length=SLIDERS)
    layers: Layers = None
    mix: int | None = Field(None, ge=0, lt=SEEDS)
    mixed: Layers = None

    @property
    def moved(self) -> bool:
        """Whether the code differs from the code of the sample."""
        return any(self.by) or any(self.attributes.values()) or self.mix is not None


class Asked(Options):
    """A request for samples.

    Attributes:
        n: The number of samples.
        seed: The seed of all random numbers.
        given: Conditions by name: a text, a number, or nested lists of numbers. None in a list is an unknown value.
        options: Options of the family for `sample`.
        moves: Moves of the code; None for none.
    """

    n: int = Field(1, ge=1, le=SAMPLES)
    seed: int = Field(0, ge=0, lt=SEEDS)
    given: dict[str, Any] = Field(default_factory=dict)
    options: dict[str, str | bool | int | float | None] = Field(default_factory=dict)
    moves: Moves | None = None


class Point(Options):
    """A request for the rows nearest to x: (value,), flattened."""

    x: tuple[Annotated[float, Field(ge=-LARGEST, le=LARGEST)], ...] = Field(max_length=NUMBERS)


class Row(Options):
    """A request for one row of the data."""

    row: int = Field(ge=0)


def parsed(body: bytes) -> Any:
    """Return the JSON value of a body.

    Args:
        body: The body of a request.

    Returns:
        The value.

    Raises:
        InputError: When the body is not JSON, or contains NaN or infinity.
    """
    try:
        return json.loads(body, parse_constant=_refused)
    except (ValueError, RecursionError):
        raise InputError("the request is not JSON. Reload the page.") from None


def _refused(name: str) -> None:
    raise ValueError(name)


def asked_of(values: Any) -> Asked:
    """Return a checked request for samples.

    Args:
        values: The JSON value of a body.

    Returns:
        The request. Conditions are texts, numbers, or nested lists of numbers with NaN for unknown values.

    Raises:
        InputError: When a value is not allowed.
    """
    asked = checked(Asked, values, "request")
    given = {name: _condition(name, value) for name, value in asked.given.items()}
    for by in (asked.moves.by, tuple(asked.moves.attributes.values())) if asked.moves else ():
        for value in by:
            if not abs(value) <= REACH:
                raise InputError(f"by = {value}: moves are at most {REACH:g} deviations. Use a smaller move.")
    return asked.model_copy(update={"given": given})


def _condition(name: str, value: Any) -> Any:
    if isinstance(value, str):
        if len(value) > SYMBOLS:
            raise InputError(f"given {name!r} has {len(value)} characters. Use at most {SYMBOLS}.")
        return value
    for count, number in enumerate(_leaves(name, value, 0)):
        if count >= NUMBERS:
            raise InputError(f"given {name!r} has more than {NUMBERS} numbers. Use fewer.")
        known = isinstance(number, int | float) and not isinstance(number, bool)
        if not ((number is None and name == "x") or (known and abs(number) <= LARGEST)):
            raise InputError(
                f"given {name!r}: {str(number)[:40]!r} is not a number of usual size. Change it."
            )
    return _with_nan(value)


def _leaves(name: str, value: Any, depth: int) -> Iterator[Any]:
    if depth > DEPTH:
        raise InputError(f"given {name!r} has more than {DEPTH} dimensions. Use fewer.")
    if isinstance(value, list | tuple):
        for part in value:
            yield from _leaves(name, part, depth + 1)
    else:
        yield value


def _with_nan(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_with_nan(part) for part in value]
    return math.nan if value is None else value
