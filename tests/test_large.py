"""Data larger than memory: what is read part by part gives what it gives in memory, to the bit."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import probgen
from probgen import datasets
from probgen.data.tables import summary
from probgen.errors import FileError, InputError
from probgen.readers import groups
from tests.launch import ended, started

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
zarr = pytest.importorskip("zarr")

N = 20_000


@pytest.fixture
def small_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever has more than 1,000 bytes is read part by part, in windows and blocks that are smaller than the data."""
    monkeypatch.setattr("probgen.readers.groups.LAZY", 1000)
    monkeypatch.setattr("probgen.readers.groups.LEAST", 1000)
    monkeypatch.setattr("probgen.readers.groups.say_large", lambda *_: None)
    monkeypatch.setattr("probgen.contract.rows.WINDOW", 4096 * 24 * 2)
    monkeypatch.setattr("probgen.data.check.BLOCK", 30_000)


def numbers() -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.normal(size=(N, 3)) + 3 * rng.integers(2, size=(N, 1))).astype(np.float32)


def stored(x: np.ndarray, folder: Path) -> dict[str, Path]:
    """The same rows in every format, in parts of odd sizes."""
    with h5py.File(folder / "x.h5", "w") as file:
        file.create_dataset("x", data=x, chunks=(3001, 3), compression="gzip")
    data = xr.Dataset({"x": (("row", "feature"), x)})
    data.to_zarr(folder / "x.zarr", consolidated=False, encoding={"x": {"chunks": (777, 2)}})
    data.to_zarr(folder / "two", zarr_format=2, consolidated=False)
    pd.DataFrame(x, columns=["a", "b", "c"]).to_parquet(folder / "x.parquet", row_group_size=3003)
    (folder / "parts").mkdir()
    for i, part in enumerate(np.array_split(x, 3)):
        pq.write_table(pa.table(dict(zip("abc", part.T, strict=True))), folder / f"parts/{i}.parquet")
    (folder / "parts" / "_SUCCESS").touch()
    return {name: folder / name for name in ("x.h5", "x.zarr", "two", "x.parquet", "parts")}


def is_lazy(data: xr.Dataset) -> bool:
    return not data.x.variable._in_memory


