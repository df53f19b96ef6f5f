"""Tables: what files and frames are read as, columns by name, descriptions that do not outlive their values."""

from __future__ import annotations

import gzip
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.feather
import pytest
import xarray as xr
from typer.testing import CliRunner

import probgen
from probgen.cli import app
from probgen.contract.columns import Column
from probgen.contract.event import Event
from probgen.data.describe import event_of
from probgen.data.ingest import as_dataset
from probgen.datasets import load
from probgen.errors import FileError, InputError
from probgen.readers.described import attributes_of, marked

NAN = float("nan")


def zstd(content: bytes) -> bytes:
    with pyarrow.BufferOutputStream() as packed:
        with pyarrow.CompressedOutputStream(packed, "zstd") as stream:
            stream.write(content)
        return bytes(packed.getvalue())


# name: (file, content, how it is read, columns as words, values); "" and a message where it is refused
READ: dict[str, tuple[str, bytes, dict[str, Any], str, list[list[float]]]] = {
    "plain": ("a.csv", b"a,b\n1.5,2\n3,4\n", {}, "a real, b count", [[1.5, 2], [3, 4]]),
    "semicolons": ("a.csv", b"a;b\n1.5;2\n3;4\n", {}, "a real, b count", [[1.5, 2], [3, 4]]),
    "tabs": ("a.csv", b"a\tb\n1.5\t2\n3\t4\n", {}, "a real, b count", [[1.5, 2], [3, 4]]),
    "bars": ("a.csv", b"a|b\n1.5|2\n3|4\n", {}, "a real, b count", [[1.5, 2], [3, 4]]),
    "a tab file": ("a.tab", b"a\tb\n1.5\t2\n3\t4\n", {}, "a real, b count", [[1.5, 2], [3, 4]]),
    "colons, said": ("a.csv", b"a:b\n1.5:2\n3:4\n", {"sep": ":"}, "a real, b count", [[1.5, 2], [3, 4]]),
    "blanks after commas": ("a.csv", b"a, b\n1.5, 2\n3, 4\n", {}, "a real, b count", [[1.5, 2], [3, 4]]),
    "Windows": ("a.csv", b"a,b\r\n1.5,2\r\n3,4\r\n", {}, "a real, b count", [[1.5, 2], [3, 4]]),
    "old Macintosh": ("a.csv", b"a,b\r1.5,2\r3,4\r", {}, "a real, b count", [[1.5, 2], [3, 4]]),
    "no last line feed": ("a.csv", b"a,b\n1.5,2\n3,4", {}, "a real, b count", [[1.5, 2], [3, 4]]),
    "empty lines": ("a.csv", b"\n\na,b\n1.5,2\n\n3,4\n\n", {}, "a real, b count", [[1.5, 2], [3, 4]]),
    "a BOM": ("a.csv", "a,b\n1.5,2\n3,4\n".encode("utf-8-sig"), {}, "a real, b count", [[1.5, 2], [3, 4]]),
    "UTF-16": ("a.csv", "a,b\n1.5,2\n3,4\n".encode("utf-16"), {}, "a real, b count", [[1.5, 2], [3, 4]]),
    "Latin-1, said": (
        "a.csv", "größe,b\n1.5,2\n3,4\n".encode("latin-1"), {"encoding": "latin-1"}, "größe real, b count", [[1.5, 2], [3, 4]],
    ),
    "gzip": ("a.csv.gz", gzip.compress(b"a,b\n1.5,2\n3,4\n"), {}, "a real, b count", [[1.5, 2], [3, 4]]),
    "xz": ("a.csv.xz", lzma.compress(b"a,b\n1.5,2\n3,4\n"), {}, "a real, b count", [[1.5, 2], [3, 4]]),
    "zstd": ("a.csv.zst", zstd(b"a,b\n1.5,2\n3,4\n"), {}, "a real, b count", [[1.5, 2], [3, 4]]),
    "tabs in UTF-16": ("a.tsv", "a\tb\n1.5\t2\n3\t4\n".encode("utf-16"), {}, "a real, b count", [[1.5, 2], [3, 4]]),
    "tabs in Latin-1, said": (
        "a.tsv", "größe\tb\n1.5\t2\n3\t4\n".encode("latin-1"), {"encoding": "latin-1"}, "größe real, b count", [[1.5, 2], [3, 4]],
    ),
    "decimal commas": ("a.csv", b"a;b\n1,5;2\n3,25;4\n", {}, "a real, b count", [[1.5, 2], [3.25, 4]]),
    "decimal commas and tabs": ("a.csv", b"a\tb\n1,5\t2,5\n3,25\t4,5\n", {}, "a real, b real", [[1.5, 2.5], [3.25, 4.5]]),
    "decimal commas in quotes": ("a.csv", b'a,b\n"1,5",2\n"3,25",4\n', {}, "a real, b count", [[1.5, 2], [3.25, 4]]),
    "decimal commas, points of thousands": (
        "a.csv", b"a;b\n1.234,5;2\n3,25;4\n", {"decimal": ","}, "a real, b count", [[1234.5, 2], [3.25, 4]],
    ),
    "commas of thousands and points": (
        "a.csv", b'a,b\n"1,234.5",2\n"3,250.25",4\n', {}, "a real, b count", [[1234.5, 2], [3250.25, 4]],
    ),
    "millions": ("a.csv", b'a,b\n"1,234,567",2\n"3,250",4\n', {}, "a count, b count", [[1234567, 2], [3250, 4]]),
    "thousands, said": ("a.csv", b'a,b\n"1,234",2\n"3,250",4\n', {"decimal": "."}, "a count, b count", [[1234, 2], [3250, 4]]),
    "three decimals, said": ("a.csv", b"a;b\n1,234;2\n3,250;4\n", {"decimal": ","}, "a real, b count", [[1.234, 2], [3.25, 4]]),
    "quotes": ("a.csv", b'"a","b"\n"1.5","2"\n"3","4"\n', {}, "a real, b count", [[1.5, 2], [3, 4]]),
    "a comma in a class": ("a.csv", b'a,b\n1.5,"x, y"\n3,z\n', {}, "a real, b 'x, y' 'z'", [[1.5, 0], [3, 1]]),
    "quotes in a class": ("a.csv", b'a,b\n1.5,"x ""y"""\n3,z\n', {}, "a real, b 'x \"y\"' 'z'", [[1.5, 0], [3, 1]]),
    "classes": ("a.csv", b"a,b\n1.5,x\n3,y\n4,x\n", {}, "a real, b 'x' 'y'", [[1.5, 0], [3, 1], [4, 0]]),
    "classes of another order": ("a.csv", b"a,b\n1.5,y\n3,x\n", {}, "a real, b 'x' 'y'", [[1.5, 1], [3, 0]]),
    "truth": ("a.csv", b"a,b\n1.5,True\n3,False\n", {}, "a real, b binary", [[1.5, 1], [3, 0]]),
    "bits": ("a.csv", b"a,b\n1.5,1\n3,0\n", {}, "a real, b binary", [[1.5, 1], [3, 0]]),
    "negative": ("a.csv", b"a,b\n1.5,-1\n3,2\n", {}, "a real, b real", [[1.5, -1], [3, 2]]),
    "exponents": ("a.csv", b"a,b\n1e3,2\n-2.5E-1,4\n", {}, "a real, b count", [[1000, 2], [-0.25, 4]]),
    "whole numbers with points": ("a.csv", b"a,b\n1.0,2\n3.0,4\n", {}, "a real, b count", [[1, 2], [3, 4]]),
    "gaps": ("a.csv", b"a,b\n1.5,\n,4\n", {}, "a real, b count", [[1.5, NAN], [NAN, 4]]),
    "NA": ("a.csv", b"a,b\n1.5,NA\nnan,4\n", {}, "a real, b count", [[1.5, NAN], [NAN, 4]]),
    "mixed marks": ("a.csv", b"a,b\n1.5,?\nN/A,4\n2,null\n", {}, "a real, b count", [[1.5, NAN], [NAN, 4], [2, NAN]]),
    "a mark, said": ("a.csv", b"a,b\n1.5,-\n-,4\n2,3\n", {"na": "-"}, "a real, b count", [[1.5, NAN], [NAN, 4], [2, 3]]),
    "a number as a mark, said": (
        "a.csv", b"a,b\n1.5,-999\n-999,4\n2,3\n", {"na": ["-999"]}, "a real, b count", [[1.5, NAN], [NAN, 4], [2, 3]],
    ),
    "a gap among classes": ("a.csv", b"a,b\n1.5,x\n3,?\n4,y\n", {}, "a real, b 'x' 'y'", [[1.5, 0], [3, NAN], [4, 1]]),
    "None is a class": ("a.csv", b"a,b\n1.5,x\n3,None\n", {}, "a real, b 'None' 'x'", [[1.5, 1], [3, 0]]),
    "remarks": ("a.csv", b"# of 2020\n# in cm\na,b\n1.5,2\n3,4\n", {}, "a real, b count", [[1.5, 2], [3, 4]]),
    "a header with #": ("a.csv", b"#a,b\n1.5,2\n3,4\n", {}, "#a real, b count", [[1.5, 2], [3, 4]]),
    "no header, names said": ("a.csv", b"1.5,2\n3,4\n", {"columns": ["a", "b"]}, "a real, b count", [[1.5, 2], [3, 4]]),
    "no header, numbered": (
        "a.csv", b"1.5,2\n3,4\n", {"columns": "none"}, "column 1 real, column 2 count", [[1.5, 2], [3, 4]],
    ),
    "years as names": ("a.csv", b"2019,2020\n1.5,2\n3,4\n", {"columns": "header"}, "2019 real, 2020 count", [[1.5, 2], [3, 4]]),
    "a year beside a name": ("a.csv", b"a,2020\n1.5,2\n3,4\n", {}, "a real, 2020 count", [[1.5, 2], [3, 4]]),
    "a trailing separator": ("a.csv", b"a,b,\n1.5,2,\n3,4,\n", {}, "a real, b count", [[1.5, 2], [3, 4]]),
    "two trailing separators": ("a.csv", b"a;b;;\n1,5;2;;\n3;4;;\n", {}, "a real, b count", [[1.5, 2], [3, 4]]),
    "row numbers without a name": ("a.csv", b",a,b\n0,1.5,2\n1,3,4\n", {}, "a real, b count", [[1.5, 2], [3, 4]]),
    "row names, said": ("a.csv", b"id,a,b\nx1,1.5,2\nx2,3,4\n", {"index": "id"}, "a real, b count", [[1.5, 2], [3, 4]]),
    "codes with zeros, said": ("a.csv", b"a,z\n1.5,02139\n3,10001\n", {"kind": {"z": "category"}}, "a real, z '02139' '10001'", [[1.5, 0], [3, 1]]),
    "numbers as classes, said": ("a.csv", b"a,m\n1.5,10\n3,2\n", {"kind": {"m": "category"}}, "a real, m '2' '10'", [[1.5, 1], [3, 0]]),
    "an order, said": (
        "a.csv", b"a,q\n1.5,mid\n3,low\n", {"kind": {"q": "low < mid < high"}}, "a real, q 'low' 'mid' 'high'", [[1.5, 1], [3, 0]],
    ),
    "a range, said": ("a.csv", b"a,m\n1.5,3\n3,7\n", {"kind": {"m": "integer"}}, "a real, m integer from 3 to 7", [[1.5, 3], [3, 7]]),
    "a pattern, said": ("a.csv", b"p1,p2\n1,3\n3,7\n", {"kind": {"p*": "real"}}, "p1 real, p2 real", [[1, 3], [3, 7]]),
    "dates, left out": ("a.csv", b"a,d\n1.5,2020-01-02\n3,2020-02-03\n", {"drop": "d"}, "a real", [[1.5], [3]]),
    "dates in days, said": (
        "a.csv", b"a,d\n1.5,1970-01-02\n3,1970-01-03 12:00\n", {"kind": {"d": "real"}}, "a real, d real", [[1.5, 1], [3, 2.5]],
    ),
    "a weight, said": ("a.csv", b"a,weight\n1.5,2\n3,4\n", {"weight": "weight"}, "a real", [[1.5], [3]]),
    "a weight that is none": ("a.csv", b"a,weight\n1.5,2\n3,4\n", {"kind": {"weight": "real"}}, "a real, weight real", [[1.5, 2], [3, 4]]),
    "one column": ("a.csv", b"a\n1.5\n3\n", {}, "a real", [[1.5], [3]]),
    "blanks in names": ("a.csv", b"sepal length,b c\n1.5,2\n3,4\n", {}, "sepal length real, b c count", [[1.5, 2], [3, 4]]),
    "large whole numbers": ("a.csv", b"a,b\n1.5,9007199254740992\n3,4\n", {}, "a real, b count", [[1.5, 2**53], [3, 4]]),
    "percentages, left out": ("a.csv", b"a,p\n1.5,12%\n3,30%\n", {"drop": ["p"]}, "a real", [[1.5], [3]]),
}  # fmt: skip

