"""Shared by the commands: options, errors, tables. Nothing heavy is imported here."""

from __future__ import annotations

import functools
import io
import json
import math
import os
import sys
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

import typer

from probgen.cli import completion
from probgen.errors import InputError, Interrupted, PeerError, ProbgenError, RunError

if TYPE_CHECKING:
    from pydantic import BaseModel

    from probgen.plugins.registry import Kind


def place(text: str | Path) -> Path:
    """A path on the command line, or the default of one; an empty one would be the current folder."""
    if not str(text).strip():
        raise typer.BadParameter(
            "an empty path; give a file or folder ('.' is the current one), or leave it out"
        )
    return Path(text)


TABLES = (".csv", ".tsv", ".parquet")  # as which `probgen.api.framing` writes, whose import takes time


def check_hdf5(path: Path, *more: str, tables: bool = False) -> None:
    """Results are HDF5, and a name should not say otherwise; tables: they can be tables as well. Errors: `InputError`."""
    if str(path) == "-" or path.suffix.lower() not in (".h5", ".hdf5", ".nc", *more):
        also = f"; a table is written to {', '.join(TABLES)}" if tables else ""
        raise InputError(
            f"--out {path}: results are written as HDF5; give a name that ends in .h5 or .nc{also}"
        )


def check_table(path: Path) -> bool:
    """Whether a name is that of a table, which draws can be written as. Errors: `InputError` for one that is there."""
    if path.suffix.lower() not in TABLES:
        return False
    if path.exists():
        raise InputError(f"--out {path}: there is such a file already, which is not replaced")
    return True


def is_of_parts(out: Path) -> bool:
    """Whether results go there in parts: a folder, or a name without a suffix."""
    return out.is_dir() or not out.suffix


def cluster_of(cluster: str | None) -> int | str | None:
    """How many processes, or the address of a scheduler. Errors: `InputError`."""
    if cluster is None:
        return None
    if not (cluster.isdecimal() and int(cluster) >= 1) and "://" not in cluster:
        raise InputError(
            f"--cluster {cluster}: give a number of processes from 1, or the address of a scheduler, tcp://HOST:8786"
        )
    return int(cluster) if cluster.isdecimal() else cluster


Seed = Annotated[int, typer.Option("--seed", help="Seed of all random numbers.")]
Device = Annotated[str | None, typer.Option("--device", help="Device: cpu, cuda, cuda:1, ...")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Do not print progress.")]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        parser=place,
        help="Folder with data sets. Default: PROBGEN_DATA; data sets that are not there are downloaded.",
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Set an option, e.g. --set components=3, or a list, --set hold=[age,glasses]. Repeatable.",
    ),
]
Data = Annotated[
    str,
    typer.Option(
        "--data", autocompletion=completion.datasets, help="Name of a data set (probgen datasets), or a file."
    ),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="N|ADDRESS",
        help="Share the work among N processes, or the workers of a Dask scheduler.",
    ),
]
Run = Annotated[
    Path,
    typer.Argument(parser=place, autocompletion=completion.runs, help="A run folder, or a model.h5 file."),
]
Split = Annotated[
    str | None, typer.Option("--split", help="Part of the data set. Default: test, if there is one.")
]

LAUNCHED = (
    "PROBGEN_LAUNCHED"  # in processes that `probgen.cli.launching` has started: where they find one another
)
GONE = 75  # their exit code where another one is gone

RESERVED = {
    "family",
    "folder",
    "data",
    "valid",
    "fitted",
    "n",
    "given",
    "seed",
    "device",
    "dtype",
    "out",
    "resume",
    "force",
    "progress",
    "parts",
    "client",
}


