"""Options, errors and tables that the commands share. Imports are light."""

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
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import typer

from probgen.cli import completion
from probgen.cli.tables import laid_out, printable, width_of_output, wrapped
from probgen.errors import InputError, Interrupted, PeerError, ProbgenError, RunError

if TYPE_CHECKING:
    from pydantic import BaseModel

    from probgen.plugins.registry import Kind


def place(text: str | Path) -> Path:
    """Return a path of the command line or its default. An empty path is refused: it would be the current folder."""
    if not str(text).strip():
        raise typer.BadParameter(
            "the path is empty. Give a file or folder ('.' is the current folder), or leave the option out."
        )
    return Path(text)


TABLES = (".csv", ".tsv", ".parquet")  # as in `probgen.api.framing`, which takes time to import


def check_hdf5(path: Path, *more: str, tables: bool = False) -> None:
    """Raise `InputError` if the name of a result does not end as an HDF5 file. `tables` adds a hint to tables."""
    if str(path) == "-" or path.suffix.lower() not in (".h5", ".hdf5", ".nc", *more):
        also = f", or {', '.join(TABLES)} for a table" if tables else ""
        raise InputError(
            f"--out {path}: results are written as HDF5. Give a name that ends in .h5 or .nc{also}."
        )


def check_table(path: Path, force: bool) -> bool:
    """Return whether the name ends as a table. Raise `InputError` if this file exists, except with `force`."""
    if path.suffix.lower() not in TABLES:
        return False
    if path.exists() and not force:
        raise InputError(
            f"--out {path}: the file already exists. Replace it (--force), or choose another name."
        )
    return True


def is_of_parts(out: Path) -> bool:
    """Return whether results are written in parts, which is the case for a folder or a name without a suffix."""
    return out.is_dir() or not out.suffix


def cluster_of(cluster: str | None) -> int | str | None:
    """Return a number of processes or the address of a scheduler, or raise `InputError`."""
    if cluster is None:
        return None
    if not (cluster.isdecimal() and int(cluster) >= 1) and "://" not in cluster:
        raise InputError(
            f"--cluster {cluster}: a number of at least 1, or the address of a scheduler (tcp://HOST:8786), is needed"
        )
    return int(cluster) if cluster.isdecimal() else cluster


Seed = Annotated[int, typer.Option("--seed", help="Seed of all random numbers.")]
Device = Annotated[str | None, typer.Option("--device", help="Device to compute on: cpu, cuda, cuda:1, ...")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only the result.")]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        parser=place,
        help="Folder for data sets; missing ones are downloaded. Default: PROBGEN_DATA.",
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Set an option, e.g. --set components=3 or --set hold=[age,glasses]. Repeatable.",
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
        help="Use N processes, or the workers of a Dask scheduler.",
    ),
]
Run = Annotated[
    Path,
    typer.Argument(parser=place, autocompletion=completion.runs, help="A run folder, or a model.h5 file."),
]
Split = Annotated[
    str | None,
    typer.Option(
        "--split", help="Part of the data. Default: test of a named data set with splits; all rows of a file."
    ),
]

