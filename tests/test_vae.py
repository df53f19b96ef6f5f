"""The VAE against what can be known: quadrature over a latent line, probabilistic PCA, formulas written out in NumPy."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from scipy import stats
from torch import Tensor

import probgen
from probgen.contract.event import Event
from probgen.errors import DivergedError, InputError, NotOffered
from probgen.inference.annealed import ais
from probgen.inference.elbo import elbo
from probgen.inference.importance import iwae
from probgen.models.vae import VAE
from probgen.testing import spaces

BITS = Event(("feature",), (4,), "binary")
EVERY = spaces.all_rows(BITS)


def vae(event: Event = BITS, seed: int = 0, **options: Any) -> VAE:
    """A VAE of random weights in float64, large enough for z to matter."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        pair = VAE(VAE.Options(**{"latent": 1, "hidden": (5,), **options}), event).double()
        with torch.no_grad():
            for parameter in pair.decoder.parameters():
                parameter.mul_(3)
    return pair.eval()


def by_quadrature(pair: VAE, x: Tensor, **given: Tensor) -> Tensor:
    """log p(x) over a grid of the latent line: (row,)."""
    z = torch.linspace(-9, 9, 4001, dtype=torch.float64)[:, None]
    log_p_z = stats.norm.logpdf(z.numpy()[:, 0])
    each = torch.stack(
        [
            pair.likelihood(z, **{k: v[i].expand(len(z), *v.shape[1:]) for k, v in given.items()}).log_prob(
                row.expand(len(z), *row.shape)
            )
            for i, row in enumerate(x)
        ]
    )
    return (each + torch.from_numpy(log_p_z)).logsumexp(1) + math.log(18 / 4000)


@pytest.fixture(autouse=True)
def _seed() -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.mark.parametrize(
    ("event", "options"),
    [
        (BITS, {}),
        (Event(("feature",), (2,), "integer", 3), {}),
        (Event(("feature",), (2,), "integer", 4), {"likelihood": "logistic"}),
        (BITS, {"decoder": "nade", "context": 3}),
        (BITS, {"decoder": "made", "context": 3}),
        (Event(("height", "width"), (2, 2), "binary"), {"network": "conv", "hidden": (3,)}),
    ],
)
def test_log_p_is_that_of_quadrature(event: Event, options: dict[str, Any]) -> None:
    """p(x) sums to 1 over all x; IWAE and AIS agree with it within 5 standard errors, and the ELBO lies below."""
    pair = vae(event, **options)
    rows = torch.from_numpy(spaces.all_rows(event)).double()
    with torch.no_grad():
        truth = by_quadrature(pair, rows)
        assert float(truth.exp().sum()) == pytest.approx(1, abs=1e-9)
        bound, se = iwae(pair, rows, 4000)
        assert ((bound - truth).abs() < 5 * se + 1e-3).all()
        chains = ais(pair, rows, 30, chains=50)
        assert ((chains.bound - truth).abs() < 5 * chains.standard_error + 1e-2).all()
        elbos = torch.stack([elbo(pair, rows).bound for _ in range(400)])
    assert (elbos.mean(0) - truth < 5 * elbos.std(0) / 20 + 1e-9).all()


def test_the_parts_are_those_of_the_paper() -> None:
    """Appendix B and C.1 of Kingma & Welling, in NumPy, at the draw that the ELBO took."""
    pair = vae()
    x = torch.from_numpy(EVERY).double()
    torch.manual_seed(1)
    with torch.no_grad():
        found = elbo(pair, x)
        torch.manual_seed(1)
        z = pair.posterior(x).rsample().numpy()
        W = {name: value.numpy() for name, value in pair.named_parameters()}

    def mlp(part: str, v: np.ndarray) -> np.ndarray:
        hidden = np.tanh(v @ W[f"{part}.net.layers.0.weight"].T + W[f"{part}.net.layers.0.bias"])
        return hidden @ W[f"{part}.net.layers.2.weight"].T + W[f"{part}.net.layers.2.bias"]

    mu, log_sigma = np.split(mlp("encoder", x.numpy()), 2, 1)
    kl = -0.5 * (1 + 2 * log_sigma - mu**2 - np.exp(2 * log_sigma)).sum(1)
    p = 1 / (1 + np.exp(-mlp("decoder", z)))
    reconstruction = (x.numpy() * np.log(p) + (1 - x.numpy()) * np.log(1 - p)).sum(1)
    np.testing.assert_allclose(found.divergence, kl, atol=1e-10)
    np.testing.assert_allclose(found.reconstruction, reconstruction, atol=1e-10)


