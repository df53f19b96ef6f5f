"""What the commands print in terminals of 40 to 160 columns: every number appears whole."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.cells import cell_len
from typer.testing import CliRunner

from probgen.cli import app
from probgen.cli.show import _lines
from probgen.cli.tables import cell_of, laid_out, with_error

WIDTHS = (40, 60, 80, 160)
COLORS = re.compile(r"\x1b\[[\d;]*[34]\d[\d;]*m")  # not bold (1) and dim (2)
RECIPE = """
title = "Two mixtures and a title of more than one line in a narrow terminal"
[data]
name = "iris"
[models.a-mixture-with-a-long-name]
family = "mixture"
components = 2
steps = 5
[models.baseline]
family = "independent"
[models.game]
family = "gan"
steps = 3
hidden = [4]
[sample]
n = 20
[expect.baseline]
log_prob = { at_least = -1000.0 }
"""
SEARCH = """
title = "T"
[data]
name = "ring"
rows = 200
valid = "test"
[models.mixture]
family = "mixture"
steps = 3
[search]
model = "mixture"
trials = 2
[search.options]
components = { low = 1, high = 3 }
"""


def printed(width: int, *arguments: Any) -> str:
    done = CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": str(width)})
    assert done.exit_code == 0, done.output
    return done.stdout


def numbers(found: Any) -> Iterator[float]:
    """All numbers in a result, which is made of dictionaries and lists."""
    if isinstance(found, dict | list):
        for part in found.values() if isinstance(found, dict) else found:
            yield from numbers(part)
    elif isinstance(found, float):
        yield found


def holds(text: str, number: str) -> bool:
    return re.search(rf"(?<![\d.]){re.escape(number)}(?![\d])", text) is not None


@pytest.mark.parametrize("width", WIDTHS)
def test_every_number_of_a_table_appears_whole(width: int) -> None:
    rng = np.random.default_rng(width)
    for columns in (1, 3, 8, 14):
        names = ["model", *(f"a measure {i}" for i in range(columns)), "why", "from"]
        rows: list[dict[str, Any]] = [
            {
                "model": f"{'model' * (1 + i)}",
                **{
                    name: float(v)
                    for name, v in zip(names[1:], 10.0 ** rng.uniform(-7, 9, columns), strict=False)
                },
                "why": "a sentence of several words, which may be broken into lines" if i % 2 else None,
                "from": "a.module.of.many.parts.and_words:WithAClass",
            }
            for i in range(3)
        ]
        text = laid_out(rows, names, "A title of several words that may be broken into lines", width)
        for row in rows:
            for value in row.values():
                if isinstance(value, float):
                    assert holds(text, cell_of(value)), (value, text)
        assert max(map(cell_len, text.splitlines())) <= max(width, len(rows[0]["from"]) + 4)
        assert "".join(rows[0]["from"].split()) in "".join(text.split()) or width > 60


def test_a_wide_terminal_has_a_line_for_each_row() -> None:
    rows = [{"model": "a", "x": 1.5, "kind": "exact"}, {"model": "b", "x": -22.25, "kind": None}]
    assert laid_out(rows, ["model", "x", "kind", "absent"], "Title").splitlines() == [
        "Title",
        "model         x  kind",
        "──────────────────────",
        "a        1.5000  exact",
        "b      -22.2500",
    ]


def test_a_narrow_terminal_has_fewer_columns_and_then_blocks() -> None:
    rows = [{"model": "one", "mean": "-12.345 ± 0.678", "rank": 1, "kind": "lower_bound"}]
    names = ["model", "mean", "rank", "kind"]
    assert "rank" in laid_out(rows, names, width=41, spare=["rank"])
    assert "rank" not in laid_out(rows, names, width=40, spare=["rank"])
    assert laid_out(rows, names, width=30, spare=["rank"]).splitlines() == [
        "one",
        "  mean  -12.345 ± 0.678",
        "  rank  1",
        "  kind  lower_bound",
    ]


def test_the_error_of_one_row_is_left_out() -> None:
    assert with_error(-1.5, 0.25) == "-1.500 ± 0.250"
    assert with_error(-1.5, float("nan")) == "-1.500"
    assert with_error(None, None) is None


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("terminal")
    (place / "r.toml").write_text(RECIPE)
    printed(80, "run", place / "r.toml", "--out", place / "out", "--quiet")
    return place / "out"


@pytest.mark.parametrize("width", WIDTHS)
def test_no_command_loses_a_digit(out: Path, width: int) -> None:
    a, b = out / "a-mixture-with-a-long-name", out / "baseline"
    rerun = ("run", out.parent / "r.toml", "--out", out, "--resume", "--quiet")
    for command, forms in (
        (("compare", a, b), (".3f",)),
        (("score", a, "--data", "iris", "--force"), (".4f", ".4g")),
        (("analyze", "diagnose", b, "--data", "iris"), (".4f", ".4g")),
        (("diagnose", b, "--data", "iris"), (".4f", ".4g")),
        (rerun, (".3f", ".4f", ".4g", ".5g")),
    ):
        told = json.loads(printed(80, *command, "--json"))
        text = printed(width, *command)
        shown = numbers({k: v for k, v in told.items() if k in ("models", "scores", "figures", "measures")})
        seconds = [row.get("seconds") for row in told.get("models", ()) if isinstance(row, dict)]
        for value in shown:
            if value not in seconds:
                assert any(holds(text, format(value, form)) for form in forms), (value, text)


def test_a_model_without_a_likelihood_is_not_under_a_title_of_nats(out: Path) -> None:
    text = printed(80, "run", out.parent / "r.toml", "--out", out, "--resume", "--quiet")
    nats, rest = " ".join(text.split()).split("no likelihood for game (gan)")
    assert "in nats" in nats
    assert "game" not in nats
    assert "in nats" not in rest


def test_pictures_have_one_line_for_each_model(out: Path) -> None:
    lines = printed(160, "run", out.parent / "r.toml", "--out", out, "--resume", "--quiet").splitlines()
    told = [line for line in lines if re.search(r"\d+ pictures? in ", line)]
    assert [line.split(":")[0] for line in told] == ["a-mixture-with-a-long-name", "baseline", "game"]
    assert lines[-1].startswith("report: ")


@pytest.mark.parametrize("width", WIDTHS)
def test_a_search_loses_no_digit(tmp_path: Path, width: int) -> None:
    (tmp_path / "s.toml").write_text(SEARCH)
    call = ("search", tmp_path / "s.toml", "--out", tmp_path / "out", "--quiet")
    text = printed(width, *call)
    for row in json.loads(printed(80, *call, "--resume", "--json"))["rows"]:
        assert holds(text, f"{row['validation']:.4f}")


@pytest.mark.parametrize("width", [40, 80])
def test_show_prints_short_lines(out: Path, width: int) -> None:
    text = printed(width, "show", out / "baseline")
    long = [line for line in text.splitlines() if len(line) > width]
    assert all(len(line.split()) == 1 for line in long), long  # a digest or a path is not broken
    assert "{" not in text.replace("{}", "")


@pytest.mark.parametrize("command", [["families", "mixture"], ["fit", "--help"], ["compare", "nowhere"]])
def test_no_color_is_kept(command: list[str]) -> None:
    """In a terminal, too: bold stays, which NO_COLOR allows."""
    import pty

    master, terminal = pty.openpty()
    environment = {**os.environ, "NO_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": "80"}
    call = [sys.executable, "-m", "probgen", *command]
    with subprocess.Popen(call, stdout=terminal, stderr=terminal, env=environment):
        os.close(terminal)
        said = b""
        with suppress(OSError):  # at the end the terminal has no other side
            while part := os.read(master, 65536):
                said += part
    os.close(master)
    assert said
    assert not COLORS.search(said.decode())


@pytest.mark.parametrize("width", [40, 80])
def test_wide_letters_take_two_columns(width: int) -> None:
    """Names of wide letters stay within the terminal, in tables, blocks and titles."""
    name = "日本語の長い名前" * 4
    rows = [{"model": name, "x": 1.5, "kind": f"{name} {name}"}, {"model": "a", "x": 2.5, "kind": "b"}]
    title = " ".join([name[:6]] * 20)
    text = laid_out(rows, ["model", "x", "kind"], title, width)
    whole = [line for line in text.splitlines() if cell_len(line) > width]
    assert all(line.split() == [name] for line in whole), whole  # a name of a block is not broken
    assert holds(text, "1.5000")
    assert text.replace("\n", "").replace(" ", "").count("日") >= 4 * 3


def test_show_cuts_a_long_value_between_numbers(tmp_path: Path) -> None:
    """Part of a number would be another number."""
    numbers = [100_000 + 7 * i for i in range(60)]
    for extra in range(8):  # wherever the limit is
        text = "\n".join(_lines({"a" * (extra + 1): "1" * (extra + 1) + f", {str(numbers)[1:-1]}"}, 80))
        assert text.endswith(" ...")
        assert {int(each) for each in re.findall(r"\d+", text)[1:]} < set(numbers)
