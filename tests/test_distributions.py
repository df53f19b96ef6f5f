"""Distributions of the project's own against torch's, closed sums, and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torch.distributions import Bernoulli, Categorical, Independent, MixtureSameFamily, Normal, kl_divergence

from probgen.distributions import (
    BernoulliVector,
    DiscretizedLogistic,
    Logistic,
    NormalMixture,
    NormalVector,
)
from probgen.distributions import Categorical as Categories
from probgen.distributions.counts import NegativeBinomialMixture
from probgen.testing import spaces


@pytest.fixture(autouse=True)
def _seed() -> object:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.mark.parametrize("event_dim", [1, 2])
def test_vectors_are_independent_ones_and_nothing_else(event_dim: int) -> None:
    """Densities, means, divergences, entropies, shapes and draws: those of torch's Independent."""
    loc, scale = torch.randn(3, 4, 5), torch.rand(3, 4, 5) + 0.1
    for ours, theirs in (
        (NormalVector(loc, scale, event_dim), Independent(Normal(loc, scale), event_dim)),
        (BernoulliVector(loc, event_dim), Independent(Bernoulli(logits=loc), event_dim)),
    ):
        assert (ours.batch_shape, ours.event_shape) == (theirs.batch_shape, theirs.event_shape)
        torch.manual_seed(1)
        draws = ours.sample((7,))
        torch.manual_seed(1)
        torch.testing.assert_close(draws, theirs.sample((7,)))
        torch.testing.assert_close(ours.log_prob(draws), theirs.log_prob(draws))
        torch.testing.assert_close(ours.log_prob(draws[0]), theirs.log_prob(draws[0]))
        torch.testing.assert_close(ours.mean, theirs.mean)
        wide = ours.expand((2, *ours.batch_shape))
        assert wide.sample().shape == (2, 3, 4, 5)
        torch.testing.assert_close(wide.log_prob(draws[:2]), theirs.log_prob(draws[:2]))
        assert ours.expand(ours.batch_shape) is ours
        assert ours.support.check(draws).all()
        assert ours.support.check(draws).shape == (7, *ours.batch_shape)


def test_the_divergence_of_normal_vectors() -> None:
    q = NormalVector(torch.randn(6, 3), torch.rand(6, 3) + 0.1)
    p = NormalVector(torch.randn(6, 3), torch.rand(6, 3) + 0.1)
    wanted = kl_divergence(Normal(q.loc, q.scale), Normal(p.loc, p.scale))
    torch.testing.assert_close(q.divergences(p), wanted)
    torch.testing.assert_close(kl_divergence(q, p), wanted.sum(1))
    torch.testing.assert_close(q.entropy(), Independent(Normal(q.loc, q.scale), 1).entropy())


def test_gradients_flow_through_vectors() -> None:
    loc, scale = torch.randn(4, 3, requires_grad=True), (torch.rand(4, 3) + 0.1).requires_grad_()
    NormalVector(loc, scale).rsample((5,)).square().sum().backward()
    assert loc.grad is not None
    assert scale.grad is not None
    assert float(loc.grad.abs().min()) > 0
    assert not BernoulliVector(loc).sample().requires_grad


@pytest.mark.parametrize(("mu", "s"), [(3.2, 1.5), (-40.0, 0.3), (300.0, 2.0), (128.0, 1e-3), (7.0, 400.0)])
def test_the_discretized_logistic_is_the_logistic_cut_into_levels(mu: float, s: float) -> None:
    """It sums to 1, and each level has the mass between its edges, the outer ones with their tails."""
    levels = 256
    p = DiscretizedLogistic(
        torch.tensor(mu, dtype=torch.float64), torch.tensor(s, dtype=torch.float64), levels
    )
    x = torch.arange(levels, dtype=torch.float64)
    found = p.log_prob(x).exp().numpy()
    edges = stats.logistic(mu, s).cdf(np.arange(levels - 1) + 0.5)
    np.testing.assert_allclose(found, np.diff(np.concatenate([[0], edges, [1]])), atol=1e-13)
    assert found.sum() == pytest.approx(1, abs=1e-12)
    assert p.mean.item() == pytest.approx(float((found * x.numpy()).sum()), abs=1e-8)
    assert torch.isfinite(p.log_prob(x)).all()


