"""`to_arviz`: the groups of a posterior and of a point fit, as ArviZ reads them, and statistics of NUTS that are true."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from scipy import stats

import probgen
from probgen.contract.run import Run
from probgen.contract.state import digest_of
from probgen.errors import InputError, Interrupted
from probgen.inference.nuts import STATISTICS, nuts_chain
from probgen.testing.helpers import Stop

X = np.random.default_rng(0).standard_normal((20, 2)) * [1.0, 3.0] + [5.0, -2.0]
NUTS: dict[str, Any] = {"components": 1, "draws": 12, "warm_up": 12, "chains": 2, "depth": 4}


@pytest.fixture
def arviz() -> Iterator[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a version to come, and of deprecated names inside it
        yield pytest.importorskip("arviz")


@pytest.fixture(scope="module")
def posterior() -> probgen.Fitted:
    return probgen.fit("bayesian-mixture", X, **NUTS)


def test_statistics_of_a_standard_normal() -> None:
    """lp is the density, the energy is lp before the draw and a chi-square of momenta, and a depth d has up to 2^d - 1 steps.

    The false-alarm rate is 1e-6.
    """
    torch.manual_seed(0)
    D = 3
    chain = nuts_chain(
        Run(),
        lambda u: -0.5 * u.square().sum(),
        torch.zeros(D, dtype=torch.float64),
        draws=400,
        warm_up=60,
        depth=5,
    )
    told = dict(zip(STATISTICS, chain.statistics.numpy().T, strict=True))
    np.testing.assert_allclose(told["lp"], -0.5 * chain.draws.square().sum(1).numpy())
    kinetic = told["energy"][1:] + told["lp"][:-1]
    assert stats.kstest(2 * kinetic, stats.chi2(D).cdf).pvalue > 1e-6
    assert not told["diverging"].any()
    assert (told["n_steps"] <= 2 ** told["tree_depth"] - 1).all()
    assert (told["n_steps"] >= 2 ** (told["tree_depth"] - 1)).all()
    assert len(set(told["step_size"])) == 1


def test_divergences_are_seen() -> None:
    """A density that falls off a cliff at |u| = 1: nearly all long steps diverge, and the draws stay inside."""
    torch.manual_seed(0)

    def cliff(u: torch.Tensor) -> torch.Tensor:
        return -1e6 * (u.abs() - 1).clamp(min=0).square().sum()

    chain = nuts_chain(Run(), cliff, torch.zeros(1, dtype=torch.float64), draws=40, warm_up=5, depth=3)
    diverging = chain.statistics[:, list(STATISTICS).index("diverging")]
    assert diverging.sum() > 0


def test_a_posterior_has_all_groups(posterior: probgen.Fitted) -> None:
    tree = probgen.to_arviz(posterior)
    assert set(tree.children) == {
        "posterior", "sample_stats", "prior", "prior_predictive", "posterior_predictive", "log_likelihood", "observed_data",
    }  # fmt: skip
    assert dict(tree["posterior_predictive"].sizes) == {"chain": 2, "draw": 12, "row": 20, "feature": 2}
    assert dict(tree["sample_stats"].sizes) == {"chain": 2, "draw": 12}
    assert tree["sample_stats"]["diverging"].dtype == bool
    assert set(tree["prior"].data_vars) == set(tree["posterior"].data_vars) == {"pi", "mu", "Sigma"}
    for node in tree.children.values():
        assert set(node.coords) == set(node.dims)
        assert node.attrs["inference_library"] == "pyro"
    np.testing.assert_allclose(tree["observed_data"]["x"], X)
    xr.testing.assert_identical(probgen.to_arviz(posterior, X), tree)
    with pytest.raises(InputError, match=r"not the rows of the fit.*Leave data out"):
        probgen.to_arviz(posterior, X[:9])


def test_the_prior_predictive_is_that_of_the_prior() -> None:
    """x - loc of the prior is symmetric, and its scale is that of the prior's covariances; with svi there are no statistics."""
    fitted = probgen.fit("bayesian-mixture", X, components=2, prior="lkj", method="svi", draws=200, steps=5)
    assert "sample_stats" not in fitted.groups
    prior, x = fitted.groups["prior"], fitted.groups["prior_predictive"]["x"]
    assert dict(prior.sizes)["draw"] == 200
    mean = (prior["pi"] * prior["mu"]).sum("component")
    spread = np.sqrt((prior["pi"] * (prior["mu"] ** 2)).sum("component") - mean**2)
    error = (x.mean("row") - mean) / np.sqrt(
        ((prior["pi"] * prior["Sigma"]).sum("component").values.diagonal(axis1=-2, axis2=-1) + spread**2) / 20
    )
    # standardized means of 200 draws and 2 features: chi-square within five standard errors
    assert abs(float((error**2).mean()) - 1) < 5 * math.sqrt(2 / 200) + 0.2


