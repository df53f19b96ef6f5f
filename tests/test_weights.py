"""Weights and units of a mixture: what a row counts, and in what its columns are measured, decide nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import probgen
from probgen.contract.state import digest_of
from probgen.errors import DivergedError, InputError, Interrupted
from probgen.plugins.observers import observing
from probgen.testing.helpers import Stop

FORMS = ("full", "diagonal", "tied", "spherical")


def rows(x: np.ndarray, weight: np.ndarray | None = None) -> xr.Dataset:
    data = xr.Dataset({"x": (("row", "feature"), x)})
    return data if weight is None else data.assign(weight=("row", weight))


def problem(seed: int) -> tuple[np.ndarray, dict[str, Any]]:
    """Two to four clusters in one to four dimensions, and options of a fit."""
    rng = np.random.default_rng(seed)
    K, D = int(rng.integers(2, 5)), int(rng.integers(1, 5))
    x = 4 * rng.normal(size=(K, D))[rng.integers(K, size=60)] + rng.normal(size=(60, D))
    return x, {"components": K, "covariance": FORMS[seed % 4], "regularization": 1e-3}


def log_likelihood(data: xr.Dataset, **options: Any) -> float:
    return float(probgen.fit("mixture", data, **options).groups["criteria"]["log_likelihood"])


@pytest.mark.parametrize("seed", range(30))
def test_a_row_of_weight_w_is_w_rows(seed: int) -> None:
    """Whole weights against repeated rows, 0 among them, in another order; a common factor multiplies the log-likelihood."""
    x, options = problem(seed)
    rng = np.random.default_rng(seed + 1000)
    w = rng.integers(0, 4, size=len(x))
    x[w == 0] += 1e3  # what does not count is far from what does
    expected = log_likelihood(rows(rng.permutation(np.repeat(x, w, 0))), **options)
    assert log_likelihood(rows(x, w), **options) == pytest.approx(expected, rel=1e-9)
    assert log_likelihood(rows(x, 0.37 * w), **options) == pytest.approx(0.37 * expected, rel=1e-9)


@pytest.mark.parametrize("seed", range(2))
def test_so_it_is_by_gradients(seed: int) -> None:
    """At the end of a fit: on the way Adam divides gradients by their own size, which are rounding where they should be 0."""
    x, options = problem(seed)
    w = np.random.default_rng(seed).integers(0, 4, size=len(x))
    x[w == 0] += 1e3
    data = rows(np.repeat(x, w, 0)), rows(x, w), rows(x, 0.37 * w)
    fits = [probgen.fit("mixture", each, valid=each, method="svi", steps=300, **options) for each in data]
    once, weighted, less = (float(fit.groups["criteria"]["log_likelihood"]) for fit in fits)
    assert weighted == pytest.approx(once, rel=1e-9)
    assert less == pytest.approx(0.37 * once, rel=1e-9)
    losses = [fit.history["valid_loss"].values[-1] for fit in fits]
    np.testing.assert_allclose(losses, losses[0], rtol=1e-9)


@pytest.mark.parametrize("method", ["em", "svi"])
def test_no_component_is_lost_to_rows_of_weight_0(method: str) -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=(200, 2)), rng.normal(size=(200, 2)) + 6, [[1000.0, 1000.0]]])
    w = np.r_[np.ones(400), 0.0]
    options: dict[str, Any] = {"components": 2, "method": method, "steps": 100}
    fitted = probgen.fit("mixture", rows(x, w), **options)
    np.testing.assert_allclose(fitted.groups["components"]["pi"], 0.5, atol=0.01)
    without = probgen.fit("mixture", rows(x[:400]), **options)
    xr.testing.assert_equal(fitted.state, without.state)
    scores = probgen.score(fitted, rows(x, w))
    assert float(scores["weight"] @ scores["log_prob"]) == pytest.approx(
        float(fitted.groups["criteria"]["log_likelihood"]), rel=1e-12
    )
    with pytest.raises(InputError, match="components = 3: the data have only 2 rows"):
        probgen.fit("mixture", rows(x, np.r_[1.0, 1.0, np.zeros(399)]), components=3)


@pytest.mark.parametrize("missing", [0.0, 0.2])
@pytest.mark.parametrize("method", ["em", "svi"])
@pytest.mark.parametrize("covariance", ["full", "diagonal", "tied"])
def test_units_of_columns_change_the_jacobian_alone(covariance: str, method: str, missing: float) -> None:
    """log p(a x + b) = log p(x) - log |a| of what is observed, for each column's a from 1e-12 to 1e12, to 1e-8 nats a row."""
    rng = np.random.default_rng(7)
    x = np.concatenate([rng.normal(size=(40, 4)), rng.normal(size=(40, 4)) @ rng.normal(size=(4, 4)) + 5])
    x[rng.random(x.shape) < missing] = np.nan
    options: dict[str, Any] = {"components": 2, "covariance": covariance, "method": method, "steps": 200}
    fitted = probgen.fit("mixture", rows(x), **options)
    expected = probgen.score(fitted, rows(x))["log_prob"].values
    for a, b in (
        (np.array([1e-12, 1e-6, 1e6, 1e12]), np.zeros(4)),
        (np.array([1e12, 1.0, 1e-12, -3.0]), np.array([1e13, 10.0, -1e-11, 0.0])),
    ):
        other = probgen.fit("mixture", rows(a * x + b), **options)
        found = probgen.score(other, rows(a * x + b))["log_prob"].values
        jacobian = (np.isfinite(x) * np.log(np.abs(a))).sum(1)
        np.testing.assert_allclose(found + jacobian, expected, atol=1e-8)


