"""Bad input is refused in one line that names it, and odd but good input gives what the plain array gives.

One table: data (or options, or paths), by family, by hook. `test_the_table_is_large` holds its size.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from scipy import sparse
from typer.testing import CliRunner

import probgen
from probgen.cli import app
from probgen.contract.fitted import Fitted
from probgen.contract.state import digest_of
from probgen.errors import InputError, ProbgenError
from probgen.plugins.family import family as find_family
from probgen.testing import spaces

QUICK = {"epochs": 1, "batch_size": 40}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "autoencoder": ("integer", {"latent": 1, "hidden": (3,), **QUICK}),
    "bayesian-mixture": ("real", {"method": "svi", "draws": 5, "steps": 3}),
    "fvsbn": ("binary", QUICK),
    "independent": ("integer", {}),
    "m2": ("binary", {"latent": 1, "classes": 2, "hidden": (3,), **QUICK}),
    "made": ("binary", {"hidden": 4, **QUICK}),
    "mixture": ("real", {"steps": 3}),
    "nade": ("integer", {"hidden": 3, **QUICK}),
    "vae": ("binary", {"latent": 1, "hidden": (3,), **QUICK}),
}  # fmt: skip


def plain(family: str) -> np.ndarray:
    return spaces.example(FAMILIES[family][0])["x"].values


def with_label(x: np.ndarray, family: str) -> Any:
    """M2 needs a label of some rows."""
    return (
        xr.Dataset({"x": (("row", "feature"), x), "label": ("row", np.arange(len(x)) % 2)})
        if family == "m2"
        else x
    )


def fit(family: str, data: Any, **more: Any) -> Fitted:
    return probgen.fit(family, data, **{**FAMILIES[family][1], **more})


@pytest.fixture(scope="module")
def fitted() -> dict[str, Fitted]:
    """Each family, fitted to its own example."""
    found = {}
    for name, (support, _) in FAMILIES.items():
        x = spaces.example(support)
        found[name] = fit(name, x.assign(label=("row", np.arange(80) % 2)) if name == "m2" else x)
    return found


def put(value: Any) -> Callable[[np.ndarray, str], Any]:
    """The plain data with one value changed."""

    def change(x: np.ndarray, support: str) -> Any:
        x = x.astype(np.float64)
        x[3, 1] = value
        attrs = {"support": support} | ({"levels": 3} if support == "integer" else {})
        return xr.Dataset({"x": (("row", "feature"), x, attrs)})

    return change


def beside(name: str, values: Any, dims: tuple[str, ...] = ("row",)) -> Callable[[np.ndarray, str], Any]:
    def change(x: np.ndarray, support: str) -> Any:
        return xr.Dataset({"x": (("row", "feature"), x), name: (dims, values)})

    return change


ONE = np.ones(80)
# name: (what the plain array becomes, a word of the message); "" where it is a matter of the family
BAD: dict[str, tuple[Callable[[np.ndarray, str], Any], str]] = {
    "infinity": (put(np.inf), "row 3"),
    "minus infinity": (put(-np.inf), "row 3"),
    "objects": (lambda x, s: x.astype(object), "object"),
    "text": (lambda x, s: x.astype(str), "has type"),
    "bytes": (lambda x, s: x.astype("S4"), "has type"),
    "complex": (lambda x, s: x.astype(complex), "complex"),
    "dates": (lambda x, s: x.astype(np.int64).astype("M8[s]"), "datetime"),
    "durations": (lambda x, s: x.astype(np.int64).astype("m8[s]"), "timedelta"),
    "records": (lambda x, s: np.zeros(4, [("a", "f8"), ("b", "i4")]), "has type"),
    "no rows": (lambda x, s: x[:0], "no rows|levels"),
    "no columns": (lambda x, s: x[:, :0], "no values|shape|levels"),
    "a number": (lambda x, s: 3.0, "single number"),
    "None": (lambda x, s: None, "object"),
    "a dict": (lambda x, s: {"x": x}, "object"),
    "a set": (lambda x, s: {1, 2}, "object"),
    "a generator": (lambda x, s: (row for row in x), "object"),
    "a function": (lambda x, s: len, "object"),
    "a ragged list": (lambda x, s: [[1.0, 2.0], [3.0]], "cannot be read as an array"),
    "a list of text": (lambda x, s: ["a", "b"], "has type"),
    "five dimensions": (lambda x, s: np.zeros((2, 2, 2, 2, 2)), "dimensions"),
    "channels last": (lambda x, s: np.zeros((2, 8, 8, 3)), "channels seem to be last"),
    "a sparse matrix": (lambda x, s: sparse.csr_matrix(x.astype(float)), "sparse"),
    "an unknown name": (lambda x, s: "no-such-data", "no data set and no file"),
    "a missing file": (lambda x, s: "no/such/file.npy", "no file"),
    "an empty name": (lambda x, s: "", "."),
    "a folder without images": (lambda x, s: Path(__file__).parent, "no images"),
    "an empty Dataset": (lambda x, s: xr.Dataset(), "no variable 'x'"),
    "a Dataset of two variables": (lambda x, s: xr.Dataset({"a": ("row", [1.0]), "b": ("row", [1.0])}), "no variable 'x'"),
    "an unknown support": (lambda x, s: xr.DataArray(x, dims=["row", "feature"], attrs={"support": "reel"}), "support|shape"),
    "a DataFrame of objects": (lambda x, s: pd.DataFrame({"a": [{}], "b": [[]], "c": [1]}), "'a' has values of type dict"),
    "a DataFrame of dates": (lambda x, s: pd.DataFrame({"a": pd.to_datetime(["2020-01-01"] * 3)}), "'a' has dates"),
    "a DataFrame of different texts": (lambda x, s: pd.DataFrame({"a": [f"t{i}" for i in range(50)]}), "50 different texts"),
    "a DataFrame of complex numbers": (lambda x, s: pd.DataFrame({"a": [1j, 2j]}), "complex"),
    "two columns of one name": (lambda x, s: pd.DataFrame([[1.0, 2.0]], columns=["a", "a"]), "two columns 'a'"),
    "observed of 2": (beside("observed", np.full((80, 2), 2), ("row", "feature")), "."),
    "a weight that is negative": (beside("weight", -ONE), "."),
    "a weight that is NaN": (beside("weight", ONE * np.nan), "."),
    "a weight that is infinite": (beside("weight", ONE * np.inf), "."),
    "weights of 0": (beside("weight", 0 * ONE), "."),
    "a weight of text": (beside("weight", ONE.astype(str)), "."),
    "a weight a value": (beside("weight", np.ones((80, 2)), ("row", "feature")), "."),
}  # fmt: skip
VALUES: dict[str, list[tuple[str, Any]]] = {  # what only some supports refuse
    "binary": [("1e39", 1e39), ("a half", 0.5), ("two", 2), ("minus one", -1), ("a pixel", 255), ("a little more than one", 1.0001)],
    "integer": [("1e39", 1e39), ("a half", 0.5), ("a level too many", 3), ("minus one", -1), ("2**53 + 1", 2.0**53)],
    "real": [],
}  # fmt: skip
BESIDE = ("a weight", "weights", "observed")
ONLY_FIT = {"a weight", "weights", "an unknown support"}  # a score leaves weights and attributes alone


def cases() -> list[tuple[str, str, str]]:
    """(name, family, hook) of all bad data."""
    found = []
    for family, (support, _) in FAMILIES.items():
        for hook in ("fit", "score"):
            names = [n for n in BAD if hook == "fit" or not any(n.startswith(w) for w in ONLY_FIT)]
            found += [(name, family, hook) for name in names]
            found += [(f"value {name}", family, hook) for name, _ in VALUES[support]]
            if "observed" not in find_family(family).accepts:
                found.append(("value missing", family, hook))
    return found


@pytest.mark.quick(over="family")
@pytest.mark.parametrize(("name", "family", "hook"), cases())
def test_bad_data_are_refused(
    name: str, family: str, hook: str, fitted: dict[str, Fitted], tmp_path: Path
) -> None:
    support = FAMILIES[family][0]
    if name.startswith("value "):
        value = dict([*VALUES[support], ("missing", np.nan)])[name.removeprefix("value ")]
        data, word = put(value)(plain(family), support), "row 3|missing"
    else:
        make, word = BAD[name]
        data = (
            make(plain(family)[:, :2], support) if name.startswith(BESIDE) else make(plain(family), support)
        )

    def call() -> Any:
        if hook == "fit":
            return fit(family, data, out=tmp_path / "run")
        return probgen.score(fitted[family], data)

    with pytest.raises(ProbgenError, match=word) as caught:
        call()
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
    assert not (tmp_path / "run").exists()


SHAPES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "a column more": lambda x: np.hstack([x, x[:, :1]]),
    "a column less": lambda x: x[:, 1:],
    "transposed": lambda x: x[:70].T,
    "a dimension more": lambda x: x[:, :, None],
    "one value a row": lambda x: x[:, 0],
}


@pytest.mark.quick(over="family")
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", SHAPES)
def test_rows_of_another_shape_are_refused(name: str, family: str, fitted: dict[str, Fitted]) -> None:
    with pytest.raises(InputError, match="shape"):
        probgen.score(fitted[family], SHAPES[name](plain(family)))


def option_cases() -> list[tuple[str, str, str, Any]]:
    """(family, hook, option, value) that no option may have, from what each option says of itself."""
    found: list[tuple[str, str, str, Any]] = []
    for family in FAMILIES:
        definition = find_family(family)
        for hook in ("fit", "sample", "score"):
            if not definition.offers(hook):
                continue
            found.append((family, hook, "no_such_option", 1))
            for name, schema in definition.options(hook).model_json_schema()["properties"].items():
                for part in schema.get("anyOf", [schema]):
                    kind = part.get("type")
                    values: list[Any] = []
                    if kind in ("integer", "number"):
                        values = ["3", True, np.nan, np.inf]
                        if "minimum" in part:
                            values.append(part["minimum"] - 1)
                        if "exclusiveMinimum" in part:
                            values.append(part["exclusiveMinimum"])
                        if "exclusiveMaximum" in part:
                            values.append(part["exclusiveMaximum"])
                    elif kind == "boolean":
                        values = ["yes", 2]
                    elif kind == "string" or "enum" in part:
                        values = ["no_such_choice"] if "enum" in part or "const" in part else [3]
                    elif kind == "array":
                        values = ["text", [1.5], {"a": 1}]
                    found += [(family, hook, name, value) for value in values]
    return found


@pytest.mark.quick(over="family")
@pytest.mark.parametrize(("family", "hook", "name", "value"), option_cases())
def test_bad_options_are_refused(
    family: str, hook: str, name: str, value: Any, fitted: dict[str, Fitted]
) -> None:
    calls: dict[str, Callable[[], Any]] = {
        "fit": lambda: fit(family, with_label(plain(family), family), **{name: value}),
        "sample": lambda: probgen.sample(fitted[family], 2, **{name: value}),
        "score": lambda: probgen.score(fitted[family], plain(family), **{name: value}),
    }
    with pytest.raises(InputError, match=name) as caught:
        calls[hook]()
    assert "\n" not in str(caught.value)


GIVEN: dict[str, Any] = {
    "an unknown name": {"no_such": 1},
    "text": {"x": "text"},
    "None": {"x": None},
    "an object": {"x": object()},
    "x of another shape": {"x": np.zeros((2, 7))},
    "observed without x": {"observed": np.ones((1, 2), bool)},
    "x without rows": {"x": np.zeros((0, 2))},
    "x of infinity": {"x": np.full((1, 2), np.inf)},
    "a ragged list": {"x": [[1.0], [1.0, 2.0]]},
}


@pytest.mark.quick(over="family")
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", GIVEN)
def test_bad_conditions_are_refused(name: str, family: str, fitted: dict[str, Fitted]) -> None:
    if not fitted[family].definition.offers("sample"):
        pytest.skip(f"{family} does not sample")
    with pytest.raises(InputError) as caught:
        probgen.sample(fitted[family], 2, given=GIVEN[name])
    assert "\n" not in str(caught.value)


@pytest.mark.quick(over="family")
@pytest.mark.parametrize("n", [0, -1, 1.5, "3", None, True, np.nan])
@pytest.mark.parametrize("family", ["mixture", "nade", "vae"])
def test_bad_numbers_of_draws_are_refused(n: Any, family: str, fitted: dict[str, Fitted]) -> None:
    with pytest.raises(InputError, match="n = "):
        probgen.sample(fitted[family], n)


def file_of(folder: Path, name: str, x: np.ndarray) -> Path:
    path = folder / name
    if path.suffix == ".npy":
        np.save(path, x)
    elif path.suffix == ".npz":
        np.savez(path, x=x)
    elif path.suffix == ".csv":
        pd.DataFrame(x, columns=[f"x{i}" for i in range(x.shape[1])]).to_csv(path, index=False)
    else:
        xr.Dataset({"x": (("row", "feature"), x)}).to_netcdf(path, engine="h5netcdf")
    return path


def read_only(x: np.ndarray) -> np.ndarray:
    x = x.copy()
    x.flags.writeable = False
    return x


ODD: dict[str, Callable[[np.ndarray, Path], Any]] = {
    "Fortran order": lambda x, _: np.asfortranarray(x),
    "negative strides": lambda x, _: x[::-1, ::-1].copy()[::-1, ::-1],
    "every other row and column": lambda x, _: np.repeat(np.repeat(x, 2, 0), 2, 1)[::2, ::2],
    "not aligned": lambda x, _: np.frombuffer(b"\0" + x.tobytes(), x.dtype, offset=1).reshape(x.shape),
    "read-only": lambda x, _: read_only(x),
    "the other byte order": lambda x, _: x.astype(x.dtype.newbyteorder()),
    "memory-mapped": lambda x, folder: np.load(file_of(folder, "m.npy", x), mmap_mode="r"),
    "a list of lists": lambda x, _: x.tolist(),
    "a tuple of rows": lambda x, _: tuple(map(tuple, x.tolist())),
    "a list of arrays": lambda x, _: list(x),
    "a masked array without a mask": lambda x, _: np.ma.MaskedArray(x),
    "a class of its own": lambda x, _: x.view(type("Array", (np.ndarray,), {})),
    "torch": lambda x, _: torch.from_numpy(x.copy()),
    "torch, transposed twice": lambda x, _: torch.from_numpy(x.T.copy()).T,
    "torch with a gradient": lambda x, _: torch.from_numpy(x.astype(float)).requires_grad_(),
    "pandas": lambda x, _: pd.DataFrame(x),
    "pandas, other index": lambda x, _: pd.DataFrame(x, index=np.arange(len(x))[::-1] * 7),
    "pandas, nullable": lambda x, _: pd.DataFrame(x).convert_dtypes(),
    "xarray": lambda x, _: xr.DataArray(x),
    "xarray, other names": lambda x, _: xr.Dataset({"values": (("n", "d"), x)}),
    "xarray, transposed": lambda x, _: xr.DataArray(x, dims=["row", "feature"]).transpose(),
    "xarray with coordinates": lambda x, _: xr.DataArray(
        x,
        dims=["row", "feature"],
        coords={"row": np.arange(len(x))[::-1], "feature": list("abcdefgh"[: x.shape[1]])},
    ),
    "a netCDF file": lambda x, folder: file_of(folder, "x.nc", x),
    "an .npy file, as text": lambda x, folder: str(file_of(folder, "x.npy", x)),
    "an .npz file": lambda x, folder: file_of(folder, "x.npz", x),
    "a CSV file": lambda x, folder: probgen.datasets.load(
        file_of(folder, "x.csv", x),
        table={"kind": {"*": "integer"}} if x.dtype.kind != "f" and x.max() > 1 else None,
    ),
    "a path of many scripts": lambda x, folder: file_of(folder, "дані 数据 é 🙂.npy", x),
    "a path with spaces and quotation marks": lambda x, folder: file_of(folder, "a 'b' \"c\" [d].npy", x),
    "a path of two lines": lambda x, folder: file_of(folder, "a\nb.npy", x),
}


@pytest.fixture(scope="module")
def expected() -> dict[str, tuple[str, str]]:
    """State and scores from plain arrays."""
    found = {}
    for family in FAMILIES:
        x = rounded(family)
        model = fit(family, with_label(x, family))
        found[family] = digest_of(model.state), digest_of(probgen.score(model, x))
    return found


def rounded(family: str) -> np.ndarray:
    """Numbers that every layout and file holds exactly."""
    x = plain(family)
    return np.round(x * 64) / 64 if x.dtype.kind == "f" else x


@pytest.mark.quick(over="family")
@pytest.mark.parametrize("family", ["independent", "mixture", "nade", "vae"])
@pytest.mark.parametrize("name", ODD)
def test_odd_layouts_give_what_the_plain_array_gives(
    name: str, family: str, expected: dict[str, tuple[str, str]], tmp_path: Path
) -> None:
    data = ODD[name](rounded(family), tmp_path)
    if name == "torch with a gradient" and FAMILIES[family][0] != "real":
        return  # reals are another event
    model = fit(family, data)
    assert digest_of(model.state) == expected[family][0]
    again = ODD[name](rounded(family), tmp_path)
    scores = probgen.score(model, again).drop_vars("row", errors="ignore")  # what rows are called is kept
    assert digest_of(scores) == expected[family][1]


@pytest.mark.quick(over="family")
@pytest.mark.parametrize(
    "dtype", [bool, np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64]
)
@pytest.mark.parametrize("family", ["fvsbn", "made", "vae"])
def test_bits_of_any_type(dtype: Any, family: str, expected: dict[str, tuple[str, str]]) -> None:
    assert digest_of(fit(family, plain(family).astype(dtype)).state) == expected[family][0]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
def test_reals_of_any_type(dtype: Any) -> None:
    x = np.round(plain("mixture") * 8) / 8
    assert digest_of(fit("mixture", x.astype(dtype)).state) == digest_of(fit("mixture", x).state)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_reals_of_any_type_of_torch(dtype: torch.dtype) -> None:
    x = np.round(plain("mixture") * 8) / 8
    assert digest_of(fit("mixture", torch.from_numpy(x).to(dtype)).state) == digest_of(
        fit("mixture", x).state
    )


def test_the_table_is_large() -> None:
    bad = (
        len(cases())
        + len(SHAPES) * len(FAMILIES)
        + len(option_cases())
        + len(GIVEN) * (len(FAMILIES) - 1)
        + 21
    )
    odd = 4 * len(ODD) + 9 * 3 + 4 + 3
    assert len(BAD) + sum(map(len, VALUES.values())) + len(SHAPES) + len(GIVEN) > 60
    assert bad > 1000
    assert odd > 140


COMMANDS: list[tuple[str, int, str]] = [
    ("fit mixture --data iris", 2, "--out"),
    ("fit mixtrue --data iris --out {new}", 3, "did you mean 'mixture'"),
    ("fit os:system --data iris --out {new}", 3, "no family"),
    ("fit mixture --data irsi --out {new}", 2, "did you mean 'iris'"),
    ("fit mixture --data iris --split trian --out {new}", 2, "split"),
    ("fit mixture --data {missing} --out {new}", 2, "no file"),
    ("fit mixture --data {empty} --out {new}", 2, "no images"),
    ("fit mixture --data {text} --out {new}", 2, "cannot be read"),
    ("fit mixture --data iris --out {text}", 1, "is a file"),
    ("fit mixture --data iris --out {text}/run", 1, "cannot be written"),
    ("fit mixture --data iris --out /proc/run", 1, "cannot be written"),
    ("fit mixture --data iris --out {long}", 1, "too long"),
    ("fit mixture --data iris --out {run}", 2, "already contains a run"),
    ("fit nade --data iris --out {run} --resume", 2, "was started with"),
    ("fit mixture --data iris --out {run} --resume --seed 3", 2, "seed"),
    ("fit mixture --data iris --out {new} --seed -1", 2, "seed"),
    ("fit mixture --data iris --out {new} --seed x", 2, "seed|int"),
    ("fit mixture --data iris --out {new} --dtype float16", 2, "float16"),
    ("fit mixture --data iris --out {new} --device gpu", 2, "gpu"),
    ("fit mixture --data iris --out {new} --set components", 2, "NAME=VALUE"),
    ("fit mixture --data iris --out {new} --set =3", 2, "NAME=VALUE"),
    ("fit mixture --data iris --out {new} --set componets=3", 2, "did you mean 'components'"),
    ("fit mixture --data iris --out {new} --set components=0", 2, "components"),
    ("fit mixture --data iris --out {new} --set components=1e3", 2, "components"),
    ("fit mixture --data iris --out {new} --set components=true", 2, "components"),
    ("fit mixture --data iris --out {new} --set components=[", 2, "components"),
    ("fit mixture --data iris --out {new} --set components=200", 2, "the data have only 150 rows"),
    ("fit mixture --data iris --out {new} --set seed=3", 2, "cannot be set"),
    ("sample {missing}", 2, "there is no|No such"),
    ("sample {empty}", 2, "no|not"),
    ("sample {text} --out {new}.h5", 2, "cut off|not"),
    ("sample {run} -n 0", 2, "n = 0"),
    ("sample {run} -n -5", 2, "n = -5"),
    ("sample {run} -n x", 2, "int"),
    ("sample {run} --out {missing}/a.h5", 2, "no folder"),
    ("sample {run} --out {new}.h5 --png {missing}/a.png", 2, "no folder"),
    ("sample {run} --given {missing}", 2, "no such file"),
    ("sample {run} --given {run}/recipe.toml", 2, "cannot be read"),
    ("sample {run} --set temperature=2", 2, "temperature"),
    ("sample {run} --set folder=2", 2, "folder"),
    ("sample {run} --out {run}/recipe.toml/x", 2, "no folder|cannot"),
    ("sample {model}", 2, "not a run folder"),
    ("score {run} --data digits", 2, "shape|levels"),
    ("score {run} --data {missing}", 2, "no file"),
    ("score {missing} --data iris", 2, "there is no|No such"),
    ("score {run} --data iris --set k=3", 2, "k"),
    ("compare {run} {missing}", 2, "there is no|No such|no scores"),
    ("compare {run}", 2, "scores"),
    ("show {missing}", 2, "there is no"),
    ("show {empty}", 2, "not a run"),
    ("show {text}", 2, "cut off|not"),
    ("run no-such-recipe --out {new}", 2, "no recipe|there is no"),
    ("run quickstrat --out {new}", 2, "did you mean 'quickstart'"),
    ("run quickstart --out {text}", 1, "is a file|cannot be written"),
    ("run quickstart --out {new} --set models.mixture.components=-1", 2, "components"),
    ("run quickstart --out {new} --set no.such=1", 2, "no"),
    ("datasets no-such", 3, "."),
    ("plugins check no-such-family", 3, "no-such-family"),
    ("plugins new 1bad/name", 2, "."),
    ("no-such-command", 2, "."),
    ("fit", 2, "."),
]


@pytest.fixture(scope="module")
def a_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "iris"
    probgen.fit("mixture", "iris", out=out)
    return out


@pytest.mark.quick(every=1)
@pytest.mark.parametrize(("command", "code", "word"), COMMANDS)
def test_bad_commands_end_in_a_line_and_a_code(
    command: str, code: int, word: str, a_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").write_text("hello\n")
    places = {
        "new": tmp_path / "new", "missing": tmp_path / "missing.npy", "empty": tmp_path / "empty", "text": tmp_path / "text",
        "long": tmp_path / ("x" * 300), "run": a_run, "model": a_run / "model.h5",
    }  # fmt: skip
    before = {p: p.read_bytes() for p in a_run.rglob("*") if p.is_file() and not p.name.startswith(".")}
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, [part.format(**places) for part in command.split()])
    assert result.exit_code == code, (result.stdout, result.stderr, result.exception)
    assert "Traceback" not in result.stderr
    assert re.search(word, result.stderr), result.stderr
    if "Usage" not in result.stderr:
        assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "new").exists()
    assert not (tmp_path / "new.h5").exists()
    assert {p: p.read_bytes() for p in before} == before
