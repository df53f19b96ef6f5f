"""The autoencoder, M2, and the Bayesian mixture."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from pyro import poutine
from scipy import stats

import probgen
from probgen.contract.event import Event
from probgen.errors import InputError, NotOffered
from probgen.models.autoencoder import Autoencoder
from probgen.models.bayesian_mixture import BayesianMixture
from probgen.models.m2 import M2
from probgen.testing import spaces


def digits(split: str = "train", rows: int = 1197) -> xr.Dataset:
    return probgen.datasets.load("digits-binary", split).isel(row=slice(0, rows))


# the autoencoder

AE: dict[str, Any] = {"latent": 4, "hidden": (32,), "epochs": 15, "learning_rate": 0.005, "batch_size": 50}


def test_an_autoencoder_tells_a_reconstruction_and_no_likelihood() -> None:
    """log p(x | E(x)) of the network, in NumPy; it cannot be compared with a log-likelihood."""
    fitted = probgen.fit("autoencoder", digits(rows=300), **AE)
    rows = digits("test", 50)
    scores = probgen.score(fitted, rows)
    assert list(scores.data_vars) == ["reconstruction"]
    assert "kind" not in scores["reconstruction"].attrs
    W = {name: value.values for name, value in fitted.state.data_vars.items()}

    def mlp(part: str, v: np.ndarray) -> np.ndarray:
        hidden = np.tanh(v @ W[f"{part}.net.layers.0.weight"].T + W[f"{part}.net.layers.0.bias"])
        return hidden @ W[f"{part}.net.layers.2.weight"].T + W[f"{part}.net.layers.2.bias"]

    x = rows["x"].values.reshape(50, -1).astype(float)
    z = mlp("encoder", x)
    y = mlp("decoder", z)
    wanted = (x * y - np.logaddexp(0, y)).sum(1)
    np.testing.assert_allclose(scores["reconstruction"], wanted, rtol=1e-4)
    found = probgen.sample(fitted, 1, given={"x": rows["x"].values})
    np.testing.assert_allclose(found["z"][0], z, rtol=1e-4, atol=1e-4)
    decoded = probgen.sample(fitted, 1, given={"z": z})["x"][0].values
    np.testing.assert_allclose(decoded.reshape(50, -1), 1 / (1 + np.exp(-y)), atol=1e-4)
    with pytest.raises(InputError):
        probgen.compare({"autoencoder": scores, "again": scores})
    with pytest.raises(NotOffered, match="does not complete"):
        probgen.sample(fitted, 1, given={"x": np.where(rows["x"][:1] > 0, np.nan, 0.0)})


def test_codes_are_drawn_from_their_gaussian() -> None:
    fitted = probgen.fit("autoencoder", digits(rows=300), **AE)
    z = probgen.sample(fitted, 1, given={"x": digits(rows=300)["x"].values})["z"].values[0]
    drawn = probgen.sample(fitted, 20_000)["z"].values
    np.testing.assert_allclose(drawn.mean(0), z.mean(0), atol=5 * z.std() / math.sqrt(20_000) + 1e-3)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(z.T, bias=True), rtol=0.1, atol=0.03 * z.var())


def test_a_corrupted_encoder_sees_less_while_training_only() -> None:
    pair = Autoencoder(Autoencoder.Options(corruption=0.5, **AE), Event(("feature",), (64,), "binary"))
    x = torch.ones(40, 64)
    assert not torch.equal(pair.train().encode(x), pair.encode(x))
    assert torch.equal(pair.eval().encode(x), pair.encode(x))


# M2

TINY = Event(("feature",), (3,), "binary")


def m2(**options: Any) -> M2:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pair = M2(M2.Options(**{"latent": 1, "hidden": (4,), "classes": 3, **options}), TINY).double().eval()
        with torch.no_grad():
            pair.log_pi.copy_(torch.tensor([0.2, 0.5, 0.3]).log())
            for parameter in pair.decoder.parameters():
                parameter.mul_(3)
    return pair


def exact(pair: M2, x: torch.Tensor) -> torch.Tensor:
    """log p(x, y) by quadrature over z: (row, class)."""
    z = torch.linspace(-9, 9, 4001, dtype=torch.float64)[:, None]
    log_p_z = torch.from_numpy(stats.norm.logpdf(z.numpy()[:, 0]))
    columns = []
    for y in range(3):
        logits = pair.decoder(z, pair._one_hot(torch.full((4001,), y)))[..., 0]
        each = (x[:, None] * logits - torch.nn.functional.softplus(logits)).sum(-1)
        columns.append((each + log_p_z).logsumexp(1) + math.log(18 / 4000) + pair.log_pi.log_softmax(0)[y])
    return torch.stack(columns, 1)


def test_the_bounds_of_m2() -> None:
    """L(x, y) <= log p(x, y), U(x) <= log p(x), within 5 standard errors; p(x) sums to 1; IWAE over y and z agrees."""
    pair = m2()
    x = torch.from_numpy(spaces.all_rows(TINY)).double()
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        truth = exact(pair, x)
        assert float(truth.exp().sum()) == pytest.approx(1, abs=1e-9)
        for y in range(3):
            found = torch.stack([pair.labeled(x, torch.full((8,), y)) for _ in range(400)])
            assert (found.mean(0) - truth[:, y] < 5 * found.std(0) / 20).all()
        found = torch.stack([pair.unlabeled(x) for _ in range(400)])
        assert (found.mean(0) - truth.logsumexp(1) < 5 * found.std(0) / 20).all()
        scores = pair.assess(x, M2.ScoreOptions(k=5000))
    off = np.abs(scores["log_prob"].values - truth.logsumexp(1).numpy())
    assert (off < 5 * scores["log_prob_se"].values + 1e-3).all()


def test_the_loss_of_m2_is_that_of_the_paper() -> None:
    """Eq. 8 and 9, put together from the parts, for known and unknown classes in one batch."""
    pair = m2(alpha=0.7).train()
    pair.known.fill_(0.5)
    x = torch.from_numpy(spaces.all_rows(TINY)).double()
    label = torch.tensor([0, -1, 2, 1, -1, -1, 0, -1])
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(3)
        found = pair.loss(x, n=8, label=label)["loss"]
        torch.manual_seed(3)
        known = label >= 0
        total = pair.labeled(x[known], label[known]).sum() + pair.unlabeled(x[~known]).sum()
        named = torch.log_softmax(pair.classifier(x[known]), 1)[torch.arange(4), label[known]].sum()
    torch.testing.assert_close(found, -(total / 8 + 0.7 * named / (8 * 0.5)))


def test_sixty_labels_of_1197_name_seven_test_rows_of_ten() -> None:
    """Where chance names one of ten; and draws of a class are asked for by its name."""
    train, test = digits(), digits("test")
    label = np.where(np.arange(1197) < 60, train["label"], -1)
    fitted = probgen.fit(
        "m2", train.assign(label=("row", label)), latent=8, hidden=(64,), learning_rate=0.005, activation="relu",
        alpha=1.0, epochs=25, batch_size=100,
    )  # fmt: skip
    scores = probgen.score(fitted, test, posterior=True, k=10)
    assert float((scores["y"] == test["label"]).mean()) > 0.7
    np.testing.assert_allclose(scores["posterior"].sum("class"), 1, atol=1e-5)
    drawn = probgen.sample(fitted, 2, given={"y": np.array([3, 4])})
    assert drawn["y"].values.tolist() == [[3, 4], [3, 4]]
    with pytest.raises(InputError, match="from 0 to 9"):
        probgen.sample(fitted, 1, given={"y": 10})


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (np.full(60, -1), "no row has a known class"),
        (np.full(60, np.nan), "no row has a known class"),
        (np.full(60, 12), "label = 12: out of range"),
        (np.full(60, 0.5), "row 0 = 0.5: must be a class"),
        (np.full(60, -2), "row 0 = -2"),
    ],
)
def test_classes_that_cannot_be(label: np.ndarray, message: str) -> None:
    data = digits(rows=60).drop_vars("label").assign(label=("row", label))
    with pytest.raises(InputError, match=message):
        probgen.fit("m2", data, hidden=(4,), epochs=1)


# the Bayesian mixture


def test_one_component_has_a_posterior_in_closed_form() -> None:
    """K = 1, niw: E[mu] = n m / (kappa + n), E[Sigma] = (psi I + S + kappa n / (kappa + n) m m') / (nu + n - D - 1).

    Of data of mean 0 and variance 1 (Murphy 2007, section 9), put into their units. NUTS within 5 Monte Carlo errors, the
    Gaussian within a tenth of the posterior's width.
    """
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 2)) @ np.array([[2.0, 1.0], [0.0, 0.5]]) + [10.0, -3.0]
    z = (x - x.mean(0)) / x.std(0)
    n, D, nu, psi = 40, 2, 4, 1.0
    Sigma = (psi * np.eye(2) + z.T @ z) / (nu + n - D - 1) * np.outer(x.std(0), x.std(0))
    for options, allowed in (
        ({"method": "nuts", "draws": 100, "warm_up": 40, "chains": 1, "depth": 5}, 5.0),
        ({"method": "svi", "draws": 4000, "steps": 1500}, None),
    ):
        fitted = probgen.fit("bayesian-mixture", x, components=1, **options)
        posterior = fitted.groups["posterior"].isel(component=0)
        size = fitted.groups["diagnostics"]["ess_min"].item()
        for name, wanted in (("mu", x.mean(0)), ("Sigma", Sigma)):
            drawn = posterior[name]
            spread = drawn.std(("chain", "draw")).values
            error = spread * (allowed / math.sqrt(size) if allowed else 0.25)
            off = np.abs(drawn.mean(("chain", "draw")).values - wanted)
            assert (off < error).all(), (options, name, off / spread)


def test_its_file_is_arviz_s(tmp_path: Path) -> None:
    """`loo` and `summary` of a saved fit, without conversion, and the groups in the file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its import announces a version to come
        import arviz
    data = probgen.datasets.load("iris").isel(feature=[2, 3])
    fitted = probgen.fit(
        "bayesian-mixture", data, components=2, prior="lkj", method="svi", draws=300, steps=600
    )
    fitted.save(tmp_path / "model.h5")
    found = arviz.from_netcdf(str(tmp_path / "model.h5"))
    assert {"posterior", "posterior_predictive", "log_likelihood", "observed_data"} <= set(found.groups())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of deprecated names inside ArviZ
        loo = arviz.loo(found)
        table = arviz.summary(found, var_names=["mu"])
    score = probgen.score(fitted, data)["log_prob"]
    assert score.attrs["kind"] == "estimate"
    assert abs(loo.elpd_loo - score.sum().item()) < 40
    np.testing.assert_allclose(
        table["mean"].iloc[0], fitted.groups["posterior"]["mu"].mean(("chain", "draw"))[0, 0], atol=1e-2
    )
    again = probgen.load(tmp_path / "model.h5")
    assert again.groups.keys() == fitted.groups.keys()
    xr.testing.assert_identical(again.groups["posterior"]["pi"], fitted.groups["posterior"]["pi"])
    draws = probgen.sample(fitted, 500)
    assert set(np.unique(draws["z"])) == {0, 1}
    mean = fitted.groups["posterior_predictive"]["x"].mean(("chain", "draw", "row"))
    np.testing.assert_allclose(
        draws["x"].mean("sample"), mean, atol=5 * draws["x"].std().item() / math.sqrt(500)
    )


def test_the_priors_are_what_they_say() -> None:
    """20,000 draws of the model without data: E[Lambda] = (D + 2) / psi I under niw; scales and correlations under lkj."""
    event = Event(("feature",), (2,), "real")
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        niw = BayesianMixture(BayesianMixture.Options(components=2), event).double()
        factors = torch.cat([niw._niw() for _ in range(4000)])
        precision = torch.cholesky_inverse(factors)
        np.testing.assert_allclose(precision.mean(0), 4 / niw.psi * np.eye(2), atol=0.5)
        lkj = BayesianMixture(BayesianMixture.Options(components=2, prior="lkj", eta=1.0), event).double()
        factors = torch.cat([lkj._lkj() for _ in range(4000)])
        Sigma = factors @ factors.mT
        s = Sigma.diagonal(dim1=1, dim2=2).sqrt()
        r = Sigma[:, 0, 1] / (s[:, 0] * s[:, 1])
    assert stats.kstest(r.numpy(), stats.uniform(-1, 2).cdf).pvalue > 1e-6
    assert stats.kstest(s.flatten().numpy(), stats.lognorm(1, scale=math.sqrt(lkj.psi)).cdf).pvalue > 1e-6


def test_a_mean_is_worth_kappa_rows() -> None:
    """mu ~ Normal(0, Sigma / kappa): kappa mu' Sigma^-1 mu is chi-square of D degrees in 500 draws of the model."""
    found = []
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(1)
        niw = BayesianMixture(
            BayesianMixture.Options(components=2, kappa=0.3), Event(("feature",), (2,), "real")
        ).double()
        for _ in range(250):
            nodes = poutine.trace(niw.model).get_trace(n=1).nodes
            L = nodes["x"]["fn"].component_distribution.scale_tril.reshape(2, 2, 2)
            white = torch.linalg.solve_triangular(L, nodes["mu"]["value"][..., None], upper=False)
            found += (0.3 * white.square().sum((1, 2))).tolist()
    assert stats.kstest(found, stats.chi2(2).cdf).pvalue > 1e-6
