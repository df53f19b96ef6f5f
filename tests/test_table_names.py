"""Tables whose names, classes and types could be taken for something else: what a model knows comes back as it was, or is refused."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import probgen
from probgen.api.analyzing import save_analysis
from probgen.api.framing import write_table
from probgen.cli.reading import reading
from probgen.datasets import load
from probgen.errors import InputError

NUMBERS = np.array([0.5, 1.5, -2.25, 4.0, 3.0, 0.25])
ODD = {
    "marks of gaps": ["NA", "?", "b", "null", "NA", "nan"],
    "nothing": ["", "a", "", "b", "b", "a"],
    "outer spaces": [" a", "a", "a ", " a", "b", "a"],
    "returns": ["a\rb", "a b", "a\r\nb", "a", "a\nb", "a"],
    "separators": ["\u2028x", "x", "x\u2028", "x", "y", "y"],
    "fields": ["a,b", "a;b", 'a"b', "a\tb", "#a", "'a'"],
    "numbers": ["1.0", "1", "01", "1e0", "1.00", "1"],
    "words for truth": ["True", "true", "TRUE", "False", "0", "1"],
}
NAMES = {
    "plain": ("k", "r"),
    "years": ("2019", "2020"),
    "fields": ("r;q", "a=b"),
    "outer spaces": (" a", "a"),
    "nothing": ("", "r"),
    "remark": ("#k", "r"),
    "roles": ("label", "weight"),
    "quotes": ('say "k"', "it's"),
    "numbers of rows": ("index", "Unnamed: 0"),
}


def fitted_to(t: pd.DataFrame) -> Any:
    kinds = {str(name): "category" if i == 0 else "real" for i, name in enumerate(t.columns)}
    return probgen.fit("independent", load(t, table={"kind": kinds}))


def scores(fitted: Any, data: Any) -> np.ndarray:
    found: np.ndarray = probgen.score(fitted, data).log_prob.values
    return found


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
@pytest.mark.parametrize("odd", ODD)
def test_classes_come_back_from_files(odd: str, suffix: str, tmp_path: Path) -> None:
    """What `write_table` writes is scored as the table it was written of, to the bit."""
    t = pd.DataFrame({"k": ODD[odd], "r": NUMBERS})
    fitted = fitted_to(t)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="column 'k' has the class")
        written = write_table(load(t, like=fitted.event.columns), tmp_path / f"t{suffix}")
    np.testing.assert_array_equal(scores(fitted, written), scores(fitted, t))
    pd.testing.assert_frame_equal(probgen.frame(load(written, like=fitted.event.columns)), t)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
@pytest.mark.parametrize("odd", NAMES)
def test_names_of_columns_come_back_from_files(odd: str, suffix: str, tmp_path: Path) -> None:
    t = pd.DataFrame({NAMES[odd][0]: ["a;b", "c", "a;b", "c", "d", "d"], NAMES[odd][1]: NUMBERS})
    fitted = fitted_to(t)
    written = write_table(load(t, like=fitted.event.columns), tmp_path / f"t{suffix}")
    np.testing.assert_array_equal(scores(fitted, written), scores(fitted, t))


@pytest.mark.parametrize("odd", [odd for odd in ODD if odd != "returns"])  # which they lose
def test_classes_come_back_from_files_of_pandas(odd: str, tmp_path: Path) -> None:
    """Also without quotes around spaces."""
    t = pd.DataFrame({"k": ODD[odd], "r": NUMBERS})
    fitted = fitted_to(t)
    t.to_csv(tmp_path / "t.csv", index=False)
    np.testing.assert_array_equal(scores(fitted, tmp_path / "t.csv"), scores(fitted, t))


def test_a_class_that_is_nothing_and_a_gap_are_not_written_alike(tmp_path: Path) -> None:
    t = pd.DataFrame({"k": ["", "a", None, "b", "b", "a"], "r": NUMBERS})
    fitted = fitted_to(t)
    rows = load(t, like=fitted.event.columns)
    with pytest.raises(InputError, match="missing values and the class ''"):
        write_table(rows, tmp_path / "t.csv")
    assert not list(tmp_path.iterdir())
    written = write_table(rows, tmp_path / "t.parquet")
    np.testing.assert_array_equal(scores(fitted, written), scores(fitted, t))


def test_a_mark_of_gaps_that_is_no_class_is_a_gap(tmp_path: Path) -> None:
    t = pd.DataFrame({"k": ["a", "b", None, "b"], "r": NUMBERS[:4]})
    fitted = fitted_to(t)
    (tmp_path / "t.csv").write_text("k,r\na,0.5\n b ,1.5\nNA,-2.25\nb, 4\n")
    np.testing.assert_array_equal(scores(fitted, tmp_path / "t.csv"), scores(fitted, t))


def test_a_class_that_readers_take_for_a_gap_is_told(tmp_path: Path) -> None:
    t = pd.DataFrame({"k": ["NA", "b", "b"], "r": NUMBERS[:3]})
    with pytest.warns(UserWarning, match="'NA', which programs read as a missing value"):
        write_table(load(t), tmp_path / "t.csv")


@pytest.mark.parametrize("fit_to", ["frame", "file"])
@pytest.mark.parametrize("values", [[1.0, 2.0, 3.5], [1e22, 2.0, -0.5], [7.0, 8.0, 9.0]])
def test_a_number_has_one_name(values: list[float], fit_to: str, tmp_path: Path) -> None:
    """1.0 of a frame and 1 of a file are one class, whichever a model was fitted to; 1.10 and 1.1 of a file are two."""
    t = pd.DataFrame({"k": values * 2, "r": NUMBERS})
    t.to_csv(tmp_path / "t.csv", index=False)
    kinds = {"kind": {"k": "category"}}
    fitted = probgen.fit("independent", load(t if fit_to == "frame" else tmp_path / "t.csv", table=kinds))
    np.testing.assert_array_equal(scores(fitted, t), scores(fitted, tmp_path / "t.csv"))
    draws = probgen.sample(fitted, 20)
    written = write_table(draws, tmp_path / "d.csv")
    np.testing.assert_array_equal(scores(fitted, written), scores(fitted, probgen.frame(draws)))


def test_versions_are_no_numbers(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("k,r\n1.10,0.5\n1.1,1.5\n1.10,2.5\n")
    fitted = probgen.fit("independent", load(tmp_path / "t.csv", table={"kind": {"k": "category"}}))
    assert fitted.event.columns[0].classes == ("1.10", "1.1") or fitted.event.columns[0].levels == 2
    with pytest.raises(InputError, match="not a class of this column"):
        scores(fitted, pd.DataFrame({"k": ["1.100"], "r": [0.5]}))


@pytest.mark.parametrize(
    "column",
    [
        pd.Series([0.5, 1.25, 2.5], dtype="float32"),
        pd.Series([0.5, 1.25, 2.5], dtype="float16"),
        pd.Series([0.5, None, 2.5], dtype="float64"),
        pd.Series([5, 1, 2], dtype="int32"),
        pd.Series([5, 1, 2], dtype="int16"),
        pd.Series([5, 1, 2], dtype="uint8"),
        pd.Series([5, 1, 2], dtype="Int64"),
        pd.Series([5, None, 2], dtype="Int64"),
        pd.Series([5, None, 2], dtype="UInt8"),
        pd.Series([-5, 1, 2], dtype="int16"),
        pd.Series([True, False, True], dtype="bool"),
        pd.Series([True, False, True], dtype="boolean"),
        pd.Series([True, None, True], dtype="boolean"),
        pd.Series(["a", "b", "a"], dtype="object"),
        pd.Series(["a", "b", "a"], dtype="str"),
        pd.Series(["a", None, "a", "b"], dtype="string"),
        pd.Series([3, 1, 3], dtype="category"),
        pd.Series(["a", "b", "a"], dtype=pd.CategoricalDtype(["b", "a"], ordered=True)),
        pd.Series([0.5, 1.5, 0.5], dtype="float32").astype("category"),
    ],
    ids=lambda column: f"{column.dtype}{' gaps' if column.isna().any() else ''}",
)
def test_columns_come_back_in_their_types(column: pd.Series[Any], tmp_path: Path) -> None:
    t = pd.DataFrame({"k": column, "r": np.arange(len(column)) + 0.5})
    pd.testing.assert_frame_equal(probgen.frame(load(t)), t)
    fitted = probgen.fit("independent", load(t), dtype="float64")
    drawn = probgen.frame(probgen.sample(fitted, 5))["k"].dtype
    assert drawn == column.dtype or column.dtype in ("float16", "float32")  # draws of float64 are no float32


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (pd.Series([5, 1, 2]), "category"),
        (pd.Series([5, 1, 2], dtype="int8"), "1 < 2 < 5"),
        (pd.Series([True, False, True]), "category"),
        (pd.Series([0.5, 1.0, 2.0]), "category"),
    ],
)
def test_numbers_that_are_taken_for_classes_stay_numbers(values: pd.Series[Any], kind: str) -> None:
    t = pd.DataFrame({"k": values, "r": [0.5, 1.5, 2.5]})
    pd.testing.assert_frame_equal(probgen.frame(load(t, table={"kind": {"k": kind}})), t)


def test_draws_that_a_type_does_not_hold_have_a_larger_one() -> None:
    t = pd.DataFrame({"k": pd.Series([120, 127, 90, 110], dtype="int8"), "r": [0.5, 1.5, 2.5, 4]})
    draws = probgen.sample(probgen.fit("independent", load(t)), 200)
    assert draws.x.values[:, 0].max() > 127
    assert probgen.frame(draws)["k"].dtype == "int64"


def test_a_named_index_comes_back() -> None:
    t = pd.DataFrame({"r": NUMBERS}, index=pd.RangeIndex(6, name="id"))
    assert probgen.frame(load(t)).index.name == "id"


@pytest.mark.parametrize("kind", ["string", "dictionary", "int64", "double", "bool"])
def test_columns_that_are_kept_in_arrow(kind: str) -> None:
    """`dtype_backend="pyarrow"` changes nothing."""
    pa = pytest.importorskip("pyarrow")
    values: list[Any] = {
        "string": ["a", "b", None, "a"],
        "dictionary": ["a", "b", None, "a"],
        "int64": [1, 5, None, 7],
        "double": [0.5, 1.5, None, 2.5],
        "bool": [True, False, None, True],
    }[kind]
    arrow = pa.array(values)
    arrow = arrow.dictionary_encode() if kind == "dictionary" else arrow
    index = [3, 1, 2, 0]
    column = pd.Series(pd.arrays.ArrowExtensionArray(arrow), index=index)
    plain = pd.Series(values, index=index, dtype={"int64": "Int64", "bool": "boolean"}.get(kind))
    one, other = (load(pd.DataFrame({"k": k, "r": NUMBERS[:4]}, index=index)) for k in (column, plain))
    xr.testing.assert_equal(
        one.drop_vars("classes", errors="ignore"), other.drop_vars("classes", errors="ignore")
    )
    assert one["row"].values.tolist() == index


def test_a_table_of_arrow_is_loaded_and_stays() -> None:
    pa = pytest.importorskip("pyarrow")
    table = pa.table({"a": [1, 2, 3], "k": ["a", "b", "a"]})
    assert load(table).x.shape == load(table).x.shape == (3, 2)
    assert table["a"].to_pylist() == [1, 2, 3]


def test_pairs_and_tables_with_tabs(tmp_path: Path) -> None:
    """Two columns of words are pairs of texts, unless a model has columns, or an option says that it is a table."""
    t = pd.DataFrame({"k": ["a", "b", "a"], "m": ["u", "v", "v"]})
    fitted = probgen.fit("independent", load(t))
    written = write_table(probgen.sample(fitted, 4), tmp_path / "t.tsv")
    assert np.isfinite(scores(fitted, written)).all()
    assert load(written).x.dims == ("row", "time")
    for table in ({"sep": "\t"}, {"columns": ["header"]}, {"kind": {"k": "category"}}):
        assert load(written, table=table).x.dims == ("row", "feature")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f, t: scores(f, load(t, like=f.event.columns, table={"kind": {"r": "count"}})), "kind: r = 'count': the model was fitted to r .real."),
        (lambda f, t: scores(f, load(t, like=f.event.columns, table={"rare": 5})), "rare = 5: the fit has already fixed the classes"),
        (lambda f, t: load(t, like=f), "fitted.event.columns"),
        (lambda f, t: load([[1, 2]]), "the data have type list: a name, a path or a DataFrame is required"),
        (lambda f, t: probgen.sample(f, 2, given=t), "given={'x': table}"),
        (lambda f, t: scores(f, t.assign(r=t["r"] + 1j)), "column 'r' has complex numbers"),
        (lambda f, t: scores(f, t.assign(r=(t["r"] + 1j).astype(object))), "column 'r'"),
        (lambda f, t: load(t.assign(r=t["r"] + 1j)), "column 'r' has complex numbers"),
        (lambda f, t: probgen.fit("independent", t.assign(r=t["r"] * 1e-200)), "column 'r': values from -2.25e-200 to 4e-200"),
        (lambda f, t: probgen.fit("independent", t.assign(r=t["r"] * 1e155)), "column 'r': values from -2.25e.155"),
    ],
)  # fmt: skip
def test_what_would_have_no_effect_or_be_lost_is_refused(call: Any, message: str) -> None:
    t = pd.DataFrame({"k": list("abcabc"), "r": NUMBERS})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InputError, match=message):
            call(fitted_to(t), t)


def test_options_said_again_are_fine() -> None:
    t = pd.DataFrame({"k": list("aabbbc"), "r": NUMBERS})
    how = {"kind": {"k": "category", "r": "real"}, "rare": 2}
    fitted = probgen.fit("independent", load(t, table=how))
    again = scores(fitted, load(t, like=fitted.event.columns, table=how))
    np.testing.assert_array_equal(again, scores(fitted, t))


def test_a_name_with_an_equals_sign_has_a_kind() -> None:
    how = reading(
        size=None, crop=False, gray=False, scale=None, columns=None, sep=None,
        kind=["a=b=category", "k=x=1<x=2"],
    )  # fmt: skip
    assert how["table"]["kind"] == {"a=b": "category", "k": "x=1<x=2"}


@pytest.mark.parametrize(
    ("text", "how", "columns"),
    [
        ("# made on monday, by hand\nname,age\na,3\nb,4\n", {}, ["name", "age"]),
        ("#,name\n1,a\n2,b\n", {}, ["#", "name"]),
        ("# x,y\n1.5,2\n3,4\n", {}, ["# x", "y"]),
        ("# made on monday, by hand\nname,city\na,u\nb,v\n", None, []),
        ("# made on monday, by hand\nname,city\na,u\nb,v\n", {"columns": ["name", "city"]}, ["name", "city"]),
        ("# name,city\na,u\nb,v\na,v\n", {"columns": ["header"]}, ["# name", "city"]),
    ],
)
def test_remarks_with_as_many_fields_as_rows(
    text: str, how: dict[str, Any] | None, columns: list[str], tmp_path: Path
) -> None:
    (tmp_path / "t.csv").write_text(text)
    if how is None:
        with pytest.raises(InputError, match="or a comment"):
            load(tmp_path / "t.csv")
        return
    found = load(tmp_path / "t.csv", table=how)
    assert found["feature"].values.tolist() == columns
    assert found.sizes["row"] == text.count("\n") - 2 + (
        text[:2] in ("#,", "# x"[:2]) and text.count("monday") == 0
    )


@pytest.mark.parametrize(
    ("text", "how", "message"),
    [
        ("a,b,c\n1,2,3\n", {"columns": ["r", "r", "c"]}, "--columns has the name 'r' twice"),
        ("a,b\n18446744073709551616,1\n3,2\n", {}, "column 'a'"),
    ],
)
def test_more_that_is_refused(text: str, how: dict[str, Any], message: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        load(tmp_path / "t.csv", table=how)


def test_utf_16_without_a_mark_names_the_option(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes("a,b\n1,2\n3,4\n".encode("utf-16-le"))
    with pytest.raises(probgen.errors.FileError, match="--encoding utf-16-le"):
        load(tmp_path / "t.csv")
    assert load(tmp_path / "t.csv", table={"encoding": "utf-16-le"}).x.shape == (2, 2)


def test_a_large_file_is_read_as_a_small_one(tmp_path: Path) -> None:
    """A column whose first pieces are numbers and whose last are texts has one type."""
    n = 20_000
    wide = pd.DataFrame(np.round(np.random.default_rng(0).normal(size=(n, 60)), 3)).rename(
        columns=lambda i: f"f{i}"
    )
    price = np.r_[np.linspace(1, 999, n - 500), np.linspace(1000, 5000, 500)].round(2)
    wide.assign(price=[f"{v:,.2f}" for v in price]).to_csv(tmp_path / "t.csv", index=False)
    np.testing.assert_array_equal(load(tmp_path / "t.csv").x.values[:, -1], price)
    late = [*map(str, range(n - 2)), "? ", "7"]
    wide.assign(price=late).to_csv(tmp_path / "u.csv", index=False)
    assert np.isnan(load(tmp_path / "u.csv").x.values[:, -1]).sum() == 1


def test_draws_of_whole_numbers_are_whole_in_analyses(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    t = pd.DataFrame({"z": np.rint(rng.normal(size=600) * 2).astype(int), "r": rng.normal(size=600)})
    fitted = probgen.fit("mixture", load(t), components=1)
    made = probgen.frame(probgen.analyze("synthesize", fitted, n=50).table)
    assert made["z"].dtype == "int64"
    hidden = load(t.astype({"z": "Int64"}).mask(rng.random((600, 2)) < 0.1), like=fitted.event.columns)
    found = probgen.analyze("impute", fitted, hidden, draws=3)
    assert (found["draws"].values[..., 0] % 1 == 0).all()
    assert probgen.frame(found.table)["z"].dtype == "int64"
    told = probgen.analyze("fidelity", fitted, load(t, like=fitted.event.columns), rows=600)
    assert told.told_apart < 0.6  # unrounded draws are told apart always; 0.5 +- 0.02 of right ones


def test_held_out_figures_do_not_hang_on_the_order_of_a_file() -> None:
    rng = np.random.default_rng(0)
    c = np.sort(rng.integers(0, 3, 3000))
    t = pd.DataFrame({"x": rng.normal(size=3000) + 5 * c, "c": np.array(list("abc"))[c]})
    rows = load(t)
    part = rng.permutation(3000)
    fitted = probgen.fit("mixture", rows.isel(row=part[:2400]), components=3)
    ordered = rows.isel(row=np.sort(part[:2400])), rows.isel(row=np.sort(part[2400:]))
    found = probgen.analyze("fidelity", fitted, ordered[1], reference=ordered[0], target="c", rows=300)
    assert found.marginal_mean_held_out < 0.15
    assert found.told_apart_held_out < 0.6
    assert found.accuracy_of_rows > 0.95


def test_what_is_not_observed_is_missing_in_analyses() -> None:
    rng = np.random.default_rng(0)
    t = pd.DataFrame(rng.normal(size=(400, 2)), columns=["a", "b"])
    hidden = rng.random(t.shape) < 0.2
    fitted = probgen.fit("mixture", load(t), components=1)
    gaps = load(t.mask(hidden))
    masked = load(t.mask(hidden, 999.0)).assign(observed=(("row", "feature"), ~hidden))
    for name in ("fidelity", "outliers"):
        one, other = (probgen.analyze(name, fitted, rows) for rows in (gaps, masked))
        for variable in set(one) - {"x", "why", "place", "called"}:
            np.testing.assert_array_equal(one[variable].values, other[variable].values, err_msg=variable)


def test_splits_of_tables_that_come_otherwise() -> None:
    t = pd.DataFrame({"a": np.arange(100) + 0.5, "b": np.arange(100) * 2.5})
    sizes = [load(t, split).sizes["row"] for split in ("train", "valid", "test")]
    assert sizes == [80, 10, 10]
    with pytest.raises(InputError, match="split = 'nonsense'"):
        load(t, "nonsense")


@pytest.mark.parametrize("names", [["a", "b"], [2020, 2019]])
def test_names_of_xarray_are_names_of_columns(names: list[Any]) -> None:
    t = pd.DataFrame(np.random.default_rng(0).normal([50, 0], 1, (60, 2)), columns=names)
    fitted = probgen.fit("independent", t)
    wanted = scores(fitted, t)
    other = t[names[::-1]]
    for array in (
        xr.DataArray(other),
        xr.DataArray(other.to_numpy(), dims=("row", "feature"), coords={"feature": names[::-1]}),
        other.to_xarray().to_array("feature").transpose(),
    ):
        np.testing.assert_array_equal(scores(fitted, array), wanted)


def test_labels_of_two_tables_are_not_joined() -> None:
    one = load(pd.DataFrame({"x": NUMBERS[:4], "y": NUMBERS[1:5], "label": ["b", "ba", "b", "ba"]}))
    two = load(pd.DataFrame({"x": NUMBERS[:4], "y": NUMBERS[1:5], "label": ["ab", "b", "ab", "b"]}))
    with pytest.warns(FutureWarning), pytest.raises(InputError, match="concatenated from tables"):
        probgen.fit("made", xr.concat([one, two], "row"), given=["label"], epochs=1)


def test_one_class_survives_a_file(tmp_path: Path) -> None:
    t = pd.DataFrame({"x": np.tile(NUMBERS, 4), "y": np.arange(24) / 7, "label": ["ab", "b", "ba"] * 8})
    fitted = probgen.fit("made", load(t), given=["label"], epochs=1)
    one = load(t.assign(label="ba"))
    one.to_netcdf(tmp_path / "l.nc", engine="h5netcdf")
    np.testing.assert_array_equal(scores(fitted, tmp_path / "l.nc"), scores(fitted, one))


@pytest.mark.parametrize("kind", ["array", "list", "frame", "named"])
def test_what_is_observed_goes_by_names(kind: str) -> None:
    t = pd.DataFrame(np.random.default_rng(0).normal([50, 0], 1, (60, 2)), columns=["a", "b"])
    fitted = probgen.fit("mixture", t, components=1)
    row, mask = pd.DataFrame({"b": [1.0], "a": [50.0]}), pd.DataFrame({"a": [0], "b": [1]})
    there: Any = {
        "array": np.array([[1, 0]]),
        "list": [[1, 0]],
        "frame": mask,
        "named": xr.DataArray([[0, 1]], dims=("row", "feature"), coords={"feature": ["a", "b"]}),
    }[kind]
    drawn = probgen.sample(fitted, 20, given={"x": row, "observed": there}).x.values[:, 0]
    np.testing.assert_array_equal(drawn[:, 1], 1.0)
    assert drawn[:, 0].std() > 0


def test_numbers_that_floats_confuse_are_other_classes() -> None:
    t = pd.DataFrame({"id": np.array([2**60, 2**60 + 2048, 5] * 3), "x": np.arange(9) / 2})
    fitted = probgen.fit("independent", load(t, table={"kind": {"id": "category"}}))
    assert np.isfinite(scores(fitted, t)).all()
    with pytest.raises(InputError, match="1152921504606846977"):
        scores(fitted, pd.DataFrame({"id": [2**60 + 1], "x": [0.0]}))


@pytest.mark.parametrize("text", ["1_0", "010", "１０", "+10", " 1 0"])
def test_texts_that_python_takes_for_numbers_are_no_classes_of_numbers(text: str) -> None:
    t = pd.DataFrame({"k": [1, 2, 3, 10] * 2, "x": np.arange(8) / 2})
    fitted = probgen.fit("independent", load(t, table={"kind": {"k": "category"}}))
    assert np.isfinite(scores(fitted, t.assign(k=t["k"].astype(str)))).all()
    with pytest.raises(InputError, match="not a class of this column"):
        scores(fitted, pd.DataFrame({"k": [text], "x": [0.0]}))


def test_marks_of_gaps_leave_the_type(tmp_path: Path) -> None:
    t = pd.DataFrame({"k": [1, -9, 3, 4], "b": [True, False, True, True], "r": NUMBERS[:4]})
    t.to_csv(tmp_path / "t.csv", index=False)
    how = {"na": ["-9", "1"]}
    frame, file = load(t, table=how), load(tmp_path / "t.csv", table=how)
    xr.testing.assert_equal(frame, file)
    assert np.isnan(frame.x.values).sum() == 2
    assert [column.support for column in probgen.fit("independent", frame).event.columns] == [
        "count",
        "binary",
        "real",
    ]


def test_names_that_an_estimator_would_not_use_are_refused() -> None:
    t = pd.DataFrame(np.random.default_rng(0).normal(size=(30, 2)))
    probgen.estimator("independent").fit(t)
    with pytest.raises(InputError, match="that are not text"):
        probgen.estimator("independent").fit(t[[1, 0]])
    with pytest.raises(InputError, match="'label'"):
        probgen.estimator("independent").fit(t.set_axis(["a", "label"], axis=1))


@pytest.mark.parametrize(
    ("text", "how", "message"),
    [
        ("a\n1.5\n\n3.25\n", {}, "line 3: an empty line could be a missing value"),
        (
            "x;y\n1.234;3\n0.5;4\n2.5;8\n2.75;7\n",
            {"decimal": ",", "kind": {"x": "real"}},
            "the decimal mark is a comma",
        ),
        ("a,b\n1,x\n2,x\n-01,y\n", {}, "leading zeros"),
        ("x y z\n1 2 3\n4 5 6\n", {}, "--sep ' '"),
        ("x:y\n1:2\n3:4\n", {}, "--sep ':'"),
        ("x,y,c\n1,2,3\n", {"columns": ["y", "x", "c"]}, "in another order"),
        ("a,b\n1\u00a0000,2\n2\u00a0500,3\n900,4\n", {}, "has numbers"),
        ('a,b\n"1,00,000",2\n"2,50,000",3\n"9,000",4\n', {}, "has numbers"),
        ("a,b\n1.5D+03,2\n2.5D+03,3\n1,4\n", {}, "has numbers"),
        ("a,b\n1,2\n3,4\n", {"rare": 3}, "has no column of classes"),
    ],
)
def test_more_that_could_be_two_things(text: str, how: dict[str, Any], message: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        load(tmp_path / "t.csv", table=how)


def test_digits_of_other_scripts_are_texts(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n١,1.5\n٢,2.5\n", encoding="utf-8")
    assert probgen.fit("independent", load(tmp_path / "t.csv")).event.columns[0].classes == ("١", "٢")


def test_frames_of_other_processors_are_read() -> None:
    t = pd.DataFrame({"a": np.array([1.5, 2.5], dtype=">f8"), "k": np.array([1, 7], dtype=">i4")})
    xr.testing.assert_equal(load(t), load(t.astype({"a": "f8", "k": "i4"})))


def test_a_number_and_a_text_of_one_name_are_refused() -> None:
    with pytest.raises(InputError, match="two classes of one name"):
        load(pd.DataFrame({"k": pd.Series([2, "2", 3], dtype=object)}), table={"kind": {"k": "category"}})


def test_names_of_rows_are_exact() -> None:
    t = pd.DataFrame({"id": pd.array([2**60 + 1, None, 2**60 + 2], dtype="Int64"), "r": NUMBERS[:3]})
    assert load(t, table={"index": "id"})["row"].values.tolist() == [str(2**60 + 1), "", str(2**60 + 2)]


def test_periods_are_refused() -> None:
    t = pd.DataFrame({"p": pd.period_range("2020-01", periods=3, freq="M"), "r": NUMBERS[:3]})
    with pytest.raises(InputError, match="has periods"):
        load(t, table={"kind": {"p": "real"}})


def test_lists_of_analyses_can_be_read(tmp_path: Path) -> None:
    """Also where classes have tabs, line feeds and carriage returns."""
    t = pd.DataFrame({"k": ["b\r", "t\tab", "new\nline", "b\r"] * 5, "r": np.arange(20) / 3})
    fitted = probgen.fit("independent", load(t), out=tmp_path / "run")
    found = probgen.analyze(
        "impute", fitted, load(t.mask(np.eye(20, 2).astype(bool)), like=fitted.event.columns), draws=3
    )
    save_analysis(found, tmp_path / "run")
    place = tmp_path / "run" / "analyses"
    listed = pd.read_csv(place / "impute.tsv", sep="\t", dtype=str, keep_default_na=False)
    assert listed.shape[0] == 2
    xr.testing.assert_equal(
        load(place / "impute.csv", like=fitted.event.columns).x.drop_vars("classes").drop_attrs(),
        found.table.rename("x").drop_attrs(),
    )


def test_scores_of_one_table_are_compared_whatever_the_order_of_columns_and_classes() -> None:
    """And those of tables that only their names tell apart are not."""
    rng = np.random.default_rng(0)
    t = pd.DataFrame({"a": list("xyzx") * 10, "b": rng.normal(size=40), "c": list("xxyz") * 10})
    kinds = {"kind": {"a": "z < x < y"}}
    one = probgen.score(probgen.fit("independent", load(t)), t)
    other = probgen.score(probgen.fit("mixture", load(t[["c", "b", "a"]], table=kinds), components=1), t)
    found = probgen.compare({"one": one, "other": other})
    assert np.isfinite(found.mean_log_prob.values).all() if "mean_log_prob" in found else found.sizes
    renamed = t.rename(columns={"a": "c", "c": "a"})
    with pytest.raises(InputError, match="different rows"):
        probgen.compare({"one": one, "renamed": probgen.score(probgen.fit("independent", renamed), renamed)})
    gaps = t.assign(a=t["a"].mask(t["a"] == "y"))
    fitted = [probgen.fit("mixture", load(t, table=how), components=1) for how in ({}, kinds)]
    digests = {probgen.score(each, gaps).log_prob.attrs["rows"] for each in fitted}
    assert len(digests) == 1