def test_every_format_gives_the_scores_and_the_fit_of_memory(
    tmp_path: Path, small_memory: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = numbers()
    files = stored(x, tmp_path)
    options: dict[str, Any] = {"components": 2, "steps": 3, "tolerance": 0.0}
    fitted = probgen.fit("mixture", x, **options)
    wanted = probgen.score(fitted, x)
    for path in files.values():
        assert is_lazy(datasets.load(path)), path
        scores = probgen.score(fitted, path)
        np.testing.assert_array_equal(scores.log_prob, wanted.log_prob)
        again = probgen.fit("mixture", path, **options)
        for name in fitted.state.variables:
            np.testing.assert_array_equal(again.state[name], fitted.state[name])
        with monkeypatch.context() as whole:
            whole.setattr("probgen.readers.groups.LAZY", 1 << 30)
            assert not is_lazy(probgen.data.as_dataset(path))
            in_memory = probgen.score(fitted, path)
        for found in (scores, in_memory):
            del found.attrs["created"]
        xr.testing.assert_identical(scores, in_memory)  # with the digest of the rows


def test_rows_of_groups_are_picked_in_any_way(tmp_path: Path, small_memory: None) -> None:
    x = numbers()
    for path in stored(x, tmp_path).values():
        lazy = datasets.load(path).x
        for rows in (7, slice(5, 19_999, 7), slice(None, None, -1), np.array([3, 19_999, 5, 3]), slice(0, 0)):
            for columns in (1, slice(0, 2), np.array([2, 0])):
                np.testing.assert_array_equal(
                    lazy.isel(row=rows, feature=columns).values,
                    xr.DataArray(x, dims=lazy.dims).isel(row=rows, feature=columns),
                )
        np.testing.assert_array_equal(lazy[100:9000][3:4000, ::-1].values, x[100:9000][3:4000, ::-1])


def test_rows_in_order_decode_each_group_once() -> None:
    decoded: list[int] = []

    def decode(group: int) -> np.ndarray:
        decoded.append(group)
        return np.full((10, 1), group)

    lazy = groups.variable_of(
        groups.Groups((95, 1), np.dtype(int), np.array([*range(10, 91, 10), 95]), decode), ("row", "feature")
    )
    found = np.concatenate([lazy[start : start + 7].values for start in range(0, 95, 7)])
    np.testing.assert_array_equal(found[:, 0], np.arange(95) // 10)
    assert decoded == list(range(10))


# what columns are


def table(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame(columns)


RNG = np.random.default_rng(1)
MARKED = np.r_[RNG.integers(1, 9, 395), [-999] * 5].astype(float)
WORDS = np.array(["red", "green", "blue", "rare"])[np.r_[RNG.integers(0, 3, 396), [3] * 4]]
PEOPLE = [f"name {i}" for i in range(400)]
FEATURES = {
    "real": RNG.normal(size=400),
    "gaps": np.where(RNG.random(400) < 0.1, np.nan, RNG.normal(size=400)),
    "count": RNG.integers(0, 50, 400),
    "below": RNG.integers(-5, 50, 400),
    "bit": RNG.integers(0, 2, 400),
    "yes": RNG.random(400) < 0.3,
    "whole": pd.array(np.where(np.arange(400) % 9, np.arange(400) % 7, -1), dtype="Int64").astype(object),
    "word": WORDS,
    "class": pd.Categorical(WORDS, ["rare", "red", "blue", "green"], ordered=True),
    "small": RNG.integers(0, 100, 400).astype(np.int8),
}
TABLES: dict[str, tuple[pd.DataFrame, dict[str, Any]]] = {
    "kinds": (table(**{k: v for k, v in FEATURES.items() if k != "whole"}), {}),
    "whole numbers": (table(a=FEATURES["count"], b=FEATURES["bit"]), {}),
    "whole numbers with gaps": (
        table(a=pd.array([None, *FEATURES["count"][1:]], dtype="Int64"), b=FEATURES["bit"]), {},
    ),
    "asked for": (table(a=FEATURES["count"], b=FEATURES["below"], c=FEATURES["bit"]),
                  {"kind": {"a": "category", "b": "integer", "c": "real"}}),
    "ordered": (table(a=WORDS, b=FEATURES["real"]), {"kind": {"a": "rare<red<green<blue"}}),
    "rare": (table(a=WORDS, b=FEATURES["real"]), {"rare": 5}),
    "rare that is not": (table(a=WORDS, b=FEATURES["real"]), {"rare": 4}),
    "a label, weights and names": (table(a=FEATURES["real"], label=WORDS, w=FEATURES["count"], id=np.arange(400) * 3),
                                   {"weight": "w", "index": "id"}),
    "numbers of rows": (table(index=np.arange(400), a=FEATURES["real"]), {}),
    "no numbers of rows": (table(index=np.r_[np.arange(399), 7], a=FEATURES["real"]), {}),
    "named by pandas": (table(a=FEATURES["real"], b=FEATURES["bit"]).iloc[::-1], {}),
    "a part of a frame": (table(a=FEATURES["real"], b=FEATURES["bit"]).iloc[7:], {}),
    "columns without names": (pd.DataFrame(RNG.normal(size=(400, 2))), {}),
    "left out": (table(a=FEATURES["real"], b=PEOPLE, c=MARKED), {"drop": ["b"], "na": ["-999"]}),
    "few texts": (table(a=np.array(["x", "y", None], dtype=object)[np.minimum(np.arange(400), 2)], b=MARKED),
                  {"kind": {"b": "real"}}),
}  # fmt: skip
REFUSED: dict[str, tuple[pd.DataFrame, dict[str, Any]]] = {
    "a mark of gaps": (table(a=MARKED), {}),
    "names": (table(a=FEATURES["real"], b=PEOPLE), {}),
    "one word or nothing": (table(a=np.where(np.arange(400) % 3, "x", None)), {}),
    "infinite": (table(a=np.where(np.arange(400) == 371, np.inf, 1.0)), {}),
    "no value": (table(a=np.full(400, np.nan), b=FEATURES["real"]), {}),
    "too large": (table(a=np.full(400, 2**60)), {}),
    "dates": (table(a=pd.date_range("2020-01-01", periods=400)), {}),
    "numbers as text": (table(a=FEATURES["count"].astype(str)), {}),
    "no count": (table(a=FEATURES["below"]), {"kind": {"a": "count"}}),
    "too wide": (table(a=np.arange(400) * 1000), {"kind": {"a": "integer"}}),
    "a weight": (table(a=FEATURES["real"], weight=FEATURES["count"]), {}),
    "lists": (table(a=[[1, 2]] * 400), {}),
    "no such column": (table(a=FEATURES["real"]), {"drop": ["b"]}),
}


def written(frame: pd.DataFrame, folder: Path) -> Path:
    frame.to_parquet(folder / "x.parquet", row_group_size=37)
    return folder / "x.parquet"


@pytest.fixture
def both(
    small_memory: None, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[[], Any]], tuple[Any, Any]]:
    """What a call gives part by part and in memory."""

    def each(call: Callable[[], Any]) -> tuple[Any, Any]:
        lazily = call()
        with monkeypatch.context() as whole:
            whole.setattr("probgen.readers.groups.LAZY", 1 << 30)
            return lazily, call()

    return each


@pytest.mark.parametrize("name", TABLES)
def test_a_table_by_row_groups_is_what_it_is_in_memory(name: str, tmp_path: Path, both: Any) -> None:
    frame, choices = TABLES[name]
    path = written(frame, tmp_path)
    lazily, in_memory = both(lambda: datasets.load(path, table=choices))
    assert (is_lazy(lazily), is_lazy(in_memory)) == (True, False)
    assert lazily.x.dtype == in_memory.x.dtype
    xr.testing.assert_identical(lazily, in_memory)
    assert lazily.x.encoding == in_memory.x.encoding
    lazily, in_memory = both(lambda: summary(path, choices))
    for found in (*lazily.columns, *in_memory.columns):
        if found["used_as"] in ("left out", "index"):
            found["gaps"] = None
    assert lazily == in_memory


@pytest.mark.parametrize("name", REFUSED)
def test_a_table_by_row_groups_is_refused_as_in_memory(name: str, tmp_path: Path, both: Any) -> None:
    frame, choices = REFUSED[name]
    path = written(frame, tmp_path)

    def refused() -> str:
        with pytest.raises(InputError) as caught:
            datasets.load(path, table=choices)
        return str(caught.value)

    lazily, in_memory = both(refused)
    assert lazily == in_memory


def test_a_row_that_is_refused_late_is_named_by_its_number(tmp_path: Path, small_memory: None) -> None:
    """Of a column of a model, what its values are is found when they are read."""
    fitted = probgen.fit("mixture", table(a=FEATURES["count"], b=FEATURES["real"]))
    a = FEATURES["count"].copy()
    a[333] = -2
    path = written(table(b=FEATURES["real"], a=a), tmp_path)
    with pytest.raises(InputError, match="row 333, column 'a' = -2: must be a whole number from 0"):
        probgen.score(fitted, path)


def test_columns_of_a_model_in_another_order_are_not_held_whole(tmp_path: Path, both: Any) -> None:
    frame = table(a=FEATURES["count"], b=FEATURES["real"], c=WORDS)
    fitted = probgen.fit("independent", frame)
    path = written(frame[["c", "a", "b"]], tmp_path)
    lazily, in_memory = both(lambda: probgen.score(fitted, path))
    np.testing.assert_array_equal(lazily.log_prob, in_memory.log_prob)
    assert lazily.log_prob.attrs["rows"] == in_memory.log_prob.attrs["rows"]


def test_parts_of_a_table_must_be_alike(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1.0], "b": [2.0]}), tmp_path / "0.parquet")
    for other, message in (
        (
            {"b": [2.0], "a": [1.0]},
            "1.parquet: the names or the order of its columns differ from 0.parquet",
        ),
        ({"a": [1.0], "b": [2]}, "1.parquet: its column 'b' has type int64, not double as in 0.parquet"),
    ):
        pq.write_table(pa.table(other), tmp_path / "1.parquet")
        with pytest.raises(InputError, match=message):
            datasets.load(tmp_path)