REFUSED: dict[str, tuple[bytes, dict[str, Any], str]] = {
    "no header": (b"1.5,2\n3,4\n", {}, r"it has the number 1\.5.*--columns a,b,\.\.\."),
    "no header, of two kinds": (b"39, State-gov\n50, Private\n", {}, r"the number 39.*--columns none"),
    "two columns of one name": (b"a,a\n1.5,2\n3,4\n", {}, r"two columns 'a'.*--columns"),
    "a row that is too long": (b"a,b\n1.5,2\n3,4,5\n", {}, r"line 3: 3 fields, but the table has 2 columns.*--sep"),
    "a row that is too short": (b"a,b\n1.5,2\n3\n", {}, r"line 3: 1 field, but the table has 2 columns"),
    "all rows longer than the names": (b"a,b\n1.5,2,0\n3,4,0\n", {}, r"2 lines of other lengths \(line 2: 3 fields, line 3: 3 fields\), but the table has 2 columns"),
    "commas of decimals or of thousands": (b'a,b\n"1,234",2\n"3,250",4\n', {}, r"'1,234'.*--decimal ',' .*--decimal '\.' "),
    "a mark in a column of numbers": (b"a,b\n1.5,-\n2,4\n3,5\n", {}, r"column 'b' has numbers and '-'.*--na '-'"),
    "a number as a mark": (
        b"a,b\n1.5,-999\n2,4\n3,-999\n4,3\n", {}, r"column 'b' has -999 several times.*--na=-999.*--kind b=real"
    ),
    "leading zeros": (b"a,z\n1.5,02139\n3,10001\n", {}, r"column 'z' has numbers with leading zeros.*--kind z=category"),
    "dates": (b"a,d\n1.5,2020-01-02\n3,2020-02-03\n", {}, r"column 'd' has dates.*--drop d.*--index d.*--kind d=real"),
    "times": (b"a,d\n1,2019-03-23 20:21:09\n2,2019-03-24 20:21:09\n", {}, r"column 'd' has dates"),
    "names of rows": (
        ("a,name\n" + "".join(f"1.5,n{i}\n" for i in range(40))).encode(), {}, r"'name' has 40 different texts.*--drop name.*--index name"
    ),
    "percentages": (b"a,p\n1.5,12%\n3,30%\n4,31%\n", {}, r"column 'p' has percentages.*--kind p=real"),
    "a weight": (b"a,weight\n1.5,2\n3,4\n", {}, r"'weight' could be row weights .*--weight weight.*--kind weight=real"),
    "an empty column": (b"a,b\n1.5,\n3,\n", {}, r"column 'b' has no value.*--drop b"),
    "an empty file": (b"", {}, "is empty"),
    "names alone": (b"a,b\n", {}, "has no rows"),
    "Latin-1": ("größe,b\n1.5,2\n".encode("latin-1"), {}, "not a text in UTF-8.*--encoding"),
    "an image": (b"\x89PNG\0\0\0", {"encoding": "latin-1"}, "not a text"),
    "an unknown column to drop": (b"a,b\n1.5,2\n", {"drop": ["c"]}, r"no column 'c' \(drop\)"),
    "an unknown column with a kind": (b"a,b\n1.5,2\n", {"kind": {"c": "real"}}, r"no column 'c' \(kind\)"),
    "an unknown label": (b"a,bb\n1.5,2\n", {"label": "b"}, r"no column 'b' \(label\); did you mean 'bb'"),
    "a column asked for twice": (b"a,b\n1.5,2\n", {"label": "b", "drop": ["b"]}, r"'b' has several uses: label, drop"),
    "an unknown kind": (b"a,b\n1.5,2\n", {"kind": {"b": "counts"}}, "did you mean 'count'"),
    "a kind that values contradict": (b"a,b\n1.5,2\n3,-4\n", {"kind": {"b": "count"}}, r"row 1, column 'b' = -4: must be a whole number from 0"),
    "a text in a column of numbers": (b"a,b\n1.5,2\n3,x\n", {"kind": {"b": "real"}}, r"row 1, column 'b' = 'x': not a number.*--na"),
    "a fraction as a count": (b"a,b\n1.5,2\n3,4\n", {"kind": {"a": "count"}}, r"row 0, column 'a' = 1\.5: must be a whole number"),
    "a class that is not in the order": (b"a,q\n1.5,x\n3,y\n", {"kind": {"q": "x<z"}}, r"row 1, column 'q' = 'y': not a class"),
    "names that are too few": (b"1.5,2\n3,4\n", {"columns": ["a"]}, "has 2 columns, but --columns has 1 names"),
    "no column left": (b"a\n1.5\n3\n", {"drop": ["a"]}, "no column to model"),
    "an infinite value": (b"a,b\n1.5,2\n3,inf\n", {}, r"column 'b'.*inf"),
    "an unknown option": (b"a,b\n1.5,2\n", {"dropped": ["a"]}, "did you mean 'drop'"),
    "a decimal mark that is none": (b"a,b\n1.5,2\n", {"decimal": ";"}, "a point or a comma"),
}  # fmt: skip


