"""Bounds on log p(x) against probabilistic PCA, whose posterior and likelihood are known (Tipping & Bishop 1999)."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from scipy import stats
from torch import Tensor

import probgen
from probgen.errors import NotOffered
from probgen.inference.active import active_units
from probgen.inference.annealed import ais, anneal, bidirectional, reverse
from probgen.inference.elbo import elbo
from probgen.inference.importance import (
    all_log_weights,
    iwae,
    iwae_with_error,
    log_weights,
    propose,
    renyi,
    renyi_bound,
)
from probgen.inference.pareto import generalized_pareto, pareto_k, psis

D, L, SIGMA = 6, 2, 0.4
ALL = (
    1 << 18
)  # rows times draws that are in memory together: more than any test has, so that a bound is one call


class LinearGaussian(probgen.Pair):
    """z ~ Normal(0, 1), x ~ Normal(W z, sigma); q(z | x) is the posterior, its mean moved by `off`, widened by `wide`."""

    latents = {"z": ("latent",)}

    def __init__(self, off: float = 0.0, wide: float = 1.0):
        super().__init__(None, probgen.Event(("feature",), (D,), "real"))
        self.off, self.wide = off, wide
        self.W = torch.from_numpy(np.random.default_rng(0).standard_normal((D, L)))
        self.M = torch.linalg.inv(torch.eye(L, dtype=torch.float64) + self.W.T @ self.W / SIGMA**2)

    def model(self, x: Tensor | None = None, *, n: int, **given: Any) -> Tensor:
        with pyro.plate("row", n):
            z = pyro.sample("z", dist.Normal(torch.zeros(n, L).double(), 1.0).to_event(1))
            return pyro.sample("x", dist.Normal(z @ self.W.T, SIGMA).to_event(1), obs=x)

    def guide(self, x: Tensor | None = None, *, n: int, **given: Any) -> Tensor:
        assert x is not None
        mean = x @ self.W @ self.M / SIGMA**2 + self.off
        with pyro.plate("row", n):
            return pyro.sample("z", dist.MultivariateNormal(mean, self.wide**2 * self.M.expand(n, L, L)))

    def truth(self, x: Tensor) -> np.ndarray:
        W = self.W.numpy()
        return stats.multivariate_normal(np.zeros(D), W @ W.T + SIGMA**2 * np.eye(D)).logpdf(x.numpy())


def rows(n: int) -> Tensor:
    rng = np.random.default_rng(1)
    z, W = rng.standard_normal((n, L)), np.random.default_rng(0).standard_normal((D, L))
    return torch.from_numpy(z @ W.T + SIGMA * rng.standard_normal((n, D)))


@pytest.fixture(autouse=True)
def _seed() -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def test_at_the_posterior_every_bound_is_the_truth() -> None:
    """The weights are then all equal: one draw tells log p(x)."""
    pair, x = LinearGaussian(), rows(50)
    for k in (1, 7):
        np.testing.assert_allclose(iwae(pair, x, k)[0], pair.truth(x), atol=1e-10)
    log_w = all_log_weights(pair, x, 30, at_once=64)
    for alpha in (-1.0, 0.0, 0.5, 1.0):
        np.testing.assert_allclose(renyi(log_w, alpha), pair.truth(x), atol=1e-10)
    assert (pareto_k(log_w) == 0).all()
    np.testing.assert_allclose(elbo(pair, x).bound, pair.truth(x), atol=1e-10)


def test_the_elbo_and_its_parts_have_their_closed_forms() -> None:
    """Averaged over draws: E log p(x | z) and KL(q || p) of Gaussians, to 5 standard errors; and the KL of each draw."""
    pair, x = LinearGaussian(off=0.3, wide=1.5), rows(20)
    S, mean = pair.wide**2 * pair.M, x @ pair.W @ pair.M / SIGMA**2 + pair.off
    kl = 0.5 * (S.trace() + mean.square().sum(1) - L - S.logdet())
    misfit = (x - mean @ pair.W.T).square().sum(1) + (pair.W @ S @ pair.W.T).trace()
    reconstruction = -0.5 * misfit / SIGMA**2 - D / 2 * math.log(2 * math.pi * SIGMA**2)
    found = elbo(pair, x.repeat(2000, 1))
    for part, wanted in (("reconstruction", reconstruction), ("divergence", kl)):
        values = getattr(found, part).view(2000, len(x))
        off = (values.mean(0) - wanted) / (values.std(0) / math.sqrt(2000) + 1e-12)
        assert off.abs().max() < 5
    assert float((reconstruction - kl - torch.from_numpy(pair.truth(x))).max()) < 0


@pytest.mark.parametrize(("off", "wide"), [(0.3, 1.0), (0.0, 1.5), (-0.2, 0.7)])
def test_iwae_is_below_and_comes_closer(off: float, wide: float) -> None:
    """On average over 500 rows, never above the truth beyond 5 standard errors, and closer for every k."""
    pair, x = LinearGaussian(off, wide), rows(500)
    gaps = []
    for k in (1, 4, 16, 64, 256):
        bounds = (
            torch.stack([iwae(pair, x, k, at_once=ALL)[0] for _ in range(20)]).mean(1) - pair.truth(x).mean()
        )
        assert float(bounds.mean()) < 5 * float(bounds.std()) / math.sqrt(20)
        gaps.append(-float(bounds.mean()))
    assert all(a > b for a, b in pairwise(gaps)), gaps
    assert gaps[-1] < 0.25


def test_the_error_is_that_of_repeated_calls() -> None:
    pair, x = LinearGaussian(wide=1.3), rows(40)
    found = [iwae(pair, x, 400, at_once=ALL) for _ in range(200)]
    spread = torch.stack([bound for bound, _ in found]).std(0)
    told = torch.stack([se for _, se in found]).mean(0)
    np.testing.assert_allclose(told, spread, rtol=0.25)  # the spread has a relative error of 5 %


def test_what_is_in_memory_together_changes_no_law() -> None:
    pair, x = LinearGaussian(wide=1.3), rows(7)
    for at_once in (1, 3, 10, 64, 10_000):
        log_w = all_log_weights(pair, x, 50, at_once=at_once)
        assert log_w.shape == (50, 7)
        assert float((renyi(log_w, 0) - torch.from_numpy(pair.truth(x))).abs().max()) < 1


class TwoLatents(LinearGaussian):
    """The same density with z drawn one dimension after the other: a ~ q(a), b ~ q(b | a)."""

    latents = {"a": (), "b": ()}

    def model(self, x: Tensor | None = None, *, n: int, **given: Any) -> Tensor:
        with pyro.plate("row", n):
            zero = torch.zeros(n).double()
            a = pyro.sample("a", dist.Normal(zero, 1.0))
            b = pyro.sample("b", dist.Normal(zero, 1.0))
            return pyro.sample("x", dist.Normal(torch.stack([a, b], -1) @ self.W.T, SIGMA).to_event(1), obs=x)

    def guide(self, x: Tensor | None = None, *, n: int, **given: Any) -> None:
        assert x is not None
        mean = x @ self.W @ self.M / SIGMA**2
        (aa, ab), (_, bb) = self.M.tolist()
        with pyro.plate("row", n):
            a = pyro.sample("a", dist.Normal(mean[:, 0], math.sqrt(aa)))
            pyro.sample("b", dist.Normal(mean[:, 1] + ab / aa * (a - mean[:, 0]), math.sqrt(bb - ab**2 / aa)))


class NoGuide(LinearGaussian):
    """Draws come from the prior."""

    def guide(self, x: Tensor | None = None, *, n: int, **given: Any) -> None:  # type: ignore[override]
        return None


def test_latents_one_after_the_other_and_none_at_all() -> None:
    pair, x = TwoLatents(), rows(30)
    np.testing.assert_allclose(iwae(pair, x, 3)[0], pair.truth(x), atol=1e-10)
    many = elbo(pair, x.repeat(1000, 1)).bound.view(1000, len(x))
    off = (many.mean(0).numpy() - pair.truth(x)) / (many.std(0).numpy() / math.sqrt(1000))
    assert np.abs(off).max() < 5
    bound, se = iwae(NoGuide(), x, 50_000, at_once=1 << 19)
    assert (np.abs(bound.numpy() - pair.truth(x)) < 5 * se.numpy() + 1e-3).all()
    with pytest.raises(NotOffered, match="latents"):
        ais(pair, x, 2)


def test_gradients_of_chosen_draws() -> None:
    """Followed draws, averaged, have the gradient of all draws: within 5 standard errors, for IWAE and Renyi."""
    pair, x = LinearGaussian(wide=1.6), rows(1).expand(200, D)
    pair.W.requires_grad_()
    for alpha in (0.0, 0.5):
        exact: list[Tensor] = []
        chosen: list[Tensor] = []
        for kept, followed in ((exact, None), (chosen, 2)):
            for _ in range(100):
                bound = renyi_bound(pair, x, 8, alpha, followed=followed).mean()
                kept.append(torch.autograd.grad(bound, pair.W)[0])
        a, b = torch.stack(exact), torch.stack(chosen)
        error = (a.var(0) / len(a) + b.var(0) / len(b)).sqrt()
        assert float(((a.mean(0) - b.mean(0)) / error).abs().max()) < 5
        assert float((a.mean(0) / a.std(0)).abs().max()) > 10  # a gradient that is off by a tenth is found


def test_a_draw_without_a_path_is_followed_by_its_score() -> None:
    """The gradient of E_q[log p(x, y) - log q(y)] of a Bernoulli y, against enumeration; 5 standard errors."""

    class Coin(probgen.Pair):
        latents = {"y": ()}

        def __init__(self) -> None:
            super().__init__(None, probgen.Event(("feature",), (1,), "real"))
            self.logit = torch.nn.Parameter(torch.tensor(0.4))

        def model(self, x: Tensor | None = None, *, n: int, **given: Any) -> Tensor:
            with pyro.plate("row", n):
                y = pyro.sample("y", dist.Bernoulli(torch.full((n,), 0.3)))
                return pyro.sample("x", dist.Normal(2 * y[:, None], 1.0).to_event(1), obs=x)

        def guide(self, x: Tensor | None = None, *, n: int, **given: Any) -> Tensor:
            with pyro.plate("row", n):
                return pyro.sample("y", dist.Bernoulli(logits=self.logit.expand(n)))

    pair, x, n = Coin(), torch.tensor([[0.7]]), 20_000
    q = pair.logit.sigmoid()
    p = [math.log(1 - m) + stats.norm(2 * y, 1).logpdf(0.7) for y, m in ((0, 0.3), (1, 0.7))]
    exact = (1 - q) * (p[0] - (1 - q).log()) + q * (p[1] - q.log())
    (wanted,) = torch.autograd.grad(exact, pair.logit)
    grads = []
    for _ in range(200):
        (grad,) = torch.autograd.grad(elbo(pair, x.expand(n // 200, 1)).bound.mean(), pair.logit)
        grads.append(grad)
    found = torch.stack(grads)
    assert float((found.mean() - wanted).abs() / (found.std() / math.sqrt(200))) < 5


# annealing


@pytest.mark.parametrize(("start", "steps"), [("prior", 200), ("guide", 60)])
def test_chains_tell_the_truth_within_a_tenth(start: Any, steps: int) -> None:
    pair, x = _Narrow(), rows(40)
    found = ais(pair, x, steps, chains=32, start=start)
    assert (np.abs(found.bound.numpy() - pair.truth(x)) < 0.1 + 5 * found.standard_error.numpy()).all()
    assert np.abs(found.bound.numpy() - pair.truth(x)).mean() < 0.1
    assert (found.acceptance > 0.4).all()


class _Narrow(LinearGaussian):
    """A factorized guide that is off and too narrow, as those of VAEs are."""

    def guide(self, x: Tensor | None = None, *, n: int, **given: Any) -> Tensor:
        assert x is not None
        with pyro.plate("row", n):
            mean = x @ self.W @ self.M / SIGMA**2 + 0.1
            return pyro.sample("z", dist.Normal(mean, 0.9 * self.M.diagonal().sqrt()).to_event(1))


def test_the_two_chains_enclose_the_truth() -> None:
    """On average over 200 rows of the model's own; each side beyond the truth by no more than 5 standard errors."""
    pair = _Narrow()
    for start, long in (("prior", 100), ("guide", 30)):
        gaps = []
        for steps in (5, long):
            with torch.random.fork_rng():
                torch.manual_seed(3)
                x = pyro.poutine.trace(pair.model).get_trace(n=200).nodes["x"]["value"]
                torch.manual_seed(3)
                lower, upper = bidirectional(pair, 200, steps, chains=4, start=start)
            truth = torch.from_numpy(pair.truth(x))
            for above in (lower - truth, truth - upper):
                assert float(above.mean()) < 5 * float(above.std()) / math.sqrt(200)
            gaps.append(float((upper - lower).mean()))
        assert gaps[1] < gaps[0]
        assert gaps[1] < 0.3


