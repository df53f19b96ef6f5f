"""The mixture of Gaussians against published figures, SciPy, scikit-learn, and itself."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
import xarray as xr
from scipy import stats
from scipy.special import logsumexp
from sklearn.mixture import GaussianMixture

import probgen
from probgen.contract.event import Event
from probgen.contract.rows import Rows
from probgen.contract.run import Run
from probgen.data.describe import event_of
from probgen.data.ingest import as_dataset
from probgen.errors import DivergedError, InputError
from probgen.inference import normal_moments as moments
from probgen.models.mixture import Mixture, MixtureOptions

COVARIANCES = ("full", "tied", "diagonal", "spherical")


def scipy_log_joint(fitted: probgen.Fitted, x: np.ndarray) -> np.ndarray:
    """log p(x, z) by SciPy, from the parameters as the file describes them; NaN is integrated out."""
    pi, mu, sigma = (fitted.groups["components"][name].values for name in ("pi", "mu", "sigma"))
    out = np.empty((len(x), len(pi)))
    for i, row in enumerate(x):
        o = ~np.isnan(row)
        for k in range(len(pi)):
            normal = stats.multivariate_normal(mu[k][o], sigma[k][np.ix_(o, o)]) if o.any() else None
            out[i, k] = math.log(pi[k]) + (normal.logpdf(row[o]) if normal else 0.0)
    return out


def blobs(n: int = 150, dims: int = 3, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    means = 3 * rng.standard_normal((3, dims))
    factors = rng.standard_normal((3, dims, dims))
    z = rng.integers(3, size=n)
    return 100 + means[z] + np.einsum("nij,nj->ni", factors[z], rng.standard_normal((n, dims)))


def with_holes(x: np.ndarray, share: float = 0.25, seed: int = 1) -> np.ndarray:
    holes = np.random.default_rng(seed).random(x.shape) < share
    return np.where(holes, np.nan, x)


# published figures: scikit-learn 1.9.1, best of twenty starts


def test_old_faithful(real_data: Path) -> None:
    data = probgen.datasets.load("faithful", folder=real_data)
    criteria = probgen.fit("mixture", data, components=2).groups["criteria"]
    assert criteria["log_likelihood"].item() == pytest.approx(-1130.264, abs=0.01)
    assert criteria["bic"].item() == pytest.approx(2322.19, abs=0.01)
    svi = probgen.fit("mixture", data, components=2, method="svi").groups["criteria"]
    assert svi["log_likelihood"].item() / 272 == pytest.approx(
        criteria["log_likelihood"].item() / 272, abs=0.01
    )


@pytest.mark.parametrize(
    ("covariance", "components", "log_likelihood", "bic"),
    [
        ("full", 1, -379.915, 829.98),
        ("full", 2, -214.355, 574.02),
        ("full", 3, -180.185, 580.84),
        ("tied", 2, -296.448, 688.10),
        ("tied", 3, -256.354, 632.96),
        ("diagonal", 2, -386.185, 857.55),
        ("diagonal", 3, -306.861, 744.00),  # scikit-learn's twenty starts reach -307.178
        ("spherical", 2, -478.559, 1012.24),
        ("spherical", 3, -384.314, 853.81),
    ],
)
def test_iris(covariance: str, components: int, log_likelihood: float, bic: float) -> None:
    fitted = probgen.fit(
        "mixture", "iris", components=components, covariance=covariance, restarts=10 if components > 1 else 1
    )
    assert fitted.groups["criteria"]["log_likelihood"].item() == pytest.approx(log_likelihood, abs=0.01)
    assert fitted.groups["criteria"]["bic"].item() == pytest.approx(bic, abs=0.02)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_em_and_svi_agree_on_iris(covariance: str) -> None:
    def fit(method: str, **options: float) -> float:
        fitted = probgen.fit("mixture", "iris", components=2, covariance=covariance, method=method, **options)
        return fitted.groups["criteria"]["log_likelihood"].item() / 150

    assert fit("svi", steps=600) == pytest.approx(fit("em"), abs=0.01)


# laws of EM


def random_problem(seed: int) -> tuple[Mixture, Rows]:
    """A mixture of random form on random rows, some missing, some weighted, after its start."""
    rng = np.random.default_rng(seed)
    n, dims = int(rng.integers(8, 60)), int(rng.integers(1, 5))
    x = rng.standard_normal((n, dims)) * 10.0 ** rng.integers(0, 3, dims) + rng.integers(-50, 50)
    x = with_holes(x, 0.2, seed) if seed % 3 == 0 else x
    dataset = as_dataset(x)
    if seed % 2:
        dataset = dataset.assign(weight=("row", rng.gamma(1.0, size=n) + 0.01))
    options = MixtureOptions(
        components=int(rng.integers(1, 5)),
        covariance=COVARIANCES[seed % 4],
        reg_covar=float(10.0 ** rng.integers(-6, -3)),
    )
    event = event_of(dataset)
    data = Rows(dataset, event, missing=bool(np.isnan(x).any()), seed=seed, dtype=torch.float64)
    pair = Mixture(options, event).double()
    pair.standardize(data)
    pair.start(data, Run(seed, dtype=torch.float64), "fit")
    return pair, data


@pytest.mark.parametrize("group", range(10))
def test_em_never_loses(group: int) -> None:
    """1,000 random problems: no step lowers the penalized log-likelihood by more than 1e-9 nats a row."""
    worst = 0.0
    for seed in range(group * 100, group * 100 + 100):
        pair, data = random_problem(seed)
        last = -math.inf
        with torch.no_grad():
            (batch,) = data.chunks()
            for _ in range(12):
                statistics = pair.e_step(batch)
                rows = statistics["rows"]
                objective = float((statistics["log_likelihood"] - statistics["penalty"]) / rows)
                worst = max(worst, last - objective)
                last = objective
                pair.m_step(statistics)
    assert worst < 1e-9


@pytest.mark.parametrize("seed", range(12))
def test_e_step_sums_log_prob(seed: int) -> None:
    """What the products of features give is what the distributions give."""
    pair, data = random_problem(seed)
    (batch,) = data.chunks()
    with torch.no_grad():
        values = pair.log_prob(batch["x"], batch.get("observed"))
        expected = float(values @ batch.get("weight", torch.ones_like(values)))
        assert float(pair.e_step(batch)["log_likelihood"]) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("covariance", ["full", "tied", "diagonal", "spherical"])
def test_same_as_scikit_learn_from_the_same_start(covariance: str) -> None:
    x = blobs()
    start = x[[0, 50, 100]]
    theirs = GaussianMixture(
        3,
        covariance_type="diag" if covariance == "diagonal" else covariance,
        means_init=start,
        weights_init=np.full(3, 1 / 3),
        precisions_init={
            "full": np.tile(np.eye(3), (3, 1, 1)),
            "tied": np.eye(3),
            "diagonal": np.ones((3, 3)),
            "spherical": np.ones(3),
        }[covariance],
        reg_covar=0.0,
        tol=1e-12,
        max_iter=2000,
    ).fit(x)
    dataset = as_dataset(x)
    data = Rows(dataset, event_of(dataset), dtype=torch.float64)
    pair = Mixture(
        MixtureOptions(components=3, covariance=covariance, regularization=0.0), data.event
    ).double()
    pair.standardize(data)
    from probgen.inference.em import em

    with torch.no_grad():
        pair.mu.copy_((torch.from_numpy(start) - pair.center) / pair.scale)
        logs = -pair.scale.log()
        pair.L.copy_(
            logs[0] if covariance == "spherical" else logs if covariance == "diagonal" else torch.diag(logs)
        )
        em(pair, data, Run(dtype=torch.float64), 2000, 1e-12)
        assert float(pair.log_prob(torch.from_numpy(x)).mean()) == pytest.approx(theirs.score(x), abs=1e-8)


def test_a_weight_is_a_count() -> None:
    x = blobs(60)
    counts = np.random.default_rng(0).integers(1, 4, len(x))
    weighted = as_dataset(x).assign(weight=("row", counts.astype(float)))
    for options in ({}, {"method": "svi", "steps": 400}):
        one = probgen.fit("mixture", weighted, components=1, **options)
        other = probgen.fit("mixture", np.repeat(x, counts, axis=0), components=1, **options)
        np.testing.assert_allclose(
            one.groups["components"]["mu"], other.groups["components"]["mu"], rtol=1e-5
        )
        np.testing.assert_allclose(
            one.groups["components"]["sigma"], other.groups["components"]["sigma"], rtol=2e-3
        )
        assert one.groups["criteria"]["bic"].item() == pytest.approx(
            other.groups["criteria"]["bic"].item(), rel=1e-5
        )


# densities, against SciPy


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_log_prob_and_posterior(covariance: str) -> None:
    x = with_holes(blobs())
    fitted = probgen.fit("mixture", x, components=3, covariance=covariance)
    scores = probgen.score(fitted, x, posterior=True)
    joint = scipy_log_joint(fitted, x)
    np.testing.assert_allclose(scores["log_prob"], logsumexp(joint, axis=1), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(scores["posterior"], np.exp(joint - logsumexp(joint, 1)[:, None]), atol=1e-9)
    np.testing.assert_array_equal(scores["z"], joint.argmax(1))
    attrs = scores["log_prob"].attrs
    assert (attrs["kind"], attrs["measure"], attrs["units"], attrs["observed"]) == (
        "exact",
        "lebesgue",
        "nat",
        "some",
    )


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_missing_values_reach_the_maximum(covariance: str) -> None:
    """Where coordinates are missing, no small move of the parameters gains: the maximum of SciPy's likelihood."""
    x = with_holes(blobs(80, 2))
    fitted = probgen.fit(
        "mixture", x, components=2, covariance=covariance, regularization=0.0, tolerance=1e-13, steps=5000
    )
    module = fitted.module.double()
    best = probgen.score(fitted, x)["log_prob"].mean().item()
    tensor, there = torch.from_numpy(np.nan_to_num(x)), torch.from_numpy(~np.isnan(x))
    loss = module.log_prob(tensor, there).mean()
    assert loss.item() == pytest.approx(best)
    gradients = torch.autograd.grad(loss, [module.log_pi, module.mu, module.L])
    for gradient in gradients[1:]:
        assert float(gradient.abs().max()) < 1e-4
    assert float(gradients[0].abs().max()) < 1e-4


