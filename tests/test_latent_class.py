"""Mixtures over tables of several kinds, against a known density."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats
from scipy.special import logsumexp
from sklearn.metrics import adjusted_rand_score

import probgen
from probgen.datasets import find_set
from probgen.errors import InputError

PI = np.array([0.5, 0.3, 0.2])
MU = np.array([[0.0, 1.0], [3.0, -1.0], [-2.0, 4.0]])
SIGMA = np.array([[[1, 0.5], [0.5, 1]], [[0.5, -0.2], [-0.2, 0.4]], [[2, 0], [0, 0.3]]])
MEAN, SIZE = (
    np.array([[1.0, 20.0], [6.0, 8.0], [12.0, 50.0]]),
    np.array([[2.0, 5.0], [1e5, 1.0], [4.0, 10.0]]),
)
CHANNEL = np.array([[0.7, 0.1, 0.1, 0.1], [0.1, 0.6, 0.2, 0.1], [0.05, 0.05, 0.2, 0.7]])
GRADE = np.array([[0.6, 0.3, 0.1], [0.2, 0.6, 0.2], [0.1, 0.2, 0.7]])
YES = np.array([[0.9, 0.2], [0.5, 0.7], [0.1, 0.5]])


def customers(split: str, rows: int | None = None) -> xr.Dataset:
    return probgen.datasets.load("customers", split).drop_vars("label").isel(row=slice(rows))


def frame(data: xr.Dataset) -> pd.DataFrame:
    """As a user would have it: classes by name."""
    t = pd.DataFrame(data.x.values, columns=data.feature.values)
    t["channel"] = t.channel.map(dict(enumerate(["app", "mail", "shop", "web"])))
    t["grade"] = t.grade.map(dict(enumerate(["low", "mid", "high"])))
    return t.astype({"orders": int, "visits": int, "member": bool, "returned": bool})


def log_joint(x: np.ndarray) -> np.ndarray:
    """log p(x, z = k) of the rows, from the formulas, by SciPy: (row, component)."""
    parts = []
    for k in range(3):
        size = SIZE[k]
        parts.append(
            np.log(PI[k])
            + stats.multivariate_normal(MU[k], SIGMA[k]).logpdf(x[:, :2])
            + stats.nbinom.logpmf(x[:, 2:4], size, size / (size + MEAN[k])).sum(1)
            + np.log(CHANNEL[k])[x[:, 4].astype(int)]
            + np.log(GRADE[k])[x[:, 5].astype(int)]
            + stats.bernoulli.logpmf(x[:, 6:], YES[k]).sum(1)
        )
    return np.stack(parts, 1)


@pytest.fixture(scope="module")
def fitted() -> probgen.Fitted:
    return probgen.fit("mixture", customers("train"), components=3)


def test_the_yardstick_is_its_formula() -> None:
    found = find_set("customers")
    assert found.density is not None
    x = customers("test").x.values
    np.testing.assert_allclose(found.density(x), logsumexp(log_joint(x), axis=1), rtol=1e-9)


def test_the_density_is_found(fitted: probgen.Fitted) -> None:
    """Held-out rows are within 0.02 nats a row of the truth; with 4,000 rows the paired difference is known to 0.004."""
    held = customers("test")
    scores, true = probgen.score(fitted, held, posterior=True), log_joint(held.x.values)
    difference = logsumexp(true, axis=1) - scores.log_prob.values
    assert 4 * difference.std() / 4000**0.5 < 0.004
    assert -0.004 < difference.mean() < 0.02
    z = probgen.datasets.load("customers", "test").label.values
    best = adjusted_rand_score(z, true.argmax(1))
    assert adjusted_rand_score(z, scores.z.values) > best - 0.01 > 0.8


def test_no_step_loses(fitted: probgen.Fitted) -> None:
    gains = np.diff(fitted.history["objective"].values)
    assert (gains > -1e-12).all()
    assert fitted.provenance["converged"] == {"fit": True}


@pytest.mark.parametrize("seed", range(4))
def test_no_step_loses_with_gaps_and_weights(seed: int) -> None:
    """Whatever is hidden, whatever rows weigh, and where a component has no rows to speak of."""
    rng = np.random.default_rng(seed)
    data = hidden(frame(customers("valid", 300)), 0.3, rng).assign(
        weight=rng.exponential(size=300) * (rng.random(300) < 0.8)
    )
    for options in ({"components": 7}, {"components": 2, "covariance": "diagonal", "counts": "poisson"}):
        dataset = probgen.datasets.from_frame(data, choices=probgen.datasets.Choices(weight="weight"))
        fit = probgen.fit("mixture", dataset, steps=40, **options)
        assert (np.diff(fit.history["objective"].values) > -1e-10).all()


def hidden(t: pd.DataFrame, share: float, rng: np.random.Generator) -> pd.DataFrame:
    return t.convert_dtypes().mask(pd.DataFrame(rng.random(t.shape) < share, columns=t.columns))


def test_weights_are_as_many_rows() -> None:
    t = frame(customers("valid", 200))
    weights = np.random.default_rng(0).integers(0, 4, 200)
    weighted = probgen.datasets.from_frame(
        t.assign(weight=weights), choices=probgen.datasets.Choices(weight="weight")
    )
    one = probgen.fit("independent", weighted)
    many = probgen.fit("independent", t.loc[t.index.repeat(weights)].reset_index(drop=True))
    for name in one.state:
        np.testing.assert_allclose(one.state[name], many.state[name], rtol=2e-3, atol=1e-5)


def test_gaps_are_integrated_out(fitted: probgen.Fitted) -> None:
    """log p of what is known is that of SciPy's formulas for these columns, and the rest is drawn given it."""
    t = frame(customers("valid", 3000))
    few = t.convert_dtypes()
    few[["spent", "orders", "channel", "returned"]] = pd.NA
    found = probgen.score(fitted, few).log_prob.values
    pi = fitted.groups["components"].pi.values
    state = fitted.state
    log_m, log_r = (state[f"columns.blocks.count.log_{n}"].values for n in ("m", "r"))
    g = fitted.groups["components"]
    parts = []
    for k in range(3):
        size, m = np.exp(log_r[k, 1]), np.exp(log_m[k, 1])
        parts.append(
            np.log(pi[k])
            + stats.norm.logpdf(t.income, g["mean"][k, 0], g.deviation[k, 0])
            + stats.nbinom.logpmf(t.visits, size, size / (size + m))
            + np.log([g.probability.sel(value=f"grade={v}")[k].item() for v in t.grade])
            + np.log([g.probability.sel(value=f"member={v}")[k].item() for v in t.member])
        )
    np.testing.assert_allclose(found, logsumexp(parts, axis=0), rtol=1e-6)