def test_weights_are_unbiased_in_both_directions() -> None:
    """E[w] = Z forwards and E[1 / w] = 1 / Z in reverse, of a narrow and a wide Gaussian mixed; 5 standard errors."""
    n = 40_000
    target = dist.MixtureSameFamily(
        dist.Categorical(torch.tensor([0.5, 0.5])),
        dist.Normal(torch.tensor([[0.0], [0.0]]), torch.tensor([[0.2], [1.5]])).to_event(1),
    )
    start = dist.Normal(torch.zeros(n, 1), 1.5).to_event(1)
    forwards = anneal(start, target.log_prob, chains=1, steps=10, leapfrog=2)
    backwards = reverse(start, target.log_prob, forwards, target.sample((n,)), leapfrog=2)
    for w in (forwards.log_w[0].exp(), (-backwards.log_w[0]).exp()):
        assert abs(float(w.mean()) - 1) < 5 * float(w.std()) / math.sqrt(n)
        assert float(w.std()) / math.sqrt(n) < 0.01  # a bias of a twentieth would be found


def test_a_latent_without_a_guide_is_learned_by_its_score() -> None:
    """p(c) of a mixture whose guide is empty goes to where the data are."""

    class Coin(probgen.Pair):
        latents = {"c": ()}

        def __init__(self, options: Any, event: probgen.Event):
            super().__init__(options, event)
            self.logits = torch.nn.Parameter(torch.zeros(2))

        def model(self, x: Tensor | None = None, *, n: int, **given: Any) -> Tensor:
            with pyro.plate("row", n):
                c = pyro.sample("c", dist.Categorical(logits=self.logits).expand([n]))
                return pyro.sample("x", dist.Normal(4.0 * c[:, None], 2.0).to_event(1), obs=x)

    x = 4 + 2 * np.random.default_rng(0).standard_normal((200, 1))
    fitted = probgen.fit(Coin, x, steps=300, batch_size=200, learning_rate=0.02)
    assert float(fitted.state["logits"][1] - fitted.state["logits"][0]) > 1


