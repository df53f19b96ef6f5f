"""The values that a search may choose for each option: a range of numbers, or a list of values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import UnionType
from typing import Annotated, Any, Self, Union, get_args, get_origin

from pydantic import BaseModel, Field, model_validator

from probgen.contract.options import Options, checked
from probgen.errors import InputError, did_you_mean


class Range(Options):
    """The numbers from `low` to `high`, including both."""

    low: int | float = Field(description="the lowest number of the range")
    high: int | float = Field(description="the highest number of the range")
    log: bool = Field(False, description="search on a logarithmic scale")

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low = {self.low} is not below high = {self.high}. Give a lower low.")
        if self.log and self.low <= 0:
            raise ValueError(f"low = {self.low} has no logarithm. Use low above 0, or leave log out.")
        return self

    @property
    def ends(self) -> tuple[Any, ...]:
        """The lowest and the highest number."""
        return self.low, self.high

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int | float) and self.low <= value <= self.high

    def __str__(self) -> str:
        return f"{self.low} to {self.high}"


class Choice:
    """A list of values of any type that TOML has.

    Args:
        values: The values to choose from.

    Attributes:
        ends: The values to choose from.
        texts: The values as JSON.
    """

    def __init__(self, values: list[Any] | tuple[Any, ...]):
        self.ends = tuple(values)
        self.texts = tuple(json.dumps(value) for value in values)

    def __contains__(self, value: object) -> bool:
        return json.dumps(value) in self.texts

    def __str__(self) -> str:
        return ", ".join(self.texts)


Space = Mapping[str, Range | Choice]


def space_of(asked: Mapping[str, Any], where: str) -> dict[str, Range | Choice]:
    """Return the space of a search, checked as far as is possible without a family.

    Args:
        asked: Ranges and lists of values by option:
            `{"hidden": {"low": 16, "high": 512}, "schedule": ["constant", "cosine"]}`.
        where: The place of the space, as the start of error messages.

    Returns:
        The ranges and choices by option.

    Raises:
        InputError: When the space is empty, or when a range or a list is not valid.
    """
    if not isinstance(asked, Mapping) or not asked:
        raise InputError(
            f'{where}: the search space is empty. Give ranges or lists of values for options, such as hidden = {{ low = 16, high = 512 }} or schedule = ["constant", "cosine"].'
        )
    space: dict[str, Range | Choice] = {}
    for name, value in asked.items():
        if isinstance(value, Mapping):
            space[name] = checked(Range, value, f"{where}.{name}")
            continue
        if not isinstance(value, list | tuple):
            raise InputError(
                f"{where}.{name} = {value!r}: a range or a list of values is needed. Write {{ low = ..., high = ... }} or [..., ...]."
            )
        try:
            space[name] = choice = Choice(value)
        except TypeError as error:
            raise InputError(f"{where}.{name} = {value!r}: {error}") from None
        if len(choice.texts) < 2 or len(set(choice.texts)) < len(choice.texts):
            raise InputError(
                f"{where}.{name} = {list(value)!r}: the list needs at least two values, all different. Change the list."
            )
    return space


def fitting_space(
    space: Space, kind: type[BaseModel], own: Mapping[str, Any], where: str
) -> dict[str, Range | Choice]:
    """Return the space for the options of a family.

    The ends of a range for a whole-number option are whole numbers. Every end and every value must be valid
    for its option.

    Args:
        space: The ranges and choices by option.
        kind: The `Options` class of the family.
        own: The options of trial 0, which the space must contain.
        where: The place of the space, as the start of error messages.

    Returns:
        The ranges and choices by option, in the types of the options.

    Raises:
        InputError: When an option is unknown, when an end or value is not valid for its option, or when the
            space does not contain trial 0.
    """
    given = checked(kind, own, where)
    found: dict[str, Range | Choice] = {}
    for name, part in space.items():
        if name not in kind.model_fields:
            raise InputError(f"{where}: unknown option {name!r}; {did_you_mean(name, kind.model_fields)}")
        if isinstance(part, Range):
            part = _of_numbers(part, _plain_types(kind.model_fields[name].annotation), f"{where}.{name}")
        taken = [
            checked(kind, {**own, name: value}, where).model_dump(mode="json")[name] for value in part.ends
        ]
        part = Choice(taken) if isinstance(part, Choice) else part
        usual = given.model_dump(mode="json")[name]
        if usual not in part:
            said = "given" if name in own else "its default"
            raise InputError(
                f"{where}.{name}: {part} leaves out {json.dumps(usual)}, which is {said} and the value of trial 0. Widen the space, or "
                f"set {name} to a value in the space."
            )
        found[name] = part
    return found


def _of_numbers(part: Range, types: set[Any], where: str) -> Range:
    if float in types:
        return part.model_copy(update={"low": float(part.low), "high": float(part.high)})
    if int not in types:
        raise InputError(f"{where} = {part}: the option is not a number. Give a list of values.")
    for end in part.ends:
        if not isinstance(end, int):
            raise InputError(
                f"{where} = {part}: the option is a whole number, but {end} is not. Give whole numbers."
            )
    return part


def _plain_types(annotation: Any) -> set[Any]:
    """Return the types that an annotation consists of: {int, NoneType} for `int | None`."""
    if get_origin(annotation) is Annotated:
        return _plain_types(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return set().union(*map(_plain_types, get_args(annotation)))
    return {annotation}
