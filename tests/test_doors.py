"""Nothing silent at the doors: streams that cannot be written, paths that are empty, weights, tables without names, figures in words."""

from __future__ import annotations

import gzip
import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import numpy as np
import pytest
import typer
import xarray as xr
from typer.models import OptionInfo
from typer.testing import CliRunner

import probgen
from probgen.cli import app
from probgen.cli.common import print_table
from probgen.data.check import check
from probgen.data.describe import event_of
from probgen.data.ingest import from_array
from probgen.errors import InputError, ProbgenError
from probgen.evaluation.means import mean
from probgen.plugins.family import family as find_family
from probgen.plugins.registry import registered
from probgen.store.trees import read_dataset

# streams

CALL = f"{sys.executable} -c 'from probgen.cli import main; main()'"
COMMANDS = {
    "a table": "families",
    "JSON": "families --json",
    "a file": "recipes quickstart",
    "help": "--help",
}
STREAMS = {  # what a shell does to the streams: the exit code, and the one line on stderr
    "closed": (">&-", 2, "probgen: standard output is closed. Redirect it, e.g. > /dev/null.\n"),
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
        ["bash", "-c", f"{CALL} {COMMANDS[command]} {redirection}"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (code, line)


@pytest.mark.parametrize("command", ["a table", "JSON", "a file"])
def test_a_reader_that_has_had_enough_ends_it_quietly(command: str) -> None:
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {CALL} {COMMANDS[command]} | true"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full"])
def test_an_error_that_cannot_be_told_keeps_its_exit_code(redirection: str) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{CALL} show nothing {redirection}"], check=False, capture_output=True
    )
    assert done.returncode == 2


def test_a_name_with_a_line_feed_is_told_in_one_line() -> None:
    done = CliRunner().invoke(app, ["show", "a\nb\x1b[31m"])
    assert done.exit_code == 2
    assert done.stderr == "probgen: a\\nb\\x1b[31m: there is no such file or folder\n"


# what is no file


def test_a_pipe_is_neither_waited_for_nor_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.h5"
    os.mkfifo(pipe)
    fitted = probgen.fit("independent", "iris")
    for read in (probgen.load, probgen.datasets.load):
        with pytest.raises(ProbgenError, match="a device or a pipe"):
            read(pipe)
    for path, kind in ((pipe, "a device or a pipe"), (tmp_path, "a folder")):
        with pytest.raises(ProbgenError, match=kind):
            fitted.save(path)
    assert pipe.is_fifo()


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
    assert "the path is empty" in done.stderr


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


# weights


def weighted(weight: np.ndarray | None, n: int = 40) -> xr.Dataset:
    x = np.random.default_rng(0).normal(size=(n, 2))
    return xr.Dataset(
        {"x": (("row", "feature"), x)} | ({} if weight is None else {"weight": ("row", weight)})
    )


def test_the_error_of_a_weighted_mean_is_its_deviation_over_many_data_sets() -> None:
    """4,000 means of 200 rows whose weights and deviations go together: the mean square of the standard errors is the
    variance of the means, which is known to 2.2 %; 9 % is four of its deviations. Weights as counts of rows
    (sum w (x - m)^2 / (sum w)^2) would give six tenths of it.
    """
    random = np.random.default_rng(1)
    w = random.uniform(0, 2, size=(4000, 200))
    x = random.normal(size=w.shape) * w
    found = np.array([mean(a, b) for a, b in zip(x, w, strict=True)])
    assert (found[:, 1] ** 2).mean() == pytest.approx(found[:, 0].var(), rel=0.09)


@pytest.mark.parametrize("n", [2, 3, 50])
def test_equal_weights_of_any_size_give_the_usual_mean_and_error(n: int) -> None:
    x = np.random.default_rng(n).normal(size=n)
    for w in (None, np.ones(n), np.full(n, 1e-3)):
        assert mean(x, w) == pytest.approx((x.mean(), x.std(ddof=1) / np.sqrt(n)))