def test_statistics_survive_a_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, posterior: probgen.Fitted
) -> None:
    monkeypatch.setenv("PROBGEN_CHECKPOINT_SECONDS", "0")
    with pytest.raises(Interrupted), probgen.observing(Stop(7)):
        probgen.fit("bayesian-mixture", X, out=tmp_path, **NUTS)
    resumed = probgen.fit("bayesian-mixture", X, out=tmp_path, resume=True, **NUTS)
    for name in ("sample_stats", "prior", "posterior_predictive"):
        assert digest_of(resumed.groups[name]) == digest_of(posterior.groups[name])


def test_a_point_fit_has_predictive_checks_and_a_sentence() -> None:
    fitted = probgen.fit("mixture", X, components=1)
    tree = probgen.to_arviz(fitted, X, draws=30, seed=3)
    assert set(tree.children) == {"posterior_predictive", "observed_data"}
    assert "no log_likelihood" in tree.attrs["note"]
    assert tree["posterior_predictive"]["x"].dims == ("chain", "draw", "row", "feature")
    drawn = probgen.sample(fitted, 600, seed=3)["x"].values
    np.testing.assert_array_equal(tree["posterior_predictive"]["x"].values.reshape(600, 2), drawn)
    with pytest.raises(InputError, match=r"stores no rows\. Give rows: probgen\.to_arviz\(fitted, data\)"):
        probgen.to_arviz(fitted)
    with pytest.raises(InputError, match="Use fewer draws, or fewer rows"):
        probgen.to_arviz(fitted, X, draws=10**8)


def test_each_row_of_a_conditional_model_has_its_condition() -> None:
    """Each sample of a row is one given the label of the row: two classes that are far apart."""
    label = np.arange(20) % 2
    data = xr.Dataset({"x": (("row", "feature"), X + 1000.0 * label[:, None]), "label": ("row", label)})
    data["x"] = (data["x"] > 500).astype(int)
    fitted = probgen.fit(
        "made", data, given=("label",), epochs=200, batch_size=20, learning_rate=0.05, hidden=(8,)
    )
    tree = probgen.to_arviz(fitted, data, draws=40)
    means = tree["posterior_predictive"]["x"].mean(("chain", "draw", "feature"))
    assert (np.abs(means - label) < 0.3).all()
    np.testing.assert_array_equal(tree["constant_data"]["label"], label)


def test_arviz_reads_the_trees(arviz: Any, posterior: probgen.Fitted) -> None:
    """`loo`, `summary` and `bfmi` of a posterior; the trees of point fits hold no likelihood that `loo` could use."""
    found = arviz.from_datatree(probgen.to_arviz(posterior))
    assert np.isfinite(arviz.loo(found).elpd_loo)
    table = arviz.summary(found, var_names=["mu"])
    np.testing.assert_allclose(
        table["mean"].astype(float),
        posterior.groups["posterior"]["mu"].mean(("chain", "draw")).values.ravel(),
        atol=1e-2,
    )
    energy = posterior.groups["sample_stats"]["energy"].values
    expected = np.square(np.diff(energy)).mean(1) / energy.var(1)
    np.testing.assert_allclose(arviz.bfmi(found), expected, rtol=0.2)
    point = arviz.from_datatree(probgen.to_arviz(probgen.fit("mixture", X, components=1), X, draws=4))
    with pytest.raises(TypeError, match="log likelihood not found"):
        arviz.loo(point)