def words(x: xr.DataArray) -> str:
    """Columns in words: name and kind, or name and classes."""
    parts = []
    for column in event_of(x.to_dataset(name="x")).columns:
        kind = {"integer": f"integer from {column.least} to {column.least + (column.levels or 0) - 1}"}
        classes = " ".join(map(repr, column.classes))
        parts.append(
            f"{column.name} {classes if column.support == 'token' else kind.get(column.support, column.support)}"
        )
    return ", ".join(parts)


def test_the_corpus_is_large() -> None:
    assert len(READ) + len(REFUSED) >= 90


@pytest.mark.parametrize("name", READ)
def test_odd_files_are_read_right(name: str, tmp_path: Path) -> None:
    file, content, how, columns, values = READ[name]
    (tmp_path / file).write_bytes(content)
    data = load(tmp_path / file, table=how)
    assert words(data.x) == columns
    np.testing.assert_array_equal(data.x.values.astype(float), values)


@pytest.mark.parametrize("name", REFUSED)
def test_files_that_could_be_two_things_are_refused_with_the_option(name: str, tmp_path: Path) -> None:
    content, how, message = REFUSED[name]
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises((InputError, FileError), match=message) as caught:
        probgen.fit("independent", load(tmp_path / "a.csv", table=how), out=tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_what_was_read_is_told(tmp_path: Path) -> None:
    """`probgen data` names each column, its kind, values, gaps and use; `fit` takes the same options."""
    (tmp_path / "a.csv").write_text(",age,sex,id,weight\n0,3,f,u1,1\n1,,m,u2,2\n2,5,f,u3,1\n")
    how = ["--drop", "id", "--weight", "weight"]
    found = CliRunner().invoke(app, ["data", str(tmp_path / "a.csv"), *how])
    assert found.exit_code == 0, found.stderr
    lines = [" ".join(line.split()) for line in found.stdout.splitlines()]
    for line in (
        "age count 3 to 5 1 feature",
        "sex category f, m feature",
        "id left out",
        "weight weight",
        "Unnamed: 0 left out it numbers the rows",
    ):
        assert line in lines
    out = str(tmp_path / "run")
    done = CliRunner().invoke(
        app, ["fit", "independent", "--data", str(tmp_path / "a.csv"), "--out", out, *how]
    )
    assert done.exit_code == 0, done.stderr
    assert "age (count), sex (2 classes)" in done.stdout
    refused = CliRunner().invoke(app, ["data", str(tmp_path / "a.csv")])
    assert refused.exit_code == 2
    assert "--weight weight" in refused.stderr


# columns by name

TABLE = pd.DataFrame(
    {
        "age": [22.5, 38.0, 26.25, 35.0, 54.0, 2.0],
        "sibs": [1, 1, 0, 3, 0, 2],
        "sex": ["m", "f", "f", "f", "m", "m"],
        "alone": [False, True, True, False, True, False],
    }
)


def frames(frame: pd.DataFrame, folder: Path) -> dict[str, Callable[[], Any]]:
    """One table in eight kinds of container."""
    frame.to_csv(folder / "t.csv", index=False)
    frame.to_csv(folder / "t.tab", index=False, sep="\t")
    frame.to_csv(folder / "t.csv.gz", index=False)
    frame.to_csv(folder / "german.csv", index=False, sep=";", decimal=",")
    as_dataset(frame).to_netcdf(folder / "t.nc", engine="h5netcdf")
    return {
        "DataFrame": lambda: frame,
        "nullable DataFrame": lambda: frame.convert_dtypes(),
        "categorical DataFrame": lambda: frame.astype({"sex": pd.CategoricalDtype(["m", "f"])}),
        "Dataset": lambda: as_dataset(frame),
        "DataArray": lambda: as_dataset(frame).x,
        "CSV": lambda: folder / "t.csv",
        "tab": lambda: folder / "t.tab",
        "packed": lambda: folder / "t.csv.gz",
        "semicolons and commas": lambda: folder / "german.csv",
        "netCDF": lambda: folder / "t.nc",
    }


@pytest.mark.parametrize("family", ["independent", "mixture"])
def test_columns_go_by_their_names(family: str, tmp_path: Path) -> None:
    """Scores are the same to the bit for every container and every order of the columns."""
    fitted = probgen.fit(family, TABLE)
    expected = probgen.score(fitted, TABLE).log_prob.values
    for order in (
        ["age", "sibs", "sex", "alone"],
        ["alone", "sex", "sibs", "age"],
        ["sex", "age", "alone", "sibs"],
    ):
        for name, made in frames(TABLE[order], tmp_path).items():
            found = probgen.score(fitted, made()).log_prob.values
            np.testing.assert_array_equal(found, expected, err_msg=f"{name}, {order}")


def test_classes_go_by_their_names(tmp_path: Path) -> None:
    """A part of the rows, in which a class is missing or comes first, has the same numbers."""
    fitted = probgen.fit("mixture", TABLE)
    expected = probgen.score(fitted, TABLE).log_prob.values
    for row in range(6):
        one = TABLE.iloc[[row]].reset_index(drop=True)
        one.to_csv(tmp_path / "one.csv", index=False)
        for made in (one, tmp_path / "one.csv", as_dataset(one)):
            assert probgen.score(fitted, made).log_prob.item() == pytest.approx(expected[row], rel=1e-12)


def test_a_table_back_from_draws_is_a_table() -> None:
    fitted = probgen.fit("mixture", TABLE)
    draws = probgen.sample(fitted, 50)
    assert draws.feature.values.tolist() == list(TABLE.columns)
    again = probgen.fit("mixture", draws.x.rename(sample="row"))
    assert again.event == fitted.event


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="sex"), "no column 'sex', which the model was fitted to"),
        (lambda t: t.rename(columns={"sex": "gender"}), "no column 'sex'.*The table has 'gender'"),
        (lambda t: t.assign(fare=1.0), "the model was not fitted to column 'fare'"),
        (
            lambda t: t.replace({"sex": {"m": "x"}}),
            "row 0, column 'sex' = 'x': not a class of this column; known: f, m",
        ),
        (
            lambda t: t.assign(sibs=-t.sibs),
            r"row 0, column 'sibs' = -1: must be a whole number from 0 \(count\)",
        ),
        (lambda t: t.assign(age="old"), "row 0, column 'age' = 'old': not a number"),
        (lambda t: t.assign(alone=2), r"row 0, column 'alone' = 2: must be 0 or 1"),
        (lambda t: t.assign(age=np.inf), "row 0, column 'age' = inf"),
    ],
)
@pytest.mark.parametrize("how", ["score", "given"])
def test_other_columns_are_refused_by_name(change: Any, message: str, how: str) -> None:
    fitted = probgen.fit("mixture", TABLE)
    calls = {
        "score": lambda: probgen.score(fitted, change(TABLE)),
        "given": lambda: probgen.sample(fitted, given={"x": change(TABLE)}),
    }
    with pytest.raises(InputError, match=message) as caught:
        calls[how]()
    assert "\n" not in str(caught.value)


