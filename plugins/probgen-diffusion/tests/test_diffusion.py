"""Diffusion against densities whose score is known in closed form, and the laws of every family."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from probgen_diffusion import sampling
from probgen_diffusion.average import Average
from probgen_diffusion.bound import drawn, prior_loss, spread_times
from probgen_diffusion.schedule import SCHEDULES, Learned, alpha_sigma, noised
from probgen_diffusion.values import Levels, Reals
from scipy import stats
from torch import Tensor

import probgen
from probgen.errors import InputError, NotOffered
from probgen.testing import FamilyLaws, spaces

DIMS = ("row", "height", "width")
SMALL: dict[str, Any] = {"hidden": (8,), "blocks": 1, "steps": 12, "batch_size": 20, "learning_rate": 0.01}
FALSE_ALARM = 1e-6


def images(rows: int = 200, side: int = 4) -> xr.Dataset:
    """Bits that come in blocks of 2 x 2, a tenth of them turned over; the label is the first block, and `low` has the blocks."""
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 2, (rows, side // 2, side // 2)).astype(np.uint8)
    x = np.kron(blocks, np.ones((2, 2), dtype=int)) ^ (rng.random((rows, side, side)) < 0.1)
    low = (("row", "low_height", "low_width"), blocks, {"support": "binary"})
    label = ("row", blocks[:, 0, 0], {"levels": 2})
    return xr.Dataset({"x": (DIMS, x.astype(np.uint8), {"support": "binary"}), "label": label, "low": low})


class Mixture:
    """A mixture of Gaussians with its exact eps_hat: -sigma times the gradient of log p(z).

    Args:
        w: Weights, (component,).
        m: Means, (component, feature).
        C: Covariances, (component, feature, feature).
    """

    def __init__(self, w: Any, m: Any, C: Any):
        self.w, self.m, self.C = (torch.as_tensor(np.asarray(v, dtype=float)) for v in (w, m, C))

        self.variances, self.Q = torch.linalg.eigh(self.C)

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log p of rows."""
        return self._each(x, x.new_tensor(1.0), x.new_tensor(0.0))[0].logsumexp(0)

    def epsilon(self, z: Tensor, gamma: Tensor) -> Tensor:
        """Return -sigma times the gradient of log p(z_gamma), for z (row, feature)."""
        alpha, sigma = (v[:, None] for v in alpha_sigma(gamma))
        log_p, score = self._each(z, alpha, sigma)
        return -sigma * (log_p.softmax(0)[..., None] * score).sum(0)

    def _each(self, z: Tensor, alpha: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Return log w + log p and its gradient for each component, (component, row, ...)."""
        variance = alpha**2 * self.variances[:, None] + sigma**2
        off = (z - alpha * self.m[:, None]) @ self.Q
        log_p = -0.5 * (off**2 / variance + variance.log() + np.log(2 * np.pi)).sum(2)
        return log_p + self.w.log()[:, None], -(off / variance) @ self.Q.mT

    def draw(self, n: int, seed: int = 0) -> np.ndarray:
        rng = np.random.default_rng(seed)
        k = rng.choice(len(self.w), n, p=self.w.numpy())
        noise = rng.standard_normal((n, self.m.shape[1]))
        return self.m.numpy()[k] + np.einsum("nij,nj->ni", np.linalg.cholesky(self.C.numpy())[k], noise)

    def standardized(self, loc: Tensor, scale: Tensor) -> Mixture:
        """Return the mixture of (x - loc) / scale."""
        return Mixture(self.w, (self.m - loc) / scale, self.C / scale[:, None] / scale)


GAUSSIAN = Mixture([1], [[1.0, -2.0, 0.5]], [[[1.0, 0.6, 0.2], [0.6, 0.8, 0.1], [0.2, 0.1, 0.3]]])
MIXTURE = Mixture(
    [0.3, 0.7], [[-2.0, 1.0], [1.0, 0.0]], [[[0.3, 0.1], [0.1, 0.2]], [[0.2, -0.1], [-0.1, 0.4]]]
)
LEVELS = np.array([[0.3, 0.05, 0.05], [0.1, 0.2, 0.1], [0.02, 0.08, 0.1]])  # of two numbers of three levels


def exact(truth: Mixture, x: np.ndarray, **options: Any) -> Any:
    """Return a model of rows x whose eps_hat is the exact one."""
    data = xr.Dataset({"x": (("row", "feature"), x)})
    fitted = probgen.fit("diffusion", data, dtype="float64", hidden=(4,), steps=1, gamma_max=8.0, **options)
    module: Any = fitted.module
    of = truth.standardized(module.values.standard.loc, module.values.standard.scale)
    module.epsilon = lambda given, guidance=1.0: of.epsilon
    return fitted


def exact_levels() -> Any:
    """Return a model of the table LEVELS whose eps_hat is the exact one."""
    x = np.stack(np.unravel_index(np.arange(900) % 9, (3, 3)), 1).astype(np.uint8)
    data = xr.Dataset({"x": (("row", "feature"), x, {"support": "integer", "levels": 3})})
    fitted = probgen.fit("diffusion", data, dtype="float64", hidden=(4,), steps=1, gamma_max=8.0)
    y = torch.tensor([[a - 1.0, b - 1.0] for a in range(3) for b in range(3)], dtype=torch.float64)
    log_p = torch.tensor(LEVELS.ravel()).log()

    def epsilon(z: Tensor, gamma: Tensor) -> Tensor:
        alpha, sigma = (v[:, None] for v in alpha_sigma(gamma))
        off = (z[:, None] - alpha[..., None] * y) / sigma[..., None]
        posterior = (log_p - 0.5 * off.square().sum(2)).softmax(1)
        return (z - alpha * (posterior @ y)) / sigma

    module: Any = fitted.module
    module.epsilon = lambda given, guidance=1.0: epsilon
    return fitted


# the bound and the ODE against the truth


@pytest.mark.parametrize(
    ("truth", "noise"),
    [(GAUSSIAN, "linear"), (MIXTURE, "learned")],
    ids=["gaussian", "mixture"],
)
def test_the_bound_is_below_the_truth_and_near_it(truth: Mixture, noise: str) -> None:
    """20,000 rows, 96 times each: below the truth within 4 standard errors, and within 0.02 nats."""
    x = truth.draw(20_000)
    scores = probgen.score(exact(truth, x, noise=noise), x, k=96)
    gap = truth.log_prob(torch.as_tensor(x)).numpy() - scores.log_prob.values
    se = np.sqrt((scores.log_prob_se.values**2).sum()) / len(x)
    assert scores.log_prob.attrs["kind"] == "lower_bound"
    assert se < 0.006
    assert -4 * se < gap.mean() < 0.02


def test_more_steps_have_a_tighter_bound() -> None:
    """T = 5, 20 and continuous time: each bound is above the last by more than 5 standard errors (VDM, section 4.1)."""
    x = MIXTURE.draw(4000)
    found = [probgen.score(exact(MIXTURE, x, timesteps=T), x, k=32) for T in (5, 20, None)]
    means = np.array([float(s.log_prob.mean()) for s in found])
    se = max(np.sqrt((s.log_prob_se.values**2).sum()) / len(x) for s in found)
    assert (np.diff(means) > 5 * se).all()


def test_the_standard_error_of_the_bound_is_the_spread_of_the_bound() -> None:
    """400 scores of 20 rows: pairs of neighboring intervals overestimate it, on average by less than a third."""
    x = MIXTURE.draw(20)
    scores = probgen.score(exact(MIXTURE, x), np.tile(x, (400, 1)), k=16)
    spread = scores.log_prob.values.reshape(400, 20).std(0)
    told = np.sqrt((scores.log_prob_se.values.reshape(400, 20) ** 2).mean(0))
    assert (told / spread > 0.85).all()
    assert 1 < (told / spread).mean() < 1.33


def test_the_control_variate_changes_no_mean_and_most_of_the_variance() -> None:
    """Of 200 dimensions at little noise: a hundredth of the variance or less; in 2 dimensions, the same mean within 5 standard errors."""
    narrow = Mixture([1], np.zeros((1, 200)), [np.eye(200)])
    y = torch.as_tensor(narrow.draw(500))
    schedule = SCHEDULES["linear"](-12.0, 5.0)
    found = drawn(narrow.epsilon, schedule, y, torch.full((500,), 0.2, dtype=torch.float64))
    assert found.loss().var() < 0.01 * (found.weight * found.square).var()
    y = torch.as_tensor(MIXTURE.draw(50_000))
    found = drawn(MIXTURE.epsilon, schedule, y, torch.rand(50_000, dtype=torch.float64))
    off = found.loss() - found.weight * found.square
    assert abs(off.mean()) < 5 * off.std() / np.sqrt(50_000)


@pytest.mark.parametrize("truth", [GAUSSIAN, MIXTURE], ids=["gaussian", "mixture"])
def test_the_ode_has_the_density(truth: Mixture) -> None:
    """Without a random number: each row within 0.02 nats, which is what gamma_0 and gamma_1 cost, and the mean within 0.005."""
    x = truth.draw(200)
    scores = probgen.score(exact(truth, x), x, estimator="ode", steps=48)
    off = scores.log_prob.values - truth.log_prob(torch.as_tensor(x)).numpy()
    assert scores.log_prob.attrs["kind"] == "estimate"
    assert abs(off).max() < 0.02
    assert abs(off.mean()) < 0.005


def test_hutchinson_has_the_density_within_its_error() -> None:
    """20 correlated dimensions, 300 rows of 16 probes: the errors divided by their standard errors have mean 0 and variance near 1."""
    rng = np.random.default_rng(0)
    A = rng.standard_normal((20, 20)) / 5
    truth = Mixture([1], rng.standard_normal((1, 20)), [A @ A.T + 0.3 * np.eye(20)])
    x = truth.draw(300)
    scores = probgen.score(exact(truth, x), x, estimator="ode", steps=16, k=16)
    off = (scores.log_prob.values - truth.log_prob(torch.as_tensor(x)).numpy()) / scores.log_prob_se.values
    assert abs(off.mean()) < 5 / np.sqrt(300)
    assert 0.7 < off.std() < 1.4
    assert scores.log_prob_se.values.mean() < 0.7


@pytest.mark.parametrize(
    ("each", "options"),
    [(400, {"k": 96}), (60, {"estimator": "ode", "k": 4, "steps": 32})],
    ids=["bound", "ode"],
)
def test_levels_have_their_probability(each: int, options: dict[str, Any]) -> None:
    """A table of 9 values, with the exact eps_hat: the bound of each value is near log P(x), and the bound on average below it."""
    cells = np.stack(np.unravel_index(np.arange(9 * each) % 9, (3, 3)), 1).astype(np.uint8)
    rows = xr.Dataset({"x": (("row", "feature"), cells, {"support": "integer", "levels": 3})})
    scores = probgen.score(exact_levels(), rows, **options)
    assert scores.log_prob.attrs["measure"] == "counting"
    gaps = np.log(LEVELS.ravel()) - scores.log_prob.values.reshape(each, 9)
    se = gaps.std(0) / np.sqrt(each)
    assert (abs(gaps.mean(0)) < 5 * se + 0.02).all()
    assert se.max() < 0.06
    assert LEVELS.ravel() @ gaps.mean(0) > -5 * np.sqrt((LEVELS.ravel() ** 2) @ se**2)


def test_terms_are_those_of_the_paper() -> None:
    """Prior term and loss by NumPy, from the formulas of the module's docstring; in both kinds of time."""
    y, t = torch.randn(7, 3, dtype=torch.float64), torch.rand(7, dtype=torch.float64)
    schedule = SCHEDULES["linear"](-8.0, 4.0)

    def by_hand(timesteps: int | None) -> np.ndarray:
        torch.manual_seed(0)
        eps = torch.randn_like(y).numpy()
        at = t.numpy() if timesteps is None else np.ceil(t.numpy() * timesteps) / timesteps
        gamma = -8 + 12 * at
        weight = 0.5 * 12 if timesteps is None else 0.5 * timesteps * np.expm1(12 / timesteps)
        z = y.numpy() / np.sqrt(1 + np.exp(gamma))[:, None] + eps / np.sqrt(1 + np.exp(-gamma))[:, None]
        return weight * ((eps - np.tanh(z) * gamma[:, None]) ** 2).sum(1)

    for timesteps in (None, 5):
        torch.manual_seed(0)
        found = drawn(lambda z, g: z.tanh() * g[:, None], schedule, y, t, timesteps)
        np.testing.assert_allclose(found.weight * found.square, by_hand(timesteps), rtol=1e-10)
    s2 = 1 / (1 + np.exp(-4.0))
    kl = stats.norm(0, np.sqrt(s2)).entropy()  # KL(q || N(0, 1)) = -H(q) + cross-entropy
    expected = (-kl + 0.5 * np.log(2 * np.pi) + 0.5 * (s2 + (1 - s2) * y.numpy() ** 2)).sum(1)
    np.testing.assert_allclose(prior_loss(y, 4.0), expected, rtol=1e-10)


def test_the_reconstruction_term_is_that_of_its_samples() -> None:
    """Of levels by quadrature, and of reals: means of 200,000 samples, within 5 standard errors."""
    n, gamma_0 = 200_000, -1.5
    values = Levels(4)
    alpha, sigma = alpha_sigma(torch.tensor(gamma_0, dtype=torch.float64))
    x = torch.tensor([0, 1, 2, 3]).repeat(n // 4)
    y = values.encode(x, torch.float64)
    z_0 = noised(y, torch.tensor(gamma_0, dtype=torch.float64), torch.randn(n, dtype=torch.float64))
    off = -0.5 * ((z_0[:, None] - alpha * torch.linspace(-1, 1, 4)) / sigma) ** 2
    each = (off.gather(1, x[:, None])[:, 0] - off.logsumexp(1)).reshape(-1, 4)
    found = values.reconstruction(torch.arange(4)[:, None], gamma_0, torch.float64)
    assert (abs(found - each.mean(0)) < 5 * each.std(0) / np.sqrt(n / 4)).all()
    torch.testing.assert_close(values.p(z_0, gamma_0).logits, off.log_softmax(1))
    reals = Reals((3,), each=True)
    reals.standard.learn(torch.ones(3), torch.tensor([0.5, 2.0, 4.0]))
    of_x = stats.norm(0, 1).entropy() * 3 + 1.5 * gamma_0 + np.log(0.5 * 2 * 4)
    np.testing.assert_allclose(reals.reconstruction(torch.zeros(2, 3), gamma_0, torch.float64), -of_x)


def test_many_samples_of_many_levels_need_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The probabilities of a part of the rows at a time; means and frequencies are those of all rows at once."""
    values, gamma_0, sizes = Levels(4), -1.5, []
    z_0 = torch.linspace(-1, 1, 5, dtype=torch.float64).repeat(4000)[:, None].expand(-1, 3)
    expected, p = values.mean(z_0, gamma_0), values.p(z_0[:5, 0], gamma_0).probs
    monkeypatch.setattr("probgen_diffusion.values.AT_ONCE", 1000)
    monkeypatch.setattr(
        values, "p", lambda z, gamma: sizes.append(z.numel() * 4) or Levels.p(values, z, gamma)
    )
    torch.testing.assert_close(values.mean(z_0, gamma_0), expected)
    x = values.sample(z_0, gamma_0)
    assert max(sizes) <= 1000
    assert x.shape == z_0.shape
    found = torch.nn.functional.one_hot(x.reshape(4000, 5, 3).long(), 4).double().mean((0, 2))
    # 20 frequencies of 12,000 draws each: 5 standard errors, exceeded with probability below 2e-5
    assert (abs(found - p) < 5 * (p * (1 - p) / 12_000).sqrt() + 1e-12).all()


# schedules


@pytest.mark.parametrize("noise", ["linear", "cosine", "learned"])
def test_a_schedule_increases_between_its_ends(noise: str) -> None:
    torch.manual_seed(0)
    schedule = SCHEDULES[noise](-13.3, 5.0).double()
    for parameter in schedule.parameters():
        parameter.data += torch.randn_like(parameter)
    t = torch.linspace(0, 1, 1001, dtype=torch.float64).requires_grad_()
    gamma, slope = schedule(t)
    assert (slope > 0).all()
    torch.testing.assert_close(gamma[[0, -1]].detach(), torch.tensor([-13.3, 5.0]).double())
    torch.testing.assert_close(slope.detach(), torch.autograd.grad(gamma.sum(), t)[0])
    if noise == "cosine":
        phi = torch.atan(torch.exp(gamma / 2)).detach()
        torch.testing.assert_close(phi.diff(), (phi[-1] - phi[0]).expand(1000) / 1000)


def test_a_learned_schedule_follows_the_squared_loss() -> None:
    """Its gradient is that of the mean square of the losses, and the gradient of the network is that of their mean (appendix I.2)."""
    fitted = probgen.fit(
        "diffusion", images(40).drop_vars(["low", "label"]), dtype="float64", noise="learned", **SMALL
    )
    module: Any = fitted.module.requires_grad_()
    x = torch.as_tensor(images(40).x.values)
    of_schedule, of_net = list(module.schedule.parameters()), [module.net.last.weight]
    torch.manual_seed(0)
    found = torch.autograd.grad(module.loss(x, n=40)["loss"], of_schedule + of_net)
    torch.manual_seed(0)
    y, t = module.values.encode(x, torch.float64), spread_times(40, torch.zeros(40, dtype=torch.float64))
    each = drawn(module.epsilon({}), module.schedule, y, t).loss()
    squares = torch.autograd.grad(each.square().mean(), of_schedule, retain_graph=True)
    for one, other in zip(found, (*squares, *torch.autograd.grad(each.mean(), of_net)), strict=True):
        torch.testing.assert_close(one, other)


def test_a_learned_schedule_lowers_the_variance_of_the_bound() -> None:
    """Of the loss of a Gaussian that is narrow in one direction, with exact eps_hat, to two thirds or less."""
    truth = Mixture([1], [[0.0]], [[[0.001]]])
    y = torch.as_tensor(truth.draw(4000))
    schedule = Learned(-12.0, 5.0).double()
    optimizer = torch.optim.Adam(schedule.parameters(), 0.05)

    def variance() -> float:
        t = torch.rand(4000, dtype=torch.float64)
        found = drawn(truth.epsilon, schedule, y, t)
        return float((found.weight * found.square).detach().var())

    torch.manual_seed(0)
    before = variance()
    for _ in range(100):
        found = drawn(truth.epsilon, schedule, y[:500], spread_times(500, y))
        optimizer.zero_grad()
        (found.weight * found.square).square().mean().backward()
        optimizer.step()
    assert variance() < 0.67 * before


# samples


def test_decoding_inverts_encoding() -> None:
    """For 50 rows of a mixture with exact eps_hat, to 1e-3, and DDIM follows the probability flow of a Gaussian, z to loc + scale z."""
    x = MIXTURE.draw(50)
    fitted = exact(MIXTURE, x)
    z = probgen.encode(fitted, x)
    np.testing.assert_allclose(probgen.decode(fitted, z).x, x, atol=1e-3)
    line = Mixture([1], [[3.0]], [[[0.25]]])
    z_1 = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    gammas = SCHEDULES["linear"](-12.0, 5.0).times(1000, z_1)
    flown = sampling.descend(sampling.ddim, line.epsilon, z_1, gammas)
    alpha, sigma = alpha_sigma(gammas[0])
    expected = 3 + 0.5 * (z_1 - 3 * alpha) / (0.25 * alpha**2 + sigma**2).sqrt()
    torch.testing.assert_close(flown, expected, atol=0.01, rtol=0)


@pytest.mark.parametrize("sampler", ["ddim", "ancestral"])
def test_samples_follow_the_density(sampler: str) -> None:
    """8,192 samples in 150 steps; each number by a Kolmogorov-Smirnov test, false-alarm rate 1e-6. It finds a shift of 0.06 deviations."""
    x = MIXTURE.draw(8192, seed=1)
    draws = probgen.sample(exact(MIXTURE, x), 8192, sampler=sampler, steps=150).x.values
    for direction in ([1, 0], [0, 1], [1, 1], [1, -1]):
        assert stats.ks_2samp(draws @ direction, x @ direction).pvalue > FALSE_ALARM


def test_samples_of_levels_have_their_probability() -> None:
    """8,192 samples of the table of 9 values in 200 steps, chi-square test, false-alarm rate 1e-6."""
    draws = probgen.sample(exact_levels(), 8192, sampler="ancestral", steps=200).x.values
    counts = np.bincount(draws @ [3, 1], minlength=9)
    assert spaces.p_value(counts, LEVELS.ravel()) > FALSE_ALARM


def test_completion_approaches_the_conditional() -> None:
    """Of a Gaussian of correlation 0.9, the second number given that the first is 1.5: mean and deviation (RePaint, section 4.2).

    Without repetitions the mean is too small, because the known number is seen too late.
    """
    truth = Mixture([1], [[0.0, 0.0]], [[[1.0, 0.9], [0.9, 1.0]]])
    fitted = exact(truth, truth.draw(4000))
    given = {"x": np.array([1.5, np.nan])}
    once, often = (probgen.sample(fitted, 2000, given=given, resampling=r, steps=50) for r in (1, 20))
    assert (once.x.values[:, 0] == 1.5).all()
    off = [abs(float(draws.x[:, 1].mean()) - 0.9 * 1.5) for draws in (once, often)]
    assert off[1] < 0.1 < off[0]
    assert float(often.x[:, 1].std()) == pytest.approx(np.sqrt(1 - 0.81), rel=0.25)
    assert (often.repaint == 20).all()
    assert "RePaint" in often.repaint.attrs["long_name"]


def test_guidance_is_that_of_the_paper() -> None:
    """eps_0 + w (eps_c - eps_0) (Ho & Salimans 2022, eq. 6), and eps_0 does not depend on the condition."""
    fitted = probgen.fit("diffusion", images().drop_vars("low"), given=["label"], drop=0.2, **SMALL)
    module: Any = fitted.module
    z, gamma = torch.randn(6, 4, 4), torch.linspace(-3, 3, 6)
    zeros, ones = {"label": torch.zeros(6)}, {"label": torch.ones(6)}
    free, of_0 = module.epsilon(zeros, 0.0)(z, gamma), module.epsilon(zeros)(z, gamma)
    torch.testing.assert_close(free, module.epsilon(ones, 0.0)(z, gamma))
    assert not torch.allclose(of_0, module.epsilon(ones)(z, gamma))
    torch.testing.assert_close(module.epsilon(zeros, 3.0)(z, gamma), free + 3 * (of_0 - free))


# fits


def test_labels_and_small_images_are_conditions() -> None:
    """Samples have the first block that the label is, and the blocks of `low` in seven of ten pixels or more; half would be chance."""
    options: dict[str, Any] = {**SMALL, "hidden": (16,), "steps": 80, "batch_size": 30}
    fitted = probgen.fit("diffusion", images().drop_vars("low"), given=["label"], **options)
    for label in (0, 1):
        draws = probgen.sample(fitted, 100, given={"label": label}, steps=10).x.values
        assert abs(draws[:, :2, :2].mean() - label) < 0.35
    data = images()
    fitted = probgen.fit("diffusion", data.drop_vars("label"), given=["low"], **options)
    draws = probgen.sample(fitted, 5, given={"low": data.low.values[:20]}, steps=10).x.values
    large = np.kron(data.low.values[:20], np.ones((2, 2), dtype=int))
    assert (draws == large).mean() > 0.7
    assert probgen.score(fitted, data.isel(row=slice(10)), k=4).log_prob.attrs["given"] == "low"


def test_the_average_is_that_of_the_weights() -> None:
    """Of a known path of weights, with the decays min(0.9, (1 + n) / (10 + n)), by NumPy."""
    net = torch.nn.Linear(2, 1, bias=False).double()
    average, expected = Average(net, 0.9), net.weight.detach().numpy().copy()
    for n, weight in enumerate(np.random.default_rng(0).standard_normal((200, 1, 2))):
        net.weight.data.copy_(torch.as_tensor(weight))
        average.follow()
        decay = min(0.9, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * weight
    np.testing.assert_allclose(average.weights["weight"], expected)


@pytest.mark.parametrize("data", [spaces.example("real"), images().drop_vars(["label", "low"])])
def test_bfloat16_products_change_the_fit_little(data: xr.Dataset) -> None:
    """Weights stay float32, and no term of the bound is computed in bfloat16."""
    exact, cast = (
        probgen.fit("diffusion", data, autocast=on, **{**SMALL, "steps": 40}) for on in (False, True)
    )
    assert any(not exact.state[name].equals(cast.state[name]) for name in exact.state)
    assert all(cast.state[name].dtype == exact.state[name].dtype for name in exact.state)
    scores = [probgen.score(fitted, data, k=64) for fitted in (exact, cast)]
    np.testing.assert_allclose(scores[0].log_prob.mean(), scores[1].log_prob.mean(), rtol=0.03)


@pytest.mark.parametrize("data", [spaces.example("real"), images().drop_vars(["label", "low"])])
def test_a_recorded_step_is_the_step(data: xr.Dataset) -> None:
    eager, recorded = (probgen.fit("diffusion", data, graph=on, **SMALL) for on in (False, True))
    for name, array in eager.state.items():
        np.testing.assert_allclose(recorded.state[name], array, rtol=1e-4, atol=1e-5, err_msg=name)


def test_the_weights_of_rows_are_those_of_repeated_rows() -> None:
    """The loss of rows with weights 2, 1, 0 is that of all rows by these shares, for equal noise."""
    fitted = probgen.fit("diffusion", spaces.example("real"), dtype="float64", **SMALL)
    module: Any = fitted.module
    x = torch.as_tensor(spaces.example("real").x.values[:3])
    weight = torch.tensor([2.0, 1.0, 0.0], dtype=torch.float64)
    found = []
    for w in (weight, *torch.eye(3, dtype=torch.float64)):
        torch.manual_seed(0)
        found.append(float(module.loss(x, n=3, weight=w)["loss"].detach()))
    assert found[0] == pytest.approx((2 * found[1] + found[2]) / 3)


# bad input


@pytest.mark.quick(every=1)
@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        ("real", {"gamma_min": 5.0}, "gamma_min = 5.0: the schedule must increase, but gamma_max = 5.0"),
        (
            "real",
            {"gamma_max": -20.0},
            "gamma_max = -20.0: the schedule must increase, but gamma_min is -12.0",
        ),
        ("real", {"gamma_max": 200.0}, "gamma_max = 200.0: input should be less than or equal to 30"),
        ("real", {"gamma_min": -1e4}, "gamma_min = -10000.0"),
        ("real", {"drop": 0.1}, "drop = 0.1: there are no conditions to drop"),
        ("real", {"timesteps": 1}, "timesteps = 1"),
        ("real", {"noise": "learned", "graph": True}, "graph = true: a learned schedule"),
        ("real", {"patience": 3}, "patience = 3: there are no validation rows"),
        ("count", {}, "count"),
        ("images", {"hidden": (8, 8, 8, 8)}, "height 4, which cannot be halved 3 times"),
        ("levels", {}, "levels, but a softmax allows at most 4096"),
    ],
)
def test_bad_fits_are_told_in_a_line(data: str, options: dict[str, Any], message: str) -> None:
    rows: Any = {
        "images": lambda: images(20),
        "levels": lambda: xr.Dataset({"x": (DIMS[:2], np.arange(8)[:, None] * 714, {"levels": 5000})}),
    }.get(data, lambda: spaces.example(data))()
    with pytest.raises(InputError, match=message) as told:
        probgen.fit("diffusion", rows, **{**SMALL, **options})
    assert "\n" not in str(told.value)


@pytest.mark.quick(every=1)
def test_bad_calls_are_told_in_a_line() -> None:
    fitted = probgen.fit("diffusion", spaces.example("real"), **SMALL)
    labeled = probgen.fit("diffusion", images(20).drop_vars("low"), given=["label"], **SMALL)
    x = np.zeros((1, 2))
    calls: list[tuple[Any, str]] = [
        (lambda: probgen.sample(fitted, steps=1), "steps = 1"),
        (lambda: probgen.sample(fitted, guidance=3.0), "guidance = 3.0: the model has no condition"),
        (
            lambda: probgen.sample(labeled, given={"label": 1}, guidance=3.0),
            "guidance = 3.0: the model was not fitted without",
        ),
        (lambda: probgen.sample(labeled), "label"),
        (lambda: probgen.sample(fitted, given={"x": x}), "the mask hides nothing"),
        (lambda: probgen.sample(fitted, given={"x": [0, np.nan], "z": [0, 0]}), "Give x or z, not both"),
        (lambda: probgen.sample(fitted, guidance=1e30), "guidance = 1e\\+30"),
        (
            lambda: probgen.sample(fitted, given={"z": [np.inf, 0]}),
            "given 'z' has a value that is NaN or infinite",
        ),
        (
            lambda: probgen.decode(fitted, {"z": [[np.nan, 0]]}),
            "given 'z' has a value that is NaN or infinite",
        ),
        (lambda: probgen.sample(fitted, resampling=2), "resampling = 2 has no effect"),
        (lambda: probgen.score(fitted, x, k=5), "k = 5"),
        (lambda: probgen.score(fitted, x, steps=8), "steps = 8 has no effect"),
        (
            lambda: probgen.score(fitted, x, estimator="ode", k=8),
            "k = 8 has no effect: the trace of 2 dimensions is exact",
        ),
        (lambda: probgen.score(fitted, np.full((1, 2), np.nan)), "missing"),
    ]
    for call, message in calls:
        with pytest.raises((InputError, NotOffered), match=message) as told:
            call()
        assert "\n" not in str(told.value)


def test_weights_are_repeats() -> None:
    """Rows of weight 5 are sampled five times as often: 5/6 of the samples, and a half without weights. A deviation of 1,000 samples is 0.012 to 0.016."""
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(-3, 0.3, (200, 1)), rng.normal(3, 0.3, (200, 1))])
    rows = xr.Dataset({"x": (("row", "feature"), x), "weight": ("row", np.repeat([1.0, 5.0], 200))})
    how = {"hidden": (32,), "blocks": 1, "steps": 400, "batch_size": 100, "learning_rate": 0.005}
    for data, share in ((rows, 5 / 6), (rows.drop_vars("weight"), 0.5)):
        fitted = probgen.fit("diffusion", data, **how)
        assert abs((probgen.sample(fitted, 1000)["x"].values > 0).mean() - share) < 0.08


class Laws(FamilyLaws):
    """The laws for fits of 8 steps, whose random times outweigh weights: `test_weights_are_repeats` replaces that law."""

    test_a_row_of_weight_w_is_w_rows = None


class TestDiffusion(Laws):
    family = "diffusion"
    options = {**SMALL, "steps": 8}


class TestDiffusionOfImages(Laws):
    """Bits given a label, with a U-Net of two resolutions."""

    family = "diffusion"
    options = {**SMALL, "steps": 8, "hidden": (8, 8), "given": ("label",), "drop": 0.3, "dtype": "float64"}

    @pytest.fixture
    def data(self) -> xr.Dataset:
        return images(60).drop_vars("low")


class TestDiffusionOfSteps(Laws):
    """Levels, with a learned schedule of a bound of 8 steps."""

    family = "diffusion"
    support = "integer"
    options = {**SMALL, "steps": 8, "noise": "learned", "timesteps": 8, "average": 0.0}
