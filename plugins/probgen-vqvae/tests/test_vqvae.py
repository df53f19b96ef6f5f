"""The VQ-VAEs against enumeration, a NumPy version of the codebook, and the laws of every family."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from probgen_vqvae.codebook import Codebook, nearest, perplexity, straight_through

import probgen
from probgen import Rows, Run
from probgen.errors import InputError, Interrupted, NotOffered
from probgen.testing import FamilyLaws, spaces
from probgen.testing.helpers import Stop

DIMS = ("row", "height", "width")
PRIOR = {"epochs": 20, "batch_size": 20, "learning_rate": 0.02, "channels": 8, "layers": 2, "head": 8}
SMALL: dict[str, Any] = {
    "codes": 3, "latent": 4, "hidden": 8, "blocks": 1, "halvings": 1, "epochs": 20, "batch_size": 20, "learning_rate": 0.01,
    "prior": PRIOR,
}  # fmt: skip


def images(rows: int = 200, height: int = 4, width: int = 4) -> xr.Dataset:
    """Bits that come in blocks of 2 x 2, a tenth of them turned over; the label is the first of them."""
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 2, (rows, height // 2, width // 2))
    x = np.kron(blocks, np.ones((2, 2), dtype=int)) ^ (rng.random((rows, height, width)) < 0.1)
    label = ("row", blocks[:, 0, 0], {"levels": 2})
    return xr.Dataset({"x": (DIMS, x.astype(np.uint8), {"support": "binary"}), "label": label})


def unlabeled(**sizes: int) -> xr.Dataset:
    return images(**sizes).drop_vars("label")


def levels(n: int) -> xr.Dataset:
    """Images of one of n levels each."""
    x = np.zeros((8, 4, 4), dtype=np.int32) + (np.arange(8) * (n - 1) // 7)[:, None, None]
    return xr.Dataset({"x": (DIMS, x, {"levels": n})})


class Steps:
    """An observer that counts."""

    seen = 0

    @probgen.hookimpl
    def step(self) -> None:
        self.seen += 1


# the codebook


def test_the_nearest_code() -> None:
    rng = np.random.default_rng(0)
    z, e = rng.standard_normal((5000, 6)), rng.standard_normal((40, 6))
    found = nearest(torch.from_numpy(z), torch.from_numpy(e)).numpy()
    assert (found == ((z[:, None] - e) ** 2).sum(2).argmin(1)).all()


def test_autocast_leaves_distances_alone() -> None:
    """Codes that bfloat16 (8 bits) cannot tell apart are told apart, and a fit in it ends near the one in float32."""
    e = torch.tensor([[100.0], [100.1], [100.2]])
    with torch.autocast("cpu", torch.bfloat16):
        assert nearest(e, e).tolist() == [0, 1, 2]
    test = unlabeled()
    options = {**SMALL, "prior": {**PRIOR, "autocast": True}, "autocast": True}
    half = probgen.score(probgen.fit("vqvae", unlabeled(), **options), test).log_prob
    whole = probgen.score(probgen.fit("vqvae", unlabeled(), **SMALL), test).log_prob
    assert half.dtype == whole.dtype == np.float32
    assert abs(float((half - whole).mean())) < 0.5


def test_the_gradient_goes_straight_through() -> None:
    """To the encoder it is that of the identity; the values are those of the codes."""
    z = torch.randn(7, 3, dtype=torch.float64, requires_grad=True)
    q = torch.randn(7, 3, dtype=torch.float64)
    weight = torch.randn(7, 3, dtype=torch.float64)
    out = straight_through(z, q)
    torch.testing.assert_close(out, q)
    [gradient] = torch.autograd.grad((out**3 * weight).sum(), z)
    torch.testing.assert_close(gradient, 3 * q**2 * weight)
    with torch.no_grad():
        assert straight_through(z, q) is q


def test_moving_averages_are_those_of_the_paper() -> None:
    """Appendix A.1 of van den Oord et al. 2017, 100 steps in float64 by NumPy, to 1e-6."""
    rng = np.random.default_rng(0)
    book = Codebook(5, 3, 0.97, False, 0.0)
    e = book.e.double().numpy().copy()
    N, m = np.ones(5), e.copy()
    for _ in range(100):
        z = rng.standard_normal((200, 3)).astype(np.float32)
        k = ((z[:, None].astype(float) - e) ** 2).sum(2).argmin(1)
        book.learn(torch.from_numpy(z), nearest(torch.from_numpy(z), book.codes()))
        one_hot = np.eye(5)[k]
        N = 0.97 * N + 0.03 * one_hot.sum(0)
        m = 0.97 * m + 0.03 * one_hot.T @ z.astype(float)
        e = m / N[:, None]
    np.testing.assert_allclose(book.e.numpy(), e, atol=1e-6)


def test_dead_codes_begin_anew_at_what_is_there() -> None:
    book = Codebook(8, 2, 0.9, False, 0.1)
    book.e[:] = torch.tensor([50.0, 50.0])
    book.e[0] = 0.0
    z = torch.randn(100, 2)
    for _ in range(60):
        book.learn(z, nearest(z, book.codes()))
    used, share = perplexity(nearest(z, book.codes()), 8)
    assert share == 1
    assert used > 4


def test_a_code_that_is_not_used_stays_where_it_is() -> None:
    """2,000 steps, in which its average use goes down to nothing."""
    book = Codebook(2, 3, 0.9, False, 0.0)
    book.e.copy_(torch.tensor([[0.0, 0.0, 0.0], [7.3, -8.1, 9.7]]))
    z = torch.randn(20, 3)
    for _ in range(2000):
        book.learn(z, torch.zeros(20, dtype=torch.int64))
    assert book.e[1].tolist() == torch.tensor([7.3, -8.1, 9.7]).tolist()
    torch.testing.assert_close(book.e[0], z.mean(0))


def test_a_code_that_was_looked_up_does_not_begin_anew() -> None:
    """However little it is used on average: a gradient may be on its way to it."""
    book = Codebook(4, 3, None, False, 0.1)
    book.N.copy_(torch.tensor([100.0, 100.0, 100.0, 1.0]))
    before = book.e.detach().clone()
    z, k = torch.randn(300, 3), torch.arange(300) % 3
    book.learn(z, torch.cat([k[:-1], torch.tensor([3])]))
    assert torch.equal(book.e, before)
    book.learn(z, k)
    assert (book.e[3] == z).all(1).any()


def test_fewer_vectors_than_codes() -> None:
    """Each distinct vector is a code, and the other codes stay as they were."""
    z = torch.randn(3, 2, generator=torch.Generator().manual_seed(0))
    book = Codebook(16, 2, 0.99, False, 0.1)
    before = book.e.clone()
    book.start(z.repeat(20, 1), 0)
    assert torch.cdist(z, book.e[:3]).min(1).values.max() < 1e-6
    assert sorted(torch.cdist(z, book.e[:3]).argmin(1).tolist()) == [0, 1, 2]
    assert (book.e[3:] == before[3:]).all()


def test_codes_of_blank_images() -> None:
    """All rows have the same, and nothing is infinite; without a warning (which would be an error here)."""
    blank = xr.Dataset({"x": (DIMS, np.zeros((30, 4, 4), np.uint8), {"support": "binary"})})
    fitted = probgen.fit("vqvae", blank, **{**SMALL, "codes": 16, "epochs": 1, "prior": None})
    assert all(np.isfinite(array).all() for array in fitted.state.values())
    z = probgen.sample(fitted, given={"x": blank["x"].values})["z"]
    assert (z == z.isel(row=0)).all()


def test_k_means_start() -> None:
    """Of well separated vectors every cluster has its code."""
    rng = np.random.default_rng(0)
    centers = 20 * rng.standard_normal((6, 3))
    z = torch.from_numpy(centers[np.arange(600) % 6] + 0.01 * rng.standard_normal((600, 3))).float()
    book = Codebook(6, 3, 0.99, False, 0.0)
    book.start(z, 0)
    assert (z - book.look_up(nearest(z, book.codes()))).abs().max() < 0.1


def test_perplexity() -> None:
    assert perplexity(torch.tensor([[0, 1], [2, 3]]), 8) == (pytest.approx(4), 0.5)
    assert perplexity(torch.zeros(9).long(), 8)[0] == pytest.approx(1)


# the bound and the draws


def every_map(sides: tuple[int, int], K: int) -> np.ndarray:
    cells = sides[0] * sides[1]
    return np.stack(np.meshgrid(*[np.arange(K)] * cells, indexing="ij"), -1).reshape(-1, *sides)


def table(fitted: Any, maps: dict[str, np.ndarray], x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """log p(z) of each map, and log p(x | z): (map,), (map, row)."""
    module = fitted.module
    zs = [torch.from_numpy(z) for z in maps.values()]
    with torch.no_grad():
        log_z = module.prior.log_prob(zs, None).numpy()
        p = module._given(zs, None)
        log_x = np.stack(
            [p.log_prob(torch.from_numpy(row).to(p.mean)).flatten(1).sum(1).numpy() for row in x], 1
        )
    return log_z, log_x


@pytest.mark.parametrize("decay", [0.9, None])
def test_the_score_is_at_most_the_exact_log_likelihood(decay: float | None) -> None:
    """Summed over all 81 maps of 2 x 2 codes; it is one of the terms of the sum, and on the rows of the fit near all of it."""
    fitted = probgen.fit("vqvae", unlabeled(), dtype="float64", **{**SMALL, "decay": decay})
    x = np.random.default_rng(1).integers(0, 2, (300, 4, 4)).astype(np.uint8)
    x[:200] = images().x.values
    log_z, log_x = table(fitted, {"z": every_map((2, 2), 3)}, x)
    assert np.logaddexp.reduce(log_z) == pytest.approx(0, abs=1e-9)
    exact = np.logaddexp.reduce(log_z[:, None] + log_x, 0)
    scores = probgen.score(fitted, xr.Dataset({"x": (DIMS, x, {"support": "binary"})}))
    assert scores.log_prob.attrs["kind"] == "lower_bound"
    assert (scores.log_prob.values <= exact + 1e-9).all()
    terms = (log_z[:, None] + log_x).T
    assert np.isclose(scores.log_prob.values[:, None], terms, atol=1e-8).any(1).all()
    assert exact[:200].mean() - scores.log_prob.values[:200].mean() < 1.0


def test_draws_have_the_exact_table() -> None:
    """Codes and images of 20,000 draws, with a false-alarm rate of 1e-6 each; two levels, z_1 of one code, z_2 of 2 x 2, with codes
    and a prior that are far from a fit, so that z_1 says much about z_2.
    """
    options = {**SMALL, "codes": 2, "epochs": 1}
    fitted = probgen.fit("vqvae2", unlabeled(), dtype="float64", **options)
    rng = np.random.default_rng(0)
    for parameter in fitted.module.prior.parameters():
        parameter.data = torch.from_numpy(0.7 * rng.standard_normal(parameter.shape))
    for level in fitted.module.codes.levels:
        level.book.e.copy_(torch.from_numpy(rng.standard_normal(level.book.e.shape)))
    top, bottom = every_map((1, 1), 2), every_map((2, 2), 2)
    maps = {"z_1": np.repeat(top, 16, 0), "z_2": np.tile(bottom, (2, 1, 1))}
    draws = probgen.sample(fitted, 20_000)
    index = draws.z_1.values[:, 0, 0] * 16 + draws.z_2.values.reshape(-1, 4) @ [8, 4, 2, 1]
    log_z, _ = table(fitted, maps, images().x.values[:1])
    p = np.exp(log_z).reshape(2, 16)
    assert (
        abs(p[0] / p[0].sum() - p[1] / p[1].sum()).sum() > 0.3
    )  # or a draw that forgets z_1 would not be found
    assert spaces.p_value(np.bincount(index.astype(int), minlength=32), p.ravel()) > spaces.FALSE_ALARM
    small = probgen.fit("vqvae", unlabeled(height=4, width=2), dtype="float64", **SMALL)
    rows = spaces.all_rows(small.event)
    log_z, log_x = table(small, {"z": every_map((2, 1), 3)}, rows)
    p = np.exp(np.logaddexp.reduce(log_z[:, None] + log_x, 0))
    assert p.sum() == pytest.approx(1, abs=1e-9)
    drawn = probgen.sample(small, 20_000).x.values.reshape(-1, 8).astype(int) @ (1 << np.arange(8)[::-1])
    assert spaces.p_value(np.bincount(drawn, minlength=256), p) > spaces.FALSE_ALARM


@pytest.mark.parametrize("decay", [0.9, None])
def test_the_loss_is_that_of_the_paper(decay: float | None) -> None:
    """Equation 3 of van den Oord et al. 2017, a row, with mean squares over a code times the size of x; its gradient to the codes
    is that of the second term alone, and to the encoder there is none of the second term.
    """
    fitted = probgen.fit("vqvae", unlabeled(), dtype="float64", **{**SMALL, "decay": decay, "epochs": 1})
    pair: Any = fitted.module.requires_grad_()
    x = torch.from_numpy(images(rows=30).x.values).double()
    [z], [k], [e] = pair.codes.encode(x, None)
    log_x = pair.site.p(pair.codes.decode([e], None)).log_prob(x[:, None]).flatten(1).sum(1)
    book, size = pair.codes.levels[0].book, 16
    square = (z - book.codes()[k].movedim(3, 1)).square().mean()
    expected = -log_x.mean() + size * (0.25 + (decay is None)) * square
    torch.testing.assert_close(pair.codes.loss(x, n=30)["loss"], expected)

    last = pair.codes.levels[0].last.weight
    recommitted = torch.autograd.grad(-log_x.mean() + size * 0.25 * square, last, retain_graph=True)[0]
    pair.codes.eval()
    loss = pair.codes.loss(x, n=30)["loss"]
    torch.testing.assert_close(torch.autograd.grad(loss, last, retain_graph=True)[0], recommitted)
    if decay is None:
        [gradient] = torch.autograd.grad(loss, book.e)
        flat, own = z.movedim(1, 3).reshape(-1, 4), k.flatten()
        by_hand = (
            torch.stack([(book.e[i] - flat[own == i]).sum(0) for i in range(3)]) * 2 * size / flat.numel()
        )
        torch.testing.assert_close(gradient, by_hand)


def test_a_fit_goes_on_from_any_step_of_either_stage(tmp_path: Path) -> None:
    options = {**SMALL, "epochs": 2, "batch_size": 50, "prior": {**PRIOR, "epochs": 2, "batch_size": 50}}
    whole = probgen.fit("vqvae2", unlabeled(), **options)
    assert whole.history["stage"].values.tolist() == ["codes"] * 8 + ["prior"] * 8
    for stop in range(1, 16):
        out = tmp_path / str(stop)
        with pytest.raises(Interrupted), probgen.observing(Stop(stop)):
            probgen.fit("vqvae2", unlabeled(), out=out, **options)
        again = probgen.fit("vqvae2", unlabeled(), out=out, resume=True, **options)
        for name, value in whole.state.data_vars.items():
            np.testing.assert_array_equal(again.state[name], value, err_msg=f"{stop}: {name}")


@pytest.mark.parametrize("family", ["vqvae", "vqvae2"])
def test_the_prior_is_fitted_to_the_codes_that_are_scored(family: str) -> None:
    options = {**SMALL, "autocast": True, "epochs": 3, "prior": {**PRIOR, "autocast": True, "epochs": 1}}
    fitted = probgen.fit(family, images(), given=["label"], **options)
    event, data = fitted.event, images()
    rows = fitted.module.prior.rows(Rows(data, event, valid=Rows(data, event)), Run())
    coded = probgen.sample(fitted, given={"x": data.x.values, "label": data.label.values})
    expected = np.concatenate([coded[name].values[0].reshape(200, -1) for name in fitted.module.names], 1)
    for part in (rows, rows.valid):
        [chunk] = part.chunks()
        assert (chunk["x"].numpy() == expected).all()
        assert (chunk["label"].numpy() == data.label.values).all()


def test_the_finer_prior_sees_the_coarser_codes_from_all_sides() -> None:
    """The first code that is drawn hangs on every coarser one, those to its right and below, too."""
    fitted = probgen.fit("vqvae2", unlabeled(rows=20, height=16, width=16), **{**SMALL, "epochs": 1})
    prior: Any = fitted.module.prior
    z = [torch.zeros(17, 4, 4, dtype=torch.int64), torch.zeros(17, 8, 8, dtype=torch.int64)]
    z[0][torch.arange(16), torch.arange(16) // 4, torch.arange(16) % 4] = (
        1  # one code in each row; the last has none
    )
    with torch.no_grad():
        logits = prior.p(1, z[:1], None).conditionals(z[1]).logits[:, 0, 0]
    assert (logits[:-1] != logits[-1]).any(1).all()


@pytest.mark.parametrize("label", [0, 1])
def test_draws_of_a_label_have_the_exact_table(label: int) -> None:
    """Of z_1 and z_2 given a label, 20,000 draws, false-alarm rate 1e-6; the prior is far from a fit, so that the label matters."""
    options = {**SMALL, "codes": 2, "epochs": 1}
    fitted = probgen.fit("vqvae2", images(), given=["label"], dtype="float64", **options)
    rng = np.random.default_rng(0)
    for parameter in fitted.module.prior.parameters():
        parameter.data = torch.from_numpy(0.5 * rng.standard_normal(parameter.shape))
    top, bottom = every_map((1, 1), 2), every_map((2, 2), 2)
    zs = [torch.from_numpy(np.repeat(top, 16, 0)), torch.from_numpy(np.tile(bottom, (2, 1, 1)))]
    p = []
    for c in torch.eye(2, dtype=torch.float64):
        with torch.no_grad():
            p.append(fitted.module.prior.log_prob(zs, c.expand(32, 2)).exp().numpy())
    assert p[label].sum() == pytest.approx(1, abs=1e-9)
    draws = probgen.sample(fitted, 20_000, given={"label": label})
    index = draws.z_1.values.reshape(-1) * 16 + draws.z_2.values.reshape(-1, 4) @ [8, 4, 2, 1]
    counts = np.bincount(index.astype(int), minlength=32)
    assert spaces.p_value(counts, p[label]) > spaces.FALSE_ALARM
    assert spaces.p_value(counts, p[1 - label]) < spaces.FALSE_ALARM


@pytest.mark.parametrize(
    ("x", "loc", "scale"),
    [
        (1e8 + np.random.default_rng(0).standard_normal((200, 4, 4)), 1e8, 1.0),
        (np.full((20, 4, 4), 0.3), 0.3, 1.0),
    ],
)
def test_reals_are_standardized(x: np.ndarray, loc: float, scale: float) -> None:
    options = {**SMALL, "epochs": 1, "prior": None}
    site: Any = probgen.fit("vqvae", xr.Dataset({"x": (DIMS, x)}), dtype="float64", **options).module.site
    assert float(site.standard.loc) == pytest.approx(loc, abs=0.1)
    assert float(site.standard.scale) == pytest.approx(scale, rel=0.05)


def test_codes_of_x_are_decoded() -> None:
    fitted = probgen.fit("vqvae2", unlabeled(), **SMALL)
    rows = images().x.values[:5]
    coded = probgen.sample(fitted, given={"x": rows})
    assert (coded.x.values[0] == rows).all()
    codes = {name: coded[name].values[0] for name in ("z_1", "z_2")}
    mean = probgen.sample(fitted, given=codes, mean=True).x.values[0]
    assert (abs(mean - rows) < 0.5).mean() > 0.8
    again = probgen.sample(fitted, 3, given={"z_1": codes["z_1"]})  # the finer codes are drawn
    assert (again.z_1.values == codes["z_1"]).all()
    with pytest.raises(NotOffered, match=r"given z_2: codes are sampled from coarse to fine.*from z_1 on"):
        probgen.sample(fitted, given={"z_2": codes["z_2"]})
    with pytest.raises(InputError, match="Give x or codes, not both"):
        probgen.sample(fitted, given={"x": rows, **codes})
    with pytest.raises(NotOffered, match="known in part"):
        probgen.sample(fitted, given={"x": rows, "observed": np.arange(16).reshape(4, 4) < 8})


def test_class_conditional() -> None:
    """Draws of each label have the first block that the label is."""
    fitted = probgen.fit("vqvae", images(), given=["label"], **SMALL)
    for label in (0, 1):
        draws = probgen.sample(fitted, 200, given={"label": label}).x.values
        assert abs(draws[:, :2, :2].mean() - label) < 0.35


def test_codes_without_a_prior() -> None:
    fitted = probgen.fit("vqvae", unlabeled(), **{**SMALL, "prior": None})
    codes = probgen.sample(fitted, given={"x": images().x.values[:5]}).z.values[0]
    assert probgen.sample(fitted, given={"z": codes}).x.shape == (1, 5, 4, 4)
    assert set(fitted.module.pictures(fitted, unlabeled())) == {"reconstructions", "perplexity", "use"}
    for ask in (lambda: probgen.sample(fitted, 3), lambda: probgen.score(fitted, unlabeled())):
        with pytest.raises(NotOffered, match="the prior over the codes was not fitted"):
            ask()


@pytest.mark.quick(every=1)
@pytest.mark.parametrize(
    ("family", "data", "options", "message"),
    [
        ("vqvae", unlabeled(height=6, width=4), {"halvings": 2}, "height 6, which cannot be halved 2 times"),
        ("vqvae2", unlabeled(height=4, width=6), {"halvings": 1}, "width 6, which cannot be halved 2 times"),
        ("vqvae", unlabeled(), {"codes": 1}, "codes = 1"),
        ("vqvae2", unlabeled(), {"levels": 1}, "levels = 1"),
        ("vqvae", unlabeled(), {"likelihood": "normal"}, "likelihood = 'normal' does not suit"),
        ("vqvae", spaces.example("real"), {}, "x must be images"),
        ("vqvae", unlabeled(), {"graph": True}, "graph = true: codes are looked up by their values"),
        ("vqvae", unlabeled(), {"prior": {"kernel": [4, 3]}}, "kernel = 4: .* blind spot"),
        ("vqvae", unlabeled(), {"prior": {"dilation": [9], "layers": 3}}, "dilation = 9: the other layers"),
        ("vqvae", unlabeled(), {"prior": {"patience": 3}}, "patience = 3: there are no validation rows"),
        (
            "vqvae",
            unlabeled(),
            {"prior": {"autocast": True}, "dtype": "float64"},
            "autocast = true: the fit is in",
        ),
        (
            "vqvae",
            levels(5000),
            {"likelihood": "categorical"},
            "x has 5000 levels, but a softmax allows at most 4096",
        ),
    ],
)
def test_bad_input_is_told_in_a_line(family: str, data: Any, options: dict[str, Any], message: str) -> None:
    """Also of the second stage, before the first one begins."""
    steps = Steps()
    with pytest.raises(InputError, match=message) as told, probgen.observing(steps):
        probgen.fit(family, data, **{**SMALL, **options})
    assert "\n" not in str(told.value)
    assert not steps.seen


@pytest.mark.parametrize(
    ("z", "message"),
    [
        (np.full((2, 2), 3), "whole numbers from 0 to 2"),
        (np.full((2, 2), -1), "whole numbers from 0 to 2"),
        (np.full((2, 2), 0.5), "whole numbers from 0 to 2"),
        (np.zeros((3, 2)), "codes of 2 x 2 are needed"),
    ],
)
def test_bad_codes_are_told_in_a_line(z: np.ndarray, message: str) -> None:
    fitted = probgen.fit("vqvae", unlabeled(), **{**SMALL, "epochs": 1, "prior": None})
    with pytest.raises(InputError, match=message):
        probgen.sample(fitted, given={"z": z})


class TestVQVAE(FamilyLaws):
    family = "vqvae"
    options = {**SMALL, "epochs": 3, "prior": {**PRIOR, "epochs": 3}}
    without_effect = {"fit.restart": "all codes are in use"}

    @pytest.fixture
    def data(self) -> xr.Dataset:
        return unlabeled(rows=60)


class TestVQVAEByGradient(FamilyLaws):
    family = "vqvae"
    options = {**SMALL, "epochs": 3, "decay": None, "distance": "cosine", "prior": {**PRIOR, "epochs": 3}}

    @pytest.fixture
    def data(self) -> xr.Dataset:
        return unlabeled(rows=60)


class TestVQVAE2(FamilyLaws):
    family = "vqvae2"
    options = {**SMALL, "epochs": 3, "prior": {**PRIOR, "epochs": 3}}

    @pytest.fixture
    def data(self) -> xr.Dataset:
        return unlabeled(rows=60, height=8, width=8)


class TestVQVAE2OfColors(FamilyLaws):
    """Three levels, three colors."""

    family = "vqvae2"
    options = {**SMALL, "levels": 3, "epochs": 3, "prior": {**PRIOR, "epochs": 3, "dropout": 0.2}}

    @pytest.fixture
    def data(self) -> xr.Dataset:
        gray = unlabeled(rows=60, height=16, width=16).x.values
        x = np.stack([gray, 1 - gray, gray[:, ::-1]], 1)
        return xr.Dataset({"x": (("row", "channel", *DIMS[1:]), x, {"support": "binary"})})


class TestVQVAEOfReals(FamilyLaws):
    family = "vqvae"
    options = {**SMALL, "epochs": 3, "sigma": 0.5, "prior": {**PRIOR, "epochs": 3}}
    without_effect = {"fit.restart": "all codes are in use"}

    @pytest.fixture
    def data(self) -> xr.Dataset:
        """Blocks with noise, far from 0."""
        x = 5 + images(rows=60).x.values + 0.1 * np.random.default_rng(1).standard_normal((60, 4, 4))
        return xr.Dataset({"x": (DIMS, x)})
