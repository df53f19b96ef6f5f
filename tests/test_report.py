"""A report: one page that needs nothing but itself, says what the runs hold, and is refused where they are damaged."""

from __future__ import annotations

import base64
import io
import os
import re
import shlex
import shutil
import struct
import subprocess
import sys
import zlib
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import probgen
from probgen.cli import app
from probgen.contract.event import Event
from probgen.contract.state import digest_of
from probgen.report import gather, page, write
from probgen.report.drawing import curve, grid, intervals
from probgen.report.rendering import _cells
from probgen.store.trees import write_dataset

RECIPE = """
title = "Two & <three>"
reference = "this project"
[data]
name = "digits"
rows = 200
[models.narrow]
family = "mixture"
components = 1
reg_covar = 0.5
[models.wide]
family = "independent"
likelihood = "normal"
reg_covar = 0.5
[sample]
n = 12
[score]
split = "test"
[expect.narrow]
log_prob = { at_least = -1000.0, source = "a bound that is met" }
[expect.wide]
log_prob = { at_least = 0.0, source = "a bound that is not" }
"""
VOID = {"meta", "img"}


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


LARGE = (  # says that it has 10 billion pixels
    b"\x89PNG\r\n\x1a\n"
    + _chunk(b"IHDR", struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0))
    + _chunk(b"IDAT", zlib.compress(b"0"))
    + _chunk(b"IEND", b"")
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("report")
    (place / "two.toml").write_text(RECIPE)
    done = CliRunner().invoke(app, ["run", str(place / "two.toml"), "--out", str(place / "two"), "--quiet"])
    assert done.exit_code == 0, done.output
    assert done.stdout.rstrip().endswith(f"report: {place / 'two' / 'report.html'}")
    return place / "two"


@pytest.fixture(scope="module")
def text(run: Path) -> str:
    return page(gather([run]))


class Parsed(HTMLParser):
    """Whether tags are balanced; and the attributes that name something elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.named: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.named += [
            value or "" for name, value in attrs if name in {"src", "href", "action", "data", "poster"}
        ]
        if tag == "img":
            assert dict(attrs).get("alt")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)  # of SVG: it closes itself

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def parsed(text: str) -> Parsed:
    found = Parsed()
    found.feed(text)
    assert not found.open
    return found


def test_it_needs_nothing_but_itself(text: str) -> None:
    found = parsed(text)
    assert "script" not in found.tags
    assert all(name.startswith(("data:", "#")) for name in found.named), found.named
    assert "url(" not in text
    assert re.search(r"default-src 'none'", text)


def test_the_same_runs_give_the_same_bytes(run: Path, text: str) -> None:
    assert page(gather([run])) == text
    assert (run / "report.html").read_text() == text


def test_names_and_titles_are_escaped(text: str) -> None:
    assert "<three>" not in text
    assert "Two &amp; &lt;three&gt;" in text


def test_its_numbers_are_those_of_the_files(run: Path, text: str) -> None:
    scores = {name: probgen.load(run / name) and _scores(run / name) for name in ("narrow", "wide")}
    words = " ".join(parsed(text).words)
    for x in scores.values():
        assert f"{x.mean():.3f} ± {x.std(ddof=1) / len(x) ** 0.5:.3f}" in words
    d = scores["narrow"] - scores["wide"]
    assert (
        f"narrow is {d.mean():.3f} ± {d.std(ddof=1) / len(d) ** 0.5:.3f} nats per row better than wide"
        in words
    )
    assert re.search(r"a bound that is met", words)
    assert re.search(r'class="yes">yes<', text)
    assert re.search(r'class="no">no<', text)
    assert re.search(r"Mean log-likelihood over \d+ rows", words)
    for model in gather([run]).models:
        assert all(seal in text for seal in model.files.values())
        assert len(model.files) == 3


def _scores(run: Path) -> np.ndarray:
    from probgen.store.trees import read_dataset

    return read_dataset(run / "scores.h5", "scores")["log_prob"].values


def test_samples_are_drawn_number_by_number(run: Path, text: str) -> None:
    """The sheet of a model's samples, decoded again."""
    from probgen.store.trees import read_dataset

    x = read_dataset(run / "narrow" / "samples.h5", "samples")["x"].values.reshape(12, 8, 8)
    pictures = [
        Image.open(io.BytesIO(base64.b64decode(url))) for url in re.findall(r"base64,([A-Za-z0-9+/=]+)", text)
    ]
    sheets = [np.asarray(picture.convert("L")) for picture in pictures if picture.size == (89, 17)]
    wanted = np.round(255 * (1 - np.clip(x[10] / 16, 0, 1)))
    assert any(np.array_equal(sheet[9:17, 0:8], wanted) for sheet in sheets)


