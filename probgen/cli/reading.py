"""Options that say how files are read: the same for every command that takes data."""

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
        "--size", metavar="HEIGHTxWIDTH", help="Scale images to this size, e.g. 32x48, or 32 for both sides."
    ),
]
Crop = Annotated[
    bool, typer.Option("--crop", help="Cut images around the center where --size has another shape.")
]
Gray = Annotated[bool, typer.Option("--gray", help="Convert color images to gray.")]
Scale = Annotated[
    int | None,
    typer.Option(
        "--scale",
        help="For super-resolution: add `low`, the images at 1/SCALE of their size. Images may have different sizes.",
    ),
]
Columns = Annotated[
    str | None,
    typer.Option(
        "--columns",
        metavar="NAMES",
        help="Tables: names of the columns of a file without a header, as a,b,c; `none` numbers them, `header` takes the first line.",
    ),
]
Drop = Annotated[
    list[str] | None, typer.Option("--drop", metavar="NAMES", help="Tables: leave columns out, as a,b.")
]
Label = Annotated[
    str | None, typer.Option("--label", metavar="NAME", help="Tables: the column that is the label.")
]
Weight = Annotated[
    str | None, typer.Option("--weight", metavar="NAME", help="Tables: the column that weighs rows.")
]
Index = Annotated[
    str | None, typer.Option("--index", metavar="NAME", help="Tables: the column that names rows.")
]
Kind = Annotated[
    list[str] | None,
    typer.Option(
        "--kind",
        metavar="NAME=KIND",
        help="Tables: what a column is: real, binary, count, integer, category, or ordered classes as 'low<mid<high'. "
        "NAME may be a pattern, as 'pixel*'. Can be given several times.",
    ),
]
Rare = Annotated[
    int | None,
    typer.Option(
        "--rare",
        metavar="ROWS",
        help="Tables: classes of fewer rows become one, and so do classes that are new later.",
    ),
]
Na = Annotated[
    list[str] | None,
    typer.Option(
        "--na", metavar="TEXT", help="Tables: a mark of missing values. Can be given several times."
    ),
]
Sep = Annotated[
    str | None,
    typer.Option("--sep", metavar="CHARACTER", help="Tables: what parts columns; \\t is a tab."),
]
Decimal = Annotated[
    str | None, typer.Option("--decimal", metavar="MARK", help="Tables: the decimal mark, . or a comma.")
]
Encoding = Annotated[
    str | None, typer.Option("--encoding", metavar="NAME", help="Tables: of the text, as latin-1.")
]

OPTIONS: dict[str, tuple[Any, Any]] = {
    "size": (Size, None), "crop": (Crop, False), "gray": (Gray, False), "scale": (Scale, None),
    "columns": (Columns, None), "drop": (Drop, None), "label": (Label, None), "weight": (Weight, None),
    "index": (Index, None), "rare": (Rare, None), "kind": (Kind, None), "na": (Na, None), "sep": (Sep, None), "decimal": (Decimal, None),
    "encoding": (Encoding, None),
}  # fmt: skip


IMAGES = ("size", "crop", "gray", "scale")


def with_reading(command: Callable[..., None], leave_out: Collection[str] = ()) -> Callable[..., None]:
    """The command with the options of reading, of which it gets what `probgen.datasets.load` takes, as `how`."""
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

    reading_first.__dict__.pop("__wrapped__")  # its own signature is another one
    reading_first.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]  # inspect reads it
    reading_first.__annotations__ = {each.name: each.annotation for each in parameters}
    return reading_first


def with_tables(command: Callable[..., None]) -> Callable[..., None]:
    """The same with the options of tables alone."""
    return with_reading(command, IMAGES)


def reading(*, size: str | None, crop: bool, gray: bool, scale: int | None, **table: Any) -> dict[str, Any]:
    """How files are read, as `probgen.datasets.load` takes it. Errors: `InputError`."""
    how: dict[str, Any] = {"size": None, "crop": "center" if crop else None, "gray": gray, "scale": scale}
    if size is not None:
        sides = re.fullmatch(r"([0-9]{1,6})(?:x([0-9]{1,6}))?", size)
        if sides is None:
            raise InputError(
                f"--size {size}: a number of pixels, as 32, or HEIGHTxWIDTH, as 32x48, is needed"
            )
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
    name, equals, kind = text.partition("=") if "<" in text else text.rpartition("=")  # names may have one
    if not (name and equals and kind):
        raise InputError(f"--kind {text}: NAME=KIND is needed, as age=count")
    return name, kind