@pytest.mark.parametrize("method", ["em", "svi"])
def test_missing_values_em_and_svi(method: str) -> None:
    x = with_holes(blobs(100, 2))
    options = {"steps": 500} if method == "svi" else {}
    fitted = probgen.fit("mixture", x, components=2, method=method, **options)
    reference = probgen.fit("mixture", x, components=2, tolerance=1e-12)
    gap = reference.groups["criteria"]["log_likelihood"] - fitted.groups["criteria"]["log_likelihood"]
    assert abs(gap.item()) / 100 < 0.01


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_completion_is_the_conditional(covariance: str) -> None:
    """20,000 completions of one row: mean and covariance of p(x_m | x_o) by SciPy's formulas, 5 standard errors."""
    fitted = probgen.fit("mixture", blobs(), components=2, covariance=covariance)
    row = np.array([np.nan, blobs()[0, 1], np.nan])
    n = 20_000
    draws = probgen.sample(fitted, n, given={"x": row})
    assert draws["x"].dims == ("sample", "feature")
    assert (draws["x"][:, 1] == row[1]).all()
    mu, sigma = (fitted.groups["components"][name].values for name in ("mu", "sigma"))
    o, m = [1], [0, 2]
    joint = scipy_log_joint(fitted, row[None])[0]
    r = np.exp(joint - logsumexp(joint))
    means, seconds = [], []
    for k in range(2):
        gain = sigma[k][np.ix_(m, o)] @ np.linalg.inv(sigma[k][np.ix_(o, o)])
        mean = mu[k][m] + gain @ (row[o] - mu[k][o])
        means.append(mean)
        seconds.append(sigma[k][np.ix_(m, m)] - gain @ sigma[k][np.ix_(o, m)] + np.outer(mean, mean))
    mean = r @ np.array(means)
    covariance_ = np.einsum("k,kij->ij", r, seconds) - np.outer(mean, mean)
    found = draws["x"].values[:, m]
    np.testing.assert_array_less(np.abs(found.mean(0) - mean), 5 * np.sqrt(np.diag(covariance_) / n))
    scale = np.sqrt(np.outer(np.diag(covariance_), np.diag(covariance_)))
    np.testing.assert_array_less(np.abs(np.cov(found.T) - covariance_) / scale, 0.08)
    share = (draws["z"] == 0).mean().item()
    assert abs(share - r[0]) < 5 * math.sqrt(0.25 / n)