def test_chains_end_at_the_posterior() -> None:
    """Chi-square of 4,000 chains that start at the prior, weighted by nothing; false-alarm rate 1e-6."""
    pair, x = LinearGaussian(), rows(2)
    found = ais(pair, x, 60, chains=2000, start="prior")
    mean = x @ pair.W @ pair.M / SIGMA**2
    white = torch.linalg.solve_triangular(
        torch.linalg.cholesky(pair.M), (found.z - mean)[..., None], upper=False
    )
    for column in white.flatten(0, 1).flatten(1).T.numpy():
        assert stats.kstest(column, "norm").pvalue > 1e-6


# the tail of weights


def test_pareto_shape_of_pareto_tails() -> None:
    """Exceedances of known shape, 20,000 of them: within 0.05; the pull to 1/2 is then 1 in 2,000."""
    rng = np.random.default_rng(0)
    for k in (-0.3, 0.2, 0.5, 0.9):
        x = torch.from_numpy(np.sort(stats.genpareto(k, scale=2.0).rvs((20_000, 3), random_state=rng), 0))
        shape, sigma = generalized_pareto(x)
        np.testing.assert_allclose(shape, k, atol=0.05)
        np.testing.assert_allclose(sigma, 2.0, rtol=0.06)


def test_tied_weights_are_no_tail() -> None:
    """Weights of two values have a bounded tail or none; one weight that is worth all others alarms; ties below the tail say nothing."""
    two = [torch.where(torch.arange(1000) < n, 0.0, -2.0)[:, None] for n in (1, 3, 30, 100, 500)]
    assert all(-20 < float(pareto_k(each)) <= 0 for each in two)
    for each in two:
        np.testing.assert_allclose(psis(each)[0].logsumexp(0), each.logsumexp(0), atol=0.03)
    one = torch.zeros(1000, 1, dtype=torch.float64)
    one[0] = 20
    assert float(pareto_k(one)) == 1
    assert float(pareto_k(torch.zeros(100, 1))) == 0
    tail = torch.from_numpy(stats.genpareto(0.6).rvs((400, 1), random_state=np.random.default_rng(1))).log1p()
    tied = tail.clamp(min=tail.sort(0).values[330])
    torch.testing.assert_close(pareto_k(tied), pareto_k(tail))


