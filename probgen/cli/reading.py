"""The options for reading files, which all commands with data share."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Collection
from typing import Annotated, Any

import typer

from probgen.errors import InputError

Size = Annotated[
    str | None,
    typer.Option(
        "--size", metavar="HEIGHTxWIDTH", help="Scale images to this size, e.g. 32x48; 32 means 32x32."
    ),
]
Crop = Annotated[bool, typer.Option("--crop", help="Crop images around the center to the shape of --size.")]
Gray = Annotated[bool, typer.Option("--gray", help="Convert color images to gray.")]
Scale = Annotated[
    int | None,
    typer.Option(
        "--scale",
        help="Super-resolution: add `low`, each image (of any size) at 1/SCALE of its size.",
    ),
]
Columns = Annotated[
    str | None,
    typer.Option(
        "--columns",
        metavar="NAMES",
        help="Tables: column names a,b,c, or `none` for numbers, or `header` for the first line.",
    ),
]
Drop = Annotated[
    list[str] | None,
    typer.Option("--drop", metavar="NAMES", help="Tables: columns to leave out, e.g. a,b. Repeatable."),
]
Label = Annotated[str | None, typer.Option("--label", metavar="NAME", help="Tables: column with the labels.")]
Weight = Annotated[
    str | None, typer.Option("--weight", metavar="NAME", help="Tables: column with the row weights.")
]
Index = Annotated[
    str | None, typer.Option("--index", metavar="NAME", help="Tables: column with the row names.")
]
Kind = Annotated[
    list[str] | None,
    typer.Option(
        "--kind",
        metavar="NAME=KIND",
        help="Tables: kind of column NAME or 'pixel*': real, binary, count, integer, category, 'low<mid<high'. "
        "Repeatable.",
    ),
]
Rare = Annotated[
    int | None,
    typer.Option(
        "--rare",
        metavar="ROWS",
        help="Tables: merge classes with fewer than ROWS rows, and later unknown classes.",
    ),
]
Na = Annotated[
    list[str] | None,
    typer.Option("--na", metavar="TEXT", help="Tables: mark of missing values, e.g. '?'. Repeatable."),
]
Sep = Annotated[
    str | None,
    typer.Option("--sep", metavar="CHARACTER", help="Tables: column separator; \\t is a tab."),
]
Decimal = Annotated[
    str | None, typer.Option("--decimal", metavar="MARK", help="Tables: decimal mark, a point or a comma.")
]
Encoding = Annotated[
    str | None, typer.Option("--encoding", metavar="NAME", help="Tables: encoding of the text, e.g. latin-1.")
]

OPTIONS: dict[str, tuple[Any, Any]] = {
    "size": (Size, None), "crop": (Crop, False), "gray": (Gray, False), "scale": (Scale, None),
    "columns": (Columns, None), "drop": (Drop, None), "label": (Label, None), "weight": (Weight, None),
    "index": (Index, None), "rare": (Rare, None), "kind": (Kind, None), "na": (Na, None), "sep": (Sep, None), "decimal": (Decimal, None),
    "encoding": (Encoding, None),
}  # fmt: skip


IMAGES = ("size", "crop", "gray", "scale")


def with_reading(command: Callable[..., None], leave_out: Collection[str] = ()) -> Callable[..., None]:
    """Add the options for reading files to a command, which receives them as `how` for `probgen.datasets.load`."""
    own = inspect.signature(command, eval_str=True)
    at = list(own.parameters).index("how")
    options = [
        inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=kind)
        for name, (kind, default) in OPTIONS.items()
        if name not in leave_out
    ]
    parameters = list(own.parameters.values())
    parameters[at : at + 1] = options

    @functools.wraps(command)
    def reading_first(**arguments: Any) -> None:
        chosen = {name: arguments.pop(name, default) for name, (_, default) in OPTIONS.items()}
        command(how=reading(**chosen), **arguments)

    reading_first.__dict__.pop("__wrapped__")  # the signature differs from the wrapped one
    reading_first.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]  # inspect reads it
    reading_first.__annotations__ = {each.name: each.annotation for each in parameters}
    return reading_first


def with_tables(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options for reading tables to a command."""
    return with_reading(command, IMAGES)


def reading(*, size: str | None, crop: bool, gray: bool, scale: int | None, **table: Any) -> dict[str, Any]:
    """Return the options for reading files, in the form for `probgen.datasets.load`, or raise `InputError`."""
    how: dict[str, Any] = {"size": None, "crop": "center" if crop else None, "gray": gray, "scale": scale}
    if size is not None:
        sides = re.fullmatch(r"([0-9]{1,6})(?:x([0-9]{1,6}))?", size)
        if sides is None:
            raise InputError(f"--size {size}: a number of pixels (32), or HEIGHTxWIDTH (32x48), is needed")
        how["size"] = (int(sides[1]), int(sides[2] or sides[1]))
    if table["columns"]:
        table["columns"] = [each.strip() for each in table["columns"].split(",")]
    if table["kind"]:
        table["kind"] = dict(map(_kind, table["kind"]))
    if table["sep"]:
        table["sep"] = table["sep"].replace("\\t", "\t")
    chosen = {name: value for name, value in table.items() if value is not None and value != []}
    return {**how, **({"table": chosen} if chosen else {})}


def _kind(text: str) -> tuple[str, str]:
    name, equals, kind = text.partition("=") if "<" in text else text.rpartition("=")  # a name can contain =
    if not (name and equals and kind):
        raise InputError(f"--kind {text}: NAME=KIND is needed, e.g. age=count")
    return name, kind
