"""The columns of a table: their names and their supports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

RARE = "(rare)"  # the class that stands for all values of a category without a class of their own
Kind = Literal["real", "binary", "count", "integer", "token"]


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: The name in the table.
        support: `real`; `binary`, 0 or 1; `count`, 0, 1, 2, ...; `integer`, least .. least + levels - 1;
            `token`, the number of a class from 0.
        levels: The number of values, for `integer` and `token`; otherwise None.
        least: The lowest value, for `integer`.
        classes: The names of the values, for `token` and `binary`; () if they have no names. `(rare)` stands
            for all values without a name.
        ordered: Whether the classes have an order.
        unit: The unit of the numbers; "" if it is not known.
        dtype: The dtype of the column in the table; "" if the column does not come from a table.
        gaps: Whether values are missing in the rows of the fit.
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
        """A key that is equal for columns with the same set of values."""
        return self.support, self.levels, self.least

    @property
    def values(self) -> tuple[int, int] | None:
        """The lowest and the highest value; None if there is no highest value or if values are real."""
        if self.support == "binary":
            return 0, 1
        return None if self.levels is None else (self.least, self.least + self.levels - 1)

    def to_dict(self) -> dict[str, Any]:
        """Return the column as JSON values, without the fields that are empty.

        Returns:
            The values by field.
        """
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
            if name == "name" or value not in (None, "", (), 0, False)
        }

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> Column:
        """Return the column that `to_dict` stored.

        Args:
            values: The values by field.

        Returns:
            The column.

        Raises:
            ValueError: When the values do not describe a column. `TypeError` and `KeyError` are possible as
                well.
        """
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
        """Whether the numbers are whole although the support is real, because some are below 0."""
        return self.support == "real" and self.dtype.lower().startswith(("int", "uint"))

    def __str__(self) -> str:
        match self.support:
            case "token":
                return f"{self.name} ({self.levels} {'ordered ' if self.ordered else ''}classes)"
            case "integer":
                return f"{self.name} (integer from {self.least} to {self.least + (self.levels or 1) - 1})"
            case _:
                return f"{self.name} ({self.support})"
