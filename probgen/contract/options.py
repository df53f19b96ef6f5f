"""Options of families, recipes and commands: checked by pydantic, reported in one line."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from probgen.errors import InputError, did_you_mean

SAID = 120  # characters of a value in an error
SET = "set"  # of `only`: any value but the default


def only(**where: Any) -> dict[str, Any]:
    """Of an option that is used only where others have a value, or one of several: `Field(..., json_schema_extra=only(method="svi"))`.

    `SET` stands for whatever is not the default. An option that is set where it is not used is refused. In options of a
    sample hook `x` says how much of x is given: "nothing", "part", "all", or "prompt", which is all of a row that may go on.
    """
    return {"only": {name: value if isinstance(value, tuple) else (value,) for name, value in where.items()}}


class Options(BaseModel):
    """The base of a family's options.

    Unknown keys, NaN, infinity and values of another type (True for 1, "3" for 3) are refused, and options that would not be
    used (see `only`). Sequences are tuples: annotate them as `tuple[int, ...]`.
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

    @model_validator(mode="after")
    def _used(self) -> Self:
        """Errors: `ValueError` for an option that another one leaves without use."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        if (problem := Options.unused(self, **values)) is not None:
            raise ValueError(problem)
        return self

    def unused(self, **context: Any) -> str | None:
        """What to say of an option that is set and would not be used; context: values by name that `only` may speak of."""
        fields = type(self).model_fields
        for name, field in fields.items():
            extra = field.json_schema_extra
            if not isinstance(extra, dict) or "only" not in extra or getattr(self, name) == field.default:
                continue
            where: Any = extra["only"]
            for other, allowed in where.items():
                if other not in context:
                    continue
                value = context[other]
                if value in allowed or (SET in allowed and value != fields[other].default):
                    continue
                needed = " or ".join("another value" if each == SET else f"{each!r}" for each in allowed)
                return f"{name} = {getattr(self, name)!r} has no effect with {other} = {value!r}: it needs {other} = {needed}"
        return None


def refuse_unused(options: BaseModel, why: str, *names: str) -> None:
    """Errors: `InputError` for an option that is set and, as is seen from the data alone, would not be used."""
    fields = type(options).model_fields
    for name in names:
        if getattr(options, name) != fields[name].default:
            raise InputError(f"{name} = {getattr(options, name)!r} has no effect: {why}; leave it out")


class MeanOptions(Options):
    """Of a sample hook that can decode without noise."""

    mean: bool = Field(
        False,
        description="x is the mean of p(x | z), not a draw from it",
        json_schema_extra=only(x=("nothing", "part")),
    )


class ConditionalMeanOptions(Options):
    """Of a sample hook that can give the center of p(x given all that is given), which decibels are measured of."""

    mean: bool = Field(
        False,
        description="x is the center of p(x given the image) before it is rounded, not a draw: the mean of a mixture, the location of "
        "a distribution of one scale",
    )


class ConditionalsOptions(Options):
    """Of a score hook that can tell p(x_i | x_<i)."""

    conditionals: bool = Field(
        False,
        description="also `site_log_prob` and `site_mean`, and of discrete x `site_entropy`: of p(x_i | x_<i), one a site",
    )


class PosteriorOptions(Options):
    """Of a score hook that can tell p(class | x)."""

    posterior: bool = Field(
        False, description="also p(class | x), as `posterior (row, ...)`, and the most likely class"
    )


class NoOptions(Options):
    """A hook that has nothing to choose."""


def _plain(value: Any) -> Any:
    numpy = sys.modules.get("numpy")  # where it is not imported, no value is of it
    if numpy is not None and isinstance(value, numpy.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    return tuple(map(_plain, value)) if isinstance(value, list) else value


@dataclass(frozen=True)
class Reference:
    """Marks an option that names a run which a family builds on. fit_only: a fit needs it, and what was fitted does not."""

    fit_only: bool = False


def _run(value: Any) -> Any:
    if isinstance(value, Path) or (isinstance(value, str) and value and Path(value).exists()):
        return str(Path(value).resolve())  # so that it is found from elsewhere
    if isinstance(value, str) and value:
        return value
    raise ValueError("the run of a fitted model is needed, or its file, which fitted.save(PATH) writes")


# an option that names a run: `generator: RunPath`, and `build(options, event, generator)` gets it loaded
RunPath = Annotated[str, BeforeValidator(_run), Reference()]
FitRunPath = Annotated[str, BeforeValidator(_run), Reference(fit_only=True)]


def references(options: BaseModel, fit: bool = True) -> dict[str, str]:
    """The runs that options name, by option; fit: also those that only a fit needs."""
    found = {}
    for name, field in type(options).model_fields.items():
        kinds = [*field.metadata, *(m for arg in get_args(field.annotation) for m in get_args(arg)[1:])]
        marks = [mark for mark in kinds if isinstance(mark, Reference)]
        value = getattr(options, name)
        if marks and value is not None and (fit or not marks[0].fit_only):
            found[name] = str(value)
    return found


LAYERS = 100  # at most, of one network


def _sizes(value: Any) -> Any:
    sizes = value if isinstance(value, tuple) else (value,)
    whole = all(isinstance(n, int) and not isinstance(n, bool) for n in sizes)
    if not whole or len(sizes) > LAYERS or min(sizes, default=1) < 1:
        raise ValueError(
            f"each layer needs at least 1 unit: give a whole number, or a list of one for each layer ({LAYERS} at most)"
        )
    return value


# of hidden layers: one number for all of them, or one for each
Sizes = Annotated[int | tuple[int, ...], BeforeValidator(_sizes)]


def layer_sizes(hidden: Sizes, layers: int = 1, usual: int = 1) -> tuple[int, ...]:
    """The units of each layer.

    hidden  a number, for each of `layers` layers; or the units of each layer
    usual   the default of `layers`: a list says how many layers there are, and `layers` may say the same

    Errors: `ValueError`, for a validator of options, where they say two things.
    """
    if isinstance(hidden, int):
        return (hidden,) * layers
    if layers not in (usual, len(hidden)):
        raise ValueError(
            f"hidden = {list(hidden)} gives {len(hidden)} layers, and layers = {layers}: leave one of them out"
        )
    return hidden


def equal_sizes(hidden: Sizes, layers: int = 1, usual: int = 1) -> tuple[int, int]:
    """The units of layers that are all alike, and how many layers. Errors: `ValueError`, as of `layer_sizes`."""
    sizes = layer_sizes(hidden, layers, usual)
    if len(set(sizes)) != 1:
        raise ValueError(
            f"hidden = {list(sizes)}: all layers have one size here; give one number, and layers"
        )
    return sizes[0], len(sizes)


def one_size(hidden: Sizes) -> int:
    """The units of the one layer there is. Errors: `ValueError`."""
    sizes = layer_sizes(hidden)
    if len(sizes) != 1:
        raise ValueError(f"hidden = {list(sizes)}: one size is needed here; give one number")
    return sizes[0]


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
            said = " ".join(repr(problem["input"]).split())  # of whatever there was, on one line
            said = said if len(said) <= SAID else f"{said[:SAID]}..."
            value = f"{path} = {said}: " if path else ""  # of all options together
            lines.append(f"{where}: {value}{message[0].lower()}{message[1:]}")
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