def test_given_z_and_rows() -> None:
    fitted = probgen.fit("mixture", blobs(), components=3)
    draws = probgen.sample(fitted, 500, given={"z": np.array([0, 2])})
    assert draws["x"].dims == ("sample", "row", "feature")
    assert (draws["z"].values == [0, 2]).all()
    mu = fitted.groups["components"]["mu"].values
    spread = np.sqrt(
        np.array([np.diag(s) for s in fitted.groups["components"]["sigma"].values])[[0, 2]] / 500
    )
    assert (np.abs(draws["x"].mean("sample").values - mu[[0, 2]]) < 5 * spread).all()


# files, sizes, refusals


def test_a_file_gives_what_memory_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows read slice by slice from HDF5, in windows smaller than the data: the same fit, bit for bit."""
    x = blobs(20_000, 3).astype(np.float32)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["x"] = x
    monkeypatch.setattr("probgen.contract.rows.WINDOW", 4096 * 12 * 2)
    monkeypatch.setattr("probgen.readers.groups.LAZY", 1000)
    from_file = probgen.fit("mixture", tmp_path / "x.h5", components=3, steps=5)
    from_memory = probgen.fit("mixture", x, components=3, steps=5)
    for name in from_memory.state.variables:
        np.testing.assert_array_equal(from_file.state[name], from_memory.state[name])
    assert from_file.provenance["data"]["sha256"] == from_memory.provenance["data"]["sha256"]


def test_constant_columns_and_duplicates() -> None:
    x = np.column_stack([blobs(50, 2), np.full(50, 7.0)])
    fitted = probgen.fit("mixture", x, components=2)
    assert np.isfinite(probgen.score(fitted, x)["log_prob"]).all()
    same = np.repeat([[1.0, 2.0], [3.0, 1.0]], 20, axis=0)
    assert probgen.fit("mixture", same, components=4).groups["criteria"]["bic"].notnull()


def test_draws_and_scores_of_images() -> None:
    digits = probgen.datasets.load("digits", "valid")
    fitted = probgen.fit("mixture", digits, components=2, covariance="diagonal", reg_covar=0.5)
    draws = probgen.sample(fitted, 3)
    assert draws["x"].dims == ("sample", "height", "width")
    assert probgen.score(fitted, digits)["log_prob"].attrs["measure"] == "lebesgue"


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (blobs(3), {"components": 5}, "components = 5: the data have only 3 rows"),
        (blobs(), {"components": 0}, "components = 0"),
        (blobs(), {"components": True}, "components = True"),
        (blobs(), {"covariance": "ful"}, "covariance = 'ful'.*'full'"),
        (blobs(), {"componets": 2}, "componets.*did you mean 'components'"),
        (blobs() * 0, {}, "all rows are equal"),
        (blobs() * 1e-200, {}, "Use another unit"),
        (blobs(), {"reg_covar": 1e3}, "reg_covar = 1000.0: it must be below the mean variance"),
        (blobs(), {"learning_rate": math.nan}, "learning_rate = nan"),
    ],
)
def test_refusals(data: np.ndarray, options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        probgen.fit("mixture", data, **options)


def test_a_singular_covariance_is_named() -> None:
    x = np.column_stack([np.arange(20.0), 2 * np.arange(20.0)])
    with pytest.raises(DivergedError, match=r"singular\. Raise regularization"):
        probgen.fit("mixture", x, components=1, regularization=0.0)


def test_penalty_of_each_form() -> None:
    """log p(x) less tr(Sigma_k^-1 Lambda) / 2 of each component, from the parameters as the file describes them."""
    x = blobs() * [1.0, 10.0, 0.1]
    for covariance in COVARIANCES:
        fitted = probgen.fit(
            "mixture", x, components=3, covariance=covariance, reg_covar=0.3, regularization=0.01
        )
        sigma = fitted.groups["components"]["sigma"].values
        variance = np.full(3, x.var(0).mean()) if covariance == "spherical" else x.var(0)
        Lambda = np.diag(0.01 * variance + 0.3)
        t = 0.5 * np.array([np.trace(np.linalg.inv(s) @ Lambda) for s in sigma])
        np.testing.assert_allclose(fitted.module.penalties().detach(), t, rtol=1e-9)
        joint = scipy_log_joint(fitted, x)
        criteria: xr.Dataset = fitted.groups["criteria"]
        assert criteria["log_likelihood"].item() == pytest.approx(logsumexp(joint, axis=1).sum(), rel=1e-9)
        assert criteria["objective"].item() == pytest.approx(logsumexp(joint - t, axis=1).sum(), rel=1e-9)
        assert fitted.history["objective"].values[-1] * 150 == pytest.approx(
            criteria["objective"].item(), rel=1e-3
        )


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_a_column_that_tells_nothing_changes_no_component(covariance: str) -> None:
    """Constant columns, and of full covariances columns that are made of others: weights and means are as without them."""
    rng = np.random.default_rng(3)
    z = rng.choice(3, 600, p=[0.6, 0.3, 0.1])
    x = np.array([[0.0, 0.0], [6.0, 0.0], [0.0, 6.0]])[z] + rng.normal(size=(600, 2))
    more = [np.full((600, 5), 3.0)] + ([x @ rng.normal(size=(2, 2))] if covariance == "full" else [])
    options = {"components": 3, "covariance": covariance, "steps": 3000, "tolerance": 1e-9}
    one, other = (probgen.fit("mixture", np.hstack(parts), **options) for parts in ([x], [x, *more]))
    found, expected = (np.sort(f.groups["components"]["pi"].values) for f in (other, one))
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_a_weight_scales_the_penalty_too() -> None:
    """With every weight 100, EM and SVI maximize the same: the variance of a Gaussian with a strong ridge."""
    x = np.random.default_rng(0).standard_normal((100, 1))
    weighted = as_dataset(x).assign(weight=("row", np.full(100, 100.0)))
    for data in (x, weighted):
        for options in ({}, {"method": "svi", "steps": 400}):
            fitted = probgen.fit("mixture", data, components=1, reg_covar=0.5, **options)
            sigma = fitted.groups["components"]["sigma"].item()
            assert sigma == pytest.approx(x.var() + 0.5, rel=1e-3)


def test_z_out_of_range_is_refused() -> None:
    fitted = probgen.fit("mixture", blobs(), components=3)
    for z in (-1, 3, 0.5):
        for given in ({"z": z}, {"z": z, "x": np.array([np.nan, 1.0, 2.0])}):
            with pytest.raises(InputError, match=r"given z: .* Give whole numbers from 0 to 2"):
                probgen.sample(fitted, 2, given=given)


def test_moments_of_many_chunks_are_those_of_all_rows() -> None:
    """Weighted, with values missing, of rows that drift: means of chunks differ by more than rows within one."""
    rng = np.random.default_rng(0)
    x = np.linspace(0, 50, 10_000)[:, None] * [1.0, -2.0] + rng.standard_normal((10_000, 2))
    there, weight = rng.random((10_000, 2)) < 0.8, rng.random(10_000)
    data = xr.Dataset(
        {"x": (("row", "feature"), x), "observed": (("row", "feature"), there), "weight": ("row", weight)}
    )
    rows = Rows(data, Event(("feature",), (2,), "real"), dtype=torch.float64)
    found = rows.moments()
    w = there * weight[:, None]
    expected = (w * x).sum(0) / w.sum(0)
    variance = (w * (x - expected) ** 2).sum(0) / w.sum(0)
    np.testing.assert_allclose(found.mean, expected, rtol=1e-12)
    np.testing.assert_allclose(found.variance, variance, rtol=1e-12)
    np.testing.assert_allclose(found.scale, np.sqrt(variance), rtol=1e-12)
    np.testing.assert_allclose(found.shared_scale**2, (w.sum(0) * variance).sum() / w.sum(), rtol=1e-12)
    pooled, middle = found.pooled(), (w * x).sum() / w.sum()
    np.testing.assert_allclose(pooled.mean, [middle], rtol=1e-12)
    np.testing.assert_allclose(pooled.variance, [(w * (x - middle) ** 2).sum() / w.sum()], rtol=1e-12)


@pytest.mark.parametrize("covariance", ["full", "tied"])
def test_wide_data_are_fitted_without_products_of_features(
    covariance: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same fit, however the moments are computed."""
    options: dict[str, Any] = {"components": 2, "covariance": covariance, "steps": 10}
    fits = [probgen.fit("mixture", blobs(), **options)]
    monkeypatch.setattr(moments, "WIDE", 2)
    monkeypatch.setattr(moments, "quadratic_features", None)  # it is not called
    fits.append(probgen.fit("mixture", blobs(), **options))
    for name in fits[0].state:
        np.testing.assert_allclose(fits[0].state[name], fits[1].state[name], atol=1e-9)