@pytest.mark.parametrize("k", [2, 3, 10, 100, 1000])
@pytest.mark.parametrize("deviation", [0.3, 1.0, 1.5])
def test_the_error_of_an_importance_weighted_bound_is_its_spread(deviation: float, k: int) -> None:
    """Weights whose logarithms are normal, 4,000 sets: the spread of the bounds over the root mean square of the printed errors."""
    draws = 1000 if k == 1000 else 4000
    log_w = deviation * torch.from_numpy(np.random.default_rng(k).normal(size=(k, draws)))
    bound, error = iwae_with_error(log_w)
    assert 0.93 < float(bound.std() / error.square().mean().sqrt()) < 1.12
    one_by_one = torch.stack([torch.cat([log_w[:i], log_w[i + 1 :]]).logsumexp(0) for i in range(min(k, 3))])
    jackknife = ((k - 1) / k * (one_by_one - one_by_one.mean(0)).square().sum(0)).sqrt()
    if k < 4:
        np.testing.assert_allclose(error, jackknife, rtol=1e-9)


def test_the_error_of_one_weight_that_outweighs_all_is_finite() -> None:
    log_w = torch.zeros(10, 2, dtype=torch.float64)
    log_w[0, 0], log_w[1:, 1] = 800.0, -torch.inf
    error = iwae_with_error(log_w)[1]
    assert error[0] == pytest.approx(
        (800 - math.log(9)) * 0.9, rel=1e-9
    )  # (k - 1)/k of how far the bound falls
    assert error[1] == torch.inf
    assert torch.isnan(iwae_with_error(log_w[:1])[1]).all()


