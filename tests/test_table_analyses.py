"""What people do with a table: synthetic rows, imputation, outliers, fidelity."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from typer.testing import CliRunner

import probgen
from probgen.cli import app
from probgen.contract.fitted import Fitted
from probgen.datasets import load
from probgen.errors import InputError
from probgen.testing import AnalysisLaws, spaces


class TableLaws(AnalysisLaws):
    """Laws on a small table."""

    @pytest.fixture
    def data(self) -> xr.Dataset:
        """Of four kinds, with gaps."""
        data = spaces.example("mixed", rows=120)
        data["x"][::7, 0] = np.nan
        data["x"][1::9, 2] = np.nan
        return data

    @pytest.fixture
    def fitted(self, data: xr.Dataset) -> Fitted:
        """A small mixture."""
        return probgen.fit("mixture", data, steps=10)


class TestSynthesize(TableLaws):
    analysis = "synthesize"
    options = {"n": 40}


class TestImpute(TableLaws):
    analysis = "impute"
    options = {"draws": 4, "hide": 0.2}


class TestOutliers(TableLaws):
    analysis = "outliers"
    options = {"rows": 5}


class TestFidelity(TableLaws):
    analysis = "fidelity"
    options = {"rows": 60, "target": "b"}


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    return probgen.fit("mixture", load("customers", "train"), components=3)


def test_intervals_cover_what_they_say(fitted: Fitted) -> None:
    """Of 1,600 real cells that were hidden, 90 % intervals of 40 draws cover 88 to 92 % (0.75 % is a standard error)."""
    found = probgen.analyze("impute", fitted, load("customers", "test"), hide=0.2, draws=40)
    assert found.nominal_coverage == pytest.approx(1 - 4 / 41)
    assert 0.88 < found.coverage_real < 0.92
    # an interval of whole numbers covers at least as much
    assert (found.column_coverage.values[2:4] > 0.86).all()
    np.testing.assert_array_equal(
        found.table, load("customers", "test").x
    )  # what is hidden to ask is not lost
    assert not found.missing.any()


def test_what_is_hidden_to_ask_stays_in_the_table(fitted: Fitted) -> None:
    """And real gaps are filled from all that is known: as without `hide`, to the bit; each is listed with its interval."""
    t = probgen.frame(load("customers", "test").isel(row=slice(100))).convert_dtypes()
    t.loc[[3, 40], "income"], t.loc[[7], "channel"] = pd.NA, pd.NA
    asked, plain = (probgen.analyze("impute", fitted, t, hide=hide, draws=9) for hide in (0.2, 0.0))
    xr.testing.assert_identical(asked.table, plain.table)
    np.testing.assert_array_equal(asked.low, plain.low)
    assert "coverage_real" in asked
    assert "coverage_real" not in plain
    cells = list(zip(asked.cell_row.values, asked.column.values, asked.cell_value.values, strict=True))
    assert [cell[:2] for cell in cells] == [("3", "income"), ("7", "channel"), ("40", "income")]
    assert cells[1][2] in ("app", "mail", "shop", "web")
    assert float(asked.cell_low[0]) < float(cells[0][2]) < float(asked.cell_high[0])


def test_imputing_is_better_than_the_mean_and_never_touches_what_is_known(fitted: Fitted) -> None:
    found = probgen.analyze("impute", fitted, load("customers", "test"), hide=0.2, draws=40)
    marginal = probgen.fit("independent", load("customers", "train"))
    plain = probgen.analyze("impute", marginal, load("customers", "test"), hide=0.2, draws=40)
    assert found.rmse_mean < 0.8 * plain.rmse_mean
    assert found.accuracy_mean > plain.accuracy_mean + 0.1


def test_a_planted_cell_is_found_and_named(fitted: Fitted) -> None:
    """Rows in which one value does not fit the others, though it is a usual one by itself."""
    data = load("customers", "test").isel(row=slice(300))
    table = probgen.frame(data)
    of_one = np.flatnonzero(data.label.values == 0)[:3]
    table.loc[of_one, "income"] = 4.2  # usual where spent is about -1
    table.loc[of_one, "spent"] = 4.6  # usual where income is about -2
    found = probgen.analyze("outliers", fitted, table, rows=6)
    assert set(of_one) <= set(found.place.values)
    for place, why in zip(found.place.values, found.why.values, strict=True):
        if place in of_one:
            assert why.startswith(("spent", "income"))

    def surprise(rows: pd.DataFrame) -> np.ndarray:
        without = rows.convert_dtypes().reset_index(drop=True)
        without["spent"] = pd.NA
        return np.asarray(
            probgen.score(fitted, without).log_prob
            - probgen.score(fitted, rows.reset_index(drop=True)).log_prob
        )

    usual = surprise(table.iloc[np.arange(200) * 300 // 200]).mean()
    expected = surprise(table.iloc[found.place.values]) - usual
    first = np.array([why.startswith("spent") or why == "no single column" for why in found.why.values])
    assert first.any()
    np.testing.assert_allclose(
        found.surprise.sel(feature="spent")[first], expected[first], rtol=1e-6, atol=1e-9
    )


def test_one_wild_value_is_named_alone(fitted: Fitted) -> None:
    """What goes with it is surprising given it, and is not named."""
    table = probgen.frame(load("customers", "test").isel(row=slice(300)))
    table.loc[17, "income"] = 400.0
    found = probgen.analyze("outliers", fitted, table, rows=2)
    assert found.place[0] == 17
    assert found.why.values[0].startswith("income = 400.0 (+")
    assert "spent" not in found.why.values[0]
    assert found.surprise.sel(feature="spent")[0] < 5


def test_fidelity_of_rows_of_the_fit_says_so(fitted: Fitted) -> None:
    rows = load("customers", "train").isel(row=slice(400))
    found = probgen.analyze("fidelity", fitted, rows, reference=rows, rows=200)
    assert "rows are the rows of the fit" in found.attrs["note"]
    assert not [name for name in found if str(name).endswith("held_out") or name == "copied"]


def test_fidelity_knows_a_good_model_a_bad_one_and_a_copy(fitted: Fitted) -> None:
    train, test = (
        load("customers", "train").isel(row=slice(2000)),
        load("customers", "test").isel(row=slice(2000)),
    )
    good = probgen.analyze("fidelity", fitted, test, reference=train, target="member")
    assert 0.45 < good.told_apart < 0.55
    assert 0.45 < good.copied < 0.55
    assert good.accuracy_of_draws > good.accuracy_of_rows - 0.03 > good.accuracy_of_most + 0.1
    bad = probgen.analyze(
        "fidelity", probgen.fit("independent", train), test, reference=train, target="member"
    )
    assert bad.told_apart > 0.7
    assert bad.marginal_mean < 0.06  # each column by itself is right
    assert bad.dependence_mean > 4 * good.dependence_mean
    assert bad.accuracy_of_draws < bad.accuracy_of_rows - 0.1
    copies = probgen.fit(
        "mixture", train.isel(row=slice(150)), components=60, regularization=1e-8, smoothing=1e-3
    )
    copied = probgen.analyze("fidelity", copies, test, reference=train.isel(row=slice(150)), rows=500)
    assert copied.copied > 0.8


def test_options_of_fidelity_are_checked(fitted: Fitted) -> None:
    for target, message in (("nothing", "no such column"), ("income", "classes or bits")):
        with pytest.raises(InputError, match=message):
            probgen.analyze("fidelity", fitted, load("customers", "test"), rows=100, target=target)
    with pytest.raises(InputError, match="Set hide"):
        probgen.analyze("impute", fitted, load("customers", "test"))


# frames of draws


def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "a b": [1.5, 2.5, np.nan, 4.0],
            "n/m": [1, 2, 3, 7],
            "yes": [True, False, True, True],
            "kind": ["x", "y", "x", "y"],
            "size": pd.Categorical(["mid", "low", "low", "mid"], ["low", "mid", "high"], ordered=True),
            "code": pd.Categorical(["p", "q", "q", "p"]),
        }
    )


def test_a_frame_comes_back_as_it_was() -> None:
    table = frame()
    data = probgen.datasets.from_frame(table)
    pd.testing.assert_frame_equal(probgen.frame(data), table)
    pd.testing.assert_frame_equal(
        probgen.frame(data.isel(row=[2, 0])), table.iloc[[2, 0]].reset_index(drop=True)
    )
    with pytest.raises(InputError, match="a table is needed"):
        probgen.frame(probgen.datasets.load("digits", "test"))


def test_draws_are_written_as_a_table(tmp_path: Path) -> None:
    """By the command line, with names, classes and types; never over a file that is there."""
    table = frame()
    table.to_csv(tmp_path / "t.csv", index=False)
    run, out = tmp_path / "run", tmp_path / "draws.csv"
    runner = CliRunner()
    done = runner.invoke(
        app, ["fit", "mixture", "--data", str(tmp_path / "t.csv"), "--set", "components=1", "--out", str(run)]
    )
    assert done.exit_code == 0, done.stderr
    done = runner.invoke(app, ["sample", str(run), "-n", "30", "--out", str(out)])
    assert done.exit_code == 0, done.stderr
    drawn = pd.read_csv(out)
    assert list(drawn.columns) == list(table.columns)
    assert set(drawn["kind"]) <= {"x", "y"}
    assert drawn["n/m"].dtype.kind == "i"
    assert drawn["yes"].dtype.kind == "b"
    again = runner.invoke(app, ["sample", str(run), "--out", str(out)])
    assert again.exit_code == 2
    assert "already exists. Replace it (--force)" in again.stderr
    for name in ("impute", "synthesize"):
        done = runner.invoke(app, ["analyze", name, str(run), "--data", str(tmp_path / "t.csv")])
        assert done.exit_code == 0, done.stderr
        assert list(pd.read_csv(run / "analyses" / f"{name}.csv").columns) == list(table.columns)
    filled = pd.read_csv(run / "analyses" / "impute.csv")
    assert not filled.isna().any(axis=None)
    assert filled["a b"].drop(2).tolist() == table["a b"].drop(2).tolist()


def test_an_analysis_reads_files_as_the_fit_did(tmp_path: Path) -> None:
    """By the kinds of the model; and the rows of the fit may be a file of their own."""
    t = pd.DataFrame(
        {"a": np.arange(60) % 7 + 0.5, "code": [f"{i % 3:02d}" for i in range(60)], "n": np.arange(60) % 5}
    )
    t[:40].to_csv(tmp_path / "train.csv", index=False)
    t[40:].to_csv(tmp_path / "test.csv", index=False)
    run, runner = str(tmp_path / "run"), CliRunner()
    train, test = str(tmp_path / "train.csv"), str(tmp_path / "test.csv")
    done = runner.invoke(app, ["fit", "mixture", "--data", train, "--kind", "code=category", "--out", run])
    assert done.exit_code == 0, done.stderr
    done = runner.invoke(
        app, ["analyze", "fidelity", run, "--data", test, "--reference", train, "--set", "rows=20"]
    )
    assert done.exit_code == 0, done.stderr
    assert "copied" in done.stdout
    assert runner.invoke(app, ["score", run, "--data", test]).exit_code == 0


def test_options_of_reading_need_data(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(30, 2))
    probgen.fit("independent", pd.DataFrame(x, columns=["a", "b"]), out=tmp_path / "run")
    for option in ("--drop=a", "--kind=a=count", "--sep=;", "--gray"):
        done = CliRunner().invoke(app, ["analyze", "synthesize", str(tmp_path / "run"), option])
        assert done.exit_code == 2
        assert "this option needs --data" in done.output
