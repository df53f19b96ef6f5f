"""The theory of the paper on a discrete toy, exactly; penalties against closed forms; the laws of every family."""

from __future__ import annotations

import copy
import math
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from probgen_gan import dcgan, member
from probgen_gan.adversarial import Adversarial, adversarial
from probgen_gan.calibration import calibrate
from probgen_gan.dcgan import DCGAN
from probgen_gan.fitting import seen
from probgen_gan.gan import GAN, Options
from probgen_gan.layers import MinibatchDiscrimination
from probgen_gan.losses import LOSSES, cross_entropy
from probgen_gan.members import Members
from probgen_gan.pictures import pictures
from probgen_gan.unrolled import ahead
from scipy.stats import multivariate_normal
from torch import Tensor

import probgen
from probgen import Rows, Run
from probgen.data.ingest import as_dataset
from probgen.errors import DivergedError, InputError
from probgen.evaluation import frechet
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
    assert -float(expected(cross_entropy, d, P, Q)) == pytest.approx(
        -math.log(4) + 2 * float(jsd(P, Q)), abs=1e-9
    )
    exact = (P / Q).log()
    torch.testing.assert_close(
        -expected(cross_entropy, exact, P, Q), -math.log(4) + 2 * jsd(P, Q), atol=1e-12, rtol=0
    )


def test_the_game_on_the_toy_ends_at_the_data() -> None:
    """Descent of G on V against the best D ends at p_G = p_data and V = -log 4."""
    logits = Q.log().clone().requires_grad_()
    optimizer = torch.optim.Adam([logits], lr=0.05)
    for _ in range(400):
        q = logits.softmax(0)
        d = (P / q.detach()).log()  # the best discriminator, by the test above
        optimizer.zero_grad()
        expected(LOSSES["minimax"].generator, d, P, q).backward()
        optimizer.step()
    torch.testing.assert_close(logits.softmax(0).detach(), P, atol=1e-3, rtol=0)
    assert expected(cross_entropy, d, P, q).item() == pytest.approx(math.log(4), abs=1e-4)


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