def test_probabilistic_pca_is_a_linear_vae() -> None:
    """With orthogonal loadings the guide can be the posterior: then one draw is log p(x), and a fit reaches the maximum."""
    event = Event(("feature",), (3,), "real")
    pair = VAE(VAE.Options(latent=2, hidden=()), event).double()
    W = torch.tensor([[2.0, 0.0], [0.0, 1.0], [0.0, 1.0]], dtype=torch.float64)
    sigma, m = 0.5, torch.tensor([1.0, -1.0, 0.5], dtype=torch.float64)
    precision = 1 + W.square().sum(0) / sigma**2
    with torch.no_grad():
        decoder, encoder = pair.decoder.net.layers[0], pair.encoder.net.layers[0]
        decoder.weight.copy_(W)
        decoder.bias.copy_(m)
        pair.site.log_sigma.fill_(math.log(sigma))
        V = W.T / sigma**2 / precision[:, None]
        encoder.weight.copy_(torch.cat([V, torch.zeros_like(V)]))
        encoder.bias.copy_(torch.cat([-V @ m, -0.5 * precision.log()]))
        x = (
            m
            + torch.randn(200, 2, dtype=torch.float64) @ W.T
            + sigma * torch.randn(200, 3, dtype=torch.float64)
        )
        exact = stats.multivariate_normal(m.numpy(), (W @ W.T).numpy() + sigma**2 * np.eye(3)).logpdf(
            x.numpy()
        )
        np.testing.assert_allclose(iwae(pair, x, 1)[0], exact, atol=1e-6)
    rng = np.random.default_rng(0)
    data = (
        rng.standard_normal((600, 1)) @ np.array([[3.0, 1.0, -2.0]]) + 0.5 * rng.standard_normal((600, 3)) + 4
    )
    fitted = probgen.fit(
        "vae", data, latent=1, hidden=(), steps=1500, batch_size=600, learning_rate=0.02, schedule="cosine"
    )
    values = np.linalg.eigvalsh(np.cov(data.T, bias=True))
    noise = values[:2].mean()  # Tipping & Bishop 1999, eq. 8: on one scale for all dimensions
    maximum = -0.5 * (3 * math.log(2 * math.pi) + math.log(values[2]) + 2 * math.log(noise) + 3)
    score = probgen.score(fitted, data, k=200)["log_prob"].mean().item()
    assert maximum - 0.02 < score < maximum + 0.005


def test_draws_and_completions_have_their_distributions() -> None:
    """Draws against the exact table, completions against its conditionals; G-test on cells, false-alarm rate 1e-6."""
    pair = vae()
    x = torch.from_numpy(EVERY).double()
    weight = 2 ** np.arange(4)
    with torch.no_grad():
        p = by_quadrature(pair, x).exp().numpy()
        drawn = pair.draw(20_000, {}, VAE.SampleOptions())["x"].numpy()
        counts = np.bincount((drawn @ weight).astype(int), minlength=16)
        order = (EVERY @ weight).astype(int)
        assert spaces.p_value(counts[order], p) > spaces.FALSE_ALARM
        for known in ([True, False, True, False], [False, False, False, True]):
            observed = torch.tensor(known).expand(3000, 4)
            start = torch.tensor([1.0, 0.0, 1.0, 1.0], dtype=torch.float64).expand(3000, 4)
            options = VAE.SampleOptions(particles=8, steps=20)
            found = pair.complete(start, observed, options)
            assert (found["x"][observed] == start[observed]).all()
            assert float(found["ess"].min()) >= 1
            agree = (EVERY[:, known] == start[0].numpy()[known]).all(1)
            counts = np.bincount((found["x"].numpy() @ weight).astype(int), minlength=16)
            assert counts[order][~agree].sum() == 0
            assert spaces.p_value(counts[order][agree], p[agree] / p[agree].sum()) > spaces.FALSE_ALARM