def test_a_folder_of_parts_has_splits(tmp_path: Path) -> None:
    for split, rows in (("train", 3), ("test", 2)):
        (tmp_path / split).mkdir()
        pq.write_table(pa.table({"a": np.arange(rows) / 7}), tmp_path / split / "0.parquet")
    assert datasets.load(tmp_path, "test").sizes["row"] == 2
    frame = pd.DataFrame({"a": np.arange(10) / 7})
    frame.to_parquet(tmp_path / "train" / "0.parquet")
    np.testing.assert_array_equal(
        datasets.load(tmp_path / "train", "valid").x,
        datasets.load(tmp_path / "train" / "0.parquet", "valid").x,
    )


# Zarr


def test_a_store_keeps_attributes_and_conditions(tmp_path: Path) -> None:
    frame = table(a=FEATURES["count"], b=FEATURES["real"], label=WORDS)
    data = datasets.from_frame(frame)
    data.to_zarr(tmp_path / "x.zarr", zarr_format=2, consolidated=False)
    found = probgen.data.as_dataset(tmp_path / "x.zarr")
    assert found.x.attrs["columns"] == data.x.attrs["columns"]
    assert list(found.feature.values) == ["a", "b"]
    assert list(found.label.attrs["symbols"]) == ["blue", "green", "rare", "red"]
    fits = [probgen.fit("independent", each) for each in (frame, tmp_path / "x.zarr")]
    assert fits[0].event == fits[1].event


