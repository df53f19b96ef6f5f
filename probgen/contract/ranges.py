"""What a search may choose of each option: a range of numbers, or one of several values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import UnionType
from typing import Annotated, Any, Self, Union, get_args, get_origin

from pydantic import BaseModel, Field, model_validator

from probgen.contract.options import Options, checked
from probgen.errors import InputError, did_you_mean


class Range(Options):
    """From `low` to `high`, both of them included."""

    low: int | float = Field(description="the least number")
    high: int | float = Field(description="the greatest number")
    log: bool = Field(False, description="all factors are alike, as from 1 to 10 and from 10 to 100")

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low = {self.low} is not below high = {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"low = {self.low} has no logarithm: give one above 0, or leave log out")
        return self

    @property
    def ends(self) -> tuple[Any, ...]:
        """Both ends."""
        return self.low, self.high

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int | float) and self.low <= value <= self.high

    def __str__(self) -> str:
        return f"{self.low} to {self.high}"


class Choice:
    """One of `ends`: values as TOML has them, of any type."""

    def __init__(self, values: list[Any] | tuple[Any, ...]):
        self.ends = tuple(values)
        self.texts = tuple(json.dumps(value) for value in values)

    def __contains__(self, value: object) -> bool:
        return json.dumps(value) in self.texts

    def __str__(self) -> str:
        return ", ".join(self.texts)


Space = Mapping[str, Range | Choice]


def space_of(asked: Mapping[str, Any], where: str) -> dict[str, Range | Choice]:
    """`{"hidden": {"low": 16, "high": 512}, "schedule": ["constant", "cosine"]}`, checked as far as it goes without a family. Errors: `InputError`."""
    if not isinstance(asked, Mapping) or not asked:
        raise InputError(
            f'{where}: say what to choose of which options, e.g. hidden = {{ low = 16, high = 512 }} or schedule = ["constant", "cosine"]'
        )
    space: dict[str, Range | Choice] = {}
    for name, value in asked.items():
        if isinstance(value, Mapping):
            space[name] = checked(Range, value, f"{where}.{name}")
            continue
        if not isinstance(value, list | tuple):
            raise InputError(
                f"{where}.{name} = {value!r}: a range {{ low = ..., high = ... }} or a list of values is needed"
            )
        try:
            space[name] = choice = Choice(value)
        except TypeError as error:
            raise InputError(f"{where}.{name} = {value!r}: {error}") from None
        if len(choice.texts) < 2 or len(set(choice.texts)) < len(choice.texts):
            raise InputError(f"{where}.{name} = {list(value)!r}: two or more different values are needed")
    return space


def fitting_space(
    space: Space, kind: type[BaseModel], own: Mapping[str, Any], where: str
) -> dict[str, Range | Choice]:
    """The space for the options of a family, ends of whole numbers where options are whole; each end and value is taken by them.

    kind  the family's options
    own   those that are given: of trial 0, which the space has to hold

    Errors: `InputError` for an option that there is not, an end that it does not take, and where what is given is not in the space.
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
                f"{where}.{name}: {part} leaves out {json.dumps(usual)}, which is {said} and is tried first: widen it, or set {name} to "
                "a value in it"
            )
        found[name] = part
    return found


def _of_numbers(part: Range, types: set[Any], where: str) -> Range:
    if float in types:
        return part.model_copy(update={"low": float(part.low), "high": float(part.high)})
    if int not in types:
        raise InputError(f"{where} = {part}: the option is no number; give a list of values")
    for end in part.ends:
        if not isinstance(end, int):
            raise InputError(f"{where} = {part}: the option is a whole number, and {end} is none")
    return part


def _plain_types(annotation: Any) -> set[Any]:
    """The types that an annotation is made of: {int, NoneType} of `int | None`."""
    if get_origin(annotation) is Annotated:
        return _plain_types(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return set().union(*map(_plain_types, get_args(annotation)))
    return {annotation}
