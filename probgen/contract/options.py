"""Base classes and helpers for the options of families, recipes and commands.

pydantic checks the options; an error is reported in one line.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from probgen.errors import InputError, did_you_mean

SAID = 120  # the longest value that an error shows, in characters
SET = "set"  # in `only`: any value except the default


def only(**where: Any) -> dict[str, Any]:
    """Declare that an option has an effect only for some values of other options.

    Use this function in a field: `Field(..., json_schema_extra=only(method="svi"))`. An option that is set
    but has no effect is refused. In the options of a sample hook, `x` states how much of x is given:
    "nothing", "part", "all", or "prompt" (complete rows that the samples continue).

    Args:
        **where: By option name, the value or the tuple of values with which this option has an effect. `SET`
            stands for any value except the default.

    Returns:
        The value of `json_schema_extra`.
    """
    return {"only": {name: value if isinstance(value, tuple) else (value,) for name, value in where.items()}}


class Options(BaseModel):
    """The base class of the options of a family, of its hooks and of an analysis.

    Options are immutable. The class refuses unknown names, NaN, infinity, values of another type (True for 1,
    "3" for 3), and options that have no effect (see `only`). Sequences are tuples: annotate them as
    `tuple[int, ...]`.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, validate_default=True
    )

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, values: Any) -> Any:
        """Convert NumPy scalars to Python numbers, and TOML lists to tuples."""
        if not isinstance(values, Mapping):
            return values
        return {name: _plain(value) for name, value in values.items()}

    @model_validator(mode="after")
    def _used(self) -> Self:
        """Refuse an option that has no effect because of another option."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        if (problem := Options.unused(self, **values)) is not None:
            raise ValueError(problem)
        return self

    def unused(self, **context: Any) -> str | None:
        """Return the error message for an option that is set and has no effect.

        Args:
            **context: Values by the names that `only` may refer to.

        Returns:
            The message for the first option without an effect; None if every option that is set has an
            effect.
        """
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
                return f"{name} = {getattr(self, name)!r} has no effect with {other} = {value!r}: {name} requires {other} = {needed}"
        return None


def refuse_unused(options: BaseModel, why: str, *names: str) -> None:
    """Refuse options that are set and have no effect on these data.

    Args:
        options: The options of a fit.
        why: The reason, for the message.
        *names: The options to check.

    Raises:
        InputError: When one of the options does not have its default value.
    """
    fields = type(options).model_fields
    for name in names:
        if getattr(options, name) != fields[name].default:
            raise InputError(f"{name} = {getattr(options, name)!r} has no effect: {why}. Leave it out.")


class MeanOptions(Options):
    """Options of a sample hook that can decode latents without noise."""

    mean: bool = Field(
        False,
        description="return the mean of p(x | z) as x instead of a sample",
        json_schema_extra=only(x=("nothing", "part")),
    )


class ConditionalMeanOptions(Options):
    """Options of a sample hook that can return the center of p(x | all conditions).

    Peak signal-to-noise ratios (in decibels) are computed from this center.
    """

    mean: bool = Field(
        False,
        description="return the unrounded center (mean or location) of p(x given the image) instead of a sample",
    )


class ConditionalsOptions(Options):
    """Options of a score hook that can return each p(x_i | x_<i)."""

    conditionals: bool = Field(
        False,
        description="also return `site_log_prob`, `site_mean` and (discrete x) `site_entropy` of each p(x_i | x_<i)",
    )


class PosteriorOptions(Options):
    """Options of a score hook that can return p(class | x)."""

    posterior: bool = Field(
        False, description="also return p(class | x), as `posterior (row, ...)`, and the most likely class"
    )


class NoOptions(Options):
    """Options of a hook that has no options."""


def _plain(value: Any) -> Any:
    numpy = sys.modules.get("numpy")  # if NumPy is not imported, no value is a NumPy scalar
    if numpy is not None and isinstance(value, numpy.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    return tuple(map(_plain, value)) if isinstance(value, list) else value


@dataclass(frozen=True)
class Reference:
    """The mark of an option that names a run on which a family builds.

    Attributes:
        fit_only: Whether only the fit loads the run, and the fitted model does not need it.
    """

    fit_only: bool = False


def _run(value: Any) -> Any:
    if isinstance(value, Path) or (isinstance(value, str) and value and Path(value).exists()):
        return str(Path(value).resolve())  # absolute, for use from another working directory
    if isinstance(value, str) and value:
        return value
    raise ValueError(
        "a fitted model is required. Give the folder of a run, or a file that fitted.save(PATH) wrote."
    )


# The type of an option that names a run. For `generator: RunPath`, `build(options, event, generator)` receives
# the loaded model. `FitRunPath` is the same for a run that only the fit needs.
RunPath = Annotated[str, BeforeValidator(_run), Reference()]
FitRunPath = Annotated[str, BeforeValidator(_run), Reference(fit_only=True)]


def references(options: BaseModel, fit: bool = True) -> dict[str, str]:
    """Return the runs that options name.

    Args:
        options: The options of a fit.
        fit: Whether to include runs that only a fit needs.

    Returns:
        The paths of the runs by option; options without a value are left out.
    """
    found = {}
    for name, field in type(options).model_fields.items():
        kinds = [*field.metadata, *(m for arg in get_args(field.annotation) for m in get_args(arg)[1:])]
        marks = [mark for mark in kinds if isinstance(mark, Reference)]
        value = getattr(options, name)
        if marks and value is not None and (fit or not marks[0].fit_only):
            found[name] = str(value)
    return found


LAYERS = 100  # the largest number of layers in one network


def _sizes(value: Any) -> Any:
    sizes = value if isinstance(value, tuple) else (value,)
    whole = all(isinstance(n, int) and not isinstance(n, bool) for n in sizes)
    if not whole or len(sizes) > LAYERS or min(sizes, default=1) < 1:
        raise ValueError(
            f"each layer needs at least 1 unit. Give a whole number, or a list with one whole number per layer (at most {LAYERS})."
        )
    return value


# The type of the sizes of hidden layers: one number for all layers, or a tuple with one number per layer.
Sizes = Annotated[int | tuple[int, ...], BeforeValidator(_sizes)]


def layer_sizes(hidden: Sizes, layers: int = 1, usual: int = 1) -> tuple[int, ...]:
    """Return the number of units of each layer.

    Args:
        hidden: One number for each of the `layers` layers, or the number of units of each layer.
        layers: The number of layers. If `hidden` is a list, `layers` must be its length or the default.
        usual: The default of `layers`.

    Returns:
        The units by layer.

    Raises:
        ValueError: When `hidden` and `layers` disagree. In a validator of options, the error becomes an
            `InputError`.
    """
    if isinstance(hidden, int):
        return (hidden,) * layers
    if layers not in (usual, len(hidden)):
        raise ValueError(
            f"hidden = {list(hidden)}: the list has {len(hidden)} layers, but layers = {layers}. Leave one of them out."
        )
    return hidden


def equal_sizes(hidden: Sizes, layers: int = 1, usual: int = 1) -> tuple[int, int]:
    """Return the number of units and the number of layers of a network whose layers have equal sizes.

    Args:
        hidden: One number for all layers, or a list of equal numbers.
        layers: The number of layers, as in `layer_sizes`.
        usual: The default of `layers`.

    Returns:
        The units of a layer, and the number of layers.

    Raises:
        ValueError: When the sizes differ, or `hidden` and `layers` disagree.
    """
    sizes = layer_sizes(hidden, layers, usual)
    if len(set(sizes)) != 1:
        raise ValueError(
            f"hidden = {list(sizes)}: all layers have one size here. Give one number, and set layers."
        )
    return sizes[0], len(sizes)


def one_size(hidden: Sizes) -> int:
    """Return the number of units of a network with one layer.

    Args:
        hidden: One number, or a list with one number.

    Returns:
        The units of the layer.

    Raises:
        ValueError: When `hidden` has several sizes.
    """
    sizes = layer_sizes(hidden)
    if len(sizes) != 1:
        raise ValueError(f"hidden = {list(sizes)}: one size is needed here. Give one number.")
    return sizes[0]


M = TypeVar("M", bound=BaseModel)


def checked(model: type[M], values: Mapping[str, Any], where: str) -> M:
    """Return `values` as an instance of `model`.

    Args:
        model: A pydantic class.
        values: The values by field.
        where: The place of the options, as the start of error messages.

    Returns:
        The checked options.

    Raises:
        InputError: When a value is refused. The message has one line with the field, the value and the
            reason.
    """
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
            said = " ".join(repr(problem["input"]).split())  # on one line
            said = said if len(said) <= SAID else f"{said[:SAID]}..."
            # without a path, the message concerns several options
            value = f"{path} = {said}: " if path else ""
            lines.append(f"{where}: {value}{message[0].lower()}{message[1:]}")
    return lines


def _fields(model: type[BaseModel], path: tuple[int | str, ...]) -> Mapping[str, Any]:
    """Return the fields of the model at `path`; a mapping is resolved by the type of its values."""
    fields: Mapping[str, Any] = model.model_fields
    for part in path:
        field = fields.get(str(part))
        kind = field.annotation if field is not None else None
        for candidate in (kind, *getattr(kind, "__args__", ())):
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                fields = candidate.model_fields
                break
    return fields
