"""The theory of the paper on a discrete toy, exactly; penalties against closed forms; the laws of every family."""

from __future__ import annotations

import math
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from probgen_gan.gan import GAN, GANOptions, _seen
from probgen_gan.losses import LOSSES, value
from torch import Tensor

import probgen
from probgen.errors import DivergedError, InputError
from probgen.testing import FamilyLaws

P = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
Q = torch.tensor([0.4, 0.4, 0.1, 0.1], dtype=torch.float64)


def expected(function: object, d: Tensor, p: Tensor, q: Tensor) -> Tensor:
    """The mean over all pairs x ~ p, G(z) ~ q of a function of D(x), D(G(z)), where D is a table."""
    pairs = torch.tensor(list(product(range(len(p)), repeat=2)))
    weight = p[pairs[:, 0]] * q[pairs[:, 1]]
    return (weight * function(d[pairs[:, 0]], d[pairs[:, 1]])).sum()  # type: ignore[operator]


def best(name: str, p: Tensor, q: Tensor) -> Tensor:
    """The discriminator's table at the least of its loss."""
    d = torch.zeros(len(p), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([d], max_iter=500, tolerance_grad=1e-12, tolerance_change=1e-16)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = expected(LOSSES[name].discriminator, d, p, q)
        loss.backward()
        return loss

    optimizer.step(closure)
    return d.detach()


def jsd(p: Tensor, q: Tensor) -> Tensor:
    m = (p + q) / 2
    return 0.5 * (p * (p / m).log()).sum() + 0.5 * (q * (q / m).log()).sum()


def test_the_best_discriminator_and_the_cost_of_the_generator() -> None:
    """D* = p / (p + q), V(G, D*) = -log 4 + 2 JSD (propositions 1 and theorem 1), reached by ascent."""
    d = best("minimax", P, Q)
    torch.testing.assert_close(d.sigmoid(), P / (P + Q), atol=1e-6, rtol=0)
    cost = expected(LOSSES["minimax"].generator, d, P, Q)
    assert float(cost) == pytest.approx(-math.log(4) + 2 * float(jsd(P, Q)), abs=1e-9)
    exact = (P / Q).log()
    torch.testing.assert_close(expected(value, exact, P, Q), -math.log(4) + 2 * jsd(P, Q), atol=1e-12, rtol=0)


def test_the_game_on_the_toy_ends_at_the_data() -> None:
    """Descent of G on V against the best D ends at p_G = p_data and V = -log 4."""
    logits = Q.log().clone().requires_grad_()
    optimizer = torch.optim.Adam([logits], lr=0.05)
    for _ in range(400):
        q = logits.softmax(0)
        d = (P / q.detach()).log()  # the best discriminator, by the test above
        optimizer.zero_grad()
        cost = expected(LOSSES["minimax"].generator, d, P, q)
        cost.backward()
        optimizer.step()
    torch.testing.assert_close(logits.softmax(0).detach(), P, atol=1e-3, rtol=0)
    assert cost.item() == pytest.approx(-math.log(4), abs=1e-4)


def test_the_best_tables_of_other_losses() -> None:
    """Least squares: p / (p + q) itself; hinge: the sign of p - q; the relativistic one: log p / q up to a constant."""
    torch.testing.assert_close(best("least_squares", P, Q), P / (P + Q), atol=1e-6, rtol=0)
    d = best("relativistic", P, Q)
    torch.testing.assert_close(d - d.mean(), (P / Q).log() - (P / Q).log().mean(), atol=1e-5, rtol=0)
    sign = (P - Q).sign()
    assert expected(LOSSES["hinge"].discriminator, sign, P, Q) == pytest.approx(
        2 * float(torch.minimum(P, Q).sum()), abs=1e-12
    )  # the least there is: 2 sum min(p, q), Lim & Ye 2017
    nudged = [sign + 0.1 * torch.randn(4, dtype=torch.float64) for _ in range(20)]
    assert all(
        expected(LOSSES["hinge"].discriminator, d, P, Q)
        >= expected(LOSSES["hinge"].discriminator, sign, P, Q) - 1e-12
        for d in nudged
    )


@pytest.mark.parametrize("name", LOSSES)
def test_the_generator_gains_where_the_discriminator_believes_it(name: str) -> None:
    fake = torch.zeros(1, requires_grad=True)
    LOSSES[name].generator(torch.zeros(1), fake).sum().backward()
    assert fake.grad is not None
    assert fake.grad.item() < 0


def linear(packing: int = 1) -> tuple[GAN, Tensor]:
    """A GAN whose D is linear, so that its gradient is one vector w."""
    event = probgen.Event(("feature",), (3,), "real")
    gan = GAN(GANOptions(hidden=(), packing=packing, batch_size=8), event).double()
    return gan, gan.D[0].weight[0].detach()


@pytest.mark.parametrize("packing", [1, 2])
def test_penalties_are_those_of_the_gradient(packing: int) -> None:
    gan, w = linear(packing)
    x, y = torch.randn(8, 3, dtype=torch.float64), torch.randn(8, 3, dtype=torch.float64)
    square = float(w.square().sum())
    for chosen, gone, truth in (
        ({"r1": 0.5}, 0.0, 0.25 * square),
        ({"r1": 0.5, "r2": 0.3}, 0.0, 0.4 * square),
        ({"r1": 0.5, "anneal": 0.01}, 0.4, 0.025 * square),
        ({"r1": 0.5, "anneal": 0.01}, 1.0, 0.0025 * square),
        ({"gradient_penalty": 10.0}, 0.5, 10 * (math.sqrt(square) - 1) ** 2),
    ):
        options = GANOptions(packing=packing, batch_size=8, **chosen)
        real, fake, penalty = _seen(gan, x, y, None, options, gone)
        assert torch.as_tensor(penalty).item() == pytest.approx(truth, rel=1e-9)
        assert real.shape == fake.shape == (8 // packing,)
    torch.testing.assert_close(real, x.reshape(8 // packing, -1) @ w + gan.D[0].bias)


def ring() -> object:
    return probgen.datasets.load("ring", "train")[{"row": slice(1000)}]


VARIANTS: dict[str, dict[str, object]] = {
    "minimax, five steps": {"loss": "minimax", "d_steps": 5},
    "clipped": {"loss": "wasserstein", "clip": 0.05},
    "WGAN-GP": {"loss": "wasserstein", "gradient_penalty": 0.1, "d_steps": 2},
    "hinge with spectral normalisation": {"loss": "hinge", "spectral": True},
    "relativistic": {"loss": "relativistic", "r1": 0.1, "r2": 0.1, "anneal": 0.01, "noise": 0.3, "schedule": "cosine"},
    "packed": {"packing": 4},
    "least squares": {"loss": "least_squares"},
}  # fmt: skip


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_learns_where_the_data_are(name: str) -> None:
    """After 300 steps the mean and the deviation of the draws are within 0.35 of the data's; at the start they are not."""
    x = torch.randn(2000, 2, generator=torch.Generator().manual_seed(0)).numpy() * [2.0, 0.5] + [5.0, -3.0]
    fitted = probgen.fit("gan", x, steps=300, batch_size=64, hidden=(32, 32), **VARIANTS[name])
    drawn = probgen.sample(fitted, 2000)["x"].values
    scale = x.std()
    assert abs(drawn.mean(0) - x.mean(0)).max() < 0.35 * scale
    assert abs(drawn.std(0) - x.std(0)).max() < 0.5 * scale
    if name == "clipped":
        assert max(p.abs().max().item() for p in fitted.module.D.parameters()) <= 0.0501


def test_labels_draw_their_own() -> None:
    rng = np.random.default_rng(0)
    label = rng.integers(2, size=1000)
    x = np.where(label == 0, -3.0, 3.0)[:, None] + 0.1 * rng.normal(size=(1000, 1))
    data = xr.Dataset({"x": (("row", "feature"), x), "label": ("row", label)})
    fitted = probgen.fit("gan", data, given=["label"], steps=400, batch_size=64, hidden=(32, 32))
    draws = probgen.sample(fitted, 200, given={"label": np.array([0, 1])})["x"].mean(("sample", "feature"))
    assert draws[0] < -1 < 1 < draws[1]


def test_the_latent_makes_the_draw() -> None:
    fitted = probgen.fit("gan", ring(), steps=5, batch_size=16)
    draws = probgen.sample(fitted, 30)
    again = probgen.sample(fitted, 1, given={"z": draws["z"].values}, seed=9)["x"][0]
    np.testing.assert_allclose(again, draws["x"], atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"packing": 3, "batch_size": 64}, "packing = 3 does not divide batch_size = 64"),
        ({"given": ["label"]}, "label"),
        ({"loss": "wassertein"}, "loss"),
        ({"hidden": [0]}, "at least 1 unit"),
    ],
)
def test_what_is_wrong_is_said(options: dict[str, object], message: str) -> None:
    x = np.random.default_rng(0).normal(size=(100, 2))
    with pytest.raises(InputError, match=message):
        probgen.fit("gan", x, steps=1, **options)


def test_one_row_is_refused() -> None:
    with pytest.raises(InputError, match="a GAN needs at least 2"):
        probgen.fit("gan", np.ones((1, 2)), steps=1)


def test_a_discriminator_that_diverges_is_named(tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match=r"fit step \d+: the discriminator D"):
        probgen.fit("gan", ring(), steps=200, loss="wasserstein", learning_rate=1e18, out=tmp_path / "run")
    assert not (tmp_path / "run" / "model.h5").exists()


class TestGAN(FamilyLaws):
    family = "gan"
    support = "real"
    options = {"steps": 12, "batch_size": 32, "hidden": (16,), "r1": 0.1}


class TestGANOfIntegers(FamilyLaws):
    family = "gan"
    support = "integer"
    options = {
        "steps": 12,
        "batch_size": 32,
        "hidden": (16,),
        "loss": "least_squares",  # at the start hinge leaves the last bias of D without a gradient
        "spectral": True,
        "packing": 2,
    }
