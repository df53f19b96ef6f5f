"""The event: a description of one datum."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from probgen.contract.columns import Column
from probgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

SAID = 8  # the number of columns that the text of an event names
Support = Literal["real", "binary", "count", "integer", "token", "mixed"]


@dataclass(frozen=True)
class Event:
    """The description of one datum: the names and sizes of its dimensions, and the values that it may take.

    Attributes:
        dims: The names of the dimensions: `("feature",)`, `("height", "width")`,
            `("channel", "height", "width")`, ...
        shape: The sizes of the dimensions. None stands for a length that varies, and for the height and width
            of images of any size.
        support: `real`, `binary` (0 or 1), `count` (0, 1, 2, ...), `integer` (0 .. levels - 1, ordered),
            `token` (0 .. levels - 1, unordered), or `mixed` for a table whose columns have different
            supports.
        levels: The number of values, for `integer` and `token`; otherwise None.
        given: The conditions of the model by name: `{"label": Event((), (), "token", 10)}`. A condition may
            also be a vector, an image or a sequence, whose first dimension may vary.
        symbols: The names of the levels of a token: the characters of a text, or the classes of a label; ()
            if they have no names.
        rate: The sampling rate of a sound with mu-law levels, in samples per second; otherwise None.
        attributes: The number of classes of each attribute that the family learns, by name; 0 for an
            attribute that is a number.
        scale: For a condition that is an image of any size: the height of x divided by the height of the
            condition; the same ratio applies to the widths.
        columns: The columns of a table; () if they have no names.
    """

    dims: tuple[str, ...]
    shape: tuple[int | None, ...]
    support: Support
    levels: int | None = None
    given: Mapping[str, Event] = field(default_factory=dict)
    symbols: tuple[str, ...] = ()
    rate: int | None = None
    attributes: Mapping[str, int] = field(default_factory=dict)
    scale: int | None = None
    columns: tuple[Column, ...] = ()

    @property
    def size(self) -> int:
        """The number of dimensions of one datum; a length that varies counts as 1."""
        return math.prod(length or 1 for length in self.shape)

    @property
    def lengths(self) -> dict[str, str]:
        """The names of varying lengths, with their conditions: `{"source_length": "source"}`."""
        return {
            f"{name}_length": name
            for name, part in self.given.items()
            if None in part.shape and not part.any_size
        }

    @property
    def is_text(self) -> bool:
        """Whether the datum is a sequence of symbols that have names."""
        return bool(self.symbols and self.dims)

    @property
    def is_image(self) -> bool:
        """Whether the last two dimensions are a height and a width.

        The dimensions of a condition have a prefix (`low_height`, `low_width`).
        """
        return is_image(self.dims)

    @property
    def any_size(self) -> bool:
        """Whether the datum is an image whose height and width vary between rows."""
        return self.is_image and None in self.shape[-2:]

    @property
    def channels(self) -> int:
        """The number of channels of an image; 1 for an image without a channel dimension."""
        return math.prod(length or 1 for length in self.shape[:-2])

    @property
    def discrete(self) -> bool:
        """Whether each value has a probability of its own (counting measure)."""
        if self.support == "mixed":
            return all(column.support != "real" for column in self.columns)
        return self.support != "real"

    @property
    def measure(self) -> str:
        """The measure of a density: `counting`, `lebesgue` or `mixed`.

        `mixed` is the product of both, for a table with columns of both kinds.
        """
        real = [column.support == "real" for column in self.columns] or [self.support == "real"]
        return "lebesgue" if all(real) else "mixed" if any(real) else "counting"

    def image(self, halvings: int = 0, by: str = "halvings", instead: str = "") -> tuple[int, int, int]:
        """Return the channels, height and width of images of one size.

        Args:
            halvings: The number of times that a network halves the height and the width.
            by: The names of the options that set the number of halvings, for the message.
            instead: An alternative for other events, for the message.

        Returns:
            The number of channels, the height and the width.

        Raises:
            InputError: When x is not an image of one size, or when a side cannot be halved so often.
        """
        if self.dims[-2:] != ("height", "width") or len(self.dims) > 3 or None in self.shape:
            raise InputError(
                f"x must be images of one size, not {self}"
                + (f". Alternative: {instead}." if instead else "")
            )
        channels, height, width = (1, *(length or 1 for length in self.shape))[-3:]
        for name, length in (("height", height), ("width", width)):
            if length % 2**halvings:
                raise InputError(
                    f"x has {name} {length}, which cannot be halved {halvings} times. Use images with sides that are "
                    f"multiples of {2**halvings}, or fewer {by}."
                )
        return channels, height, width

    def to_dict(self) -> dict[str, Any]:
        """Return the event as JSON values that TOML can store, too.

        A length that varies is stored as 0. `symbols`, `rate`, `attributes`, `scale` and `columns` are left
        out if they are empty.

        Returns:
            The values by field.
        """
        values = asdict(self) | {"given": {name: event.to_dict() for name, event in self.given.items()}}
        values["columns"] = [column.to_dict() for column in self.columns]
        values["shape"] = [length or 0 for length in self.shape]
        optional = ("symbols", "rate", "attributes", "scale", "columns")
        return {name: value for name, value in values.items() if name not in optional or value}

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> Event:
        """Return the event that `to_dict` stored.

        Args:
            values: The values by field.

        Returns:
            The event.

        Raises:
            ValueError: When the values do not describe an event. `TypeError` and `KeyError` are possible as
                well.
        """
        sizes, levels, rate = values["shape"], values["levels"], values.get("rate")
        scale = values.get("scale")
        if values["support"] not in get_args(Support) or len(sizes) != len(values["dims"]):
            raise ValueError("support or shape")
        if any(size is not None and not size >= 0 for size in sizes) or (
            levels is not None and not levels >= 1
        ):
            raise ValueError("shape or levels")
        if (rate is not None and not rate >= 1) or (scale is not None and not scale >= 1):
            raise ValueError("rate or scale")
        attributes = {str(name): int(n) for name, n in values.get("attributes", {}).items()}
        if any(n < 0 for n in attributes.values()):
            raise ValueError("attributes")
        columns = tuple(Column.from_dict(column) for column in values.get("columns", ()))
        if (columns and [len(columns)] != list(sizes)) or (values["support"] == "mixed" and not columns):
            raise ValueError("columns")
        return Event(
            tuple(values["dims"]),
            tuple(size or None for size in sizes),
            values["support"],
            values["levels"],
            {name: Event.from_dict(event) for name, event in values["given"].items()},
            tuple(values.get("symbols", ())),
            rate,
            attributes,
            scale,
            columns,
        )

    @staticmethod
    def of(found: xr.Dataset) -> Event:
        """Return the event of the model that produced the results of an analysis.

        Args:
            found: The results of an analysis.

        Returns:
            The event of the model.

        Raises:
            KeyError: When the results have no attribute `event`.
        """
        return Event.from_dict(json.loads(found.attrs["event"]))

    @property
    def fixed_shape(self) -> tuple[int, ...]:
        """The shape of rows of one shape.

        Raises:
            InputError: When lengths or sizes vary.
        """
        if None in self.shape:
            raise InputError(f"rows of one shape are needed, not {self}. Cut or pad the rows to one shape.")
        return tuple(length for length in self.shape if length is not None)

    def __str__(self) -> str:
        shape = " x ".join("?" if length is None else str(length) for length in self.shape) or "scalar"
        if self.columns:
            some = ", ".join(map(str, self.columns[:SAID])) + (", ..." if len(self.columns) > SAID else "")
            return f"{len(self.columns)} columns: {some}" if len(self.columns) > 1 else f"the column {some}"
        levels = f" of {self.levels} levels" if self.levels else ""
        part = f", 1/{self.scale} of x" if (self.scale or 1) > 1 else ""
        return f"{shape} {self.support}{levels} ({', '.join(self.dims)}){part}"


def is_image(dims: Sequence[object]) -> bool:
    """Return whether the last two dimensions are a height and a width.

    Args:
        dims: The names of the dimensions.

    Returns:
        True if the names end in `height` and `width`.
    """
    return len(dims) > 1 and str(dims[-2]).endswith("height") and str(dims[-1]).endswith("width")


def columns_of(event: Event) -> tuple[Column, ...]:
    """Return the columns of an event, one for each dimension of the flattened datum.

    Args:
        event: The event of the data.

    Returns:
        The columns of a table; for other events, columns named by their numbers from 0.

    Raises:
        InputError: When lengths vary.
    """
    if event.columns:
        return event.columns
    support: Any = event.support
    return tuple(Column(str(i), support, event.levels) for i in range(math.prod(event.fixed_shape)))
