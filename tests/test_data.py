"""Whatever the user has: what is made of it, what odd layouts give, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

import probgen
from probgen.contract.event import Event
from probgen.data.describe import event_of
from probgen.data.ingest import as_dataset
from probgen.errors import InputError

X = np.round(np.random.default_rng(0).standard_normal((40, 3)), 3)


@pytest.mark.parametrize(
    ("x", "event"),
    [
        (X, Event(("feature",), (3,), "real")),
        (X[:, 0], Event(("feature",), (1,), "real")),
        (X.astype(np.float32), Event(("feature",), (3,), "real")),
        (X > 0, Event(("feature",), (3,), "binary")),
        ((X > 0).astype(int), Event(("feature",), (3,), "binary")),
        (np.arange(12).reshape(4, 3), Event(("feature",), (3,), "integer", 12)),
        (np.arange(-6, 6).reshape(4, 3), Event(("feature",), (3,), "real")),
        (np.zeros((5, 4, 4), np.uint8) + 7, Event(("height", "width"), (4, 4), "integer", 256)),
        (np.zeros((5, 3, 4, 4)), Event(("channel", "height", "width"), (3, 4, 4), "real")),
    ],
)
def test_events(x: np.ndarray, event: Event) -> None:
    assert event_of(as_dataset(x)) == event
    assert Event.from_dict(event.to_dict()) == event


def test_declared_events_and_conditions() -> None:
    x = xr.DataArray(np.ones((4, 2)), dims=["row", "time"], attrs={"support": "token", "levels": 5})
    dataset = xr.Dataset({"x": x, "label": ("row", [0, 1, 2, 1])})
    event = event_of(dataset, given=("label",))
    assert event == Event(("time",), (2,), "token", 5, {"label": Event((), (), "token", 3)})
    assert Event.from_dict(event.to_dict()) == event


def test_named_dimensions_are_put_in_order() -> None:
    x = xr.DataArray(np.zeros((6, 4, 5, 3)), dims=["row", "height", "width", "channel"])
    assert as_dataset(x)["x"].dims == ("row", "channel", "height", "width")
    assert as_dataset(x.transpose("channel", "row", "width", "height"))["x"].shape == (6, 3, 4, 5)


def read_only(x: np.ndarray) -> np.ndarray:
    x = x.copy()
    x.flags.writeable = False
    return x


def on_disk(x: np.ndarray, folder: Path) -> np.ndarray:
    np.save(folder / "x.npy", x)
    return np.load(folder / "x.npy", mmap_mode="r")


ODD: dict[str, Callable[[np.ndarray, Path], Any]] = {
    "fortran order": lambda x, _: np.asfortranarray(x),
    "negative strides": lambda x, _: x[::-1].copy()[::-1],
    "every other row of a larger array": lambda x, _: np.repeat(x, 2, axis=0)[::2],
    "read-only": lambda x, _: read_only(x),
    "big-endian": lambda x, _: x.astype(">f8"),
    "memory-mapped": on_disk,
    "list": lambda x, _: x.tolist(),
    "masked, nothing masked": lambda x, _: np.ma.MaskedArray(x),
    "torch": lambda x, _: torch.from_numpy(x.copy()),
    "torch with gradient": lambda x, _: torch.from_numpy(x.copy()).requires_grad_(),
    "pandas": lambda x, _: pd.DataFrame(x),
    "pandas with names": lambda x, _: pd.DataFrame(x, columns=["a", "b", "c"]),
    "xarray": lambda x, _: xr.DataArray(x),
    "xarray Dataset, other name": lambda x, _: xr.Dataset({"values": (("n", "d"), x)}),
    "xarray with coordinates": lambda x, _: xr.DataArray(
        x, dims=["row", "feature"], coords={"row": np.arange(40)[::-1]}
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_layouts_give_what_the_plain_array_gives(name: str, tmp_path: Path) -> None:
    plain = probgen.fit("mixture", X, seed=1)
    odd = probgen.fit("mixture", ODD[name](X, tmp_path), seed=1)
    for variable in plain.state.variables:
        np.testing.assert_array_equal(odd.state[variable], plain.state[variable])
    same = odd.provenance["data"]["sha256"] == plain.provenance["data"]["sha256"]
    assert same == (name != "pandas with names")  # which are part of the data


def test_a_mask_is_honored() -> None:
    masked = np.ma.MaskedArray(np.where(X > 1, 999.0, X), mask=X > 1)
    nan = np.where(X > 1, np.nan, X)
    one, other = probgen.fit("mixture", masked), probgen.fit("mixture", nan)
    np.testing.assert_array_equal(one.state["mu"], other.state["mu"])
    scores = [probgen.score(one, data)["log_prob"].values for data in (masked, nan)]
    np.testing.assert_array_equal(*scores)


def with_value(value: float) -> np.ndarray:
    x = X.copy()
    x[3, 1] = value
    return x


def weighted(weight: Any) -> xr.Dataset:
    return as_dataset(X).assign(weight=("row", weight))


BAD: dict[str, tuple[Any, str]] = {
    "infinity": (with_value(np.inf), r"x, row 3, position \(1,\) = inf"),
    "minus infinity": (with_value(-np.inf), "row 3.*-inf"),
    "no rows": (X[:0], "no rows"),
    "no columns": (X[:, :0], "a row has no values"),
    "a number": (3.0, "single number"),
    "None": (None, "has type object"),
    "text": (np.array([["a", "b"]]), "has type <U1"),
    "text in a list": (["a", "b"], "has type <U1"),
    "ragged": ([[1.0, 2.0], [3.0]], "cannot be read as an array"),
    "objects": (np.array([[1, None]], dtype=object), "has type object"),
    "complex": (X.astype(complex), "has type complex128"),
    "dates": (np.zeros((4, 2), "M8[s]"), "has type datetime64"),
    "records": (np.zeros(4, dtype=[("a", "f8")]), "has type"),
    "five dimensions": (np.zeros((2, 2, 2, 2, 2)), "Name the dimensions"),
    "channels last": (np.zeros((2, 8, 8, 3)), "channels seem to be last"),
    "an empty Dataset": (xr.Dataset(), "no variable 'x'"),
    "two variables": (xr.Dataset({"a": ("row", [1.0]), "b": ("row", [1.0])}), "no variable 'x'"),
    "a wrong support": (xr.DataArray(X, attrs={"support": "reel"}), "support"),
    "a missing file": ("none.csv", "no file none.csv"),
    "an unknown name": ("mnits", "did you mean 'mnist'"),
    "a negative weight": (weighted(-np.ones(40)), "weight, row 0 = -1.0"),
    "a weight that is not finite": (weighted(np.full(40, np.nan)), "weight, row 0 = nan"),
    "weights of 0": (weighted(np.zeros(40)), "all weights are 0"),
    "observed of 2": (
        as_dataset(X).assign(observed=(("row", "feature"), np.full((40, 3), 2))),
        "observed, row 0",
    ),
    "a large number": (with_value(1e300), "at most 3.4e"),
    "a pandas column of text": (
        pd.DataFrame({"a": [{}, []], "b": ["u", "v"], "c": [1, 2]}),
        "column 'a' has values of type dict",
    ),
}


@pytest.mark.quick(every=1)
@pytest.mark.parametrize("name", BAD)
def test_bad_data_are_refused_by_name(name: str, tmp_path: Path) -> None:
    data, message = BAD[name]
    with pytest.raises(InputError, match=message):
        probgen.fit("mixture", data, dtype="float32", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.quick(every=1)
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": -1}, "seed = -1"),
        ({"seed": 2**64}, "seed = "),
        ({"seed": True}, "seed = True"),
        ({"seed": 1.5}, "seed = 1.5"),
        ({"device": "gpu"}, "device = 'gpu'"),
        ({"device": "cuda:77"}, "device = 'cuda:77'"),
        ({"dtype": "float16"}, "dtype = 'float16'"),
        ({"dtype": "flaot64"}, "dtype = 'flaot64'"),
        ({"components": 2.5}, "components = 2.5"),
        ({"components": "3"}, "components = '3'"),
        ({"restarts": -1}, "restarts = -1"),
        ({"learning_rate": 0.0}, "learning_rate = 0.0"),
        ({"tolerance": float("inf")}, "tolerance = inf"),
        ({"method": "mcmc"}, "method = 'mcmc'.*'em' or 'svi'"),
    ],
)
def test_bad_options_are_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        probgen.fit("mixture", X, **changes)


def test_values_outside_the_event_are_refused() -> None:
    binary = probgen.fit("independent", X > 0)
    with pytest.raises(InputError, match=r"x, row 0, position \(0,\) = 0.5: must be 0 or 1 \(binary\)"):
        probgen.score(binary, np.full((2, 3), 0.5))
    integer = probgen.fit("independent", np.arange(12).reshape(4, 3))
    for value in (-1, 12, 1.5):
        with pytest.raises(InputError, match="a whole number from 0 to 11"):
            probgen.score(integer, np.full((2, 3), value))
    real = probgen.fit("mixture", X)
    with pytest.raises(InputError, match="shape"):
        probgen.score(real, X[:, :2])
    with pytest.raises(InputError, match="family 'mixture', sample: unknown option 'temperature'"):
        probgen.sample(real, 1, temperature=2)
    with pytest.raises(InputError, match="given 'y'"):
        probgen.sample(real, 1, given={"y": 1})
    with pytest.raises(InputError, match="different numbers of rows"):
        probgen.sample(real, 1, given={"x": X[:3], "z": np.zeros(2, int)})


def test_odd_but_good_data() -> None:
    for x in (X[:1], X.astype(np.float16), np.zeros((3, 1)), X[:, :1]):
        fitted = probgen.fit("independent", x)
        assert np.isfinite(probgen.score(fitted, x)["log_prob"]).all()
    assert probgen.fit("independent", np.array([[1], [2]], dtype=np.uint16)).event.levels == 3


def test_what_lies_under_a_mask_is_not_read() -> None:
    broken = np.where(X > 1, np.inf, X)
    fitted = probgen.fit("mixture", np.ma.masked_invalid(broken))
    plain = probgen.fit("mixture", np.where(X > 1, np.nan, X))
    np.testing.assert_array_equal(fitted.state["mu"], plain.state["mu"])
    counts = np.ma.masked_equal(np.array([[1, 999], [2, 0], [0, 2]]), 999)
    assert event_of(as_dataset(counts)).levels == 3


def test_weights_of_text_are_refused() -> None:
    with pytest.raises(InputError, match="weight has type"):
        probgen.fit("mixture", as_dataset(X).assign(weight=("row", ["a"] * 40)))