def test_a_whole_row_does_not_see_the_gaps_of_others() -> None:
    """Nearly collinear columns, where the covariance of what is observed has few digits: the same bits with and without a gap."""
    rng = np.random.default_rng(8)
    x = rng.normal(size=(300, 2)) @ np.array([[1.0, 1.0], [0.0, 1e-6]])
    fitted = probgen.fit("mixture", rows(x), components=2, regularization=1e-14)
    gap = np.concatenate([x, [[np.nan, 0.5]]])
    alone, beside = (probgen.score(fitted, rows(part))["log_prob"].values for part in (x, gap))
    np.testing.assert_allclose(beside[:300], alone, rtol=1e-12)
    fits = [
        float(probgen.fit("mixture", rows(part), components=2, regularization=1e-14, steps=3).history["objective"][0]) * len(part)
        for part in (x, np.concatenate([gap, gap[-1:]]))
    ]  # fmt: skip
    assert np.isfinite(fits).all()


def test_a_singular_restart_is_left_out() -> None:
    """Two rows that are equal, without regularization: starts that give them a component of their own end; others do not."""
    rng = np.random.default_rng(9)
    x = rng.normal(size=(30, 2))
    x = np.concatenate([x, x[:1], x[:1]])
    options: dict[str, Any] = {"components": 4, "regularization": 0.0}
    fitted = probgen.fit("mixture", rows(x), restarts=60, **options)
    (note,) = (note for note in fitted.notes if "restarts" in note)
    assert 0 < int(note.split()[0]) < 60
    assert "singular" in note
    assert np.isfinite(fitted.groups["criteria"]["log_likelihood"])
    with pytest.raises(DivergedError, match="singular"):
        probgen.fit("mixture", rows(x[-3:]), restarts=3, components=3, regularization=0.0)


def test_it_is_left_out_after_an_interruption_too(tmp_path: Path) -> None:
    """A fit that a signal ends in any of its restarts goes on to the same bits, also where one before it was singular."""
    rng = np.random.default_rng(9)
    x = rng.normal(size=(30, 2))
    data = rows(np.concatenate([x, x[:1], x[:1]]))
    options: dict[str, Any] = {"components": 4, "regularization": 0.0, "restarts": 60, "steps": 8}
    once = probgen.fit("mixture", data, **options)
    steps = once.history.sizes["step"]
    for stop in np.linspace(1, steps - 1, 3).astype(int):
        with pytest.raises(Interrupted), observing(Stop(int(stop))):
            probgen.fit("mixture", data, out=tmp_path / str(stop), **options)
        again = probgen.fit("mixture", data, out=tmp_path / str(stop), resume=True, **options)
        assert digest_of(again.state) == digest_of(once.state)
        assert digest_of(again.history) == digest_of(once.history)
        assert again.notes == once.notes
