"""What the columns of a table are: names, and a support of its own each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

RARE = "(rare)"  # the class of whatever else a category may be
Kind = Literal["real", "binary", "count", "integer", "token"]


@dataclass(frozen=True)
class Column:
    """One column.

    name     as the table has it
    support  `real`; `binary`, 0 or 1; `count`, 0, 1, 2, ...; `integer`, least .. least + levels - 1; `token`, a class by its number from 0
    levels   how many values, of `integer` and `token`
    least    of `integer`, the lowest value
    classes  what the values are called, of `token` and `binary`; () where they have no names. `(rare)` stands for all that are not named
    ordered  whether the order of classes means something
    unit     of the numbers, where it is known
    dtype    of the column in the table that it came from, "" where it came from none
    gaps     whether values were missing among the rows of a fit
    """

    name: str
    support: Kind
    levels: int | None = None
    least: int = 0
    classes: tuple[str, ...] = ()
    ordered: bool = False
    unit: str = ""
    dtype: str = ""
    gaps: bool = False

    @property
    def alike(self) -> tuple[Kind, int | None, int]:
        """Equal for columns whose values are of one set."""
        return self.support, self.levels, self.least

    @property
    def values(self) -> tuple[int, int] | None:
        """The lowest and the highest value; None where there is no highest, or values are real."""
        if self.support == "binary":
            return 0, 1
        return None if self.levels is None else (self.least, self.least + self.levels - 1)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values, without what is not said."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
            if name == "name" or value not in (None, "", (), 0, False)
        }

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> Column:
        """The inverse of `to_dict`. Errors: `ValueError`, `TypeError` or `KeyError` for what is no column."""
        if unknown := values.keys() - {field.name for field in fields(Column)}:
            raise ValueError(f"column: {', '.join(sorted(unknown))}")
        classes, levels = tuple(map(str, values.get("classes", ()))), values.get("levels")
        if values["support"] not in get_args(Kind) or (levels is None) == (
            values["support"] in ("integer", "token")
        ):
            raise ValueError("column: support or levels")
        wanted = {"binary": 2}.get(values["support"], levels)
        if (levels is not None and not levels >= 1) or (classes and len(classes) != wanted):
            raise ValueError("column: levels or classes")
        rest = {
            name: values[name] for name in ("least", "ordered", "unit", "dtype", "gaps") if name in values
        }
        return Column(
            str(values["name"]),
            values["support"],
            None if levels is None else int(levels),
            classes=classes,
            **rest,
        )

    @property
    def whole(self) -> bool:
        """Whether its numbers are whole, though it is taken for real: some are below 0."""
        return self.support == "real" and self.dtype.lower().startswith(("int", "uint"))

    def __str__(self) -> str:
        match self.support:
            case "token":
                return f"{self.name} ({self.levels} {'ordered ' if self.ordered else ''}classes)"
            case "integer":
                return f"{self.name} (integer from {self.least} to {self.least + (self.levels or 1) - 1})"
            case _:
                return f"{self.name} ({self.support})"