def test_rows_keep_their_names() -> None:
    named = TABLE.set_axis(list("uvwxyz"), axis=0)
    fitted = probgen.fit("mixture", named)
    assert probgen.score(fitted, named).row.values.tolist() == list("uvwxyz")


def test_what_is_given_goes_by_name() -> None:
    """A table that is completed comes back in the columns of the fit, what is known as it was."""
    fitted = probgen.fit("mixture", TABLE)
    part = TABLE[["sex", "alone", "age", "sibs"]].astype({"sibs": "Int64"})
    part.loc[::2, "sibs"] = pd.NA
    drawn = probgen.sample(fitted, 3, given={"x": part}).x
    np.testing.assert_array_equal(drawn.sel(feature="age").values, np.tile(TABLE.age, (3, 1)))
    np.testing.assert_array_equal(drawn.sel(feature="sex").values, np.tile(TABLE.sex == "m", (3, 1)))
    assert (drawn.sel(feature="sibs").values >= 0).all()


def test_families_of_one_kind_say_what_they_take() -> None:
    with pytest.raises(InputError, match=r"nade does not accept the column sibs \(count\).*--kind sibs=real"):
        probgen.fit("nade", TABLE)
    with pytest.raises(InputError, match="nade accepts columns of a single kind"):
        probgen.fit("nade", TABLE.drop(columns="sibs"))


# descriptions that do not outlive their values

SIXTEEN = xr.DataArray(
    np.arange(68).reshape(4, 17) % 17,
    dims=("row", "feature"),
    attrs={"support": "integer", "levels": 17},
    name="x",
)