def test_pareto_k_warns_of_a_guide_that_is_too_narrow() -> None:
    """Weights of a Gaussian guide of `wide` standard deviations have tails of shape 1 - wide^2."""
    x = rows(200)
    shapes = []
    for wide in (1.3, 0.9, 0.5):
        log_w = all_log_weights(LinearGaussian(wide=wide), x, 2000, at_once=1 << 20)
        shapes.append(float(pareto_k(log_w).mean()))
    assert shapes[0] < 0.1
    assert 0.1 < shapes[1] < 0.5
    assert shapes[2] > 0.7


def test_smoothed_weights_keep_their_order() -> None:
    log_w = torch.randn(500, 4, dtype=torch.float64) * 2
    smoothed, _ = psis(log_w)
    assert (smoothed.argsort(0) == log_w.argsort(0)).all()
    assert (smoothed <= 0).all()
    with pytest.raises(ValueError, match="24 draws"):
        psis(log_w[:24])


def test_draws_and_weights_are_of_one_another() -> None:
    pair, x = LinearGaussian(off=0.5), rows(3)
    drawn = propose(pair, x, 4)
    again = log_weights(pair, x, drawn)
    torch.testing.assert_close(again, log_weights(pair, x, drawn))
    z = drawn.z["z"]
    joint = dist.Normal(0.0, 1.0).log_prob(z).sum(-1) + dist.Normal(z @ pair.W.T, SIGMA).log_prob(x).sum(-1)
    torch.testing.assert_close(again, joint - drawn.log_q)


def test_active_units_are_those_whose_mean_varies_over_the_rows() -> None:
    """A_u = Var_x[E_q(z_u | x)] > 0.01: of variances 0.04, 0.0001 and 0.0101 the first and the last."""
    signs = torch.tensor([1.0, -1.0, 1.0, -1.0])[:, None]
    mean = torch.tensor([[5.0, -3.0, 100.0]]) + signs * torch.tensor([[0.2, 0.01, 0.1005]])
    assert active_units(mean).tolist() == [True, False, True]
    assert active_units(mean, threshold=0.02).tolist() == [True, False, False]