def test_z_given_all_of_x_is_of_the_posterior() -> None:
    """Kolmogorov-Smirnov against quadrature, false-alarm rate 1e-6."""
    pair = vae()
    x = torch.tensor([1.0, 0.0, 1.0, 1.0], dtype=torch.float64)
    with torch.no_grad():
        z = torch.linspace(-9, 9, 4001, dtype=torch.float64)
        log_f = pair.likelihood(z[:, None]).log_prob(x.expand(4001, 4)) - z**2 / 2
        cdf = log_f.softmax(0).cumsum(0).numpy()
        options = VAE.SampleOptions(particles=50)
        found = pair.complete(x.expand(4000, 4), torch.ones(4000, 4, dtype=torch.bool), options)
    drawn = found["z"][:, 0].numpy()
    assert stats.kstest(drawn, lambda v: np.interp(v, z.numpy(), cdf)).pvalue > 1e-6


def test_missing_dimensions_are_left_out() -> None:
    """log p(x_o) is the sum over what is missing, by quadrature."""
    pair = vae()
    observed = torch.tensor([[True, False, True, False]])
    x = torch.tensor([[1.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    agree = (EVERY[:, [0, 2]] == [1, 0]).all(1)
    with torch.no_grad():
        truth = by_quadrature(pair, torch.from_numpy(EVERY[agree]).double()).logsumexp(0)
        bound, se = iwae(pair, x, 5000, observed=observed)
    assert abs(float(bound - truth)) < 5 * float(se)


def test_conditions_reach_the_encoder_and_the_decoder() -> None:
    label = Event((), (), "token", 3)
    pair = vae(Event(("feature",), (4,), "binary", None, {"label": label}))
    x = torch.from_numpy(EVERY).double()
    with torch.no_grad():
        truths = []
        for value in range(3):
            given = torch.full((16,), value)
            truth = by_quadrature(pair, x, label=given)
            assert float(truth.exp().sum()) == pytest.approx(1, abs=1e-9)
            bound, se = iwae(pair, x, 4000, label=given)
            assert ((bound - truth).abs() < 5 * se + 1e-3).all()
            truths.append(truth)
    assert not torch.allclose(truths[0], truths[1])
    assert not torch.allclose(pair.posterior(x, label=given).mean, pair.posterior(x, label=given * 0).mean)


def test_priors() -> None:
    """Mixture and VampPrior against NumPy; the density of each integrates to 1 on the line."""
    for prior in ("mixture", "vamp"):
        pair = vae(prior=prior, prior_components=3)
        with torch.no_grad():
            if prior == "vamp":
                pair.prior.u.copy_(torch.rand_like(pair.prior.u))
                q = pair.posterior(pair.prior.u[..., 0])
                parts = [(1 / 3, m.item(), s.item()) for m, s in zip(q.loc, q.scale, strict=True)]
            else:
                pair.prior.log_pi.copy_(torch.tensor([0.5, 0.2, 0.3]).log())
                pair.prior.log_sigma.copy_(torch.tensor([[-0.5], [0.2], [0.4]]))
                pi, sigma = pair.prior.log_pi.softmax(0), pair.prior.log_sigma.exp()
                parts = [(pi[k].item(), pair.prior.mu[k].item(), sigma[k].item()) for k in range(3)]
            z = torch.linspace(-30, 30, 20_001, dtype=torch.float64)[:, None]
            found = pair.prior(len(z)).log_prob(z).exp().numpy()
        wanted = sum(w * stats.norm(m, s).pdf(z.numpy()[:, 0]) for w, m, s in parts)
        np.testing.assert_allclose(found, wanted, rtol=1e-7, atol=1e-12)
        assert found.sum() * 60 / 20_000 == pytest.approx(1, abs=1e-4)


FAST: dict[str, Any] = {"latent": 2, "hidden": (16,), "steps": 30, "batch_size": 32, "learning_rate": 0.01}


def bits(n: int = 96) -> xr.Dataset:
    return probgen.datasets.load("digits-binary", "train").isel(row=slice(0, n))


@pytest.mark.parametrize(
    "options",
    [
        {"prior": "mixture"},
        {"prior": "vamp", "prior_components": 200},
        {"bound": "iwae", "k": 5},
        {"bound": "iwae", "k": 8, "followed": 2, "warm_up": 4.0},
        {"bound": "renyi", "k": 5, "alpha": 0.5},
        {"beta": 4.0, "warm_up": 2.0},
        {"free_bits": 0.5},
        {"decoder": "made", "context": 8},
        {"network": "conv", "hidden": (4, 8), "activation": "silu"},
        {"likelihood": "categorical"},
        {"graph": True, "warm_up": 3.0},
    ],
)
def test_every_form_learns(options: dict[str, Any]) -> None:
    """A hundred steps halve the distance from a fair coin for every bit to the best VAE of the kind."""
    fitted = probgen.fit("vae", bits(), **{**FAST, "steps": 100, **options})
    assert probgen.score(fitted, bits(), k=50)["log_prob"].mean().item() > -35
    assert 0 <= fitted.groups["latent"]["active_units"].item() <= 2
    assert probgen.sample(fitted, 3)["z"].sizes == {"sample": 3, "latent": 2}


def test_the_loss_of_beta_and_free_bits() -> None:
    pair = vae(latent=2, beta=3.0, warm_up=10.0, free_bits=0.4).train()
    x = torch.from_numpy(EVERY).double()
    for epoch, beta in ((0.0, 0.0), (5.0, 1.5), (25.0, 3.0)):
        pair.begin(epoch)
        torch.manual_seed(2)
        found = pair.loss(x, n=16)
        torch.manual_seed(2)
        parts = elbo(pair, x)
        paid = parts.kl["z"].mean(0).clamp(min=0.4).sum()
        torch.testing.assert_close(found["loss"], beta * paid - parts.reconstruction.mean())
        torch.testing.assert_close(found["kl"], parts.divergence.mean())
    pair.eval()
    torch.manual_seed(2)
    torch.testing.assert_close(pair.loss(x, n=16)["loss"], -parts.bound.mean())


def test_the_number_of_draws_in_the_warm_up() -> None:
    """k goes up from 1 geometrically: 1, the root, and then all."""
    pair = vae(bound="iwae", k=49, warm_up=10.0).train()
    for epoch, k in ((0.0, 1), (5.0, 7), (10.0, 49), (25.0, 49)):
        pair.begin(epoch)
        assert pair.k == k


def test_a_captured_fit_is_the_eager_fit() -> None:
    """Same seeds, same weights to rounding; a loss that takes other ways is refused."""
    one = probgen.fit("vae", bits(), **FAST)
    other = probgen.fit("vae", bits(), graph=True, **FAST)
    for name in one.state.data_vars:
        np.testing.assert_allclose(other.state[name], one.state[name], atol=2e-4)
    np.testing.assert_allclose(other.history["kl"], one.history["kl"], rtol=1e-3, atol=1e-4)
    for family, options in (("made", {"masks": 4, "hidden": 8}), ("nade", {"hidden": 8})):
        with pytest.raises(InputError, match="does not run the same operations at every step"):
            probgen.fit(family, bits(), steps=3, batch_size=16, graph=True, **options)


def test_scores_say_how_they_were_got() -> None:
    fitted = probgen.fit("vae", bits(), **FAST)
    few = bits(20)
    found = {
        "elbo": probgen.score(fitted, few, estimator="elbo", k=30),
        "iwae-30": probgen.score(fitted, few, k=30),
        "iwae-3": probgen.score(fitted, few, k=3),
        "ais-10": probgen.score(fitted, few, estimator="ais", steps=10, chains=4),
    }
    for name, scores in found.items():
        attrs = scores["log_prob"].attrs
        assert (attrs["estimator"], attrs["kind"], attrs["measure"]) == (name, "lower_bound", "counting")
        assert "log_prob_se" in scores
        assert ("pareto_k" in scores) == (name == "iwae-30")
    means = {name: scores["log_prob"].mean().item() for name, scores in found.items()}
    assert means["elbo"] < means["iwae-3"] < means["iwae-30"] + 0.1
    assert abs(means["ais-10"] - means["iwae-30"]) < 0.5
    small = probgen.score(fitted, few, k=30, at_once=7)["log_prob"].mean().item()
    assert small == pytest.approx(means["iwae-30"], abs=0.3)


def test_a_latent_in_whole_numbers_and_a_latent_beside_x() -> None:
    fitted = probgen.fit("vae", bits(), **FAST)
    whole, real = (probgen.sample(fitted, 2, given={"z": np.ones((3, 2), t)}) for t in (int, float))
    assert whole.x.equals(real.x)
    with pytest.raises(InputError, match="x and z are given: z is made from x"):
        probgen.sample(fitted, 1, given={"x": bits(3).x.values, "z": np.ones((3, 2))})


@pytest.mark.parametrize("family", ["vae", "autoencoder"])
def test_columns_of_any_units_are_learned(family: str) -> None:
    """Two columns that are one number in units 1e12 apart: both are reconstructed from it, to a tenth of their deviation."""
    u = np.random.default_rng(0).normal(size=300)
    table = pd.DataFrame({"small": 1e-6 * u + 3e-6, "large": 1e6 * u})
    fitted = probgen.fit(
        family, table, latent=1, hidden=(16,), activation="tanh", epochs=60, batch_size=50, learning_rate=0.01
    )
    codes = probgen.encode(fitted, table)
    x = probgen.decode(fitted, {"z": codes.z.values}).x.values
    off = (x - table.to_numpy()) / table.to_numpy().std(0)
    assert np.sqrt((off**2).mean(0)).max() < 0.1


def test_names_of_conditions_and_their_units() -> None:
    x = np.random.default_rng(0).normal(size=(40, 2))
    rows = xr.Dataset({"x": (("row", "feature"), x), "n": ("row", np.zeros(40, int), {"levels": 2})})
    for name in ("x", "n"):
        with pytest.raises(InputError, match=rf"given = \['{name}'\]: '{name}' has another meaning"):
            probgen.fit("vae", rows, given=[name], steps=1, latent=2, hidden=(4,))
    for scale, notes in ((1.0, 0), (1e6, 1), (1e-6, 1)):
        wide = rows.assign(u=(("row", "q"), scale * x))
        fitted = probgen.fit("vae", wide, given=["u"], steps=1, latent=2, hidden=(4,))
        found = [note for note in fitted.notes if "condition 'u' has a standard deviation of" in note]
        assert len(found) == notes


@pytest.mark.parametrize("decoder", ["nade", "made"])
def test_decoders_of_classes_that_would_be_one_are_refused(decoder: str) -> None:
    data = bits().assign(label=("row", np.arange(bits().sizes["row"]) % 2, {"levels": 2}))
    with pytest.raises(InputError, match="one decoder = '" + decoder + "' for all classes"):
        probgen.fit("vae", data, **FAST, decoder=decoder, given=["label"], conditioning="decoders")


@pytest.mark.parametrize("parts", [1, 2])
def test_epochs_are_compared_by_the_same_random_numbers(parts: int) -> None:
    """Weights that stay where they are have one validation loss, though each bound is random."""
    options = {**FAST, "steps": 12, "learning_rate": 1e-12}  # 4 epochs
    losses = [
        probgen.fit("vae", bits(), valid=bits(), parts=parts, seed=seed, **options)
        .history["valid_loss"]
        .dropna("step")
        .values
        for seed in (0, 1)
    ]
    assert losses[0].shape == (4,)
    for each in losses:
        np.testing.assert_allclose(each, each[0], rtol=1e-9)
    assert losses[0][0] != losses[1][0]


def test_more_followed_samples_than_samples_are_refused() -> None:
    with pytest.raises(InputError, match="followed = 9: there are k = 4 samples"):
        probgen.fit("vae", bits(), **FAST, bound="iwae", k=4, followed=9)


def test_means_draws_and_codes() -> None:
    fitted = probgen.fit("vae", bits(), **FAST)
    z = np.array([[0.5, -1.0], [0.0, 2.0]])
    mean = probgen.sample(fitted, 1, given={"z": z}, mean=True)["x"]
    assert mean.dims == ("sample", "row", "height", "width")
    draws = probgen.sample(fitted, 4000, given={"z": z})["x"]
    error = 5 * np.sqrt(0.25 / 4000)
    np.testing.assert_allclose(draws.mean("sample"), mean[0], atol=error)
    x = bits(5)["x"].values
    codes = probgen.sample(fitted, 3, given={"x": x})
    assert (codes["x"].values == x).all()
    assert codes["z"].sizes == {"sample": 3, "row": 5, "latent": 2}
    q = fitted.module.posterior(torch.from_numpy(x).float())
    assert q.mean.shape == (5, 2)


# bad input


@pytest.mark.quick(every=1)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"latent": 0}, "latent = 0"),
        ({"hidden": (0,)}, "at least 1 unit"),
        ({"network": "conv", "hidden": (4, 4, 4, 4)}, "cannot be halved 4 times"),
        ({"network": "conv", "hidden": ()}, "channels of each convolution"),
        ({"likelihood": "normal"}, "'normal' does not suit x"),
        ({"bound": "iwae", "k": 0}, "k = 0"),
        ({"bound": "iwae", "beta": 2.0}, "beta and free_bits have no effect"),
        ({"bound": "renyi", "alpha": 1.0}, "alpha = 1.0"),
        ({"bound": "iwae", "k": 5, "warm_up": 2.0, "graph": True}, "same number of samples"),
        ({"given": ("lable",)}, "lable"),
        ({"given": ("label",), "prior": "vamp"}, "does not support conditions"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        probgen.fit("vae", bits(), **{**FAST, **options})
    assert "\n" not in str(caught.value)


def test_data_that_do_not_suit() -> None:
    gray = np.random.default_rng(0).integers(0, 256, (40, 4, 4))
    with pytest.raises(InputError, match=r"'bernoulli' does not suit x .*or binarize x"):
        probgen.fit("vae", gray, likelihood="bernoulli", **FAST)
    with pytest.raises(InputError, match="conditioned on 'label', which is not in the data"):
        probgen.fit("vae", bits().drop_vars("label"), given=("label",), **FAST)
    with pytest.raises(InputError, match="Alternative: use network = 'mlp'"):
        probgen.fit("vae", np.eye(4, dtype=int), network="conv", **FAST)
    with pytest.raises(InputError, match="levels, but a softmax allows at most 256"):
        probgen.fit("vae", gray * 4, likelihood="categorical", **FAST)
    with pytest.raises(InputError, match="needs discrete x"):
        probgen.fit("vae", np.random.default_rng(0).standard_normal((9, 3)), decoder="nade", **FAST)
    fitted = probgen.fit("vae", bits(), **FAST)
    for options, message in (({"k": 0}, "k = 0"), ({"estimator": "ais", "steps": 0}, "steps = 0")):
        with pytest.raises(InputError, match=message):
            probgen.score(fitted, bits(), **options)
    autoregressive = probgen.fit("vae", bits(), decoder="nade", context=4, **FAST)
    with pytest.raises(NotOffered, match="the mean of x given z is unknown"):
        probgen.sample(autoregressive, 1, mean=True)


class BadGradient(VAE):
    """Its fifth loss is finite, and has a gradient that is not."""

    calls = 0

    def loss(self, x: Tensor, *, n: int, **given: Any) -> dict[str, Tensor]:
        found = super().loss(x, n=n, **given)
        self.calls += 1
        if self.calls == 5:
            weight = self.decoder.net.layers[0].weight
            found["loss"] = found["loss"] + torch.sqrt(0 * weight).sum()
        return found


@pytest.mark.parametrize(
    ("pause", "message"),
    [
        ("60", r"step 5: loss is nan; the gradient of 'decoder\.net\.layers\.0\.weight' was not"),
        ("0", r"step 5: 'pair\.decoder\.net\.layers\.0\.weight' is not finite; the last checkpoint is kept"),
    ],
)
def test_a_gradient_that_is_not_finite_is_named(
    pause: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by the next loss, or before it by the checkpoint, which is not written."""
    monkeypatch.setenv("PROBGEN_CHECKPOINT_SECONDS", pause)
    with pytest.raises(DivergedError, match=message):
        probgen.fit(BadGradient, bits(), out=tmp_path / "run", **FAST)
    kept = sorted(p.name for p in (tmp_path / "run" / "checkpoints").iterdir())
    assert kept == ([] if pause == "60" else ["fit-000003.h5", "fit-000004.h5"])


class Broken(VAE):
    """Its decoder gives NaN from the sixth step on."""

    def begin(self, epoch: float) -> None:
        """Count."""
        self.begun = getattr(self, "begun", 0) + 1
        if self.begun == 6:
            last = self.decoder.net.layers[-1]
            last.register_forward_hook(lambda layer, inputs, output: output * math.nan)


def test_a_layer_that_gives_nan_is_named_and_the_last_checkpoint_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROBGEN_CHECKPOINT_SECONDS", "0")
    with pytest.raises(
        DivergedError, match=r"step 5: loss is nan; .* decoder\.net\.layers\.2 \(Linear\)"
    ) as caught:
        probgen.fit(Broken, bits(), out=tmp_path / "run", **FAST)
    assert caught.value.exit_code == 4
    kept = sorted(p.name for p in (tmp_path / "run" / "checkpoints").iterdir())
    assert kept[-1] == "fit-000005.h5"