def test_draws_and_mixtures_of_discretized_logistics() -> None:
    """Draws against the table, G-test, false-alarm rate 1e-6; a mixture of them is a distribution too."""
    p = DiscretizedLogistic(torch.tensor([2.0, 9.0]), torch.tensor([1.5, 0.7]), 12)
    mixture = MixtureSameFamily(Categorical(torch.tensor([0.3, 0.7])), p, validate_args=False)
    x = torch.arange(12.0)
    table = mixture.log_prob(x).exp().numpy().astype(np.float64)
    assert table.sum() == pytest.approx(1, abs=1e-5)
    drawn = mixture.sample((20_000,)).numpy().astype(int)
    assert spaces.p_value(np.bincount(drawn, minlength=12), table) > spaces.FALSE_ALARM
    assert p.expand((3, 2)).sample((4,)).shape == (4, 3, 2)


def test_the_logistic_site() -> None:
    site = Logistic(17)
    x = torch.arange(17.0)
    assert site.encode(x, torch.float32)[[0, -1], 0].tolist() == [-1, 1]
    p = site.p(torch.tensor([0.0, -20.0]))
    assert site.mean(p).item() == pytest.approx(8, abs=1e-3)
    half, scale = 8.0, np.log1p(np.exp(0.4)) + 1e-3
    p = site.p(torch.tensor([0.25, 0.4], dtype=torch.float64))
    edges = stats.logistic(half * 1.25, half * scale).cdf(np.arange(-0.5, 17))
    edges[[0, -1]] = 0, 1
    np.testing.assert_allclose(p.log_prob(x.double()).exp(), np.diff(edges), rtol=1e-6)


def test_the_other_sites_are_their_formulas() -> None:
    """The mean of a categorical by counting; a mixture of normals from weights, means and scales, in this order."""
    p = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    assert Categories(4).mean(Categories(4).p(p.log())).item() == pytest.approx(0.2 + 0.6 + 1.2)
    numbers = torch.tensor([0.3, -0.2, 1.0, -2.0, 0.5, 2.5, 0.1, -1.0, 0.7], dtype=torch.float64)
    logits, mu, s = numbers.numpy().reshape(3, 3)
    weights, sigma = np.exp(logits) / np.exp(logits).sum(), np.log1p(np.exp(s)) + 1e-3
    x = np.linspace(-5, 5, 11)
    wanted = sum(w * stats.norm(m, d).pdf(x) for w, m, d in zip(weights, mu, sigma, strict=True))
    found = NormalMixture(3).p(numbers).log_prob(torch.from_numpy(x)).exp()
    np.testing.assert_allclose(found, wanted, rtol=1e-7)


def test_mixtures_of_counts_are_their_formulas() -> None:
    """Against SciPy; and draws against the probabilities by chi-square, which passes 60 by chance once in 10,000 times (28 values)."""
    logits, m, r = (
        torch.tensor([[0.5, -0.5, 1.0]]),
        torch.tensor([[1.0, 8.0, 3.0]]),
        torch.tensor([[2.0, 0.7, 50.0]]),
    )
    p = NegativeBinomialMixture(logits, m.log(), r.log())
    x = np.arange(400)
    each = stats.nbinom.pmf(x[:, None], r.numpy(), (r / (r + m)).numpy())
    wanted = (logits.softmax(1).numpy() * each).sum(1)
    found = p.log_prob(torch.arange(400.0)[:, None]).exp().flatten().numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-12)
    assert found.sum() == pytest.approx(1, abs=1e-5)
    assert p.mean.item() == pytest.approx((x * wanted).sum(), rel=1e-4)
    drawn = p.sample((20_000,)).flatten().numpy()
    seen, of = (
        np.bincount(np.minimum(drawn, 27).astype(int), minlength=28),
        20_000 * np.append(wanted[:27], wanted[27:].sum()),
    )
    assert (np.square(seen - of) / of).sum() < 60
