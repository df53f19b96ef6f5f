"""Rows of several lengths: what one is, what is checked, and what a score a dimension means."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from torch import Tensor, nn

import probgen
from probgen import Fitted, Options, Rows, Run, hookimpl, log_prob
from probgen.contract.scores import bits_per_dim
from probgen.data.describe import event_of
from probgen.errors import InputError
from probgen.evaluation.means import mean_bits_per_dim, summary


def texts(rows: int = 40, longest: int = 7, **attrs: Any) -> xr.Dataset:
    """Symbols 0, 1, 2 with probabilities 0.5, 0.3, 0.2; what is past the end of a row is 2."""
    rng = np.random.default_rng(0)
    x = rng.choice(3, (rows, longest), p=[0.5, 0.3, 0.2]).astype(np.uint8)
    length = rng.integers(1, longest + 1, rows)
    x[np.arange(longest) >= length[:, None]] = 2
    return xr.Dataset(
        {"x": (("row", "time"), x, {"support": "token", "levels": 3}), "length": ("row", length)}, attrs=attrs
    )


class Unigram:
    """How often each symbol is there; it counts what is within the lengths."""

    Options = Options
    accepts = ("length",)

    @staticmethod
    def build(options: Options, event: probgen.Event) -> nn.Module:
        module = nn.Module()
        module.register_buffer("p", torch.ones(event.levels or 2))
        return module

    @classmethod
    @hookimpl
    def fit(cls, module: Any, data: Rows, run: Run) -> None:
        for chunk in data.chunks():
            module.p += torch.bincount(chunk["x"][_within(chunk)], minlength=len(module.p))
        module.p /= module.p.sum()

    @classmethod
    @hookimpl
    def score(cls, fitted: Fitted, data: dict[str, Tensor]) -> xr.Dataset:
        each = fitted.module.p.log()[data["x"]] * _within(data)
        return log_prob(each.sum(1), kind="exact", estimator="exact", measure="counting")

    @classmethod
    @hookimpl
    def sample(cls, fitted: Fitted, n: int, given: dict[str, Tensor]) -> dict[str, Tensor]:
        begun = given.get("x", torch.zeros(n, 0, dtype=torch.int64))
        assert "x" not in given or (given["length"] == begun.shape[1]).all()
        more = torch.multinomial(fitted.module.p, n * 5, replacement=True).reshape(n, 5)
        return {"x": torch.cat([begun, more], 1)}


def _within(data: dict[str, Tensor]) -> Tensor:
    assert data["length"].dtype == torch.int64
    return torch.arange(data["x"].shape[1]) < data["length"][:, None]


def by_hand(fitted: Fitted, data: xr.Dataset) -> np.ndarray:
    log_p = np.log(fitted.state.p.values)
    rows = zip(data.x.values, data.length.values, strict=True)
    return np.array([log_p[row[:n]].sum() for row, n in rows])


def test_an_event_of_several_lengths() -> None:
    event = event_of(texts())
    assert (event.dims, event.shape, event.size, event.levels) == (("time",), (None,), 1, 3)
    assert str(event) == "? token of 3 levels (time)"
    assert probgen.Event.from_dict(event.to_dict()) == event


def test_what_is_past_the_end_does_not_count(tmp_path: Any) -> None:
    data = texts()
    fitted = probgen.fit(Unigram, data)
    scores = probgen.score(fitted, data)
    np.testing.assert_allclose(scores.log_prob, by_hand(fitted, data), rtol=1e-6)
    assert (scores.length == data.length).all()
    x = np.where(np.arange(7) < data.length.values[:, None], data.x.values, 0)
    np.testing.assert_array_equal(
        probgen.score(fitted, data.assign(x=(data.x.dims, x, data.x.attrs))).log_prob, scores.log_prob
    )
    longer = texts(9, 30)  # of any length
    np.testing.assert_allclose(probgen.score(fitted, longer).log_prob, by_hand(fitted, longer), rtol=1e-6)
    data.to_netcdf(tmp_path / "texts.nc", engine="h5netcdf")
    again = probgen.score(fitted, str(tmp_path / "texts.nc"))
    np.testing.assert_array_equal(again.log_prob, scores.log_prob)


def test_bits_a_dimension_are_of_symbols() -> None:
    """A row by its own length; all rows together by all their symbols."""
    data = texts()
    scores = probgen.score(probgen.fit(Unigram, data), data)
    bits = -scores.log_prob.values / math.log(2)
    np.testing.assert_allclose(bits_per_dim(scores), bits / data.length.values)
    whole = bits.sum() / data.length.values.sum()
    assert mean_bits_per_dim(scores) == pytest.approx(whole)
    [line] = summary(scores)
    assert line["bits_per_dim"] == pytest.approx(whole)


def test_a_prompt_is_gone_on_with() -> None:
    fitted = probgen.fit(Unigram, texts())
    assert probgen.sample(fitted, 3).x.shape == (3, 5)
    draws = probgen.sample(fitted, 3, given={"x": np.array([2, 2, 1])})
    assert draws.x.shape == (3, 8)
    assert (draws.x.values[:, :3] == [2, 2, 1]).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"length": ("row", np.full(40, 8))}, "length, row 0 = 8: must be a whole number from 1 to 7"),
        ({"length": ("row", np.arange(40) % 7)}, "length, row 0 = 0: must be"),
        ({"length": ("row", np.full(40, 1.5))}, "length, row 0 = 1.5: must be"),
        ({"length": (("row", "time"), np.ones((40, 7)))}, "length has dimensions"),
        ({"x": (("row", "feature"), np.zeros((40, 7), int))}, "length refers to the dimension 'time'"),
    ],
)
def test_bad_lengths_are_told_in_a_line(change: dict[str, Any], message: str) -> None:
    data = texts()
    data = data.drop_vars(list(change)).assign(change)
    with pytest.raises(InputError, match=message):
        probgen.fit(Unigram, data)


def test_who_does_not_know_lengths_is_not_handed_them() -> None:
    with pytest.raises(InputError, match="rows have several lengths, which independent cannot use"):
        probgen.fit("independent", texts())
    fitted = probgen.fit(Unigram, texts())
    with pytest.raises(InputError, match=r"Add a variable length \(row\)"):
        probgen.score(fitted, texts().drop_vars("length"))