def test_stores_that_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def store(name: str, version: int = 3, **how: Any) -> Path:
        group = zarr.open_group(tmp_path / name, mode="w", zarr_format=version)
        group.create_array("x", **{"shape": (40, 2), "dtype": "float64", "chunks": (10, 2), **how})[...] = 1.0
        return tmp_path / name

    named = {"dimension_names": ("row", "feature")}
    empty = zarr.open_group(tmp_path / "empty", mode="w")
    empty.create_array("x", shape=(1 << 40, 2), dtype="float64", chunks=(1 << 10, 2), **named)
    linked = store("linked", **named)
    (linked / "y").symlink_to(tmp_path / "unnamed")
    (tmp_path / "no.zarr").mkdir()
    for path, message in (
        (store("unnamed"), r"the dimensions of 'x' have no names\. Write the store with xarray"),
        (tmp_path / "empty", "declares 17592186044416 bytes, but only"),
        (linked, "'y' is a link, which is not allowed"),
        (tmp_path / "no.zarr", "cannot be read as a Zarr group"),
        (_pickled(store("pickled", 2, filters=None)), "pickle"),
    ):
        with pytest.raises((InputError, FileError), match=message) as caught:
            datasets.load(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="has no splits"):
        datasets.load(store("named", **named), "test")
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(InputError, match=r"requires zarr\. .*pip install 'probgen\[scale\]'"):
        datasets.load(tmp_path / "named")


def _pickled(path: Path) -> Path:
    """The same, whose array says that it is packed by a codec that runs code."""
    file = path / "x" / ".zarray"
    said = json.loads(file.read_text())
    file.write_text(json.dumps({**said, "filters": [{"id": "pickle", "protocol": 5}]}))
    return path


def test_groups_larger_than_what_is_held_whole_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("probgen.readers.groups.LAZY", 1 << 20)
    pd.DataFrame({"a": np.arange(200_000) / 7}).to_parquet(tmp_path / "x.parquet")
    with pytest.warns(UserWarning, match=r"row groups of 1 MiB, .*loads a whole group.*row_group_size"):
        datasets.load(tmp_path / "x.parquet")


# the digest, and the pass that processes share

SHARED = """
import os, sys, numpy as np, probgen
from probgen.data import check
from probgen.readers import groups

check.BLOCK, groups.LAZY, groups.say_large = 5_000, 1000, lambda *_: None
rank, hashed, read = int(os.environ["RANK"]), check._hashed, []
check._hashed = lambda *block: read.append(1) or hashed(*block)
for what in ("file", "gap", "3500=x,900=x", "100=weight,3900=x", "100=weight", *sys.argv[2:]):
    x = np.random.default_rng(0).normal(size=(4_000, 3))
    data = probgen.data.as_dataset(x).assign(weight=("row", np.ones(4_000)))
    for row, name in [part.split("=") for part in what.split(",") if "=" in part]:
        data[name][int(row)] = np.inf
    data["x"][3_900, 1] = np.nan if what == "gap" else 0
    data["x"][3_999, 1] += rank * (what == "other")
    read.clear()
    try:
        fitted = probgen.fit("mixture", sys.argv[1] if what == "file" else data, components=2, steps=2, tolerance=0.0)
        about = fitted.provenance["data"]["sha256"], float(fitted.groups["criteria"]["bic"])
        print(what, about, fitted.state["mu"].values.tolist())
        print(len(read), file=sys.stderr)
    except probgen.errors.ProbgenError as error:
        print(what, type(error).__name__, error)
"""


