"""A file after the fit is read as the file of the fit, and its problems are told together."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from PIL import Image
from typer.testing import CliRunner

import probgen
from probgen.cli import app
from probgen.cli.describing import sentence_of
from probgen.cli.misplaced import _hint
from probgen.contract.event import Event
from probgen.data.vocabulary import in_symbols
from probgen.errors import InputError
from probgen.readers.words import words

OPTIONS = {"na": ["-"], "drop": ["seen"], "index": "id"}


def written(path: Path, n: int = 60, sep: str = ",", **more: Any) -> Path:
    """A table with row names, dates, and a mark of missing values."""
    r = np.random.default_rng(n)
    table = pd.DataFrame(
        {
            "id": [f"p{i:03}" for i in range(n)],
            "height": r.normal(170, 10, n).round(1),
            "visits": [str(v) if v != 5 else "-" for v in r.poisson(3, n)],
            "sex": r.choice(["m", "f"], n),
            "seen": pd.date_range("2020-01-01", periods=n).strftime("%Y-%m-%d"),
            **more,
        }
    )
    table.to_csv(path, index=False, sep=sep)
    return path


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Any:
    place = tmp_path_factory.mktemp("again")
    rows = probgen.datasets.load(written(place / "a.csv"), table=OPTIONS)
    return probgen.fit("independent", rows, out=place / "run"), place


def test_a_later_file_is_read_as_the_file_of_the_fit(fitted: Any, tmp_path: Path) -> None:
    model, place = fitted
    assert model.reading == {"table": OPTIONS}
    assert probgen.load(place / "run").reading == model.reading
    later = written(tmp_path / "b.csv", 20)
    with_options = probgen.score(model, probgen.datasets.load(later, table=OPTIONS, like=model.event.columns))
    xr.testing.assert_identical(with_options, probgen.score(model, later))


@pytest.mark.parametrize("form", ["semicolons", "parquet", "frame", "fewer columns"])
def test_options_that_do_not_suit_the_later_file_do_not_matter(
    fitted: Any, tmp_path: Path, form: str
) -> None:
    model, _ = fitted
    later: Any = written(tmp_path / "b.csv", 20)
    expected = probgen.score(model, later).log_prob.values
    table = pd.read_csv(later, na_values=["-"])
    if form == "semicolons":
        later = written(tmp_path / "c.csv", 20, ";")
    elif form == "parquet":
        pytest.importorskip("pyarrow")
        table.to_parquet(later := tmp_path / "b.parquet")
    elif form == "frame":
        later = table
    else:
        later = tmp_path / "d.csv"
        table.drop(columns=["seen", "id"]).to_csv(later, index=False)
    np.testing.assert_array_equal(probgen.score(model, later).log_prob.values, expected)


def test_an_extra_column_is_named_with_its_option(fitted: Any, tmp_path: Path) -> None:
    model, _ = fitted
    later = written(tmp_path / "b.csv", 20, more=["007"] * 20, last=pd.date_range("2021", periods=20))
    with pytest.raises(
        InputError, match=r"not fitted to column 'more', 'last'. Leave them out \(--drop more,last\)"
    ):
        probgen.score(model, later)
    rows = probgen.datasets.load(
        later, table={"drop": ["more", "last"]}, like=model.event.columns, reading=model.reading
    )
    np.testing.assert_array_equal(
        probgen.score(model, rows).log_prob.values,
        probgen.score(model, written(tmp_path / "c.csv", 20)).log_prob.values,
    )


def test_an_option_of_the_later_file_wins(fitted: Any, tmp_path: Path) -> None:
    model, _ = fitted
    later = written(tmp_path / "b.csv", 20)
    found = probgen.datasets.load(
        later, table={"index": "seen", "drop": ["id"]}, like=model.event.columns, reading=model.reading
    )
    assert found["row"].values[0] == "2020-01-01"


def test_the_options_of_a_fit_are_printed_as_on_the_command_line() -> None:
    reading = {"size": [8, 16], "gray": True, "na": ["-"], "drop": ["a b"], "kind": {"x": "count"}, "rare": 3}
    assert shlex.join(words(reading)) == "--size 8x16 --gray --na - --drop 'a b' --kind x=count --rare 3"


def test_results_are_replaced_by_the_same_request_or_by_force(fitted: Any) -> None:
    _, place = fitted
    data = str(written(place / "b.csv", 20))
    call = ["score", str(place / "run"), "--data", data, "--json"]

    def ran(*more: str) -> Any:
        return CliRunner().invoke(app, [*call, *more])

    first = ran()
    assert first.exit_code == 0, first.output
    assert "--drop seen" in first.stderr
    before = (place / "run" / "scores.h5").stat().st_mtime_ns
    refused = ran("--seed", "1")
    assert refused.exit_code == 2
    assert "with seed = 0, but seed = 1 was requested. Replace the file (--force)" in refused.stderr
    assert (place / "run" / "scores.h5").stat().st_mtime_ns == before
    for more in ((), ("--seed", "1", "--force")):
        again = ran(*more)
        assert again.exit_code == 0, again.output
        assert '"replaced": true' in again.stdout
    other = place / "other"
    probgen.fit("independent", probgen.datasets.load(data, table=OPTIONS), smoothing=0.5, out=other)
    for command in (["score", "{}", "--data", data], ["sample", "{}", "-n", "2"]):
        ours, theirs = (
            [*(word.format(run) for word in command), "--out", str(place / "both.h5")]
            for run in (place / "run", other)
        )
        assert CliRunner().invoke(app, ours).exit_code == 0
        refused = CliRunner().invoke(app, theirs)
        assert refused.exit_code == 2
        assert "with model = " in refused.stderr
        (place / "both.h5").unlink()


def test_a_mark_of_the_later_file_comes_before_the_encoding_of_the_fit(tmp_path: Path) -> None:
    table = pd.DataFrame({"a": [0.5, 1.5, 2.5], "k": ["\u00e4", "b", "\u00e4"]})
    table.to_csv(tmp_path / "a.csv", index=False, encoding="latin-1")
    table.to_csv(tmp_path / "b.csv", index=False, encoding="utf-8-sig")
    rows = probgen.datasets.load(tmp_path / "a.csv", table={"encoding": "latin-1"})
    fitted = probgen.fit("independent", rows)
    np.testing.assert_array_equal(
        probgen.score(fitted, tmp_path / "b.csv").log_prob, probgen.score(fitted, rows).log_prob
    )


def test_all_problems_of_a_table_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1.5,2\n3\n4.5,5\n6,7,8\n")
    with pytest.raises(InputError, match=r"2 lines of other lengths \(line 3: 1 field, line 5: 3 fields\)"):
        probgen.datasets.load(tmp_path / "a.csv")
    table = pd.DataFrame({"a": [0, 1, 2], "b": [1.5, 2.5, 3.5]})
    with pytest.raises(InputError, match=r"2 problems: row 2, column 'a' = 2: .*; row 0, column 'b' = 1.5: "):
        probgen.datasets.load(table, table={"kind": {"a": "binary", "b": "count"}})


def test_all_problems_of_a_folder_of_images_are_told(tmp_path: Path) -> None:
    for name, side in (("a", 4), ("b", 5), ("c", 6)):
        Image.new("L", (side, side)).save(tmp_path / f"{name}.png")
    with pytest.raises(InputError, match=r"b.png is 5 x 5, .*c.png is 6 x 6, but a.png is 4 x 4"):
        probgen.datasets.load(tmp_path)
    for name in "bc":
        (tmp_path / f"{name}.png").write_bytes(b"no image")
    with pytest.raises(Exception, match=r"2 problems: .*b.png cannot be read.*; .*c.png cannot be read"):
        probgen.datasets.load(tmp_path)


def test_an_option_of_a_family_names_set() -> None:
    own = {"--data", "--out"}
    said = _hint("fit", ["mixture", "--data", "iris", "--components", "3"], own)
    assert said == "--components: this is an option of family mixture. Use --set components=3."
    assert _hint("fit", ["mixture", "--reg-covar=0.1"], own) is not None
    assert _hint("fit", ["mixture", "--unknown", "3"], own) is None
    said = _hint("analyze", ["impute", "runs/a", "--hide", "0.2"], own)
    assert said == "--hide: this is an option of analysis impute. Use --set hide=0.2."


def test_each_analysis_has_a_sentence() -> None:
    from probgen.plugins.registry import registered

    for name, (plugin, *_) in registered("analyses").items():
        said = sentence_of(plugin.target)
        assert said, name
        assert said.endswith("."), name


def test_a_label_with_spaces_is_found_in_a_file(tmp_path: Path) -> None:
    """A file of separated values has no spaces around a label, but those of the model may come from a DataFrame."""
    event = Event((), (), "token", 2, symbols=(" u", "v "))
    (tmp_path / "a.csv").write_text("x,label\n" + "1.5, u\n2.5,v \n" * 10)
    label = in_symbols(event, probgen.datasets.load(tmp_path / "a.csv")["label"])[0]
    assert label.values.tolist() == [0, 1] * 10