class OtherOrder(LinearGaussian):
    """p(a) p(b | a), and a guide that is the posterior as q(b | x) q(a | b, x): the terms are not those of a divergence."""

    latents = {"a": (), "b": ()}
    R = torch.tensor([[1.0, 0.8], [0.8, 1.0]], dtype=torch.float64)  # covariance of (a, b)

    def model(self, x: Tensor | None = None, *, n: int, **given: Any) -> Tensor:
        with pyro.plate("row", n):
            a = pyro.sample("a", dist.Normal(torch.zeros(n).double(), 1.0))
            b = pyro.sample("b", dist.Normal(0.8 * a, 0.6))
            return pyro.sample("x", dist.Normal(torch.stack([a, b], -1) @ self.W.T, SIGMA).to_event(1), obs=x)

    def guide(self, x: Tensor | None = None, *, n: int, **given: Any) -> None:
        assert x is not None
        M = torch.linalg.inv(torch.linalg.inv(self.R) + self.W.T @ self.W / SIGMA**2)
        mean = x @ self.W @ M / SIGMA**2
        (aa, ab), (_, bb) = M.tolist()
        with pyro.plate("row", n):
            b = pyro.sample("b", dist.Normal(mean[:, 1], math.sqrt(bb)))
            pyro.sample("a", dist.Normal(mean[:, 0] + ab / bb * (b - mean[:, 1]), math.sqrt(aa - ab**2 / bb)))

    def truth(self, x: Tensor) -> np.ndarray:
        covariance = (self.W @ self.R @ self.W.T).numpy() + SIGMA**2 * np.eye(D)
        return stats.multivariate_normal(np.zeros(D), covariance).logpdf(x.numpy())


def test_latents_in_another_order_than_the_model_s() -> None:
    """At the posterior every draw gives log p(x); a closed form for each latent would not."""
    pair, x = OtherOrder(), rows(30)
    np.testing.assert_allclose(elbo(pair, x).bound, pair.truth(x), atol=1e-10)


class Scaled(LinearGaussian):
    """The divergence of z counts half, as an annealed one does."""

    def model(self, x: Tensor | None = None, *, n: int, **given: Any) -> Tensor:
        with pyro.plate("row", n):
            with pyro.poutine.scale(scale=0.5):
                z = pyro.sample("z", dist.Normal(torch.zeros(n, L).double(), 1.0).to_event(1))
            return pyro.sample("x", dist.Normal(z @ self.W.T, SIGMA).to_event(1), obs=x)

    def guide(self, x: Tensor | None = None, *, n: int, **given: Any) -> Tensor:
        assert x is not None
        mean = x @ self.W @ self.M / SIGMA**2
        with pyro.plate("row", n), pyro.poutine.scale(scale=0.5):
            return pyro.sample("z", dist.Normal(mean, 0.3).to_event(1))


def test_a_scaled_divergence_is_that_part_of_its_closed_form() -> None:
    pair, x = Scaled(), rows(10)
    mean = x @ pair.W @ pair.M / SIGMA**2
    whole = (0.5 * (mean**2 + 0.09 - 1) - math.log(0.3)).sum(1)
    np.testing.assert_allclose(elbo(pair, x).divergence, 0.5 * whole, rtol=1e-10)


@pytest.mark.filterwarnings(
    "ignore::FutureWarning", "ignore::UserWarning"
)  # of arviz: its next version, heavy tails
@pytest.mark.parametrize("draws", [100, 1000])
@pytest.mark.parametrize("spread", [0.5, 1.5, 3.0])
def test_smoothed_weights_are_those_of_arviz(draws: int, spread: float) -> None:
    arviz = pytest.importorskip("arviz")
    log_w = spread * np.random.default_rng(0).standard_normal((draws, 3))
    smoothed, k = psis(torch.from_numpy(log_w))
    for row in range(3):
        expected, shape = arviz.psislw(log_w[:, row].copy())
        np.testing.assert_allclose(smoothed[:, row].log_softmax(0), expected, atol=1e-10)
        assert float(k[row]) == pytest.approx(float(shape), abs=1e-10)


def test_reverse_chains_of_one_step_are_importance_weights() -> None:
    """Without anything between start and target, log w is log p(x, z) - log s(z) at the draw it begins at."""
    start = dist.Normal(torch.zeros(3, 2).double(), 1.5).to_event(1)
    target = dist.Normal(torch.ones(3, 2).double(), 0.7).to_event(1)
    forwards = anneal(start, target.log_prob, chains=4, steps=1)
    z = target.sample()
    backwards = reverse(start, target.log_prob, forwards, z)
    expected = (target.log_prob(z) - start.log_prob(z)).expand(4, 3)
    np.testing.assert_allclose(backwards.log_w, expected, rtol=1e-12)