@pytest.mark.parametrize("covariance", ["full", "diagonal", "tied"])
def test_scales_of_columns_do_not_matter(covariance: str) -> None:
    """One component of columns whose deviations go from 1e-8 to 1e8: the maximum likelihood, to 1e-6 nats a row."""
    rng = np.random.default_rng(0)
    scale = 10.0 ** np.array([-8, -4, 0, 4, 8])
    x = rng.standard_normal((500, 5)) @ np.linalg.qr(rng.standard_normal((5, 5)))[0] * scale
    fitted = probgen.fit("mixture", x, components=1, covariance=covariance)
    sigma = np.cov(x.T, bias=True)
    sigma = np.diag(np.diag(sigma)) if covariance == "diagonal" else sigma
    best = -0.5 * (5 * math.log(2 * math.pi) + np.linalg.slogdet(sigma / np.outer(scale, scale))[1] + 5)
    best -= np.log(scale).sum()
    assert probgen.score(fitted, x)["log_prob"].mean().item() == pytest.approx(best, abs=1e-6)
    draws = probgen.sample(fitted, 4000)["x"].values
    np.testing.assert_allclose(draws.std(0), x.std(0), rtol=0.06)  # 5 standard errors


def test_reg_covar_is_that_of_scikit_learn() -> None:
    """With one component `regularization = 0` and `reg_covar` give its figure."""
    x = np.random.default_rng(0).standard_normal((200, 2)) * [1.0, 1e-2]
    fitted = probgen.fit("mixture", x, components=1, regularization=0.0, reg_covar=1e-4)
    peer = GaussianMixture(1, reg_covar=1e-4).fit(x)
    assert probgen.score(fitted, x)["log_prob"].mean().item() == pytest.approx(peer.score(x), abs=1e-9)


