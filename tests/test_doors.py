"""Nothing silent at the doors: streams that cannot be written, paths that are empty, weights, tables without names, figures in words."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import numpy as np
import pytest
import typer
from typer.models import OptionInfo
from typer.testing import CliRunner

import probgen
from probgen.cli import app
from probgen.errors import InputError

# streams

CALL = f"{sys.executable} -c 'from probgen.cli import main; main()'"
COMMANDS = {
    "a table": "families",
    "JSON": "families --json",
    "a file": "recipes quickstart",
    "help": "--help",
}
STREAMS = {  # what a shell does to the streams: the exit code, and the one line on stderr
    "closed": (">&-", 2, "probgen: standard output is closed: send it somewhere, e.g. > /dev/null\n"),
    "full": (">/dev/full", 1, "probgen: standard output cannot be written: No space left on device\n"),
    "both closed": (">&- 2>&-", 2, ""),
    "errors closed": (">/dev/null 2>&-", 0, ""),
    "errors full": (">/dev/null 2>/dev/full", 0, ""),
    "no input": (">/dev/null <&-", 0, ""),
}


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("command", COMMANDS)
def test_an_output_that_cannot_be_written_is_said(command: str, stream: str) -> None:
    redirection, code, line = STREAMS[stream]
    done = subprocess.run(
        ["bash", "-c", f"{CALL} {COMMANDS[command]} {redirection}"], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (code, line)


@pytest.mark.parametrize("command", ["a table", "JSON", "a file"])
def test_a_reader_that_has_had_enough_ends_it_quietly(command: str) -> None:
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {CALL} {COMMANDS[command]} | true"], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full"])
def test_an_error_that_cannot_be_told_keeps_its_exit_code(redirection: str) -> None:
    done = subprocess.run(["bash", "-c", f"{CALL} show nothing {redirection}"], capture_output=True)
    assert done.returncode == 2


# paths


def parameters(
    app: typer.Typer, words: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], str, Any, Any]]:
    """Every parameter of every command: the words that call the command, its name, type, and what Typer is told of it."""
    for command in app.registered_commands:
        function = inspect.unwrap(command.callback)
        for name, hint in get_type_hints(function, include_extras=True).items():
            if get_origin(hint) is Annotated:
                yield (*words, str(command.name)), name, get_args(hint)[0], get_args(hint)[1]
    for group in app.registered_groups:
        yield from parameters(group.typer_instance, (*words, str(group.name)))


PATHS = {
    f"{' '.join(words)} {name}": (
        words,
        f"--{name.replace('_', '-')}" if isinstance(told, OptionInfo) else None,
    )
    for words, name, kind, told in parameters(app)
    if Path in (kind, *get_args(kind))
}


def test_the_commands_have_paths() -> None:
    assert len(PATHS) > 20
    assert "fit out" in PATHS
    assert "compare runs" in PATHS


@pytest.mark.parametrize("empty", ["", " "])
@pytest.mark.parametrize("name", PATHS)
def test_an_empty_path_is_no_path(name: str, empty: str) -> None:
    words, option = PATHS[name]
    others = {"fit": ["x", "--data=iris", "--out=x"], "analyze": ["x", "x"], "run": ["x"], "new": ["x"]}
    given = [f"{option}={empty}"] if option else [empty]
    more = others.get(words[-1], [])
    before = ["latent"] if words == ("analyze",) and not option else []
    done = CliRunner().invoke(
        app, [*words, *before, *more, *given] if option else [*words, *before, *given, *more]
    )
    assert done.exit_code == 2, done.output
    assert "an empty path" in done.stderr


DOORS: dict[str, Callable[[Any], Any]] = {
    "fit": lambda path: probgen.fit("independent", "iris", out=path),
    "data": lambda path: probgen.fit("independent", path),
    "sample_to": lambda path: probgen.sample_to(path, probgen.fit("independent", "iris"), 2),
    "load": lambda path: probgen.load(path),
    "save": lambda path: probgen.fit("independent", "iris").save(path),
    "analyze": lambda path: probgen.analyze("diagnose", probgen.fit("independent", "iris"), "iris", out=path),
    "datasets": lambda path: probgen.datasets.load(path),
    "folder": lambda path: probgen.datasets.load("iris", folder=path),
}


@pytest.mark.parametrize("path", ["", "  ", "a\0b"])
@pytest.mark.parametrize("door", DOORS)
def test_an_empty_path_is_refused_in_python(
    door: str, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError):
        DOORS[door](path)
    assert not list(tmp_path.iterdir())