def test_rows_of_no_weight_do_not_count() -> None:
    x, w = np.array([1.0, 2.0, -np.inf, 4.0]), np.array([1.0, 2.0, 0.0, 3.0])
    assert mean(x, w) == pytest.approx(mean(x[[0, 1, 3]], w[[0, 1, 3]]))
    assert np.isnan(mean(x, np.array([1.0, 0, 0, 0]))[1])


def test_a_score_means_what_the_fit_maximized(tmp_path: Path) -> None:
    """The mixture's own weighted log-likelihood is the weighted mean of its scores; in the file, the table and JSON."""
    data = weighted(np.random.default_rng(1).gamma(1.0, size=40))
    fitted = probgen.fit("mixture", data, components=1)
    scores = probgen.score(fitted, data)
    total = float(fitted.groups["criteria"]["log_likelihood"])
    assert mean(scores["log_prob"], scores["weight"].values)[0] == pytest.approx(
        total / float(data.weight.sum())
    )
    unweighted = probgen.score(fitted, data.drop_vars("weight"))
    np.testing.assert_array_equal(scores["log_prob"], unweighted["log_prob"])
    fitted.save(tmp_path / "model.h5")
    data.to_netcdf(tmp_path / "data.nc")
    call = ["score", str(tmp_path / "model.h5"), "--data", str(tmp_path / "data.nc")]
    done = CliRunner().invoke(app, [*call, "--out", str(tmp_path / "scores.h5")])
    assert "40 rows, weighted" in done.stdout
    told = json.loads(CliRunner().invoke(app, [*call, "--json"]).stdout)
    assert told["weighted"]
    assert told["scores"][0]["mean"] == pytest.approx(total / float(data.weight.sum()))
    kept = read_dataset(tmp_path / "scores.h5", "scores")
    np.testing.assert_array_equal(kept["weight"], data["weight"])


def test_a_comparison_is_by_the_weights_and_of_equal_ones() -> None:
    """Two models of which each is better on a half: the weights decide."""
    data = weighted(np.repeat([1.0, 0.0], 20))
    halves = [probgen.fit("mixture", data.x[part], components=1) for part in (slice(0, 20), slice(20, 40))]
    for scored, best in ((data, "0"), (data.assign(weight=1 - data.weight), "1")):
        scores = {str(i): probgen.score(model, scored) for i, model in enumerate(halves)}
        table = probgen.compare(scores)
        assert str(table.model.values[0]) == best
        assert table.attrs["over"] == "40 rows, weighted (20 with weight 0)"
    with pytest.raises(InputError, match="weights are different"):
        probgen.compare({"a": scores["0"], "b": probgen.score(halves[1], data.x)})


@pytest.mark.parametrize("weight", [np.zeros(40), -np.ones(40), np.full(40, np.nan)])
def test_weights_that_mean_nothing_are_refused_by_a_score(weight: np.ndarray) -> None:
    fitted = probgen.fit("mixture", weighted(None), components=1)
    with pytest.raises(InputError, match="weight"):
        probgen.score(fitted, weighted(weight))


def test_what_does_not_use_weights_says_so() -> None:
    data = weighted(np.arange(200) % 2, n=200)
    fitted = probgen.fit("mixture", data, components=1)
    with pytest.warns(UserWarning, match="all rows have equal weight"):
        probgen.diagnose(fitted, data)


# what arrays are


@pytest.mark.parametrize("covariance", ["full", "tied", "diagonal", "spherical"])
def test_a_file_says_that_a_diagonal_holds_logarithms(covariance: str, tmp_path: Path) -> None:
    """Sigma, as who has nothing but the file and its attributes makes it of L, is that of the fit."""
    fitted = probgen.fit("mixture", "iris", covariance=covariance)
    fitted.save(tmp_path / "model.h5")
    state = xr.open_datatree(tmp_path / "model.h5")["/probgen/state"].to_dataset()
    L, said = state["L"].values, state["L"].attrs["long_name"]
    if said == "Cholesky factor of Sigma, lower; its diagonal holds logarithms":
        diagonal = np.einsum("...ii->...i", L)
        diagonal[:] = np.exp(diagonal)
        sigma = L @ np.swapaxes(L, -1, -2)
    else:
        assert said == "logarithms of standard deviations"
        sigma = np.exp(2 * L)
    kept = fitted.groups["components"]["sigma"].values
    if covariance in ("diagonal", "spherical"):
        kept = np.einsum("kii->ki", kept)
        sigma = sigma[:, None] if covariance == "spherical" else sigma
    np.testing.assert_allclose(np.broadcast_to(sigma, kept.shape), kept)
    assert probgen.load(tmp_path / "model.h5").state["L"].attrs["long_name"] == said