@pytest.mark.parametrize("offset", [0.0, 1e9])
@pytest.mark.parametrize("narrow", [1.0, 1e-5])
def test_densities_by_features_are_those_by_differences(offset: float, narrow: float) -> None:
    """Where features would cancel, differences are taken; rows far away; gradients with respect to x and mu."""
    rng = np.random.default_rng(0)
    K, D = 3, 4
    mu, L = rng.standard_normal((K, D)) + offset, np.tril(0.3 * rng.standard_normal((K, D, D)))
    L[:, range(D), range(D)] = rng.uniform(0.5, 2, (K, D))
    L *= narrow
    pair = Mixture(MixtureOptions(components=K), Event(("feature",), (D,), "real")).double()
    with torch.no_grad():
        pair.mu.copy_(torch.from_numpy(mu))
        pair.L.copy_(torch.from_numpy(L.copy()))
        pair.L.diagonal(dim1=-2, dim2=-1).log_()
    x = torch.from_numpy(np.concatenate([mu, mu + narrow * rng.standard_normal((K, D)), mu + 1e3]))
    expected = torch.stack(
        [torch.distributions.MultivariateNormal(m, scale_tril=s).log_prob(x) for m, s in zip(pair.mu, torch.from_numpy(L), strict=True)], 1
    ).detach() - math.log(K)  # fmt: skip
    with torch.no_grad():
        torch.testing.assert_close(pair.log_joint(x), expected, rtol=1e-6, atol=1e-6)
    x.requires_grad_()
    torch.testing.assert_close(pair.log_joint(x), expected, rtol=1e-6, atol=1e-6)
    (slope,) = torch.autograd.grad(pair.log_prob(x).sum(), x)
    assert torch.isfinite(slope).all()
    assert slope.any()