class Bowl(torch.nn.Module):
    """D = |rows of a pack|^2 / 2, whose gradient is the rows themselves; of rows whose dimension is the one that is named."""

    def __init__(self, packing: int, dim: int):
        super().__init__()
        self.packing, self.dim = packing, dim

    def forward(self, x: Tensor, c: None = None) -> Tensor:
        shape = (*x.shape[: self.dim], x.shape[self.dim] // self.packing, -1)
        return x.reshape(shape).square().sum(-1) / 2


def game_of(form: str, **options: object) -> Adversarial:
    """A GAN of rows of twelve numbers: vectors, images, or the vectors of two members."""
    if form == "image":
        event = probgen.Event(("channel", "height", "width"), (3, 2, 2), "real")
        return DCGAN(dcgan.Options(channels=[2], **options), event)
    members = 2 if form == "members" else 1
    return GAN(Options(hidden=(), members=members, **options), probgen.Event(("feature",), (12,), "real"))


@pytest.mark.parametrize("packing", [1, 2])
@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("form", ["vector", "image", "members"])
def test_penalties_are_those_of_the_gradient(packing: int, alone: bool, form: str) -> None:
    """R1 at real rows, R2 at draws, the gradient penalty at one point a pack between them; twelve numbers, eight rows.

    Of several members the penalties are added up.
    """
    gan = game_of(form, packing=packing, batch_size=8).double()
    gan.D, gan.alone = Bowl(packing, gan.row_dim), alone
    m, packs = gan.members, 8 // packing
    x, y = torch.randn(2, *([m] if m > 1 else []), 8, *gan.form, dtype=torch.float64)
    e = torch.rand(*x.shape[: gan.row_dim], packs, dtype=torch.float64)
    at_x, at_y = (rows.reshape(m, packs, -1).square().sum(2) for rows in (x, y))
    wide = e.reshape(m, packs, 1)
    at_e = (wide * x.reshape(m, packs, -1) + (1 - wide) * y.reshape(m, packs, -1)).square().sum(2)
    for chosen, gone, truth in (
        ({"r1": 0.5}, 0.0, 0.25 * at_x.mean()),
        ({"r2": 0.5}, 0.0, 0.25 * at_y.mean()),
        ({"r1": 0.5, "r2": 0.3}, 0.0, 0.25 * at_x.mean() + 0.15 * at_y.mean()),
        ({"r1": 0.5, "anneal": 0.01}, 0.4, 0.025 * at_x.mean()),
        ({"r1": 0.5, "anneal": 0.01}, 1.0, 0.0025 * at_x.mean()),
        ({"gradient_penalty": 10.0}, 0.5, 10 * (at_e.sqrt() - 1).square().mean()),
    ):
        gan.options = Options(packing=packing, batch_size=8, **chosen)
        real, fake, penalty = seen(gan, x, y, None, gone, lambda packs: e)
        assert penalty is not None
        assert penalty.item() == pytest.approx(m * truth.item(), rel=1e-9)
        torch.testing.assert_close(real, at_x.reshape(real.shape) / 2)
        torch.testing.assert_close(fake, at_y.reshape(fake.shape) / 2)


def ring() -> object:
    return probgen.datasets.load("ring", "train")[{"row": slice(1000)}]


VARIANTS: dict[str, dict[str, object]] = {
    "minimax, five steps": {"loss": "minimax", "d_steps": 5},
    "clipped": {"loss": "wasserstein", "clip": 0.05},
    "WGAN-GP": {"loss": "wasserstein", "gradient_penalty": 0.1, "d_steps": 2},
    "hinge with spectral normalization": {"loss": "hinge", "spectral": True},
    "relativistic": {"loss": "relativistic", "r1": 0.1, "r2": 0.1, "anneal": 0.01, "noise": 0.3, "schedule": "cosine"},
    "packed": {"packing": 4},
    "least squares": {"loss": "least_squares"},
}  # fmt: skip


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_learns_where_the_data_are(name: str) -> None:
    """The deviations of the draws are between a half and twice those of the data; after one step one of them is not."""
    x = torch.randn(2000, 2, generator=torch.Generator().manual_seed(0)).numpy() * [2.0, 0.5] + [5.0, -3.0]
    options = {"batch_size": 64, "hidden": (32, 32), "average": 0.9, **VARIANTS[name]}
    fitted = probgen.fit("gan", x, steps=600, **options)
    drawn = probgen.sample(fitted, 2000)["x"].values
    assert (abs(drawn.mean(0) - x.mean(0)) < x.std(0)).all()
    ratio = drawn.std(0) / x.std(0)
    assert ((ratio > 0.5) & (ratio < 2)).all()
    ratio = probgen.sample(probgen.fit("gan", x, steps=1, **options), 2000)["x"].values.std(0) / x.std(0)
    assert not ((ratio > 0.5) & (ratio < 2)).all()
    if name == "clipped":
        assert max(p.abs().max().item() for p in fitted.module.D.parameters()) <= 0.0501


def test_pictures_suit_the_data() -> None:
    """Of integers, of one feature and of many there is no surface, and nothing fails."""
    rng = np.random.default_rng(0)
    for x, names in (
        (rng.normal(size=(50, 2)), {"game", "draws_by_step", "surface", "members"}),
        (rng.normal(size=(50, 1)), {"game"}),
        (rng.integers(3, size=(50, 2)), {"game", "draws_by_step"}),
        (rng.normal(size=(50, 3)), {"game", "draws_by_step"}),
    ):
        fitted = probgen.fit("gan", x, steps=3, members=2, loss="hinge")
        assert pictures(fitted, as_dataset(x)).keys() == names


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
    with pytest.raises(InputError, match="2 numbers per sample are needed, not 3"):
        probgen.sample(fitted, given={"z": np.zeros((1, 3))})
    with pytest.raises(InputError, match="x and z are given"):
        probgen.sample(fitted, given={"x": np.array([[np.nan, 1.0]]), "z": np.zeros((1, 2))})
    draws = probgen.sample(fitted, 30)
    again = probgen.sample(fitted, 1, given={"z": draws["z"].values}, seed=9)["x"][0]
    np.testing.assert_allclose(again, draws["x"], atol=1e-6)


@pytest.mark.parametrize("members", [1, 2])
def test_completion_is_the_best_of_several_searches(members: int) -> None:
    """Of its own draws, 7 numbers of a 2-dimensional z: what is hidden follows from what is known, and is found."""
    data = np.random.default_rng(0).normal(size=(200, 7))
    fitted = probgen.fit("gan", data, steps=5, batch_size=16, members=members)
    which = {"member": np.full(20, members - 1)} if members > 1 else {}
    truth = (
        probgen.sample(fitted, 1, seed=3, given=which)["x"][0]
        if which
        else probgen.sample(fitted, 20, seed=3)["x"]
    )
    known = np.ones((20, 7), dtype=bool)
    known[::2, 5:] = False
    known[1::2, :3] = False
    x = np.where(known, truth.values, np.nan)
    found = probgen.sample(fitted, 2, given={"x": x, **which}, restarts=8, search_steps=300, prior=0.0)
    again = found["x"].values
    np.testing.assert_array_equal(again[:, known], np.broadcast_to(x, again.shape)[:, known])
    assert "search" in found["search_error"].attrs["long_name"]
    assert "x is not sampled" in found["search_error"].attrs["long_name"]
    spread = float(truth.std())
    assert np.median(found["search_error"]) < 0.02 * spread
    good = found["search_error"].values < 0.02 * spread
    assert good.mean() > 0.8
    off = np.abs(again - truth.values).max(2)[good]
    assert np.median(off) < 0.2 * spread
    made = probgen.decode(fitted, {"z": found["z"].values[0], **which})[
        "x"
    ].values  # by the code that is given back
    error = np.sqrt(np.nanmean(np.square(made - x), 1))
    np.testing.assert_allclose(found["search_error"].values[0], error, rtol=1e-3, atol=1e-6)


def test_more_searches_are_never_worse() -> None:
    """The first search is one of four, from the same draw; two completions of a row begin elsewhere."""
    fitted = probgen.fit("gan", ring(), steps=5, batch_size=16)
    x = ring()["x"].values[:30].copy()
    x[:, 1] = np.nan
    one, four = (
        probgen.sample(fitted, 2, given={"x": x}, restarts=t, search_steps=15, prior=0.0) for t in (1, 4)
    )
    assert (four["search_error"].values <= one["search_error"].values).all()
    assert (four["search_error"].values < one["search_error"].values).any()
    assert not np.array_equal(one["z"].values[0], one["z"].values[1])
    with pytest.raises(InputError, match="restarts = 2"):
        probgen.sample(fitted, 2, restarts=2)


def test_rows_of_which_nothing_is_known_are_drawn() -> None:
    """As freely as without x; those beside them are completed."""
    fitted = probgen.fit("gan", ring(), steps=50, batch_size=16)
    x = np.array([[np.nan, np.nan], [1.0, np.nan]])
    found = probgen.sample(fitted, 300, given={"x": x}, search_steps=5, restarts=1)
    free = probgen.sample(fitted, 300, seed=1)["x"]
    np.testing.assert_allclose(found["x"][:, 0].std("sample"), free.std("sample"), rtol=0.3)
    assert (found["search_error"][:, 0] == 0).all()
    assert (found["x"][:, 1, 0] == 1).all()
    made = probgen.decode(fitted, {"z": found["z"].values[:, 0]})["x"].values
    np.testing.assert_allclose(found["x"][:, 0], made, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["vectors", "members", "images"])
def test_what_is_decoded_is_what_is_drawn(name: str) -> None:
    """Rounded where the data are whole numbers; by the member that is named; with a gradient to z."""
    if name == "images":
        fitted = probgen.fit(
            "dcgan", images(64), given=["label"], steps=3, batch_size=16, channels=[4], latent=2
        )
    else:
        members = 3 if name == "members" else 1
        fitted = probgen.fit("gan", ring(), steps=3, batch_size=16, hidden=(16,), members=members)
    given = {"label": np.ones(5, dtype=int)} if fitted.event.given else {}
    draws = probgen.sample(fitted, 1, given={**given, "z": np.random.default_rng(0).normal(size=(5, 2))})
    latents = {latent: draws[latent].values[0] for latent in adversarial(fitted).latents}
    decoded = probgen.decode(fitted, {**given, **latents})["x"]
    if fitted.event.discrete:
        assert not np.array_equal(decoded, decoded.round())
        decoded = decoded.round()
    np.testing.assert_allclose(decoded, draws["x"][0], atol=1e-6)

    tensors = {k: torch.from_numpy(v) for k, v in latents.items()}
    z = tensors["z"] = tensors["z"].float().requires_grad_()
    x = adversarial(fitted).decode({**tensors, **{k: torch.from_numpy(v) for k, v in given.items()}})
    x.sum().backward()
    assert z.grad is not None
    assert (z.grad.abs().sum(1) > 0).all()


def test_several_members_decode_only_with_a_member() -> None:
    fitted = probgen.fit("gan", ring(), steps=1, batch_size=16, members=2)
    with pytest.raises(InputError, match="requires 'member' as well"):
        probgen.decode(fitted, {"z": np.zeros((1, 2))})
    with pytest.raises(InputError, match="member: whole numbers from 0 to 1"):
        probgen.decode(fitted, {"z": np.zeros((1, 2)), "member": 2})


def test_another_family_has_no_members() -> None:
    fitted = probgen.fit("mixture", ring(), components=1)
    with pytest.raises(InputError, match="family 'mixture' is not a GAN"):
        member(fitted, 0)


# what the discriminator knows of its batch and of its future


def test_minibatch_discrimination_is_the_papers() -> None:
    layer = MinibatchDiscrimination(2, 3, 4).double()
    f = torch.randn(2, 5, 3, dtype=torch.float64)
    out = layer(f).detach()
    for m in range(2):
        M = (f[m].numpy() @ layer.T[m].detach().numpy()).reshape(5, 4, 5)
        o = np.exp(-np.abs(M[:, None] - M[None]).sum(3)).sum(1)
        np.testing.assert_allclose(out[m], np.concatenate([f[m], o], 1), rtol=1e-12)
    alone = layer.eval()(f)
    torch.testing.assert_close(alone[:, :1, 3:], layer.train()(f[:, :1])[:, :, 3:])


def test_ahead_is_where_the_optimizer_would_be() -> None:
    """The parameters after three steps of Adam, and the slope of a loss there in what the steps depend on."""
    torch.manual_seed(0)
    D = torch.nn.Linear(3, 1).double()
    optimizer = torch.optim.Adam(D.parameters(), lr=0.1, betas=(0.5, 0.9), eps=1e-8)
    x = torch.randn(8, 3, dtype=torch.float64)

    def loss(theta: dict[str, Tensor], shift: Tensor) -> Tensor:
        return (torch.func.functional_call(D, theta, (x + shift,)) - 1).square().mean()

    loss(dict(D.named_parameters()), torch.zeros(3, dtype=torch.float64)).backward()
    optimizer.step()
    before = copy.deepcopy((D.state_dict(), optimizer.state_dict()))

    def after(shift: Tensor) -> Tensor:
        theta = ahead(D, optimizer, lambda theta: loss(theta, shift), 3)
        return loss(theta, torch.zeros(3, dtype=torch.float64))

    shift = torch.tensor([0.3, -0.2, 0.1], dtype=torch.float64, requires_grad=True)
    theta = ahead(D, optimizer, lambda theta: loss(theta, shift), 3)
    assert torch.autograd.gradcheck(after, (shift,))
    assert all(torch.equal(D.state_dict()[k], v) for k, v in before[0].items())
    for _ in range(3):
        optimizer.zero_grad()
        loss(dict(D.named_parameters()), shift.detach()).backward()
        optimizer.step()
    for name, parameter in D.named_parameters():
        torch.testing.assert_close(theta[name], parameter, atol=1e-6, rtol=0)


# several at once


@pytest.mark.parametrize(
    "options",
    [
        {"loss": "relativistic", "r1": 0.3, "r2": 0.3, "noise": 0.2, "schedule": "cosine"},
        {"loss": "wasserstein", "gradient_penalty": 1.0, "d_steps": 2, "packing": 2},
        {"unrolled": 2, "minibatch": 4},
    ],
)
def test_members_are_what_fits_by_themselves_would_be(options: dict[str, object]) -> None:
    """The same weights within rounding after 40 steps, by which those of two seeds are far from each other."""
    common = {"steps": 40, "batch_size": 32, "hidden": (16, 16), "dtype": "float64", **options}
    together = probgen.fit("gan", ring(), seed=5, members=3, **common)
    for i in range(3):
        alone = probgen.fit("gan", ring(), seed=5 + i, **common)
        one = member(together, i)
        for name, state in alone.module.state_dict().items():
            far = 1e-5 if name == "calibration" else 1e-8  # a regression on what D says magnifies
            np.testing.assert_allclose(one.module.state_dict()[name], state, atol=far, err_msg=name)
        other = member(together, (i + 1) % 3)
        assert one.provenance["seed"] == 5 + i
        assert (one.state["G.0.weight"] - other.state["G.0.weight"]).std() > 0.05
        z = np.random.default_rng(0).normal(size=(20, 2))
        draws = probgen.sample(together, given={"z": z, "member": np.full(20, i)})["x"]
        np.testing.assert_allclose(draws, probgen.sample(one, given={"z": z})["x"], atol=1e-6)
    which = probgen.sample(together, 300)["member"].values
    assert (np.bincount(which) > 60).all()
    critic = probgen.score(together, ring())["critic"]
    assert critic.dims == ("row", "member")
    np.testing.assert_allclose(critic[:, 2], probgen.score(one, ring())["critic"], atol=1e-5)
    with pytest.raises(InputError, match="Select one of them"):
        probgen.score(together, ring(), estimator="ais", noise=0.1)
    with pytest.raises(InputError, match="member: whole numbers from 0 to 2"):
        probgen.sample(together, given={"member": np.array([3])})


def test_members_are_diagnosed_one_by_one() -> None:
    """The figures are those of a member by itself, and not those of all."""
    together = probgen.fit("gan", ring(), members=2, steps=60, batch_size=32, hidden=(16, 16))
    unseen = probgen.datasets.load("ring", "test")[{"row": slice(600)}]
    found = [probgen.diagnose(together, unseen, given={"member": i})["value"] for i in range(2)]
    assert not np.allclose(found[0], found[1])
    draws = probgen.sample(together, 300, given={"member": 1})["x"].values
    half = unseen["x"].values[np.random.default_rng(0).permutation(600)[300:]]
    assert found[1].sel(measure="frechet").item() == pytest.approx(frechet(half, draws), rel=1e-6)


# scores


def by_hand(x: np.ndarray, noise: float = 0.0) -> tuple[probgen.Fitted, np.ndarray, np.ndarray]:
    """A GAN whose generator is z -> W z + b, and W, b in the units of the data."""
    fitted = probgen.fit("gan", x, steps=1, hidden=(), average=0.0, seed=3)
    with torch.no_grad():
        fitted.module.average[0].weight.copy_(torch.tensor([[1.0, 0.3], [-0.2, 0.5], [0.4, 0.1]]))
    scale = float(fitted.module.standard.scale)
    W = fitted.module.average[0].weight.double().numpy() * scale
    b = (
        fitted.module.average[0].bias.double().detach().numpy() * scale
        + fitted.module.standard.loc.double().numpy()
    )
    return fitted, W, b


def test_likelihood_under_noise_is_that_of_a_linear_generator() -> None:
    """log N(x; b, W W^T + noise^2) within 0.1 nats, and on simulated rows between the two chains.

    The bounds hold in expectation: the mean of 16 rows may lie beyond by five standard errors.
    """
    rng = np.random.default_rng(0)
    noise = 0.3
    fitted, W, b = by_hand(rng.normal(size=(16, 3)) * 2 + 1)
    x = b + rng.normal(size=(16, 2)) @ W.T + noise * rng.normal(size=(16, 3))
    scores = probgen.score(fitted, x, estimator="ais", noise=noise, steps=400, chains=256)
    truth = multivariate_normal(b, W @ W.T + noise**2 * np.eye(3)).logpdf(x)
    np.testing.assert_allclose(scores["log_prob"], truth, atol=0.1)
    assert scores["log_prob"].attrs["noise"] == noise
    assert scores["log_prob"].attrs["kind"] == "lower_bound"
    lower, upper = scores["simulated_lower"].values, scores["simulated_upper"].values
    entropy = (
        1.5 * math.log(2 * math.pi * math.e) + 0.5 * np.linalg.slogdet(W @ W.T + noise**2 * np.eye(3))[1]
    )
    assert abs(lower.mean() + entropy) < 5 * lower.std() / 4
    assert -5 * (upper - lower).std() / 4 < (upper - lower).mean() < 0.1


def test_a_calibrated_discriminator_is_a_density_ratio() -> None:
    """Rows of N((1, 1, 1), 1), draws of N(0, 1): whatever the scale of D, the ratio is x_1 + x_2 + x_3 - 3/2.

    With 4,000 of each, the slope of a logistic regression is within 0.2, and its intercept within 0.4 of the truth (four deviations).
    """
    rng = np.random.default_rng(1)
    x = rng.normal(size=(4000, 3)) + 1
    fitted = probgen.fit("gan", x, latent=3, hidden=(), steps=1)
    module = fitted.module
    with torch.no_grad():
        module.standard.loc.zero_()
        module.standard.scale.fill_(1.0)
        module.average[0].weight.copy_(torch.eye(3))
        module.average[0].bias.zero_()
        module.D.net[0].weight.fill_(-7.0)
        module.D.net[0].bias.fill_(2.0)
        rows = Rows(xr.Dataset({"x": (("row", "feature"), x)}), fitted.event)
        calibrate(module, rows, Members(module, rows, Run()))
    scores = probgen.score(fitted, x[:50], estimator="ratio")["log_ratio"]
    assert scores.attrs["kind"] == "surrogate"
    assert scores.attrs["calibrated_on"] == "train"
    slope, intercept = np.polyfit(x[:50].sum(1), scores, 1)
    assert abs(slope - 1) < 0.2
    assert abs(intercept + 1.5) < 0.4


@pytest.mark.parametrize("options", [{"estimator": "ais"}, {"estimator": "critic", "noise": 0.1}])
def test_a_likelihood_needs_a_noise(options: dict[str, object]) -> None:
    fitted = probgen.fit("gan", ring(), steps=1)
    with pytest.raises(InputError, match="needs `noise`"):
        probgen.score(fitted, ring(), **options)


# images


def images(n: int, shape: tuple[int, ...] = (8, 8)) -> xr.Dataset:
    """Bars that lie or stand, and which they do."""
    rng = np.random.default_rng(0)
    x, label = np.zeros((n, *shape)), rng.integers(2, size=n)
    for i, (at, lies) in enumerate(zip(rng.integers(shape[-1], size=n), label, strict=True)):
        x[(i, ..., at, slice(None)) if lies else (i, ..., at)] = 15
    dims = ("channel", "height", "width")[-len(shape) :]
    return xr.Dataset(
        {
            "x": (("row", *dims), x.astype(np.uint8), {"support": "integer", "levels": 16}),
            "label": ("row", label),
        }
    )


@pytest.mark.parametrize("options", [{"given": ["label"]}, {"spectral": True, "loss": "hinge"}])
def test_bars_are_drawn_as_bars(options: dict[str, object]) -> None:
    """After 800 steps nearly all pixels of a draw are at one end, and about one line is lit; as told, if it is told."""
    fitted = probgen.fit(
        "dcgan",
        images(512),
        latent=8,
        channels=[16, 32],
        steps=800,
        learning_rate=1e-3,
        average=0.9,
        **options,
    )
    given = {"label": np.array([0, 1])} if "given" in options else None
    draws = probgen.sample(fitted, 100, given=given)["x"].values.reshape(-1, 8, 8) / 15
    assert abs(draws.mean() - 1 / 8) < 0.1  # 0.5 at the start
    assert np.minimum(draws, 1 - draws).mean() < 0.08
    if given is not None:  # (sample, row) as one: every second draw was to lie
        lit_rows, lit_columns = draws.mean(2).max(1), draws.mean(1).max(1)
        right = (lit_rows > lit_columns) == (np.arange(200) % 2 == 1)
        assert right.mean() > 0.68  # 0.5 of those that were not told, five deviations away


def test_a_pack_of_images_is_seen_as_channels() -> None:
    event = probgen.Event(
        ("channel", "height", "width"), (2, 4, 4), "real", given={"label": probgen.Event((), (), "token", 3)}
    )
    gan = DCGAN(dcgan.Options(channels=[4], packing=2), event)
    x, c = torch.randn(6, 2, 4, 4), torch.nn.functional.one_hot(torch.arange(6) % 3, 3).float()
    out = gan.discriminate(x, c)
    first = gan.D.convolutions[0]
    planes = torch.zeros(3, 10, 4, 4)
    for pack in range(3):
        planes[pack, :4] = x[2 * pack : 2 * pack + 2].reshape(4, 4, 4)
        planes[pack, 4:] = c[2 * pack : 2 * pack + 2].reshape(6, 1, 1)
    assert out.shape == (3,)
    kept = []
    first.register_forward_hook(lambda module, inputs, output: kept.append(inputs[0]))
    gan.discriminate(x, c)
    torch.testing.assert_close(kept[0], planes)


# what is wrong


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"packing": 3, "batch_size": 64}, "packing = 3 does not divide batch_size = 64"),
        ({"given": ["label"]}, "label"),
        ({"loss": "wassertein"}, "loss"),
        ({"hidden": [0]}, "at least 1 unit"),
        ({"members": 2, "spectral": True}, "one by one"),
        ({"unrolled": 2, "r1": 0.1}, "does not support penalties"),
    ],
)
def test_what_is_wrong_is_said(options: dict[str, object], message: str) -> None:
    x = np.random.default_rng(0).normal(size=(100, 2))
    with pytest.raises(InputError, match=message):
        probgen.fit("gan", x, steps=1, **options)