def described() -> xr.DataArray:
    return marked(SIXTEEN.copy(deep=True).to_dataset()).x


def to_file(x: xr.DataArray, folder: Path) -> Any:
    x.to_netcdf(folder / "x.nc", engine="h5netcdf")
    return folder / "x.nc"


CHANGES: dict[str, tuple[Callable[[xr.DataArray, Path], Any], str, int | None]] = {
    "as it is": (lambda x, _: x, "integer", 17),
    "x > 7": (lambda x, _: x > 7, "binary", None),
    "(x > 7).astype(int)": (lambda x, _: (x > 7).astype(int), "binary", None),
    "(x > 7).astype(float32)": (lambda x, _: (x > 7).astype("float32"), "real", None),
    "x / 16": (lambda x, _: x / 16, "real", None),
    "x / 16 as a Dataset": (lambda x, _: x.to_dataset() / 16, "real", None),
    "np.log1p": (lambda x, _: np.log1p(x), "real", None),
    "x - 8": (lambda x, _: x - 8, "real", None),
    "2 * x": (lambda x, _: 2 * x, "integer", 33),
    "16 - x": (lambda x, _: 16 - x, "integer", 17),
    "astype(float)": (lambda x, _: x.astype(float), "integer", 17),
    "astype(uint8)": (lambda x, _: x.astype("uint8"), "integer", 17),
    "astype(bool)": (lambda x, _: x.astype(bool), "binary", None),
    "where": (lambda x, _: x.where(x > 3), "integer", 17),
    "isel": (lambda x, _: x.isel(feature=slice(5)), "integer", 17),
    "isel of 0 and 1": (lambda x, _: x.isel(feature=[0, 1]), "integer", 17),
    "sortby": (lambda x, _: x.assign_coords(row=[3, 1, 2, 0]).sortby("row"), "integer", 17),
    "concat": (lambda x, _: xr.concat([x, x], "row"), "integer", 17),
    "a Dataset": (lambda x, _: x.to_dataset().isel(row=[0]), "integer", 17),
    "a file": (lambda x, f: to_file(x, f), "integer", 17),
    "x > 7, in a file": (lambda x, f: to_file(x > 7, f), "binary", None),
    "(x > 7).astype(int), in a file": (lambda x, f: to_file((x > 7).astype(int), f), "binary", None),
    "x / 16, in a file": (lambda x, f: to_file(x / 16, f), "real", None),
}


@pytest.mark.parametrize("name", CHANGES)
def test_the_event_is_that_of_the_values(name: str, tmp_path: Path) -> None:
    change, support, levels = CHANGES[name]
    event = event_of(as_dataset(change(described(), tmp_path)))
    assert (event.support, event.levels) == (support, levels)


def test_a_description_of_ones_own_is_taken_at_its_word() -> None:
    """And where values contradict it, the message names the attribute."""
    own = xr.DataArray(
        np.array([[0, 1], [1, 0]]), dims=("row", "feature"), attrs={"support": "integer", "levels": 5}
    )
    assert event_of(as_dataset(own)).levels == 5
    with pytest.raises(InputError, match=r"row 0.*0\.5.*x\.attrs\['support'\] = 'integer'"):
        probgen.fit("independent", own / 2 + 0.5)


def test_columns_of_a_table_do_not_outlive_their_values() -> None:
    table = as_dataset(TABLE)
    assert [c.support for c in event_of(table).columns] == ["real", "count", "token", "binary"]
    scaled = table.x / 2
    assert [c.support for c in event_of(as_dataset(scaled)).columns] == ["real", "real", "real", "real"]
    assert [c.support for c in event_of(as_dataset(table.x[:, 1:3])).columns] == ["count", "token"]
    assert [c.classes for c in event_of(as_dataset(table.x[:, [2]])).columns] == [("f", "m")]
    both = xr.concat([table.x, table.x], "row")
    assert event_of(as_dataset(both)).columns == event_of(table).columns


def test_events_of_tables_survive_files(tmp_path: Path) -> None:
    fitted = probgen.fit("mixture", TABLE)
    fitted.save(tmp_path / "m.h5")
    again = probgen.load(tmp_path / "m.h5")
    assert again.event == fitted.event
    assert Event.from_dict(fitted.event.to_dict()) == fitted.event
    columns = [
        Column("a", "integer", 5, least=-2, unit="m"),
        Column("b", "token", 2, classes=("x", "y"), ordered=True),
    ]
    assert [Column.from_dict(column.to_dict()) for column in columns] == columns
    assert attributes_of(columns)["support"] == "mixed"


def test_rare_classes_are_one(tmp_path: Path) -> None:
    """And so are those that come later; without the option they are refused."""
    t = pd.DataFrame({"a": np.arange(30) / 7, "k": ["x"] * 14 + ["y"] * 13 + ["p", "q", "r"]})
    t.to_csv(tmp_path / "t.csv", index=False)
    fitted = probgen.fit("mixture", load(tmp_path / "t.csv", table={"rare": 5}))
    assert fitted.event.columns[1].classes == ("x", "y", "(rare)")
    later = t.assign(k=["new"] * 30)
    np.testing.assert_array_equal(
        probgen.score(fitted, later).log_prob, probgen.score(fitted, t.assign(k=["p"] * 30)).log_prob
    )
    with pytest.raises(InputError, match="'new': not a class"):
        probgen.score(probgen.fit("mixture", t), later)
    with pytest.raises(InputError, match="rare = 0"):
        load(tmp_path / "t.csv", table={"rare": 0})


def test_tables_of_arrow_are_the_same(tmp_path: Path) -> None:
    """Parquet, Feather and what speaks Arrow; whole numbers with gaps stay whole, and columns go by name."""
    t = TABLE.assign(
        size=pd.Categorical(["s", "m"] * 3, ["s", "m", "l"], ordered=True),
        n=pd.array([1, None, 3, 4, 5, 6], "Int64"),
    )
    t.to_parquet(tmp_path / "t.parquet")
    pyarrow.feather.write_feather(pyarrow.Table.from_pandas(t), tmp_path / "t.feather")
    fitted = probgen.fit("independent", t)
    expected = probgen.score(fitted, t).log_prob.values
    turned = pyarrow.Table.from_pandas(t[t.columns[::-1]])
    for data in (tmp_path / "t.parquet", tmp_path / "t.feather", turned):
        np.testing.assert_array_equal(probgen.score(fitted, data).log_prob.values, expected)
    assert [c.support for c in fitted.event.columns][-1] == "count"
    assert fitted.event.columns[-2].ordered
    assert fitted.event.columns[-1].gaps
    with pytest.raises(InputError, match="sep is only for text files"):
        load(tmp_path / "t.parquet", table={"sep": ";"})
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(FileError, match="cannot be read"):
        load(tmp_path / "bad.parquet")