def test_imputed_cells_have_honest_intervals(fitted: probgen.Fitted) -> None:
    """Of cells hidden at random 90 % intervals of 400 draws cover 88 to 92 % (800 cells a column: 1.1 % is a standard error of one, so 85.8 % to 94.2 % are four)."""
    rng = np.random.default_rng(2)
    true = customers("valid").x
    part = hidden(frame(customers("valid")), 0.2, rng)
    draws = probgen.sample(fitted, 400, given={"x": part}).x
    for name in ("income", "spent"):
        gap = part[name].isna().to_numpy()
        low, high = np.quantile(draws.sel(feature=name).values[:, gap], [0.05, 0.95], axis=0)
        x = true.sel(feature=name).values[gap]
        assert 0.88 < ((low <= x) & (x <= high)).mean() < 0.92
    for name in (
        "channel",
        "grade",
        "member",
    ):  # of classes the frequencies: chi-square of what was drawn against what is
        gap = part[name].isna().to_numpy()
        x, drawn = true.sel(feature=name).values[gap], draws.sel(feature=name).values[:, gap]
        p = np.stack([(drawn == v).mean(0) for v in range(int(x.max()) + 1)], 1)
        error = (p.sum(0) - np.bincount(x.astype(int))) / np.sqrt((p * (1 - p)).sum(0))
        assert np.abs(error).max() < 4.5