def report(command: Callable[..., Any]) -> Callable[..., Any]:
    """Turn probgen's errors into one line on stderr and an exit code."""

    @functools.wraps(command)
    def reporting(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except BrokenPipeError:  # whoever read the output has had enough
            _discard_output()
            raise typer.Exit(0) from None
        except (ProbgenError, Interrupted, KeyboardInterrupt, MemoryError, OSError) as error:
            if os.environ.get("PROBGEN_TRACEBACK"):
                traceback.print_exc()
            if (
                isinstance(error, PeerError) and LAUNCHED in os.environ
            ):  # its launcher says which is gone, and why
                raise typer.Exit(GONE) from None
            complain(str(error) or type(error).__name__)
            if isinstance(error, ProbgenError | Interrupted):
                raise typer.Exit(error.exit_code) from None
            raise typer.Exit(130 if isinstance(error, KeyboardInterrupt) else 1) from None

    return reporting


def open_streams() -> list[str]:
    """Open the null device for standard streams that are closed, and return their names.

    Left closed, the next file that is opened would get the number, and what is printed would be written into it.
    """
    closed = []
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(
                os.open(os.devnull, os.O_RDWR), True
            )  # the lowest number that is free: this one
            setattr(sys, name, os.fdopen(number, "w" if number else "r"))
            closed.append(name)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a character that the terminal's encoding has not
    return closed


@contextmanager
def writing() -> Iterator[None]:
    """Say what cannot be written to: standard output. Errors: `RunError`; `BrokenPipeError` passes."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        _discard_output()
        raise RunError(f"standard output cannot be written: {error.strerror or error}") from None


def _discard_output() -> None:
    """What is still to be written would fail once more when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def complain(line: str) -> None:
    """A line on stderr; where that cannot be written either, the exit code has to do."""
    with suppress(OSError):
        typer.echo(
            "probgen: " + printable(line).replace("\n", "\\n"), err=True
        )  # also of names with line feeds


def printable(text: str) -> str:
    """Without control characters, so that a name in a file cannot write on the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


def settings(pairs: list[str] | None, reserved: Collection[str] = RESERVED) -> dict[str, Any]:
    """`["components=3"]` as `{"components": 3}`; values are TOML, and text where they are not."""
    values: dict[str, Any] = {}
    for pair in pairs or []:
        name, equals, text = pair.partition("=")
        if not equals or not name.strip():
            raise InputError(f"--set {pair!r}: give it as NAME=VALUE")
        if name.strip() in reserved:
            raise InputError(
                f"--set {pair!r}: {name.strip()!r} is not an option to set; use --{name.strip()} if there is one"
            )
        values[name.strip()] = _value(text.strip())
    return values


def _value(text: str) -> Any:
    """A value of TOML; a text where it is none, or a list of such, as in `[age, glasses]`."""
    import tomllib

    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        words = [part.strip() for part in text[1:-1].split(",")] if text[:1] + text[-1:] == "[]" else []
        if words[-1:] == [""]:  # a comma at the end
            words.pop()
        return [_value(word) for word in words] if words else text


def progress(quiet: bool) -> bool:
    """Whether to show a bar: on a terminal, unless it is to be quiet."""
    return not quiet and sys.stderr.isatty()


def _finite(value: Any) -> Any:
    """The same with None for numbers that JSON has not."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(part) for name, part in value.items()}
    return [_finite(part) for part in value] if isinstance(value, list | tuple) else value


def put(result: Mapping[str, Any] | Sequence[Any], as_json: bool, show: Callable[[], None]) -> None:
    """Print a result: as JSON, or as `show` does."""
    with writing():
        if as_json:
            typer.echo(json.dumps(_finite(result), indent=2, default=str, allow_nan=False))
        else:
            show()


def print_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], title: str = "") -> None:
    """A table on stdout; numbers to the right. What a row lacks is left empty."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(
        title=title or None, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False, padding=(0, 1)
    )
    shown = [column for column in columns if any(row.get(column) is not None for row in rows)]
    for column in shown:
        numeric = all(isinstance(row.get(column), int | float | None) for row in rows)
        short = max(len(_cell(row.get(column))) for row in rows) <= 24
        table.add_column(column.replace("_", " "), justify="right" if numeric else "left", no_wrap=short)
    for row in rows:
        table.add_row(*(_cell(row.get(column)) for column in shown))
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False, markup=False)
    with console.capture() as printed:  # Rich would end the process itself where a pipe is closed
        console.print(table)
    typer.echo(printed.get(), nl=False)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return number(value, ".4f" if 1e-3 <= abs(value) < 1e6 or value == 0 else ".4g")
    return printable(str(value))


def number(value: float, form: str) -> str:
    """A number as it is printed; in words where it is none."""
    if math.isfinite(value):
        return format(value, form)
    return "undefined" if math.isnan(value) else "infinite" if value > 0 else "minus infinite"


def registered_rows(kind: Kind) -> list[dict[str, Any]]:
    """Everything registered of one kind, a row each, from metadata alone."""
    from probgen.plugins.registry import SINGULAR, registered

    return [
        {
            SINGULAR[kind]: p.name,
            "distribution": f"{p.distribution} {p.version}",
            "from": p.target,
            "note": note,
        }
        for plugins in registered(kind).values()
        for p in plugins
        for note in ["blocked" if p.blocked else "clash: two of one name" if len(plugins) > 1 else None]
    ]


def options_of(model: type[BaseModel]) -> list[dict[str, Any]]:
    """The options of a class, a row each."""
    return [
        {
            "option": key,
            "default": None if field.is_required() else str(field.default),
            "type": _type(field.annotation),
            "meaning": field.description or "",
        }
        for key, field in model.model_fields.items()
    ]


def _type(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return " | ".join(map(str, get_args(annotation)))
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)