def test_a_label_goes_by_its_names(tmp_path: Path) -> None:
    """A condition is asked for by name, and the codes of later rows are those of the fit."""
    t = pd.DataFrame(
        {"a": [0.0, 0.1, 5.0, 5.1] * 10, "b": [1.0, 1.2, 3.0, 3.1] * 10, "kind": ["p", "p", "q", "q"] * 10}
    )
    t.to_csv(tmp_path / "t.csv", index=False)
    rows = load(tmp_path / "t.csv", table={"label": "kind"})
    fitted = probgen.fit("made", rows, given=["label"], hidden=4, epochs=2)
    assert fitted.event.given["label"].symbols == ("p", "q")
    drawn = [probgen.sample(fitted, 3, given={"label": label}).x.values for label in ("q", 1)]
    np.testing.assert_array_equal(*drawn)
    t.iloc[2:4].to_csv(tmp_path / "q.csv", index=False)  # of one class alone, whose code would be 0
    found = probgen.score(fitted, load(tmp_path / "q.csv", table={"label": "kind"})).log_prob
    np.testing.assert_allclose(found, probgen.score(fitted, rows).log_prob[2:4], rtol=1e-6)
    with pytest.raises(InputError, match=r"'r': .*; known: p, q"):
        probgen.sample(fitted, given={"label": "r"})
    t.assign(kind="r").to_csv(tmp_path / "r.csv", index=False)
    with pytest.raises(InputError, match="label, row 0 = 'r': the model was not fitted to this class"):
        probgen.score(fitted, load(tmp_path / "r.csv", table={"label": "kind"}))


def test_a_table_by_standard_input(tmp_path: Path) -> None:
    text = TABLE.to_csv(index=False)
    run = str(tmp_path / "run")
    done = CliRunner().invoke(app, ["fit", "mixture", "--data", "-", "--out", run], input=text)
    assert done.exit_code == 0, done.stderr
    scored = CliRunner().invoke(app, ["score", run, "--data", "-"], input=text)
    assert scored.exit_code == 0, scored.stderr
    assert "6 rows" in scored.stdout
    for bad, message in (
        ("", "standard input is empty"),
        ("a,b\n1,2\n", "standard input has no column 'age'"),
    ):
        refused = CliRunner().invoke(app, ["score", run, "--data", "-"], input=bad)
        assert refused.exit_code == 2
        assert message in refused.stderr


def test_tables_with_other_classes_are_not_joined() -> None:
    """Their numbers mean different classes, whatever attributes xarray keeps."""
    one, other = (probgen.datasets.from_frame(t) for t in (TABLE, TABLE.replace({"sex": {"m": "q"}})))
    with pytest.warns(FutureWarning), pytest.raises(InputError, match="different columns or classes"):
        probgen.fit("mixture", xr.concat([one, other], "row"))
    with pytest.warns(FutureWarning), pytest.raises(InputError, match="different columns or classes"):
        probgen.fit("mixture", xr.concat([one.x, other.x], "row"))
    both = probgen.datasets.from_frame(
        pd.concat([TABLE, TABLE.replace({"sex": {"m": "q"}})], ignore_index=True)
    )
    assert event_of(as_dataset(both)).columns[2].classes == ("f", "m", "q")