def test_rows_are_left_out_where_asked(run: Path, tmp_path: Path, text: str) -> None:
    done = CliRunner().invoke(
        app, ["report", str(run), "--no-rows", "--out", str(tmp_path / "a.html"), "--title", "Mine"]
    )
    assert done.exit_code == 0
    without = (tmp_path / "a.html").read_text()
    assert "rows of the data" in text.lower()
    assert "rows of the data" not in without.lower()
    assert "<h1>Mine</h1>" in without


def test_plugins_are_not_needed(run: Path, tmp_path: Path, text: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "probgen", "report", str(run), "--out", str(tmp_path / "a.html")],
        env={**os.environ, "PROBGEN_DISABLE_PLUGINS": "*"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.html").read_text() == text


def test_a_single_run_and_several(run: Path, tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(50, 3))
    probgen.fit("mixture", x, components=2, out=tmp_path / "one")
    alone = page(gather([tmp_path / "one"]))
    parsed(alone)
    assert "probgen fit mixture --data DATA --seed 0 --dtype float64 --set components=2" in alone
    both = gather([run, tmp_path / "one"])
    assert [model.name for model in both.models] == ["narrow", "wide", "one"]
    parsed(page(both))


def test_scores_that_cannot_be_compared_are_not(run: Path, tmp_path: Path) -> None:
    other = tmp_path / "two"
    shutil.copytree(run, other)
    done = CliRunner().invoke(
        app,
        [
            "score",
            str(other / "wide"),
            "--data",
            "digits",
            "--split",
            "valid",
            "--out",
            str(tmp_path / "s.h5"),
        ],
    )
    assert done.exit_code == 0, done.output
    shutil.copy(tmp_path / "s.h5", other / "wide" / "scores.h5")
    found = gather([other])
    assert "rows" in found.apart
    assert not found.result
    text = page(found)
    assert "Not compared" in text
    assert "difference</th>" not in text


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda run: (run / "narrow" / "model.h5").write_bytes(b"no"), "narrow/model.h5"),
        (lambda run: (run / "wide" / "scores.h5").write_bytes((run / "wide" / "scores.h5").read_bytes()[:-200]), "wide/scores.h5"),
        (lambda run: (run / "recipe.toml").unlink(), "not a run"),
        (lambda run: [shutil.rmtree(run / name) for name in ("narrow", "wide")], "no fitted model"),
    ],
)  # fmt: skip
def test_a_damaged_run_is_refused_in_a_line(run: Path, tmp_path: Path, harm: object, message: str) -> None:
    other = tmp_path / "two"
    shutil.copytree(run, other)
    harm(other)  # type: ignore[operator]
    out = tmp_path / "a.html"
    done = CliRunner().invoke(app, ["report", str(other), "--out", str(out)])
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stderr.count("\n") <= 2
    assert not out.exists()


@pytest.mark.parametrize("harm", ["cut", "flip", "empty", "text", "large"])
def test_a_damaged_picture_is_refused_by_its_name(run: Path, tmp_path: Path, harm: str) -> None:
    other = tmp_path / "two"
    shutil.copytree(run, other)
    file = other / "narrow" / "pictures" / "a.png"
    file.parent.mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)).save(file)
    assert "a of narrow" in page(gather([other]))
    content = file.read_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    file.write_bytes(
        {"cut": content[:-300], "flip": bytes(flipped), "empty": b"", "text": b"no", "large": LARGE}[harm]
    )
    done = CliRunner().invoke(app, ["report", str(other), "--out", str(tmp_path / "a.html")])
    assert done.exit_code == 2
    assert f"{file} cannot be read as a PNG" in done.stderr
    assert "0x" not in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "a.html").exists()


def test_only_html_is_replaced(run: Path, tmp_path: Path) -> None:
    """A mistaken --out does not destroy a model."""
    other = tmp_path / "two"
    shutil.copytree(run, other)
    before = (other / "narrow" / "model.h5").read_bytes()
    for out in (other / "narrow" / "model.h5", other / "recipe.toml", tmp_path / "report"):
        done = CliRunner().invoke(app, ["report", str(other), "--out", str(out)])
        assert done.exit_code == 2
        assert "ends in .html" in done.stderr
    assert (other / "narrow" / "model.h5").read_bytes() == before
    assert not (tmp_path / "report").exists()


