"""What a fitted model offers to a page, by its declarations: options, conditions, the kind of x."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import BaseModel

from probgen.contract.event import Event
from probgen.errors import InputError

TIMES = 4  # an option may be so many times its default, if the family states no maximum
USUAL = {"whole": 4000, "number": 10.0}  # the maximum of an option without a default
NAMED = 200  # most classes that are listed


@dataclass(frozen=True)
class Control:
    """One option of `sample`, as a control of the page.

    Attributes:
        name: The name of the option.
        kind: switch, choice, whole or number.
        default: The default of the family.
        says: The description of the option.
        least: The lowest value; None for a choice or switch.
        most: The highest value that the page may ask for, so that times are bounded.
        above: Whether the lowest value itself is excluded.
        choices: The values of a choice.
        when: How much of x must be given for an effect: nothing, part, all, prompt; () for no rule.
    """

    name: str
    kind: str
    default: Any
    says: str
    least: float | None = None
    most: float | None = None
    above: bool = False
    choices: tuple[str, ...] = ()
    when: tuple[str, ...] = ()

    def check(self, value: Any) -> None:
        """Raise `InputError` for a number above the maximum; the family checks everything else.

        Args:
            value: The value of a request.
        """
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if number and self.most is not None and not value <= self.most:
            raise InputError(
                f"{self.name} = {value}: the page allows at most {self.most:g}. Use probgen sample."
            )


def controls_of(options: type[BaseModel]) -> dict[str, Control]:
    """Return the controls of the options of a hook, read from their JSON schema.

    Args:
        options: The class of the options.

    Returns:
        The controls by name. Options that are neither switches, choices nor numbers are left out.
    """
    found = {}
    for name, field in options.model_json_schema().get("properties", {}).items():
        kinds = [part for part in field.get("anyOf", [field]) if part.get("type") != "null"]
        control = _control(name, {**field, **kinds[0]}) if len(kinds) == 1 else None
        if control is not None:
            found[name] = control
    return found


def _control(name: str, field: Mapping[str, Any]) -> Control | None:
    default, says = field.get("default"), field.get("description", "")
    when = tuple(field.get("only", {}).get("x", ()))
    if field.get("type") == "boolean":
        return Control(name, "switch", default, says, when=when)
    if "enum" in field:
        return Control(name, "choice", default, says, choices=tuple(map(str, field["enum"])), when=when)
    kind = {"integer": "whole", "number": "number"}.get(field.get("type", ""))
    if kind is None:
        return None
    least = field.get("minimum", field.get("exclusiveMinimum", 0))
    most = field.get("maximum", field.get("exclusiveMaximum", TIMES * default if default else USUAL[kind]))
    return Control(name, kind, default, says, least, most, "exclusiveMinimum" in field, when=when)


def view_of(event: Event) -> str:
    """Return how x is shown: image, text, sound, table, points or numbers.

    Args:
        event: The description of one datum.

    Returns:
        The name of the view.
    """
    if event.columns:
        return "table"
    if event.is_text:
        return "text"
    if event.rate:
        return "sound"
    if event.is_image and event.channels in (1, 3) and len(event.dims) <= 3:
        return "image"
    return "points" if event.shape == (2,) and event.support == "real" else "numbers"


def described_event(event: Event) -> dict[str, Any]:
    """Return what the page needs of an event, as JSON values.

    Args:
        event: The description of one datum, or of a condition.

    Returns:
        The values by name.
    """
    return {
        "view": view_of(event),
        "words": str(event),
        "dims": list(event.dims),
        "shape": list(event.shape),
        "support": event.support,
        "levels": event.levels or (2 if event.support == "binary" else None),
        "symbols": list(event.symbols),
        "rate": event.rate,
        "columns": [asdict(column) for column in event.columns],
    }


def conditions_of(event: Event) -> list[dict[str, Any]]:
    """Return the conditions of a model as controls: classes, numbers, texts, or arrays that come from a row.

    Args:
        event: The description of one datum.

    Returns:
        A description for each condition.
    """
    found = []
    for name, part in event.given.items():
        if part.dims:
            kind = "text" if part.is_text else "row"
        elif part.support in ("token", "binary", "integer") and (part.levels or 2) <= NAMED:
            kind = "class"
        else:
            kind = "number"
        found.append({"name": name, "kind": kind, **described_event(part)})
    return found


def usual_condition(part: Event) -> Any:
    """Return a value of a condition for the first sample.

    Args:
        part: The event of the condition.

    Returns:
        0, the first symbol, or an array of zeros with at least one number in each dimension.
    """
    if part.is_text:
        return next((symbol for symbol in part.symbols if symbol.isalnum()), part.symbols[0])
    value: Any = 0 if part.support != "real" else 0.0
    for length in reversed(part.shape):
        value = [value] * (length or 1)
    return value


def finite(value: float) -> float | None:
    """Return a number, or None for NaN and infinity, which JSON does not have.

    Args:
        value: The number.

    Returns:
        The number or None.
    """
    return float(value) if math.isfinite(value) else None