@pytest.mark.parametrize(
    ("content", "how", "message"),
    [
        (
            b"a,b\n18446744073709551615,1\n18446744073709551614,5\n",
            {},
            "'a' has whole numbers beyond 2\\*\\*53.*--index a",
        ),
        (
            b"a,b\n9007199254740993,1\n5,5\n",
            {"kind": {"a": "real"}},
            "row 0, column 'a' = 9007199254740993: beyond",
        ),
        (
            b"a;d\n1,5;01.02.2020\n2,5;03.02.2020\n",
            {"decimal": ",", "kind": {"d": "real"}},
            "'01.02.2020': not a number",
        ),
        (b"a;b\n1,5;1.234\n2,5;3\n", {}, "'b' has '1.234', but other columns have decimal commas"),
        (b"d,a\n2020-13-45,1\n2020-01-03,2\n", {"kind": {"d": "real"}}, "column 'd'"),
        (b"p;n\n1.234;1\n2.500;2\n", {}, "numbers such as 1.234, between semicolons.*--decimal ','"),
        (b"weight,a\nx,2.5\ny,3.5\n", {"weight": "weight"}, "row 0, column 'weight' = 'x': not a number"),
        (b"a,b\n1,2.5\n9000000000000,3\n", {"kind": {"a": "integer"}}, "too wide for integer"),
        (b"a,k\n1,x\n2,y\n", {"kind": {"k": "x < x < y"}}, "two classes have one name"),
        (b"a,k\n1,(rare)\n2,y\n3,y\n", {"rare": 2}, "a class '\\(rare\\)'"),
    ],
)
def test_what_would_be_changed_is_refused(
    content: bytes, how: dict[str, Any], message: str, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(InputError, match=message):
        load(tmp_path / "a.csv", table=how)


@pytest.mark.parametrize(
    ("content", "how", "columns", "values"),
    [
        (b"a;b\n1.234,5;2\n3,25;1.234.567\n", {"decimal": ","}, "a real, b count", [[1234.5, 2], [3.25, 1234567]]),
        (b"p;n\n1.234,50;1\n20,5;2\n", {}, "p real, n count", [[1234.5, 1], [20.5, 2]]),
        (b"p;n\n1.234;1\n2.500;2\n", {"decimal": ","}, "p count, n count", [[1234, 1], [2500, 2]]),
        (b"a,b\nx,1\nNA ,2\n? ,5\n", {"kind": {"a": "category"}}, "a 'x', b count", [[0, 1], [NAN, 2], [NAN, 5]]),
        (b"a,b\n1.5,1\n? ,2\n2,3\n", {}, "a real, b count", [[1.5, 1], [NAN, 2], [2, 3]]),
        (b"a,a\n1,2\n3,4\n", {"columns": ["u", "v"]}, "u count, v count", [[1, 2], [3, 4]]),
        ("name,n\nx\u2028y,1\nz,2\n".encode(), {}, "name 'x\\u2028y' 'z', n count", [[0, 1], [1, 2]]),
        (b'k,n\n"x\r\ny",1\n"x\ny",2\n', {}, "k 'x\\ny' 'x\\r\\ny', n count", [[1, 1], [0, 2]]),
        (b"p;n\n10,5%;1\n20%;2\n", {"kind": {"p": "real"}}, "p real, n count", [[10.5, 1], [20, 2]]),
        (b'"x, y",n,m\n1.5,1,2\n2,2,3\n', {"drop": ["x, y"]}, "n count, m count", [[1, 2], [2, 3]]),
        (b"d,a\n1970-01-02 00:00:00+02:00,1\n1970-01-02 03:00:00+03:00,2\n", {"kind": {"d": "real"}}, "d real, a count", [[22 / 24, 1], [1, 2]]),
    ],
)  # fmt: skip
def test_more_odd_files(
    content: bytes, how: dict[str, Any], columns: str, values: list[list[float]], tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    data = load(tmp_path / "a.csv", table=how)
    assert words(data.x) == columns
    np.testing.assert_allclose(data.x.values.astype(float), values, rtol=1e-12)


def test_classes_of_a_model_stay_as_they_are_written(tmp_path: Path) -> None:
    """1.50 and 1.5 are two classes, also of a later file for which nothing is said."""
    (tmp_path / "a.csv").write_text("k,a\n1.50,1.5\n1.5,2.5\n1.50,3.5\n1,2.2\n1.50,3\n")
    fitted = probgen.fit("mixture", load(tmp_path / "a.csv", table={"kind": {"k": "category"}}), components=1)
    (tmp_path / "b.csv").write_text("k,a\n1.50,2.5\n1.5,2.5\n1,2.5\n")
    found = probgen.score(fitted, tmp_path / "b.csv").log_prob.values
    said = probgen.score(fitted, load(tmp_path / "b.csv", table={"kind": {"k": "category"}})).log_prob.values
    np.testing.assert_array_equal(found, said)
    assert found[0] > found[1] == found[2]


@pytest.mark.parametrize(
    ("name", "pack"), [("a.csv.gz", gzip.compress), ("a.csv.xz", lzma.compress), ("a.csv.zst", zstd)]
)
def test_what_would_unpack_to_far_more_is_refused(
    name: str, pack: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(pack(bytes(32 << 20)))
    with pytest.raises(FileError, match="unpacks to more than 16 MiB and 200 times its size"):
        load(tmp_path / name)


@pytest.mark.parametrize("dtype", ["int64", "float64", "bool", "Int32", "str"])
def test_categories_keep_their_type(dtype: str) -> None:
    values = pd.Series(
        {"bool": [True, False, True], "str": ["b", "a", "b"]}.get(dtype, [3, 1, 3]), dtype=dtype
    )
    t = pd.DataFrame({"k": values.astype("category"), "a": [0.5, 1.5, 2.5]})
    pd.testing.assert_frame_equal(probgen.frame(load(t)), t)


def test_draws_of_whole_numbers_are_whole() -> None:
    """Values of a table are as they are; draws of a column of whole numbers, which is real if some are below 0, are rounded."""
    t = pd.DataFrame({"a": [-4, 3, 7, 2, 5, 1], "b": [0.5, 1.25, 2, 3, 4, 5]})
    fitted = probgen.fit("independent", load(t))
    draws = probgen.sample(fitted, 50)
    table = probgen.frame(draws)
    assert table.dtypes.astype(str).tolist() == ["int64", "float64"]
    np.testing.assert_array_equal(table["a"], np.rint(draws.x.values[:, 0]))
    later = load(t.assign(a=t["a"] + 0.25), like=fitted.event.columns)
    assert probgen.frame(later)["a"].tolist() == (t["a"] + 0.25).tolist()


@pytest.mark.parametrize("date", ["24.12.2020", "12/24/20", "3-4-2021 10:30"])
def test_dates_that_are_not_of_iso_8601_are_refused(date: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"d,n\n{date},1\n{date},3\n")
    with pytest.raises(InputError, match=r"column 'd' has dates such as .*--kind d=category"):
        load(tmp_path / "a.csv")


def test_options_in_messages_can_be_pasted(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("pay rate,n\n10%,1\n20%,3\n")
    with pytest.raises(InputError, match=r"--kind 'pay rate'=real"):
        load(tmp_path / "a.csv")


def test_what_is_said_of_tables_that_are_none(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.random.default_rng(0).normal(size=(20, 2)))
    run, runner = str(tmp_path / "run"), CliRunner()
    assert (
        runner.invoke(app, ["fit", "independent", "--data", str(tmp_path / "a.npy"), "--out", run]).exit_code
        == 0
    )
    for args, message in (
        (["data", "iris"], "probgen datasets iris"),
        (["data", str(tmp_path / "a.npy")], "is not a table"),
        (["sample", run, "--out", str(tmp_path / "a.csv")], "x has no named columns"),
        (["sample", run, "--sep", ";"], "--sep: this option is for tables, but --given is not a table"),
    ):
        done = runner.invoke(app, args)
        assert done.exit_code == 2, args
        assert message in " ".join(done.stderr.split())
    assert not (tmp_path / "a.csv").exists()


def test_names_of_rows_are_written(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        "id,a,k\n" + "".join(f"r{i},{i * 0.37 % 1:.3f},{'xy'[i % 2]}\n" for i in range(20)) + "r20,,x\n"
    )
    run = str(tmp_path / "run")
    runner, data = CliRunner(), ["--data", str(tmp_path / "a.csv"), "--index", "id"]
    assert runner.invoke(app, ["fit", "mixture", *data, "--out", run]).exit_code == 0
    done = runner.invoke(app, ["analyze", "impute", run, *data])
    assert done.exit_code == 0, done.stderr
    written = pd.read_csv(tmp_path / "run" / "analyses" / "impute.csv")
    assert written["id"].tolist() == [f"r{i}" for i in range(21)]
    given = ["--given", str(tmp_path / "a.csv"), "--out", str(tmp_path / "filled.csv")]
    done = runner.invoke(app, ["sample", run, "-n", "2", *given])
    assert done.exit_code == 0, done.stderr
    assert "read as the data of the fit, where these options apply: --index id" in done.stderr
    assert pd.read_csv(tmp_path / "filled.csv")["row"].tolist() == 2 * [f"r{i}" for i in range(21)]


@pytest.mark.parametrize("family", ["mixture", "independent"])
def test_tables_of_counts_are_fitted_in_float64(family: str) -> None:
    with pytest.raises(InputError, match="is fitted in float64"):
        probgen.fit(family, TABLE, dtype="float32")
    few = pd.DataFrame({"n": [(1 << 24) + 1, 3, 4], "a": [0.5, 1.5, 2.0]})
    told = "column 'n', row 0 = 16777217.0: must be a whole number from 0 to 16777216, as float32"
    with pytest.raises(InputError, match=told):
        probgen.fit("made", few, hidden=4, epochs=1)
    fitted = probgen.fit("made", few.replace((1 << 24) + 1, 1 << 24), hidden=4, epochs=1)
    with pytest.raises(InputError, match=told):
        probgen.score(fitted, few)


def test_kinds_of_a_frame_are_said() -> None:
    t = TABLE.assign(month=["3", "4", "3", "10", "4", "3"])
    with pytest.raises(InputError, match="'month' has numbers as text"):
        probgen.fit("independent", t)
    said = load(t, table={"kind": {"month": "category", "sibs": "real"}, "drop": "sex"})
    assert words(said.x) == "age real, sibs real, alone binary, month '3' '4' '10'"
    with pytest.raises(InputError, match="have type NoneType"):
        load(None)  # type: ignore[arg-type]


def test_cells_with_braces_are_named() -> None:
    for cell in ({"a": 1}, "{0}"):
        with pytest.raises(InputError, match="column 'k' has"):
            probgen.fit(
                "mixture",
                pd.DataFrame(
                    {"k": pd.Series(["1", "2", "3", cell, "4"], dtype=object), "a": np.arange(5) / 3}
                ),
            )


def test_conditions_alone_go_by_their_names(tmp_path: Path) -> None:
    """Whole numbers as classes are asked for by what they are called, not by code."""
    t = pd.DataFrame({"a": np.arange(30) / 7, "b": np.arange(30) % 4 / 3, "label": [1, 2, 3] * 10})
    t.to_csv(tmp_path / "t.csv", index=False)
    run, runner = str(tmp_path / "run"), CliRunner()
    done = runner.invoke(
        app,
        [
            "fit",
            "made",
            "--data",
            str(tmp_path / "t.csv"),
            "--set",
            "given=[label]",
            "--set",
            "hidden=4",
            "--set",
            "epochs=1",
            "--out",
            run,
        ],
    )
    assert done.exit_code == 0, done.stderr
    (tmp_path / "g.csv").write_text("label\n3\n1\n")
    done = runner.invoke(
        app, ["sample", run, "-n", "2", "--given", str(tmp_path / "g.csv"), "--out", str(tmp_path / "s.h5")]
    )
    assert done.exit_code == 0, done.stderr
    expected = probgen.sample(probgen.load(run), 2, given={"label": [2, 0]}).x.values
    with xr.open_datatree(tmp_path / "s.h5") as tree:
        np.testing.assert_array_equal(tree["/probgen/samples/x"].values, expected)
    (tmp_path / "g.csv").write_text('label\n3\n""\n')
    done = runner.invoke(
        app, ["sample", run, "--given", str(tmp_path / "g.csv"), "--out", str(tmp_path / "s2.h5")]
    )
    assert done.exit_code == 2


def test_what_is_observed_goes_with_its_columns() -> None:
    fitted = probgen.fit("mixture", TABLE)
    part = TABLE[["alone", "age", "sex", "sibs"]]
    observed = np.ones((6, 4), bool)
    observed[:, 1] = False  # age
    drawn = probgen.sample(fitted, 2, given={"x": part, "observed": observed}).x
    np.testing.assert_array_equal(drawn.sel(feature="sex").values, np.tile(TABLE.sex == "m", (2, 1)))
    assert (drawn.sel(feature="age").values != TABLE.age.to_numpy()).all()


def test_what_is_not_observed_is_a_gap() -> None:
    """Of a column, whichever way it is said."""
    data = load(pd.DataFrame({"a": [0.5, 1.5, 2.0, 3.0], "k": list("xyxy"), "n": [1, 2, 3, 9]}))
    seen = xr.ones_like(data.x, dtype=bool)
    seen[1, 1] = False
    fitted = probgen.fit("mixture", data.assign(observed=seen), components=1)
    assert [column.gaps for column in fitted.event.columns] == [False, True, False]


def test_classes_in_another_order_are_recoded_row_by_row() -> None:
    t = pd.DataFrame({"k": ["b", "a", "c", "a", "b", "c", "c"], "a": np.arange(7) / 3})
    fitted = probgen.fit("mixture", t, components=1)
    other = t.astype({"k": pd.CategoricalDtype(["c", "b", "a"])})
    np.testing.assert_array_equal(
        probgen.score(fitted, load(other)).log_prob, probgen.score(fitted, t).log_prob
    )


def test_a_table_has_parts(tmp_path: Path) -> None:
    """Eight, one and one tenths of the rows, each row once, the same every time; classes are those of the whole table."""
    t = pd.DataFrame({"i": np.arange(50) / 2, "k": ["a"] * 49 + ["z"]})
    t.to_csv(tmp_path / "t.csv", index=False)
    parts = [load(tmp_path / "t.csv", split) for split in ("train", "valid", "test")]
    assert [part.sizes["row"] for part in parts] == [40, 5, 5]
    assert sorted(np.concatenate([part.x.values[:, 0] for part in parts])) == t["i"].tolist()
    assert {words(part.x) for part in parts} == {"i real, k 'a' 'z'"}
    xr.testing.assert_identical(load(tmp_path / "t.csv", "test"), parts[2])
    with pytest.raises(InputError, match=r"split = 'dev': .* train"):
        load(tmp_path / "t.csv", "dev")
    runner, run, data = CliRunner(), str(tmp_path / "run"), ["--data", str(tmp_path / "t.csv")]
    assert runner.invoke(app, ["fit", "independent", *data, "--split", "train", "--out", run]).exit_code == 0
    done = runner.invoke(app, ["score", run, *data, "--split", "test"])
    assert done.exit_code == 0, done.output
    assert "5 rows" in done.output


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"r,n\nY,1\n,2\nY,3\n", "has only 'Y' or no value, which could mean a second class"),
        ("p,n\n€1.50,1\n$2.75,2\n€3,3\n".encode(), "has numbers with [$] and €: remove these signs"),
        (b'p,n\n"61,700",1\n"72,100",2\nrefused,3\n"1,250",4\n', "--na refused|--na 'refused'"),
    ],
)
def test_what_stands_in_the_way_is_named(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(InputError, match=message):
        load(tmp_path / "a.csv")


def test_years_are_names_of_columns() -> None:
    """pandas keeps evenly spaced numbers as a range; only 0, 1, 2, ... are no names."""
    rng = np.random.default_rng(0)
    t = pd.DataFrame({2019: rng.normal(size=30), 2020: rng.normal(10, 1, 30), 2021: rng.poisson(3, 30)})
    fitted = probgen.fit("independent", t)
    assert [column.name for column in fitted.event.columns] == ["2019", "2020", "2021"]
    found = probgen.score(fitted, t).log_prob
    np.testing.assert_array_equal(found, probgen.score(fitted, t[[2021, 2020, 2019]]).log_prob)
    with pytest.raises(InputError, match="no column '2019'"):
        probgen.score(fitted, t.rename(columns=lambda year: year + 3))