# the variable in processes of `probgen.cli.launching` that names their meeting point
LAUNCHED = "PROBGEN_LAUNCHED"
GONE = 75  # the exit code of a process after the failure of another process

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
    """Convert the errors of a command to one line on stderr and an exit code."""

    @functools.wraps(command)
    def reporting(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except BrokenPipeError:  # the reader of the output has closed the pipe
            _discard_output()
            raise typer.Exit(0) from None
        except (ProbgenError, Interrupted, KeyboardInterrupt, MemoryError, OSError) as error:
            if os.environ.get("PROBGEN_TRACEBACK"):
                traceback.print_exc()
            if isinstance(error, PeerError) and LAUNCHED in os.environ:  # the launcher reports the cause
                raise typer.Exit(GONE) from None
            complain(str(error) or type(error).__name__)
            if isinstance(error, ProbgenError | Interrupted):
                raise typer.Exit(error.exit_code) from None
            raise typer.Exit(130 if isinstance(error, KeyboardInterrupt) else 1) from None

    return reporting


def open_streams() -> list[str]:
    """Open the null device for closed standard streams, and return their names.

    Otherwise, the next opened file would get the number of a closed stream, and output would be written to that file.
    """
    closed = []
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # gets the lowest free number: this one
            setattr(sys, name, os.fdopen(number, "w" if number else "r"))
            closed.append(name)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # for characters that the terminal cannot show
    return closed


@contextmanager
def writing() -> Iterator[None]:
    """Raise `RunError` if standard output cannot be written. A `BrokenPipeError` passes."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        _discard_output()
        raise RunError(f"standard output cannot be written: {error.strerror or error}") from None


def _discard_output() -> None:
    """Discard the buffered output, which would fail again at the end of Python."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def complain(line: str) -> None:
    """Print a line on stderr. If stderr cannot be written, only the exit code reports the error."""
    with suppress(OSError):
        # names can contain line feeds
        typer.echo("probgen: " + printable(line).replace("\n", "\\n"), err=True)


def settings(pairs: list[str] | None, reserved: Collection[str] = RESERVED) -> dict[str, Any]:
    """Return `["components=3"]` as `{"components": 3}`. A value is TOML, or else a text."""
    values: dict[str, Any] = {}
    for pair in pairs or []:
        name, equals, text = pair.partition("=")
        if not equals or not name.strip():
            raise InputError(f"--set {pair!r}: NAME=VALUE is needed")
        if name.strip() in reserved:
            raise InputError(
                f"--set {pair!r}: {name.strip()!r} cannot be set. Use --{name.strip()} if this command has it."
            )
        values[name.strip()] = _value(text.strip())
    return values


def _value(text: str) -> Any:
    """Return a TOML value, or else a text or a list of texts, e.g. `[age, glasses]`."""
    import tomllib

    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        words = [part.strip() for part in text[1:-1].split(",")] if text[:1] + text[-1:] == "[]" else []
        if words[-1:] == [""]:  # a comma at the end
            words.pop()
        return [_value(word) for word in words] if words else text


def words_of(figure: Any) -> str:
    """Return the unit and the meaning of a number, from its attributes, or an empty text."""
    return ", ".join(figure.attrs[name] for name in ("units", "long_name") if name in figure.attrs)


def progress(quiet: bool) -> bool:
    """Return whether to show a progress bar: only on a terminal, and without --quiet."""
    return not quiet and sys.stderr.isatty()


def _finite(value: Any) -> Any:
    """Return a value with None for numbers that JSON does not support."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(part) for name, part in value.items()}
    return [_finite(part) for part in value] if isinstance(value, list | tuple) else value


def put(result: Mapping[str, Any] | Sequence[Any], as_json: bool, show: Callable[[], None]) -> None:
    """Print a result as JSON or by `show`."""
    with writing():
        if as_json:
            typer.echo(json.dumps(_finite(result), indent=2, default=str, allow_nan=False))
        else:
            show()


def print_table(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[str], title: str = "", spare: Sequence[str] = ()
) -> None:
    """Print a table on stdout, as wide as the terminal; `spare` names columns that a narrow one may lack."""
    typer.echo(laid_out(rows, columns, title, width_of_output(), spare))


def print_lines(text: str) -> None:
    """Print a text in lines of the width of the terminal."""
    typer.echo("\n".join(wrapped(text, width_of_output(), "  ")))


def registered_rows(kind: Kind) -> list[dict[str, Any]]:
    """Return one row per registered plugin of a kind, from metadata alone."""
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
        for note in [
            "blocked" if p.blocked else "clash: two plugins with this name" if len(plugins) > 1 else None
        ]
    ]


def options_of(model: type[BaseModel]) -> list[dict[str, Any]]:
    """Return one row per option of a class."""
    return [
        {
            "option": key,
            "default": None if field.is_required() else str(field.get_default(call_default_factory=True)),
            "type": _type(field.annotation),
            "meaning": field.description or "",
        }
        for key, field in model.model_fields.items()
    ]


def _type(annotation: Any) -> str:
    """Return a type for people: without names of modules, and without what only pydantic reads."""
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(inside[0])
    if origin is Literal:
        return " | ".join(map(str, inside))
    if origin in (Union, UnionType):
        return " | ".join(map(_type, inside))
    if annotation is None or annotation is type(None):
        return "None"
    if origin is not None:
        return f"{origin.__name__}[{', '.join('...' if each is ... else _type(each) for each in inside)}]"
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)