@pytest.mark.parametrize(
    ("options", "shape", "message"),
    [
        ({"channels": [8, 8, 8, 8]}, (8, 8), "height 8, which cannot be halved 4 times"),
        ({"channels": []}, (8, 8), "at least one layer"),
        ({}, (8,), "`gan` takes vectors"),
        ({"channels": [4, 8], "batch_size": 1}, (8, 8), "at least 2 packs of 1"),
    ],
)
def test_images_that_do_not_suit(options: dict[str, object], shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        probgen.fit("dcgan", np.zeros((10, *shape)), steps=1, **options)


def test_one_row_is_refused() -> None:
    with pytest.raises(InputError, match="a GAN needs at least 2"):
        probgen.fit("gan", np.ones((1, 2)), steps=1)


def test_a_discriminator_that_diverges_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        DivergedError, match=r"fit step \d+: the loss of the (discriminator D|generator G) is -?(inf|nan)"
    ):
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


class TestGANsAtOnce(FamilyLaws):
    family = "gan"
    support = "real"
    options = {"steps": 12, "batch_size": 32, "hidden": (16,), "members": 3, "unrolled": 1, "minibatch": 2}


class TestGANWithNoise(FamilyLaws):
    family = "gan"
    support = "real"
    options = {
        "steps": 12,
        "batch_size": 32,
        "hidden": (16,),
        "r2": 0.1,
        "noise": 0.4,
        "anneal": 0.01,
        "d_steps": 2,
        "packing": 2,
    }


class TestDCGAN(FamilyLaws):
    family = "dcgan"
    options = {"steps": 6, "batch_size": 16, "channels": (4, 8), "latent": 4}

    @pytest.fixture
    def data(self) -> xr.Dataset:
        return images(64).drop_vars("label")