def test_draws_have_the_moments_of_the_fit(fitted: probgen.Fitted) -> None:
    true, drawn = customers("train").x.values, probgen.sample(fitted, 40_000).x.values
    error = np.hypot(true.std(0) / 20_000**0.5, drawn.std(0) / 40_000**0.5)
    assert (np.abs(true.mean(0) - drawn.mean(0)) < 5 * error).all()
    np.testing.assert_allclose(
        np.cov(drawn.T), np.cov(true.T), atol=0.05 * np.sqrt(np.outer(true.var(0), true.var(0))).max()
    )


@pytest.mark.parametrize("kind", ["negative_binomial", "poisson"])
def test_counts_are_fitted_to_the_maximum(kind: str) -> None:
    """Against a search over r and m by SciPy; smoothing is too small to tell."""
    x = np.random.default_rng(0).poisson(3 * np.random.default_rng(1).gamma(0.7, 1 / 0.7, 2000))
    fit = probgen.fit("independent", pd.DataFrame({"x": x, "y": 1.5 * x}), counts=kind, smoothing=1e-9)
    m = np.exp(fit.state["columns.blocks.count.log_m"].item())
    assert m == pytest.approx(x.mean(), rel=1e-9)
    if kind == "negative_binomial":
        sizes = np.exp(np.linspace(-2, 2, 40_001))
        values, n = np.unique(x, return_counts=True)
        best = sizes[
            np.argmax((n[:, None] * stats.nbinom.logpmf(values[:, None], sizes, sizes / (sizes + m))).sum(0))
        ]
        assert np.exp(fit.state["columns.blocks.count.log_r"].item()) == pytest.approx(best, rel=1e-3)


def test_counts_that_vary_no_more_than_a_poisson_distribution_are_one() -> None:
    x = np.random.default_rng(0).binomial(50, 0.5, 500)
    one, other = (
        probgen.fit("independent", pd.DataFrame({"x": x, "y": x / 2}), counts=c)
        for c in ("negative_binomial", "poisson")
    )
    for_same = pd.DataFrame({"x": x[:50], "y": x[:50] / 2})
    np.testing.assert_allclose(
        probgen.score(one, for_same).log_prob, probgen.score(other, for_same).log_prob, atol=1e-3
    )


def test_options_that_would_not_be_used_are_refused() -> None:
    t = frame(customers("valid", 100))
    for family, columns, options, message in (
        ("mixture", ["visits", "channel"], {"covariance": "diagonal"}, "no real column"),
        ("mixture", ["income", "channel"], {"counts": "poisson"}, "no column of counts"),
        ("mixture", ["income", "spent"], {"smoothing": 2.0}, "all data are real"),
        ("mixture", list(t.columns), {"covariance": "tied"}, "'full' or 'diagonal'"),
        ("mixture", list(t.columns), {"method": "svi"}, "fitted by EM only"),
        ("independent", ["income", "channel"], {"counts": "poisson"}, "no column of counts"),
        ("independent", list(t.columns), {"likelihood": "normal"}, "--kind"),
    ):
        with pytest.raises(InputError, match=message):
            probgen.fit(family, t[columns], **options)


def test_models_of_one_table_are_compared() -> None:
    """The measure is the product of those of the columns, and says so; a Gaussian on what another takes for counts is refused."""
    t = frame(customers("valid", 400))
    scores = {f: probgen.score(probgen.fit(f, t), t) for f in ("independent", "mixture")}
    found = probgen.compare(scores)
    assert found.model.values.tolist() == ["mixture", "independent"]
    assert found.attrs["measure"] == "mixed"
    other = probgen.fit(
        "mixture", probgen.datasets.from_frame(t, choices=probgen.datasets.Choices(kind={"visits": "real"}))
    )
    with pytest.raises(InputError, match="cannot be compared"):
        probgen.compare(scores | {"other": probgen.score(other, t)})