def test_a_model_that_is_gone_is_named(run: Path, tmp_path: Path) -> None:
    other = tmp_path / "two"
    shutil.copytree(run, other)
    shutil.rmtree(other / "wide")
    words = " ".join(parsed(page(gather([other]))).words)
    assert "Without a fitted model, and not on this page: wide." in words


def test_names_that_are_not_text_are_shown(run: Path, tmp_path: Path) -> None:
    other = tmp_path / os.fsdecode(b"two \xff <i>")
    shutil.copytree(run / "narrow", other)
    write(gather([other], title=os.fsdecode(b"\xfe")), tmp_path / "a.html")
    text = (tmp_path / "a.html").read_text()
    parsed(text)
    assert r"two \udcff &lt;i&gt;" in text
    assert r"<h1>\udcfe</h1>" in text


def test_several_runs_have_their_own_data_commands_and_requests(run: Path, tmp_path: Path) -> None:
    """Also runs of a file: its path is in the command, which makes the same model again."""
    table = tmp_path / "a table.csv"
    table.write_text("größe,b\n" + "".join(f"{i % 7}.5,{i % 3}\n" for i in range(40)))
    one, two = tmp_path / "one", tmp_path / "two"
    for out, data in ((one, "iris"), (two, str(table))):
        probgen.fit("independent", data, out=out)
    found = gather([one, two])
    text = page(found)
    words = " ".join(" ".join(parsed(text).words).split())
    assert re.search(r"one , fitted to iris: 150 rows for the fit\. Each row is 4 columns", words)
    assert re.search(r"two , fitted to a table\.csv: 40 rows for the fit\. Each row is 2 columns", words)
    assert text.count("SHA-256 of the rows of the fit") == 2
    assert text.count("größe") >= 2  # in the request, too: as it is
    commands = found.command.splitlines()
    assert [shlex.split(command)[-1] for command in commands] == ["again-1", "again-2"]
    made = [*shlex.split(commands[1])[1:-1], str(tmp_path / "again")]
    assert CliRunner().invoke(app, made).exit_code == 0
    assert digest_of(probgen.load(tmp_path / "again").state) == digest_of(probgen.load(two).state)
    alone = gather([two])
    assert page(alone).count("SHA-256 of the rows of the fit") == 1


def test_expectations_are_those_of_the_own_recipe(run: Path, tmp_path: Path) -> None:
    """Two recipes with models of one name, and bounds that differ."""
    (tmp_path / "other.toml").write_text(
        RECIPE.replace("at_least = 0.0", "at_most = 0.0").replace("rows = 200", "rows = 100")
    )
    done = CliRunner().invoke(
        app, ["run", str(tmp_path / "other.toml"), "--out", str(tmp_path / "other"), "--quiet"]
    )
    assert done.exit_code == 0, done.output
    found = gather([run, tmp_path / "other"])
    assert [(line["model"], line["met"]) for line in found.expected] == [
        ("two/narrow", True), ("two/wide", False), ("other/narrow", True), ("other/wide", True),
    ]  # fmt: skip
    assert len(found.sources) == 2


def test_a_mean_of_minus_infinity_is_shown(tmp_path: Path) -> None:
    x = np.array([[0, 1], [1, 1], [0, 0]])
    for name, values in (("lost", [-np.inf, -1.0, -2.0]), ("kept", [-1.0, -2.0, -3.0])):
        fitted = probgen.fit("independent", x, out=tmp_path / name)
        scores = probgen.score(fitted, x)
        scores["log_prob"].values[:] = values
        write_dataset(tmp_path / name / "scores.h5", "scores", scores)
    text = page(gather([tmp_path / "lost", tmp_path / "kept"]))
    words = " ".join(" ".join(parsed(text).words).split())
    assert "kept has the largest mean: that of lost is not finite." in words
    assert text.count("minus infinite") == 2  # the mean, and the difference
    assert "nan" not in "".join(re.findall(r"<svg.*?</svg>", text))
    assert text.count('class="interval"') == 1