def test_processes_share_the_pass_and_see_the_same(tmp_path: Path) -> None:
    """Digest, gaps, criteria; and the first of several values that are refused, whichever process finds it."""
    script = tmp_path / "script.py"
    script.write_text(SHARED)
    x = np.random.default_rng(0).normal(size=(4_000, 3))
    pd.DataFrame(x, columns=["a", "b", "c"]).to_parquet(tmp_path / "x.parquet", row_group_size=300)
    path = str(tmp_path / "x.parquet")
    both = started(script, 1, path), started(script, 2, path, "other")
    (alone,), two = map(ended, both)
    assert [code for code, *_ in (alone, *two)] == [0, 0, 0], (alone, two)
    lines = [out.splitlines() for _, out, _ in (alone, *two)]
    assert lines[0] == lines[1][:-1] == lines[2][:-1]
    for line, message in zip(
        lines[0][-3:], ("x, row 900, position", "x, row 3900, position", "weight, row 100"), strict=True
    ):
        assert message in line
    assert all("other data or options than process 0" in each[-1] for each in lines[1:])
    counts = [[int(word) for word in err.split()] for _, _, err in (alone, *two)]
    assert all(
        share <= whole / 2 + 5 for each in counts[1:] for share, whole in zip(each, counts[0], strict=True)
    )


def test_the_digest_is_of_values_and_not_of_how_they_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    from probgen.contract.event import Event
    from probgen.data.check import check

    def digest(x: np.ndarray) -> str:
        event = Event(("feature",), (x.shape[1],), "real")
        return check(
            xr.Dataset({"x": (("row", "feature"), x)}), event, frozenset(), "f", np.float64, np.float64
        )[1]

    x = np.random.default_rng(0).normal(size=(1000, 5))
    for block in (16 << 20, 1000, 8):
        monkeypatch.setattr("probgen.data.check.BLOCK", block)
        wanted = digest(x)
        assert {
            digest(each) for each in (np.asfortranarray(x), x.astype(">f8"), np.repeat(x, 2, 0)[::2])
        } == {wanted}
        changed = x.copy()
        changed[999, 4] = np.nextafter(changed[999, 4], 9)
        assert len({wanted, digest(changed), digest(x[::-1]), digest(x[:, ::-1]), digest(x[:-1])}) == 5


def test_a_store_is_inspected_as_it_is_read(tmp_path: Path) -> None:
    """Consolidated metadata beside those of an array say nothing of it."""

    path = tmp_path / "x.zarr"
    xr.Dataset({"x": (("row", "feature"), np.zeros((8, 2)))}).to_zarr(path, zarr_format=2, consolidated=True)
    assert (path / ".zmetadata").exists()
    told = json.loads((path / "x" / ".zarray").read_text())
    (path / "x" / ".zarray").write_text(json.dumps({**told, "shape": [1 << 34, 2]}))
    with pytest.raises(FileError, match="declares"):
        datasets.load(path)


def test_parts_that_differ_in_what_may_be_null_are_one_table(tmp_path: Path) -> None:

    for i, nullable in enumerate((True, False)):
        schema = pa.schema([pa.field("a", pa.float64(), nullable=nullable), pa.field("b", pa.float64())])
        pq.write_table(
            pa.table({"a": [1.5, 2.5], "b": [0.5, float(i)]}, schema=schema), tmp_path / f"part-{i}.parquet"
        )
    assert datasets.load(tmp_path).x.shape == (4, 2)


def test_codes_that_are_no_classes_are_refused_also_where_classes_are_in_no_order() -> None:
    t = pd.DataFrame({"k": pd.Categorical(["b", "a", "b", "a"], ["b", "a"]), "r": [0.5, 1.5, 2.5, 4.0]})
    rows = datasets.load(t)
    for code in (7.0, -5.0, np.inf):
        values = np.r_[[[code, 0.5]], rows.x.values[1:]]
        said = {name: value for name, value in rows.x.attrs.items() if name != "described"}
        wrong = xr.Dataset({"x": (("row", "feature"), values, said)}, {"feature": ["k", "r"]})
        with pytest.raises(InputError, match=r"column 'k', row 0"):
            probgen.fit("independent", wrong)
