"""Options of families, recipes and commands: checked by pydantic, reported in one line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from probgen.errors import InputError, did_you_mean


class Options(BaseModel):
    """The base of a family's options.

    Unknown keys, NaN, infinity and values of another type (True for 1, "3" for 3) are refused. Sequences are
    tuples: annotate them as `tuple[int, ...]`.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, validate_default=True
    )

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, values: Any) -> Any:
        """NumPy's scalars and TOML's lists are as good as Python's numbers and tuples."""
        if not isinstance(values, Mapping):
            return values
        return {name: _plain(value) for name, value in values.items()}


class MeanOptions(Options):
    """Of a sample hook that can decode without noise."""

    mean: bool = Field(False, description="x is the mean of p(x | z), not a draw from it")


class ConditionalsOptions(Options):
    """Of a score hook that can tell p(x_i | x_<i)."""

    conditionals: bool = Field(
        False,
        description="also `site_log_prob` and `site_mean`, and of discrete x `site_entropy`: of p(x_i | x_<i), one a site",
    )


class NoOptions(Options):
    """A hook that has nothing to choose."""


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    return tuple(map(_plain, value)) if isinstance(value, list) else value


M = TypeVar("M", bound=BaseModel)


def checked(model: type[M], values: Mapping[str, Any], where: str) -> M:
    """`values` as a `model`, or an `InputError` of one line that names field, value and what is allowed."""
    if not isinstance(values, Mapping):
        raise InputError(f"{where}: a table of options is needed, not {values!r}")
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise InputError("; ".join(_lines(model, error, where))) from None


def _lines(model: type[BaseModel], error: ValidationError, where: str) -> list[str]:
    lines = []
    for problem in error.errors(include_url=False)[:3]:
        path = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            known = list(_fields(model, problem["loc"][:-1]))
            hint = did_you_mean(str(problem["loc"][-1]), known)
            lines.append(f"{where}: unknown option {path!r}; {hint}")
        elif problem["type"] == "missing":
            lines.append(f"{where}: {path!r} is missing")
        else:
            message = problem["msg"].removeprefix("Value error, ")
            lines.append(f"{where}: {path} = {problem['input']!r}: {message[0].lower()}{message[1:]}")
    return lines


def _fields(model: type[BaseModel], path: tuple[int | str, ...]) -> Mapping[str, Any]:
    """The fields of the model that `path` leads to; values of mappings are stepped through by their type."""
    fields: Mapping[str, Any] = model.model_fields
    for part in path:
        field = fields.get(str(part))
        kind = field.annotation if field is not None else None
        for candidate in (kind, *getattr(kind, "__args__", ())):
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                fields = candidate.model_fields
                break
    return fields