def test_cells_of_a_table_differ_where_rows_do(tmp_path: Path) -> None:
    """An offset does not hide the spread, and counts have all digits; a wide table has its first columns."""
    rng = np.random.default_rng(0)
    x = np.column_stack([1e6 + rng.normal(size=30), rng.normal(size=(30, 40))])
    fitted = probgen.fit("independent", x, out=tmp_path / "a")
    draws = probgen.sample(fitted, 20)
    write_dataset(tmp_path / "a" / "samples.h5", "samples", draws)
    text = page(gather([tmp_path / "a"]))
    cells = re.findall(r'<td class="n">([^<]*)</td>', text.partition("not selected")[2])
    across = int(re.search(r"the first (\d+) of 41 columns", text)[1])  # type: ignore[index]
    first = [float(cell) for cell in cells[: 8 * across : across]]
    np.testing.assert_allclose(first, draws["x"].values[:8, 0], rtol=0, atol=6e-3)
    assert _cells(np.array([123456.0, 3.0]), Event(("feature",), (1,), "count"), 0) == ["123456", "3"]
    assert _cells(np.array([0.12345678, np.nan, -1.0]), Event(("feature",), (1,), "real"), 0) == [
        "0.1235",
        "missing",
        "-1",
    ]


def test_bad_requests_are_refused(run: Path, tmp_path: Path) -> None:
    for arguments, message in (
        ([str(tmp_path / "none")], "not a run"),
        ([str(run), "--out", str(tmp_path)], "a folder"),
        ([str(run), str(run)], "two runs have the same name"),
    ):
        done = CliRunner().invoke(app, ["report", *arguments])
        assert done.exit_code == 2, arguments
        assert message in done.stderr


def test_force_removes_the_report(run: Path, tmp_path: Path) -> None:
    """It is of the run that is replaced."""
    other = tmp_path / "two"
    shutil.copytree(run, other)
    (other / "report.html").write_text("old")
    done = CliRunner().invoke(
        app, ["run", str(run.parent / "two.toml"), "--out", str(other), "--force", "--quiet"]
    )
    assert done.exit_code == 0
    assert (other / "report.html").read_text().startswith("<!doctype")


# drawings


def test_a_curve_goes_through_its_points() -> None:
    x, y = np.arange(1, 6), np.array([0.0, 1.0, np.nan, 3.0, 4.0])
    svg = curve([("fit", x, y)], "step", "nats")
    ys = [float(b) for b in re.findall(r"[ML][\d.]+ ([\d.]+)", re.search(r'd="(M[^"]*L[^"]*)"', svg)[1])]  # type: ignore[index]
    assert len(ys) == 4
    assert ys == sorted(ys, reverse=True)  # higher is higher
    assert np.ptp(np.diff(ys)[[0, 2]]) < 0.2  # equal steps
    assert "fit from 0 to 4" in svg
    assert curve([("fit", x[:2], y[:2])], "step", "nats") == ""


def test_intervals_are_on_one_scale() -> None:
    first, second, third = (
        float(re.search(r'cx="([\d.]+)"', svg)[1])
        for svg in intervals([(0.0, 0.1), (1.0, float("nan")), (2.0, 0.1), (-np.inf, 1.0)])
        if svg
    )  # type: ignore[index]
    assert first < second < third
    assert abs((first + third) / 2 - second) < 0.2


@pytest.mark.parametrize(("levels", "dark"), [(2, 1), (256, 0)])
def test_ink_is_dark_where_levels_are_few(levels: int, dark: int) -> None:
    event = Event(
        ("height", "width"), (2, 2), "binary" if levels == 2 else "integer", None if levels == 2 else levels
    )
    x = np.zeros((1, 2, 2))
    x[0, 0, 0] = levels - 1
    sheet = np.asarray(
        Image.open(io.BytesIO(base64.b64decode(grid(x, event).partition(",")[2]))).convert("L")
    )
    assert sheet[0, 0] == (0 if dark else 255)
    assert sheet[1, 1] == (255 if dark else 0)


def test_the_command_of_a_table_reads_it_in_the_same_way(tmp_path: Path) -> None:
    """The command that a report of one run shows fits the same model again."""
    file = tmp_path / "a table.csv"
    file.write_text("a;b;c\n" + "".join(f"{i};{i * i % 7};{'xy'[i % 2]}\n" for i in range(20)))
    options = ["--sep", ";", "--drop", "c", "--kind", "a=real", "--parts", "2", "--set", "components=1"]
    run, again = tmp_path / "run", tmp_path / "again"
    first = CliRunner().invoke(app, ["fit", "mixture", "--data", str(file), *options, "--out", str(run)])
    assert first.exit_code == 0, first.stderr
    words = shlex.split(gather([run]).command)
    second = CliRunner().invoke(app, [*words[1:-1], str(again)])
    assert second.exit_code == 0, second.stderr
    assert digest_of(probgen.load(again).state) == digest_of(probgen.load(run).state)
