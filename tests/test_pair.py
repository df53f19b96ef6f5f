"""A pair of a script's own: probabilistic PCA, whose every quantity has a closed form (Tipping & Bishop 1999)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

import probgen
from probgen.errors import NotOffered, PluginError
from probgen.inference.importance import iwae
from probgen.inference.training import SVIOptions

SIGMA = 0.6


class PPCA(probgen.Pair):
    """z ~ Normal(0, 1), x ~ Normal(w z, sigma); q(z | x) = Normal(v x, s)."""

    latents = {"z": ("latent",)}

    def __init__(self, options: Any, event: probgen.Event):
        super().__init__(options, event)
        self.w = nn.Parameter(torch.ones(event.size))
        self.v = nn.Parameter(torch.zeros(event.size))
        self.log_s = nn.Parameter(torch.zeros(()))

    def model(self, x: Tensor | None = None, *, n: int, **given: Any) -> Tensor:
        with pyro.plate("row", n):
            z = pyro.sample("z", dist.Normal(torch.zeros(n, 1), 1.0).to_event(1))
            return pyro.sample("x", dist.Normal(z * self.w, SIGMA).to_event(1), obs=x)

    def guide(self, x: Tensor | None = None, *, n: int, **given: Any) -> Tensor:
        assert x is not None
        with pyro.plate("row", n):
            return pyro.sample("z", dist.Normal((x @ self.v)[:, None], self.log_s.exp()).to_event(1))


def rows(n: int = 400) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, 1)) * np.array([1.0, -2.0, 0.5]) + SIGMA * rng.standard_normal((n, 3))


def evidence(w: np.ndarray, x: np.ndarray) -> np.ndarray:
    return stats.multivariate_normal(np.zeros(3), np.outer(w, w) + SIGMA**2 * np.eye(3)).logpdf(x)


@pytest.fixture(scope="module")
def fitted() -> probgen.Fitted:
    return probgen.fit(PPCA, rows(), steps=1500, batch_size=400, learning_rate=0.02, schedule="cosine")


def test_svi_reaches_the_maximum(fitted: probgen.Fitted) -> None:
    """The best w is the first principal axis, scaled; the guide becomes the posterior, so the bound is tight."""
    x = rows()
    values, vectors = np.linalg.eigh(x.T @ x / len(x))
    best = vectors[:, -1] * math.sqrt(values[-1] - SIGMA**2)
    w = fitted.state["w"].values
    np.testing.assert_allclose(w * np.sign(w @ best), best, atol=0.02)
    assert -fitted.history["loss"].values[-200:].mean() == pytest.approx(evidence(w, x).mean(), abs=0.01)


def test_scores_are_a_bound_with_its_error(fitted: probgen.Fitted) -> None:
    x, w = rows(), fitted.state["w"].values
    scores = probgen.score(fitted, x, k=50)
    attrs = scores["log_prob"].attrs
    assert (attrs["kind"], attrs["estimator"], attrs["measure"]) == ("lower_bound", "iwae-50", "lebesgue")
    off = (scores["log_prob"].values - evidence(w, x)) / scores["log_prob_se"].values
    assert np.abs(off).mean() < 2
    assert scores["log_prob"].values.mean() == pytest.approx(evidence(w, x).mean(), abs=0.01)


def test_the_bound_tightens_with_k() -> None:
    """With a poor guide: E log w = ELBO in closed form at k = 1, less than the evidence, and closer for every k."""
    torch.manual_seed(0)
    pair = PPCA(None, probgen.Event(("feature",), (3,), "real"))
    x = torch.from_numpy(rows(20_000)).float()
    truth = evidence(np.ones(3), x.numpy()).mean()
    with torch.no_grad():
        bounds = [iwae(pair, x, k, at_once=1 << 20)[0].mean().item() for k in (1, 8, 64, 1000)]
    # q = Normal(0, 1) is the prior: E_q log p(x | z) = log Normal(x; 0, sigma) - sum w^2 / 2 sigma^2
    elbo = (stats.norm(0, SIGMA).logpdf(x.numpy()).sum(1) - 3 / (2 * SIGMA**2)).mean()
    assert bounds[0] == pytest.approx(elbo, abs=0.3)
    assert bounds[0] < bounds[1] < bounds[2]
    assert bounds[-1] == pytest.approx(truth, abs=0.05)


def test_draws_come_with_their_latents(fitted: probgen.Fitted) -> None:
    draws = probgen.sample(fitted, 20_000)
    assert draws["z"].dims == ("sample", "latent")
    w = fitted.state["w"].values
    np.testing.assert_allclose(np.cov(draws["x"].values.T), np.outer(w, w) + SIGMA**2 * np.eye(3), atol=0.15)
    given = probgen.sample(fitted, 5000, given={"z": np.array([2.0])})
    np.testing.assert_allclose(given["x"].mean("sample"), 2 * w, atol=5 * SIGMA / math.sqrt(5000))
    assert (given["z"] == 2).all()


def test_what_a_pair_does_not_offer_is_said(fitted: probgen.Fitted) -> None:
    with pytest.raises(NotOffered, match="PPCA does not complete"):
        probgen.sample(fitted, 1, given={"x": np.array([1.0, np.nan, 0.0])})
    with pytest.raises(NotOffered, match="no exact log_prob"):
        fitted.module.log_prob(torch.zeros(1, 3))


def test_save_and_load_with_its_class(fitted: probgen.Fitted, tmp_path: Any) -> None:
    fitted.save(tmp_path / "m.h5")
    again = probgen.load(tmp_path / "m.h5", PPCA)
    np.testing.assert_array_equal(again.state["w"], fitted.state["w"])
    with pytest.raises(PluginError, match="no family is called 'PPCA'"):
        probgen.load(tmp_path / "m.h5")


class Conditional(probgen.Pair):
    """x | label ~ Normal(mu_label, 1): what `given` in the options is for."""

    class Options(SVIOptions):
        given: tuple[str, ...] = ("label",)
        steps: int | None = 1
        learning_rate: float = 0.1

    def __init__(self, options: Any, event: probgen.Event):
        super().__init__(options, event)
        self.mu = nn.Parameter(torch.arange(float(event.given["label"].levels or 0)))

    def model(self, x: Tensor | None = None, *, n: int, label: Tensor, **given: Any) -> Tensor:
        with pyro.plate("row", n):
            return pyro.sample(
                "x",
                dist.Normal(self.mu[label], 1.0).expand([n]).to_event(0),
                obs=None if x is None else x[:, 0],
            )


def test_conditions() -> None:
    data = probgen.datasets.load("iris").isel(feature=[0])
    fitted = probgen.fit(Conditional, data)
    draws = probgen.sample(fitted, 2000, given={"label": np.array([0, 2])})
    assert draws["x"].dims == ("sample", "row", "feature")
    gap = draws["x"].mean("sample")[:, 0]
    np.testing.assert_allclose(gap, fitted.state["mu"].values[[0, 2]], atol=5 / math.sqrt(2000))
    assert probgen.score(fitted, data)["log_prob"].attrs["given"] == "label"
    for given, message in (
        (None, "needs given"),
        ({"label": 3}, "label, row 0 = 3"),
        ({"label": 0.5}, "label"),
    ):
        with pytest.raises(probgen.errors.InputError, match=message):
            probgen.sample(fitted, 1, given=given)
    with pytest.raises(probgen.errors.InputError, match="conditioned on 'label'"):
        probgen.score(fitted, data.drop_vars("label"))


class Global(PPCA):
    """Uses Pyro's global store."""

    def model(self, x: Tensor | None = None, *, n: int, **given: Any) -> Tensor:
        pyro.param("loose", torch.zeros(()))
        return super().model(x, n=n, **given)


def test_the_global_store_is_refused() -> None:
    with pytest.raises(PluginError, match="left 'loose' in Pyro's global store"):
        probgen.fit(Global, rows(50), steps=1)
    assert "loose" not in pyro.get_param_store()
