"""What one datum is."""

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

SAID = 8  # columns that are named where an event is told in words
Support = Literal["real", "binary", "count", "integer", "token", "mixed"]


@dataclass(frozen=True)
class Event:
    """What one datum is: names and sizes of its dimensions, and the values that it may take.

    dims     names of the dimensions: `("feature",)`, `("height", "width")`, `("channel", "height", "width")`, ...
    shape    their sizes; None is a length that varies; height and width of images of any size
    support  `real`, `binary` (0 or 1), `count` (0, 1, 2, ...), `integer` (0 .. levels - 1, ordered) or `token` (0 .. levels - 1,
             unordered); `mixed` of a table whose columns differ in it
    levels   how many values, for `integer` and `token`
    given    what the model is conditioned on, by name: `{"label": Event((), (), "token", 10)}`; such a condition may itself be
             a vector, an image or a sequence, whose first dimension may vary
    symbols  what the levels of a token are called: the characters of a text, the classes of a label; () where they have no names
    rate     samples a second, of a sound whose levels are those of the mu-law; None of anything else
    attributes  what is known of a datum beside it, in a family that learns that: names, and how many classes each has, 0 for a number
    scale    of a condition that is an image of any size: x has so many times its height and its width
    columns  of a table, what each column is; () where they have no names
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
        """Number of dimensions of one datum; a length that varies counts once."""
        return math.prod(length or 1 for length in self.shape)

    @property
    def lengths(self) -> dict[str, str]:
        """Names of the lengths of conditions that vary, `{"source_length": "source"}`."""
        return {
            f"{name}_length": name
            for name, part in self.given.items()
            if None in part.shape and not part.any_size
        }

    @property
    def is_text(self) -> bool:
        """Whether it is a sequence of symbols that have names."""
        return bool(self.symbols and self.dims)

    @property
    def is_image(self) -> bool:
        """Whether the last two dimensions are a height and a width, of x or of a condition (`low_height`, `low_width`)."""
        return is_image(self.dims)

    @property
    def any_size(self) -> bool:
        """Whether it is an image whose height and width vary from row to row."""
        return self.is_image and None in self.shape[-2:]

    @property
    def channels(self) -> int:
        """Of an image; 1 where it has no such dimension."""
        return math.prod(length or 1 for length in self.shape[:-2])

    @property
    def discrete(self) -> bool:
        """True where a probability is one of single values (counting measure)."""
        if self.support == "mixed":
            return all(column.support != "real" for column in self.columns)
        return self.support != "real"

    @property
    def measure(self) -> str:
        """Of a density on it: `counting`, `lebesgue`, or of a table with columns of both their product, `mixed`."""
        real = [column.support == "real" for column in self.columns] or [self.support == "real"]
        return "lebesgue" if all(real) else "mixed" if any(real) else "counting"

    def image(self, halvings: int = 0, by: str = "halvings", instead: str = "") -> tuple[int, int, int]:
        """Channels, height and width of images of one size whose sides can be halved so many times.

        by       the options that say how often, and
        instead  what takes other events, for the lines that say what to do. Errors: `InputError`
        """
        if self.dims[-2:] != ("height", "width") or len(self.dims) > 3 or None in self.shape:
            raise InputError(
                f"x must be images of one size, not {self}" + (f"; {instead}" if instead else "")
            )
        channels, height, width = (1, *(length or 1 for length in self.shape))[-3:]
        for name, length in (("height", height), ("width", width)):
            if length % 2**halvings:
                raise InputError(
                    f"x has {name} {length}, which cannot be halved {halvings} times: use images whose sides "
                    f"{2**halvings} divides, or fewer {by}"
                )
        return channels, height, width

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values, and such that TOML has; a length that varies is 0, and `symbols`, `rate`, `attributes`, `scale` and `columns` are left out if there are none."""
        values = asdict(self) | {"given": {name: event.to_dict() for name, event in self.given.items()}}
        values["columns"] = [column.to_dict() for column in self.columns]
        values["shape"] = [length or 0 for length in self.shape]
        optional = ("symbols", "rate", "attributes", "scale", "columns")
        return {name: value for name, value in values.items() if name not in optional or value}

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> Event:
        """The inverse of `to_dict`. Errors: `ValueError`, `TypeError` or `KeyError` for what is no event."""
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
        """The event of the model that results of an analysis are about. Errors: `KeyError` where they do not say it."""
        return Event.from_dict(json.loads(found.attrs["event"]))

    @property
    def fixed_shape(self) -> tuple[int, ...]:
        """The shape, of rows of one length. Errors: `InputError` where lengths vary."""
        if None in self.shape:
            raise InputError(f"rows of one length are needed, not {self}")
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
    """Whether the last two of some dimensions are a height and a width."""
    return len(dims) > 1 and str(dims[-2]).endswith("height") and str(dims[-1]).endswith("width")


def columns_of(event: Event) -> tuple[Column, ...]:
    """A column for each dimension of a datum, flattened; by number where they have no names. Errors: `InputError` where lengths vary."""
    if event.columns:
        return event.columns
    support: Any = event.support
    return tuple(Column(str(i), support, event.levels) for i in range(math.prod(event.fixed_shape)))