# figures that are no numbers


def test_what_an_infinite_figure_means_is_said(tmp_path: Path) -> None:
    """Rows of which many are the same, draws of which none are."""
    rows = np.random.default_rng(0).integers(0, 3, size=(400, 4)).astype(float)
    fitted = probgen.fit("mixture", rows, components=1)
    found = probgen.diagnose(fitted, rows)
    assert np.isfinite(float(found["value"].sel(measure="support")))
    low = float(found["low"].sel(measure="support"))
    assert f"support has only a lower bound, {low:.2g}: no two samples" in found.attrs["note"]
    fitted.save(tmp_path / "model.h5")
    np.save(tmp_path / "rows.npy", rows)
    for call in (["diagnose"], ["analyze", "diagnose"]):
        done = CliRunner().invoke(
            app, [*call, str(tmp_path / "model.h5"), "--data", str(tmp_path / "rows.npy")]
        )
        assert done.exit_code == 0, done.output
        assert "support has only a lower bound" in " ".join(done.stdout.split())
        assert not re.search(r"\b(inf|nan)\b", done.stdout)


def test_a_table_has_no_inf_and_no_nan(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([{"a": value, "b": 1.0} for value in (np.inf, -np.inf, np.nan)], ["a", "b"])
    words = capsys.readouterr().out.split()
    assert {"infinite", "minus", "undefined"} <= set(words)
    assert not {"inf", "-inf", "nan"} & set(words)


# tables without names

NO_NAMES = {
    "numbers": "1.5,2\n3,4\n",
    "names of pandas": "0,1\n3,4\n",
    "an index of pandas": ",0,1\n0,3,4\n",
    "quoted": '"1","2"\n3,4\n',
    "spaces": " 1e3 , -2\r\n3,4\r\n",
    "a mark": "\ufeff1,2\n3,4\n",
    "semicolons": "1;2\n3;4\n",
    "one column": "1\n2\n",
    "a missing value": "1,,2\n3,4,5\n",
}
NAMES = {
    "letters": "a,b\n1,2\n",
    "a year": "a,2020\n1,2\n",
    "nan": "nan,inf\n1,2\n",
    "label": "0,label\n1,2\n",
}


@pytest.mark.parametrize("suffix", [".csv", ".tab", ".csv.gz"])
@pytest.mark.parametrize("name", NO_NAMES)
def test_a_first_row_does_not_become_names(name: str, suffix: str, tmp_path: Path) -> None:
    text = NO_NAMES[name].replace(",", "\t") if suffix == ".tab" else NO_NAMES[name]
    if suffix == ".tab":
        text = text.replace(";", "\t")
    path = tmp_path / f"a{suffix}"
    path.write_bytes(gzip.compress(text.encode()) if suffix.endswith("gz") else text.encode())
    with pytest.raises(
        InputError,
        match=r"it has the number .*--columns none, or accept the line as names with --columns header",
    ):
        probgen.fit("independent", path)


@pytest.mark.parametrize("name", NAMES)
def test_names_that_are_not_all_numbers_stay_names(name: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(NAMES[name])
    assert probgen.datasets.load(path).sizes["row"] == 1


# columns that nothing is known of


def unknown_column(how: str) -> xr.Dataset:
    """Five columns, of which nothing is known of the fourth."""
    random = np.random.default_rng(0)
    data = xr.Dataset({"x": (("row", "feature"), (random.random((60, 5)) < 0.5).astype(float))})
    data["x"].attrs |= {"support": "binary"}
    if how == "NaN":
        data["x"][:, 3] = np.nan
    elif how == "observed":
        data["observed"] = (("row", "feature"), np.ones((60, 5), dtype=bool))
        data["observed"][:, 3] = False
    else:  # known of rows that do not count
        weight = (np.arange(60) % 2).astype(float)
        data["weight"] = ("row", weight)
        data["x"][weight > 0, 3] = np.nan
    return data.assign_coords(feature=list("abcde"))


FAMILIES = sorted(registered("families"))


@pytest.mark.parametrize("how", ["NaN", "observed", "weight"])
@pytest.mark.parametrize("family", FAMILIES)
def test_no_family_is_fitted_to_a_column_that_nothing_is_known_of(family: str, how: str) -> None:
    """By the name of the column where the family takes what the data have; by what it cannot use where it does not."""
    definition = find_family(family)
    data = unknown_column(how)
    needs = {"weight", "observed"} if how == "weight" else {"observed"}
    message = (
        "column 'd': no row with a positive weight has an observed value"
        if needs <= definition.accepts
        else "cannot use"
    )
    with pytest.raises(InputError, match=message):
        check(data, event_of(data), definition.accepts, family, np.float32, np.float32, learning=True)


@pytest.mark.parametrize("family", ["mixture", "independent", "vae"])
def test_a_fit_refuses_such_a_column_and_a_score_takes_it(family: str) -> None:
    data = unknown_column("NaN")
    options: dict[str, Any] = {"hidden": (3,), "latent": 1, "steps": 2} if family == "vae" else {}
    with pytest.raises(InputError, match="column 'd'"):
        probgen.fit(family, data, **options)
    fitted = probgen.fit(family, data.x.fillna(0), **options)
    assert np.isfinite(probgen.score(fitted, data)["log_prob"]).all()


def test_pixels_are_named_by_position_and_others_are_counted() -> None:
    x = np.random.default_rng(0).normal(size=(20, 3, 4))
    x[:, 1, 2:] = np.nan
    with pytest.raises(InputError, match=re.escape("x, position (1, 2) (and 1 more): no row")):
        probgen.fit("mixture", x, components=1)


@pytest.mark.parametrize("name", ["x.npy", "x.txt", "-"])
@pytest.mark.parametrize("command", ["sample", "score"])
def test_results_have_no_name_of_another_format(command: str, name: str, tmp_path: Path) -> None:
    probgen.fit("independent", "iris", out=tmp_path / "r")
    data = ["--data", "iris"] if command == "score" else []
    done = CliRunner().invoke(app, [command, str(tmp_path / "r"), *data, "--out", name])
    assert done.exit_code == 2
    assert f"--out {name}: results are written as HDF5" in done.output
    assert not Path(name).exists()


def test_decimal_commas_are_not_classes(tmp_path: Path) -> None:
    """Numbers with commas are numbers that were written otherwise."""
    (tmp_path / "t.csv").write_text("a;b\n1,5;2\n2,5;3\n3,5;1\n")
    data = probgen.datasets.load(tmp_path / "t.csv")
    np.testing.assert_array_equal(data.x, [[1.5, 2], [2.5, 3], [3.5, 1]])


def test_one_value_in_the_last_row_of_a_large_file_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slice by slice: what was not known in one is looked for in the next."""
    x = np.random.default_rng(0).normal(size=(1000, 3))
    x[:-1, 1] = np.nan
    monkeypatch.setattr("probgen.data.describe.blocks.__defaults__", (24 * 100,))
    kinds = np.float64, np.float64
    check(from_array(x), event_of(from_array(x)), frozenset({"observed"}), "it", *kinds, learning=True)
    x[-1, 1] = np.nan
    with pytest.raises(InputError, match="column 1: no row"):
        check(from_array(x), event_of(from_array(x)), frozenset({"observed"}), "it", *kinds, learning=True)
