"""What the command line and the docs say: help is printed as it is written, hints end as sentences do, counts are counted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner

import probgen
from probgen import recipes
from probgen.cli import app
from probgen.contract.options import checked
from probgen.datasets import path_of
from probgen.errors import ProbgenError, did_you_mean
from probgen.plugins.registry import find
from tests.test_kit import BROKEN

ROOT = Path(__file__).parent.parent


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """A command and all commands below it, each with the words that call it."""
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*path, name))


def squeezed(text: str) -> str:
    """Without white space, which help wraps at."""
    return "".join(text.split())


def lost(of: typer.Typer, path: tuple[str, ...], command: Any) -> list[str]:
    """Help texts of a command and its options that `--help` does not print as they are written."""
    shown = CliRunner().invoke(of, [*path, "--help"], env={"COLUMNS": "400"})
    assert shown.exit_code == 0, shown.output
    texts = [command.help, *(getattr(option, "help", None) for option in command.params)]
    return [text for text in texts if text and squeezed(text) not in squeezed(shown.output)]


COMMANDS = dict(commands(get_command(app)))


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_is_printed_as_it_is_written(path: tuple[str, ...]) -> None:
    assert not lost(app, path, COMMANDS[path])


def test_a_text_that_markup_swallows_is_found() -> None:
    rich = typer.Typer(rich_markup_mode="rich")

    @rich.command()
    def command(check: bool = typer.Option(False, help="Fail outside [expect].")) -> None:
        """Run [fast]."""

    assert lost(rich, (), get_command(rich)) == ["Run [fast].", "Fail outside [expect]."]


@pytest.mark.parametrize("path", [(), ("plugins",)], ids=["probgen", "plugins"])
def test_a_list_of_commands_has_whole_sentences(path: tuple[str, ...]) -> None:
    """In 80 columns."""
    shown = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "80"}).output
    listed = shown.partition("Commands:\n")[2]
    assert listed
    assert "..." not in listed


# hints


def _refusals(tmp_path: Path) -> Iterator[Any]:
    """Calls that are refused with a hint: with a near name, and with none."""
    for name in ("mixtur", "zzz"):
        for kind in ("families", "datasets", "analyses", "observers"):
            yield lambda kind=kind, name=name: find(kind, name)
        yield lambda name=name: path_of(name)
        yield lambda name=name: recipes.read(name)
        yield lambda name=name: checked(probgen.Options, {name: 1}, "options")
        for table in (f"[{name}]", f"[expect.{name}]\nx = {{at_least = 1}}"):
            file = tmp_path / f"{len(list(tmp_path.iterdir()))}.toml"
            file.write_text(f'[data]\nname = "iris"\n[models.mixture]\nfamily = "mixture"\n{table}\n')
            yield lambda file=file: recipes.read(str(file))
        file = tmp_path / f"{len(list(tmp_path.iterdir()))}.toml"
        file.write_text(f'[data]\nname = "iris"\n[models.a]\nfamily = "{name}"\n')
        yield lambda file=file: recipes.read(str(file))
        yield lambda name=name: probgen.datasets.load("digits", split=name)


def test_no_hint_ends_twice(tmp_path: Path) -> None:
    """A question mark ends a sentence; no full stop follows it."""
    messages = []
    for refused in _refusals(tmp_path):
        with pytest.raises(ProbgenError) as caught:
            refused()
        messages.append(str(caught.value))
    assert any("did you mean 'mixture'? If a plugin" in message for message in messages)
    assert not [message for message in messages if "?." in message or ".." in message]


@pytest.mark.parametrize("known", [("mixture", "vae"), ()])
@pytest.mark.parametrize("name", ["mixtur", "zzz"])
def test_a_hint_and_the_sentence_after_it(name: str, known: tuple[str, ...]) -> None:
    hint = did_you_mean(name, known)
    assert hint in ("did you mean 'mixture'?", "known: mixture, vae", "known: none")
    then = did_you_mean(name, known, "Install it")
    assert then == f"{hint if hint.endswith('?') else hint + '.'} Install it"


# counts in the docs


@pytest.mark.parametrize(
    ("page", "sentence"),
    [
        ("docs/plugins.md", r"tested on (\d+) families that each break one"),
        ("docs/reliability.md", r"a family that breaks a law .*`tests/test_kit.py` \| (\d+) \| 0"),
    ],
)
def test_docs_count_the_families_that_break_a_law(page: str, sentence: str) -> None:
    (count,) = re.findall(sentence, (ROOT / page).read_text())
    assert int(count) == len(BROKEN)
