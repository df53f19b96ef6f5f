"""Comparison: paired, and only of what can be compared."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import xarray as xr

import probgen
from probgen.errors import InputError
from probgen.evaluation.means import summary


def scores(values: np.ndarray, kind: str = "exact", **facts: object) -> xr.Dataset:
    out = probgen.log_prob(values, kind=kind, estimator="e", measure=str(facts.pop("measure", "lebesgue")))
    out["log_prob"].attrs |= {"event_size": 2, "given": "", "observed": "all", "rows": "d"} | facts
    return out


A = np.array([-1.0, -2.0, -4.0, -3.0])


def test_paired_differences() -> None:
    table = probgen.compare({"worse": scores(A - np.array([1, 2, 1, 2])), "better": scores(A)})
    assert table["model"].values.tolist() == ["better", "worse"]
    np.testing.assert_allclose(table["log_prob"], [-2.5, -4.0])
    np.testing.assert_allclose(table["difference"], [0.0, -1.5])
    np.testing.assert_allclose(table["difference_se"], [0.0, np.std([1, 2, 1, 2], ddof=1) / 2])
    np.testing.assert_allclose(table["log_prob_se"][0], A.std(ddof=1) / 2)
    assert table["rank"].values.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("high", "low", "ranks"),
    [
        ("exact", "exact", [1, 2]),
        ("lower_bound", "exact", [1, 2]),  # at least this much above an exact value: better
        ("exact", "lower_bound", [1, 1]),  # a bound below says nothing
        ("upper_bound", "exact", [1, 1]),
        ("exact", "upper_bound", [1, 2]),
        ("estimate", "exact", [1, 2]),
    ],
)
def test_a_bound_ranks_as_a_bound(high: str, low: str, ranks: list[int]) -> None:
    table = probgen.compare({"high": scores(A, high), "low": scores(A - 1, low)})
    assert table["rank"].values.tolist() == ranks


@pytest.mark.parametrize("fact", ["measure", "given", "observed", "rows", "event_size"])
def test_what_differs_is_refused(fact: str) -> None:
    other = {"measure": "counting", "event_size": 3}.get(fact, "other")
    with pytest.raises(InputError, match=f"'a' and 'b' cannot be compared: .*{fact}"):
        probgen.compare({"a": scores(A), "b": scores(A, **{fact: other})})


def test_what_is_no_likelihood_is_refused() -> None:
    with pytest.raises(InputError, match="'b' has no log_prob, only critic"):
        probgen.compare({"a": scores(A), "b": xr.Dataset({"critic": ("row", A)})})
    with pytest.raises(InputError, match="surrogate"):
        probgen.compare({"a": scores(A, "surrogate")})
    with pytest.raises(InputError, match="no scores"):
        probgen.compare({})


def test_bits_per_dim() -> None:
    bits = probgen.bits_per_dim(scores(np.array([-2 * np.log(2) * 3])))
    assert bits.item() == pytest.approx(3.0)
    assert bits.attrs["units"] == "bit/dim"


def test_a_score_says_what_it_is() -> None:
    with pytest.raises(ValueError, match="kind"):
        probgen.log_prob(A, kind="sort of", estimator="", measure="lebesgue")
    with pytest.raises(ValueError, match="measure"):
        probgen.log_prob(A, kind="exact", estimator="", measure="nats")


def test_a_summary_is_the_mean_and_its_standard_error() -> None:
    """Of 1, 2, 4, 9: mean 4, standard deviation (38 / 3)^0.5, over the root of 4; bits by two dimensions."""
    scores = probgen.log_prob(
        torch.tensor([1.0, 2.0, 4.0, 9.0]), kind="exact", estimator="exact", measure="lebesgue"
    )
    scores["log_prob"].attrs["event_size"] = 2
    (line,) = summary(scores)
    assert line["mean"] == 4
    assert line["standard_error"] == pytest.approx((38 / 3) ** 0.5 / 2)
    assert line["bits_per_dim"] == pytest.approx(-4 / (2 * math.log(2)))


def test_a_mean_of_minus_infinity_is_last_and_the_best_differs_by_nothing() -> None:
    lost = np.array([-math.inf, -2.0, -4.0, -3.0])
    table = probgen.compare({"lost": scores(lost), "best": scores(A)})
    assert table["model"].values.tolist() == ["best", "lost"]
    assert table["difference"].values.tolist() == [0.0, -math.inf]
    assert probgen.compare({"lost": scores(lost)})["difference"].values.tolist() == [0.0]


def test_a_refusal_has_plain_numbers() -> None:
    """Facts of a file are NumPy's."""
    with pytest.raises(InputError, match="event_size is 4 and 2;"):
        probgen.compare({"a": scores(A, event_size=np.int64(4)), "b": scores(A, event_size=np.int64(2))})