@pytest.mark.parametrize("options", [{"covariance": "diagonal"}, {"covariance": "full"}])
def test_no_step_loses_where_the_ridge_weighs(options: dict[str, str]) -> None:
    """Rows that lack a column pay for its ridge as well."""
    t = hidden(frame(customers("valid", 200)), 0.6, np.random.default_rng(0))
    fit = probgen.fit("mixture", t, components=3, regularization=0.5, steps=60, **options)
    assert (np.diff(fit.history["objective"].values) > -1e-10).all()
    one = probgen.fit("independent", t, regularization=0.5)
    assert (np.diff(one.history["objective"].values) > -1e-10).all()


def test_scores_of_made_with_gaps_are_bounds_wherever_the_gaps_are() -> None:
    """Of all rows, whichever shard they are in; rows without gaps have their exact score and no error."""
    t = frame(customers("valid", 3000)).convert_dtypes()
    fitted = probgen.fit("made", t[:300], hidden=8, epochs=2)
    exact = probgen.score(fitted, t).log_prob
    assert exact.attrs["kind"] == "exact"
    for row in (5, 2990):
        some = t.copy()
        some.loc[row, "income"] = pd.NA
        found = probgen.score(fitted, some)
        assert found.log_prob.attrs["kind"] == "lower_bound"
        others = np.arange(3000) != row
        np.testing.assert_allclose(found.log_prob[others], exact[others], rtol=1e-5)
        assert (found.log_prob_se[others] == 0).all()
        assert found.log_prob[row] > exact[row] - 3


def test_a_class_is_drawn_given_the_rest_of_its_row(fitted: probgen.Fitted) -> None:
    """Draws of one cell, 4,000 of each of 6 rows, against p(cell | rest) by enumeration of exact scores: chi-square, 11 + 5 = 16 degrees of freedom
    or so; 50 is passed by chance once in 40,000 times. Draws from the marginal miss it by thousands."""
    t = frame(customers("valid", 6))
    for name, values in (("channel", ["app", "mail", "shop", "web"]), ("member", [False, True])):
        each = [probgen.score(fitted, t.assign(**{name: value})).log_prob.values for value in values]
        p = np.exp(each - logsumexp(each, axis=0))
        some = t.convert_dtypes().assign(**{name: pd.NA})
        drawn = probgen.sample(fitted, 4000, given={"x": some}).x.sel(feature=name).values
        seen = np.stack([(drawn == v).sum(0) for v in range(len(values))])
        assert (np.square(seen - 4000 * p) / (4000 * p)).sum() < 50


def test_a_ridge_is_paid_for() -> None:
    """Of one component Sigma = S + Lambda, and the objective is the log-likelihood less tr(Sigma^-1 Lambda) / 2 a row."""
    t = frame(customers("valid", 500))[["income", "spent", "channel"]]
    fit = probgen.fit("mixture", t, components=1, regularization=0.3, smoothing=1e-9)
    x = t[["income", "spent"]].to_numpy()
    S, ridge = np.cov(x.T, ddof=0), np.diag(0.3 * x.var(0))
    shares = t.channel.value_counts(normalize=True)
    log_p = stats.multivariate_normal(x.mean(0), S + ridge).logpdf(x).mean() + (shares * np.log(shares)).sum()
    assert fit.history["log_likelihood"].values[-1] == pytest.approx(log_p, abs=1e-6)
    paid = 0.5 * np.trace(np.linalg.solve(S + ridge, ridge))
    assert fit.history["objective"].values[-1] == pytest.approx(log_p - paid, abs=1e-6)


def test_parameters_are_counted(fitted: probgen.Fitted) -> None:
    """Of each component 2 means and 3 covariances, 2 means and 2 sizes, 3 + 2 + 1 + 1 probabilities; and 2 weights."""
    g = fitted.groups["criteria"]
    assert g.parameters == 3 * (5 + 4 + 7) + 2
    assert g.bic == pytest.approx(50 * np.log(20_000) - 2 * g.log_likelihood.item())
    diagonal = probgen.fit(
        "mixture", customers("valid", 200), components=2, covariance="diagonal", counts="poisson", steps=2
    )
    assert diagonal.groups["criteria"].parameters == 2 * (4 + 2 + 7) + 1
