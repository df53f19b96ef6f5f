"""Families as estimators of scikit-learn: its own checks, and its tools."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator

import probgen
from probgen.api.estimating import Estimator
from probgen.errors import InputError

CASES: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "mixture": ({}, {}),
    "independent": ({}, {}),
    "made": ({"hidden": 8, "epochs": 2}, {}),
    "vae": (
        {"hidden": (8,), "latent": 2, "epochs": 2},
        {
            "check_methods_sample_order_invariance": "scores are Monte Carlo bounds, whose draws go by place",
            "check_methods_subset_invariance": "the same",
            "check_estimators_pickle": "it is tried on data with gaps, of which an encoder has no codes",
        },
    ),
}


@pytest.mark.filterwarnings("ignore")  # of the checks, which fit what is no good data
@pytest.mark.parametrize("family", CASES)
def test_the_checks_of_scikit_learn(family: str) -> None:
    options, expected = CASES[family]
    results = check_estimator(
        probgen.estimator(family, **options), expected_failed_checks=expected, on_fail="raise", on_skip=None
    )
    failed = {result["check_name"] for result in results if result["status"] == "xfail"}
    assert failed == set(expected), "a check that should fail passes"
    assert sum(result["status"] == "passed" for result in results) > 35


X = np.random.default_rng(0).normal(np.repeat([[0.0, 3.0], [4.0, -1.0]], 100, 0))


def test_it_is_the_mixture_of_scikit_learn() -> None:
    """The same likelihood at the maximum, classes and draws."""
    ours = probgen.estimator("mixture", components=2, regularization=1e-9).fit(X)
    theirs = GaussianMixture(2, n_init=5, reg_covar=1e-9, tol=1e-9, max_iter=1000, random_state=0).fit(X)
    np.testing.assert_allclose(ours.score_samples(X), theirs.score_samples(X), atol=1e-3)
    assert ours.score(X) == pytest.approx(theirs.score(X), abs=1e-5)
    same = (ours.predict(X) == theirs.predict(X)).mean()
    assert max(same, 1 - same) == 1
    np.testing.assert_allclose(ours.predict_proba(X).sum(1), 1)
    assert ours.sample(7).shape == (7, 2)
    assert ours.fitted_.family == "mixture"
    np.testing.assert_array_equal(ours.sample(7, seed=1), ours.sample(7, seed=1))


def test_its_tools_take_it() -> None:
    search = GridSearchCV(
        probgen.estimator("mixture"), {"components": [1, 2, 3], "covariance": ["full", "diagonal"]}, cv=3
    )
    search.fit(X)
    assert search.best_params_["components"] == 2
    assert isinstance(search.best_estimator_, Estimator)
    scores = cross_val_score(make_pipeline(PCA(1), probgen.estimator("mixture", components=2)), X, cv=3)
    assert np.isfinite(scores).all()
    codes = make_pipeline(
        probgen.estimator("vae", latent=2, hidden=(16,), epochs=60, learning_rate=1e-2), LogisticRegression()
    )
    assert codes.fit(X, np.repeat([0, 1], 100)).score(X, np.repeat([0, 1], 100)) > 0.9


def test_tables_keep_their_columns() -> None:
    table = pd.DataFrame({"a": X[:, 0], "n": np.arange(200) % 5, "k": np.where(X[:, 1] > 1, "up", "down")})
    model = probgen.estimator("mixture", components=2).fit(table)
    assert model.fitted_.event.support == "mixed"
    np.testing.assert_array_equal(model.feature_names_in_, ["a", "n", "k"])
    drawn = model.sample(5)
    assert list(drawn.columns) == ["a", "n", "k"]
    assert set(drawn["k"]) <= {"up", "down"}
    with pytest.raises(ValueError, match="feature names"):
        model.score_samples(table.rename(columns={"a": "b"}))
    assert cross_val_score(probgen.estimator("made", hidden=8, epochs=5), table, cv=2).shape == (2,)


def test_parameters_are_the_options_of_the_family() -> None:
    model = probgen.estimator("mixture", components=3, covariance="tied")
    params = model.get_params()
    assert (params["components"], params["covariance"], params["restarts"], params["seed"]) == (
        3,
        "tied",
        1,
        0,
    )
    assert repr(model) == "Estimator_mixture(components=3, covariance='tied')"
    assert clone(model).get_params() == params
    assert model.set_params(components=2).components == 2
    with pytest.raises(InputError, match="no option 'componets'"):
        probgen.estimator("mixture", componets=3)
    with pytest.raises(InputError, match="components"):
        probgen.estimator("mixture", components=0).fit(X)
    with pytest.raises(NotFittedError):
        model.score_samples(X)
    assert not hasattr(probgen.estimator("made"), "predict")
    assert not hasattr(probgen.estimator("mixture"), "transform")


def test_what_was_fitted_goes_with_it() -> None:
    """To another process, as joblib sends it: by the bytes of its file."""
    model = probgen.estimator("mixture", components=2).fit(X)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.score_samples(X), model.score_samples(X))
    parallel = GridSearchCV(probgen.estimator("mixture"), {"components": [1, 2]}, cv=2, n_jobs=2)
    parallel.fit(X[np.random.default_rng(0).permutation(200)])
    assert parallel.best_params_ == {"components": 2}
