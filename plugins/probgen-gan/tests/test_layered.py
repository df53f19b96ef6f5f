"""Generators with layers: each part against its formula, fades, truncation, standing statistics, the best weights, and the laws."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from probgen_gan import best, biggan, progan, stylegan
from probgen_gan.adversarial import Game, Stage
from probgen_gan.biggan import BigGAN
from probgen_gan.equalized import EqualizedConv, EqualizedLinear, MinibatchDeviation, pixel_norm
from probgen_gan.fitting import parts_of, seen
from probgen_gan.layered import Projection
from probgen_gan.progan import ProGAN, doubled, halved
from probgen_gan.stylegan import StyledConv, StyleGAN
from scipy import stats
from torch import Tensor
from torch.nn.functional import conv2d

import probgen
from probgen.contract.seeds import generators_kept, seed_torch
from probgen.contract.state import digest_of
from probgen.errors import InputError, Interrupted
from probgen.plugins.observers import observing
from probgen.testing import FamilyLaws
from probgen.testing.helpers import Stop

IMAGE = probgen.Event(("channel", "height", "width"), (3, 16, 16), "real")
TINY: dict[str, dict[str, Any]] = {
    "stylegan": {
        "channels": (6, 5, 4),
        "d_channels": (4, 5),
        "latent": 6,
        "style": 5,
        "mapping": 2,
        "clusters": 3,
    },
    "progan": {"channels": (6, 5, 4), "latent": 6},
    "biggan": {"channels": (6, 5, 4), "d_channels": (4, 5), "latent": 6, "orthogonal": 1e-3},
}


@pytest.fixture(autouse=True)
def _generators() -> Any:
    with generators_kept():
        seed_torch(0)
        yield


def images(n: int, shape: tuple[int, ...] = (3, 8, 12), *, real: bool = False, seed: int = 0) -> xr.Dataset:
    """Stripes of three kinds, which are the label."""
    rng = np.random.default_rng(seed)
    label = rng.integers(3, size=n)
    wave = np.sin(np.arange(shape[-1]) * (1 + label[:, None]) + rng.random((n, 1)) * 6)
    x = wave.reshape(n, *[1] * (len(shape) - 1), shape[-1]) + 0.2 * rng.standard_normal((n, *shape))
    if not real:
        x = np.clip(31.5 + 15 * x, 0, 63).astype(np.uint8)
    attrs = {} if real else {"support": "integer", "levels": 64}
    dims = ("row", "channel", "height", "width") if len(shape) == 3 else ("row", "height", "width")
    return xr.Dataset({"x": (dims, x, attrs), "label": ("row", label, {"levels": 3})})


def fitted(family: str, data: xr.Dataset | None = None, **options: Any) -> probgen.Fitted:
    return probgen.fit(
        family,
        images(64) if data is None else data,
        **{**TINY[family], "steps": 6, "batch_size": 8, **options},
    )


# layers


def test_equalized_layers_begin_with_unit_variance_and_scale_their_gradients() -> None:
    """Outputs of white input have the gain's variance whatever the size; the weights are Normal(0, 1 / rate^2)."""
    x = torch.randn(4000, 300)
    for rate in (1.0, 0.01):
        layer = EqualizedLinear(300, 50, gain=1.0, rate=rate)
        assert layer(x).var().item() == pytest.approx(1, abs=0.05)
        assert layer.weight.std().item() == pytest.approx(1 / rate, rel=0.02)
    conv = EqualizedConv(40, 30, 3)
    assert conv(torch.randn(50, 40, 8, 8))[:, :, 1:-1, 1:-1].var().item() == pytest.approx(2, abs=0.2)


def test_pixel_norm_makes_the_mean_square_one() -> None:
    x = 7 * torch.randn(5, 9, 2, 3)
    torch.testing.assert_close(pixel_norm(x).square().mean(1), torch.ones(5, 2, 3), rtol=1e-6, atol=0)


def test_minibatch_deviation_is_that_of_groups_of_four() -> None:
    """Against NumPy, group by group; in evaluation a row does not depend on the others."""
    x = torch.randn(8, 3, 2, 2)
    layer = MinibatchDeviation()
    y = layer(x)
    for i in range(2):  # rows i, i + 2, i + 4, i + 6 are a group
        group = x[i::2].numpy()
        assert y[i::2, 3].numpy() == pytest.approx(np.sqrt(group.var(0) + 1e-8).mean(), rel=1e-5)
    assert torch.equal(y[:, :3], x)
    layer.eval()
    torch.testing.assert_close(layer(x)[:1], layer(x[:1]))


@pytest.mark.parametrize("up", [False, True])
def test_modulation_is_a_convolution_with_weights_of_each_row(up: bool) -> None:
    """y = (W s d) * up(x), d = 1 / |W s| (Karras et al. 2020, eq. 1 and 3), row by row in float64."""
    layer = StyledConv(5, 4, 3, up).double()
    x, w = torch.randn(6, 5, 4, 4).double(), torch.randn(6, 3).double()
    found = layer(x, w, noise=False)
    for i in range(6):
        W = layer.conv.W * layer.style(w[i : i + 1]).reshape(1, 5, 1, 1)
        W = W / (W.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        y = (
            conv2d(doubled(x[i : i + 1]) if up else x[i : i + 1], W, padding=1)
            + layer.conv.bias[:, None, None]
        )
        expected = torch.where(y > 0, y, 0.2 * y) * math.sqrt(2)
        torch.testing.assert_close(found[i : i + 1], expected, rtol=1e-5, atol=1e-6)


def test_projection_adds_how_features_suit_the_condition() -> None:
    out, embedding = torch.nn.Linear(4, 1), torch.nn.Linear(3, 4, bias=False)
    f, c = torch.randn(5, 4), torch.eye(3)[[0, 1, 2, 0, 1]]
    found = Projection(out, embedding, 0.5)(f, c)
    torch.testing.assert_close(found, out(f)[:, 0] + 0.5 * ((c @ embedding.weight.T) * f).sum(1))


# the game


def test_lazy_penalties_come_every_so_often_and_weigh_as_much() -> None:
    gan = StyleGAN(stylegan.Options(**TINY["stylegan"], r1=0.3, r1_every=4), IMAGE).eval()
    x, y = torch.randn(2, 4, 3, 16, 16)
    penalty = seen(gan, x, y, None, 0.0, torch.rand, due=True)[2]
    assert seen(gan, x, y, None, 0.0, torch.rand, due=False)[2] is None
    rows = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(gan.D(rows, None).sum(), rows)
    assert penalty is not None
    assert penalty.item() == pytest.approx(
        0.5 * 0.3 * 4 * slope.square().sum((1, 2, 3)).mean().item(), rel=1e-5
    )


def test_stages_share_the_steps() -> None:
    stages = tuple(Stage(name, share) for name, share in (("a", 0.1), ("b", 0.3), ("c", 0.6)))
    for steps in range(1, 60):
        parts = list(parts_of(stages, steps))
        assert sum(part.steps for part in parts) == steps
        assert [part.start for part in parts] == [sum(p.steps for p in parts[:i]) for i in range(len(parts))]
        assert parts[-1].stage.name == "c"


@pytest.mark.parametrize("family", TINY)
def test_products_in_bfloat16(family: str) -> None:
    """autocast gives near numbers and other bits, finite ones; in float64 it is refused."""
    plain, cast = (fitted(family, autocast=on) for on in (False, True))
    assert digest_of(plain.state) != digest_of(cast.state)
    assert Game.of(cast.options).autocast  # type: ignore[arg-type]
    assert np.isfinite(probgen.sample(cast, 8)["x"].values).all()
    with pytest.raises(InputError, match="autocast = true"):
        fitted(family, autocast=True, dtype="float64")


# growing


def grown(**options: Any) -> ProGAN:
    return ProGAN(progan.Options(**TINY["progan"], **options), IMAGE).double()


def test_a_fade_begins_with_what_was_there() -> None:
    """alpha = 0 is the level before: G's images up-sampled; D's of images that are averaged."""
    gan, z = grown(), torch.randn(4, 6).double()
    x = torch.rand(4, 3, 16, 16).double()
    gan.D.eval()
    for level in (1, 2):
        torch.testing.assert_close(
            gan.G(z, None, level, 0.0), gan.G(z, None, level - 1, 1.0), rtol=0, atol=1e-12
        )
        torch.testing.assert_close(
            gan.D(x, None, level, 0.0), gan.D(x, None, level - 1, 1.0), rtol=0, atol=1e-12
        )


@pytest.mark.parametrize("level", [1, 2])
def test_a_fade_is_linear_and_ends_without_the_old_branch(level: int) -> None:
    gan, z = grown(), torch.randn(4, 6).double()
    ends = [gan.G(z, None, level, alpha) for alpha in (0.0, 1.0)]
    torch.testing.assert_close(gan.G(z, None, level, 0.3), 0.7 * ends[0] + 0.3 * ends[1])
    x = torch.rand(4, 3, 16, 16).double()
    (gan.G(z, None, level, 1.0).sum() + gan.D(x, None, level, 1.0).sum()).backward()
    for net in (gan.G, gan.D):
        assert all(p.grad is None for p in net.colors[level - 1].parameters())  # type: ignore[union-attr,operator,index]
        assert all(p.grad is not None for p in net.colors[level].parameters())  # type: ignore[union-attr,operator,index]


def test_what_is_doubled_is_taken_back_by_halving() -> None:
    x = torch.randn(2, 3, 4, 6)
    torch.testing.assert_close(halved(doubled(x, 4), 4), x)


def test_level_and_alpha_follow_from_stage_and_step() -> None:
    gan = grown(growth=1.0, fade=0.5)
    assert [stage.name for stage in gan.stages] == ["maps4", "maps8", "maps16"]
    for i, stage in enumerate(gan.stages):
        for gone in (0.0, 0.1, 0.25, 0.5, 0.9):
            gan.at(stage, gone)
            assert gan.level == i
            assert gan.alpha == (min(1.0, gone / 0.5) if i else 1.0)


@pytest.mark.parametrize("family", ["progan", "biggan"])
def test_a_fit_goes_on_from_every_step_of_every_stage(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted after each of its steps, in mid-fade and between looks at its draws, it ends in the same bits."""
    monkeypatch.setattr(best, "APART", 1)
    monkeypatch.setattr(biggan, "STANDING", 64)
    steps = 9 if family == "progan" else 5
    options: dict[str, Any] = {"valid": images(20, seed=1), "steps": steps}
    if family == "progan":
        options |= {"growth": 1.0}
    whole = fitted(family, **options)
    for stop in range(1, steps):
        with observing(Stop(stop)), pytest.raises(Interrupted):
            fitted(family, **options, out=tmp_path / str(stop))
        again = fitted(family, **options, out=tmp_path / str(stop), resume=True)
        assert digest_of(again.state) == digest_of(whole.state), stop
        assert digest_of(again.history) == digest_of(whole.history), stop
        assert again.provenance["notes"] == whole.provenance["notes"]


# draws


def style_of(**options: Any) -> probgen.Fitted:
    return fitted("stylegan", options.pop("data", None), steps=20, learning_rate=0.02, **options)


def test_truncation_goes_towards_the_middle() -> None:
    """w' = c + psi (w - c), of the mean, of classes and of the nearest cluster; 0 is the middle itself, 1 the draw."""
    plain, of_class = style_of(), style_of(given=("label",))
    for model, towards in ((plain, "mean"), (plain, "cluster"), (of_class, "class"), (of_class, "cluster")):
        module = model.module
        assert isinstance(module, StyleGAN)
        label = np.arange(30) % 3
        given: dict[str, Any] = {"label": label} if model is of_class else {}
        given["z"] = np.random.default_rng(0).standard_normal((30, 6))
        w = probgen.sample(model, given=given)["w"].values[0]
        found = probgen.sample(model, given=given, truncation=0.3, towards=towards)
        if towards == "mean":
            c = module.w_mean.numpy()
        elif towards == "class":
            many = {"label": np.repeat(np.arange(3), 4000)}
            w_many = probgen.sample(model, given=many, seed=9)["w"].values[0].reshape(3, 4000, -1)
            c, error = w_many.mean(1)[label], 6 * w_many.std(1).max() * math.sqrt(1 / 4000 + 1 / 10_000)
            end = probgen.sample(model, given=given, truncation=0.0, towards="class")["w"].values[0]
            assert (np.abs(end - c) < error).all()
            c = end
        else:
            centers = module.w_cluster.numpy()
            c = centers[((w[:, None] - centers) ** 2).sum(2).argmin(1)]
        np.testing.assert_allclose(found["w"].values[0], c + 0.3 * (w - c), atol=1e-5)
        np.testing.assert_array_equal(found["styles"].values[0, :, 2], found["w"].values[0])
        end = probgen.sample(model, given=given, truncation=0.0, towards=towards)["w"].values[0]
        np.testing.assert_allclose(end, np.broadcast_to(c, w.shape), atol=1e-6)


def test_the_middle_is_the_mean_of_w() -> None:
    """Of 10,000 draws, so of 9,000 others within six errors; clusters differ."""
    model = style_of()
    module = model.module
    assert isinstance(module, StyleGAN)
    w = probgen.sample(model, 9000, seed=5)["w"].values
    assert (np.abs(module.w_mean.numpy() - w.mean(0)) < 6 * w.std(0) * math.sqrt(2 / 9000)).all()
    assert len(np.unique(module.w_cluster.numpy(), axis=0)) == 3


def test_a_class_has_a_middle_of_its_own_even_without_rows() -> None:
    data = images(64)
    data["label"].attrs["levels"] = 5  # two that never come
    model = style_of(data=data, given=("label",))
    ends = probgen.sample(model, given={"label": np.arange(5)}, truncation=0.0, towards="class")["w"].values[
        0
    ]
    assert len(np.unique(ends.round(6), axis=0)) == 5


def test_noise_changes_draws_and_no_latents() -> None:
    model = style_of()
    assert isinstance(model.module, StyleGAN)
    z = np.random.default_rng(1).standard_normal((4, 6))
    one, two = (probgen.sample(model, given={"z": z}, seed=seed) for seed in (1, 2))
    assert not np.array_equal(one["x"], two["x"])
    assert np.array_equal(one["styles"], two["styles"])
    one, two = (probgen.sample(model, given={"z": z}, seed=seed, mean=True) for seed in (1, 2))
    assert np.array_equal(one["x"], two["x"])


def test_of_given_styles_what_came_before_is_not_said() -> None:
    model = style_of()
    draws = probgen.sample(model, 5)
    again = probgen.sample(model, given={"styles": draws["styles"].values}, mean=True)
    assert set(again.data_vars) == {"x", "styles"}
    of_w = probgen.sample(model, given={"w": draws["w"].values}, mean=True)
    assert set(of_w.data_vars) == {"x", "w", "styles"}
    np.testing.assert_allclose(of_w["x"], again["x"], atol=1e-4)


def test_styles_are_mixed_while_training_alone() -> None:
    """With mixing = 1 every image of a batch has styles of two z; in evaluation none has."""
    gan = StyleGAN(stylegan.Options(**TINY["stylegan"], mixing=1.0), IMAGE)
    z = torch.randn(6, 6)
    for block in gan.G.blocks:
        for layer in block.children():
            torch.nn.init.zeros_(layer.noise)  # type: ignore[arg-type]
    gan.G.train()
    assert not torch.equal(gan.G(z), gan.G(z))
    gan.G.eval()
    assert torch.equal(gan.G(z), gan.G(z))


def test_truncated_z_is_a_normal_that_is_cut_off() -> None:
    """Kolmogorov and Smirnov against SciPy's, false alarms 1e-6; the threshold is a number of deviations."""
    model = fitted("biggan")
    for limit in (0.5, 2.0):
        z = probgen.sample(model, 2000, truncation=limit)["z"].values.ravel()
        assert np.abs(z).max() <= limit
        assert stats.kstest(z, stats.truncnorm(-limit, limit).cdf).pvalue > 1e-6


@pytest.mark.parametrize("given", [(), ("label",)])
def test_standing_statistics_are_those_of_many_draws(given: tuple[str, ...]) -> None:
    """The last norm's are the moments of what it sees of other draws, within 15 %; and a draw is the same in any batch."""
    model = fitted("biggan", given=given, steps=30, learning_rate=0.01)
    module = model.module
    assert isinstance(module, BigGAN)
    label = {"label": np.arange(3000) % 3} if given else None
    draws = probgen.sample(model, 1 if given else 3000, given=label)
    z = draws["z"].values.reshape(3000, -1)
    start = {"z": z, **(label or {})}
    maps = probgen.decode(model, start, "maps8x12")["maps8x12"].values
    np.testing.assert_allclose(module.average.norm.running_mean, maps.mean((0, 2, 3)), atol=0.15 * maps.std())
    np.testing.assert_allclose(module.average.norm.running_var, maps.var((0, 2, 3)), rtol=0.15)
    one = {name: value[:1] for name, value in start.items()}
    np.testing.assert_allclose(
        probgen.decode(model, one)["x"].values, probgen.decode(model, start)["x"].values[:1], rtol=1e-5
    )


def test_orthogonal_regularization_is_that_of_the_paper() -> None:
    gan = BigGAN(biggan.Options(**TINY["biggan"]), IMAGE)
    total = 0.0
    for w in gan.G.parameters():
        if w.ndim > 1:
            W = w.detach().flatten(1).double().numpy()
            P = W @ W.T if len(W) <= W.shape[1] else W.T @ W
            total += ((P * (1 - np.eye(len(P)))) ** 2).sum()
    extra = gan.extra()
    assert extra is not None
    assert extra.item() == pytest.approx(1e-3 * total, rel=1e-5)


def test_styles_of_a_class_share_its_embedding() -> None:
    model = fitted("biggan", given=("label",))
    module = model.module
    assert isinstance(module, BigGAN)
    draws = probgen.sample(model, given={"label": np.arange(3)})
    styles, z = draws["styles"].values[0], draws["z"].values[0]
    embedding = module.average.embedding
    assert embedding is not None
    for layer in range(3):
        np.testing.assert_allclose(styles[:, layer, :32], embedding.weight.detach().numpy().T, atol=1e-6)
        np.testing.assert_allclose(styles[:, layer, 32:], z[:, 2 * layer : 2 * layer + 2], atol=1e-6)


# the best weights


def test_only_draws_of_all_layers_are_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not while the last ones fade in, over six tenths of the last stage, nor before."""
    monkeypatch.setattr(best, "APART", 2)
    model = fitted("progan", valid=images(20, seed=1), steps=60, growth=1.0, fade=0.6)
    last = model.history.where(model.history["stage"] == "maps8x12", drop=True)["valid_distance"].values
    at = np.flatnonzero(np.isfinite(last))
    assert len(at)
    assert (at >= 0.6 * len(last)).all()
    before = model.history.where(model.history["stage"] != "maps8x12", drop=True)["valid_distance"]
    assert not np.isfinite(before).any()


@pytest.mark.parametrize(
    "options", [{"steps": 1}, {"steps": 50, "growth": 0.05}, {"steps": 9, "fade": 0.9, "growth": 1.0}]
)
def test_stages_that_are_too_short_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="too few for its layers to fade in"):
        fitted("progan", **options)


def test_one_validation_row_is_refused() -> None:
    with pytest.raises(InputError, match="valid has one row"):
        fitted("stylegan", valid=images(1))


@pytest.mark.parametrize("n", [1, 2, 5, 7, 25])
def test_a_batch_of_any_size_has_a_deviation(n: int) -> None:
    """Also where four do not divide it; one image alone has none."""
    s = MinibatchDeviation()(torch.randn(n, 3, 2, 2))[:, 3].mean().item()
    assert s < 1e-3 if n == 1 else 0.3 < s < 1.3


@pytest.mark.parametrize("family", TINY)
def test_the_best_weights_are_kept_and_a_collapse_is_said(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measures that are best at the third look: the weights are those of a fit that ends there."""
    measures = iter([5.0, 3.0, 1.0, 2.5, 4.0, 6.0] * 10)
    monkeypatch.setattr(best, "frechet", lambda real, fake: next(measures))
    monkeypatch.setattr(best, "LOOKS", 6)
    monkeypatch.setattr(best, "APART", 1)
    options: dict[str, Any] = {
        "steps": 12,
        "valid": images(20, seed=1),
        **({"growth": 0.01} if family == "progan" else {}),
    }
    if family == "progan":
        options["channels"] = (6,)
        options.pop("growth")
        data, options["valid"] = images(64, (3, 4, 4)), images(20, (3, 4, 4), seed=1)
    else:
        data = images(64)
    model = fitted(family, data, **options)
    (note,) = [note for note in model.provenance["notes"] if "weights are those after step" in note]
    assert "after step 6 of 12" in note
    assert "collapsed: samples were 6.0 times as far" in note
    kept = model.history["valid_distance"].dropna("step").values
    assert list(kept) == [5.0, 3.0, 1.0, 2.5, 4.0, 6.0]


def test_the_measure_falls_as_draws_come_nearer() -> None:
    """Of rows themselves it is near 0, of noise far above."""
    data = images(400, real=True)
    model = fitted("stylegan", data, steps=1, valid=images(300, real=True, seed=1))
    assert float(model.history["valid_distance"].max()) > 1


# what is wrong is said


@pytest.mark.parametrize(
    ("family", "shape", "options", "message"),
    [
        ("stylegan", (3, 12, 12), {"channels": (4, 4, 4, 4)}, "height 12, which cannot be halved 3 times"),
        ("progan", (3, 12, 8), {"channels": (4, 4, 4, 4)}, "cannot be halved 3 times"),
        ("biggan", (3, 8, 8), {"d_channels": (4,) * 4}, "fewer d_channels"),
        ("stylegan", (5,), {}, "x must be images of one size"),
        ("biggan", (3, 8, 8), {"latent": 7}, "each of 3 layers receives an equal chunk of z"),
        ("progan", (3, 8, 8), {"channels": ()}, "at least one layer"),
        ("stylegan", (3, 8, 8), {"r1": 0.0, "r1_every": 4}, "r1_every = 4 has no effect without r1"),
        ("stylegan", (3, 8, 8), {"channels": (4,), "mixing": 0.2}, "mixing = 0.2 has no effect"),
        ("biggan", (3, 8, 8), {"embedding": 5}, "no effect without given"),
        ("progan", (3, 8, 8), {"fade": 1.0}, "less than 1"),
    ],
)
def test_images_and_options_that_do_not_suit(
    family: str, shape: tuple[int, ...], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        probgen.fit(
            family, np.random.default_rng(0).random((10, *shape)), steps=1, **{**TINY[family], **options}
        )


def test_draws_that_cannot_be_are_refused() -> None:
    style, big, pro = fitted("stylegan"), fitted("biggan", given=("label",)), fitted("progan")
    z = np.zeros((2, 6))
    cases: list[tuple[probgen.Fitted, dict[str, Any], str]] = [
        (style, {"truncation": -0.1}, "truncation = -0.1: input should be greater than or equal to 0"),
        (style, {"towards": "cluster"}, "no effect without truncation"),
        (style, {"truncation": 0.5, "towards": "class"}, "conditioned on nothing"),
        (style, {"truncation": 0.5, "given": {"w": np.zeros((2, 5))}}, "w or styles are given"),
        (
            style,
            {"given": {"styles": np.zeros((2, 4, 5))}},
            "styles: 5 x 5 numbers per sample are needed, not 4 x 5",
        ),
        (style, {"given": {"z": np.zeros((2, 3))}}, "z: 6 numbers per sample are needed, not 3"),
        (style, {"given": {"maps4": np.zeros((2, 5, 4, 6))}}, "not known"),
        (big, {"truncation": 0.0, "given": {"label": 0}}, "greater than 0"),
        (big, {"given": {"label": 3}}, "must be a whole number from 0 to 2"),
        (big, {"given": {"label": [0, 1], "z": z}, "truncation": 1.0}, "latents are given"),
        (big, {}, "needs given"),
        (pro, {"truncation": 0.5}, "unknown option"),
    ]
    for model, how, message in cases:
        with pytest.raises(InputError, match=message):
            probgen.sample(model, **{"n": 2, **how} if "given" not in how else how)


def test_decoding_from_nowhere_is_refused() -> None:
    style = fitted("stylegan")
    draws = probgen.sample(style, 3)
    with pytest.raises(
        InputError,
        match=r"until = 'maps5': the model has no such latent or place; known: z, w, styles, maps2x3, maps4x6, maps8x12, x",
    ):
        probgen.decode(style, {"z": draws["z"].values}, "maps5")
    with pytest.raises(InputError, match=r"not known to stylegan\. Known names: .*maps2x3"):
        probgen.decode(style, {"maps5": draws["z"].values})
    maps = probgen.decode(style, {"z": draws["z"].values}, "maps4x6")
    assert maps["maps4x6"].dims == ("row", "maps4x6_channel", "maps4x6_height", "maps4x6_width")
    with pytest.raises(InputError, match="requires 'z' as well"):
        probgen.decode(style, {"maps4x6": maps["maps4x6"].values})
    with pytest.raises(InputError, match="maps4x6: 5 x 4 x 6 numbers per sample are needed, not 5 x 3 x 6"):
        probgen.decode(style, {"maps4x6": maps["maps4x6"].values[:, :, :3], "styles": draws["styles"].values})


def test_gradients_reach_z_and_are_those_of_differences() -> None:
    """Of each family in float64, along a random direction."""
    for family in TINY:
        module = fitted(family, dtype="float64").module
        z, v = torch.randn(2, 6).double(), torch.randn(2, 6).double()

        def of(z: Tensor, module: Any = module) -> Tensor:
            return adversarial_x(module, z)

        z = z.requires_grad_()
        with torch.enable_grad():
            (slope,) = torch.autograd.grad(of(z), z)
        with torch.no_grad():
            h = 1e-7
            along = (of(z + h * v) - of(z - h * v)) / (2 * h)
        assert (slope * v).sum().item() == pytest.approx(along.item(), rel=1e-3)


def adversarial_x(module: Any, z: Tensor) -> Tensor:
    x: Tensor = module.decode({"z": z})
    return x.sin().sum()


class TestStyleGAN(FamilyLaws):
    family = "stylegan"
    options = {**TINY["stylegan"], "steps": 6, "batch_size": 8, "r1_every": 2}

    @pytest.fixture
    def data(self) -> xr.Dataset:
        return images(48).drop_vars("label")


class TestStyleGANOfLabels(FamilyLaws):
    family = "stylegan"
    options = {**TINY["stylegan"], "steps": 6, "batch_size": 8, "given": ("label",), "average": 0.5}

    @pytest.fixture
    def data(self) -> xr.Dataset:
        return images(48, (8, 12), real=True)


class TestProGAN(FamilyLaws):
    family = "progan"
    options = {**TINY["progan"], "steps": 9, "batch_size": 8, "growth": 1.0, "given": ("label",)}

    @pytest.fixture
    def data(self) -> xr.Dataset:
        return images(48, real=True)


class TestProGANOfBytes(FamilyLaws):
    family = "progan"
    options = {**TINY["progan"], "steps": 9, "batch_size": 8, "growth": 1.5, "r1_every": 2}

    @pytest.fixture
    def data(self) -> xr.Dataset:
        return images(48, (8, 12)).drop_vars("label")


class TestBigGAN(FamilyLaws):
    family = "biggan"
    options = {**TINY["biggan"], "steps": 6, "batch_size": 8, "given": ("label",), "r1": 0.1, "r1_every": 2}

    @pytest.fixture
    def data(self) -> xr.Dataset:
        return images(48)


class TestBigGANWithoutClasses(FamilyLaws):
    family = "biggan"
    options = {
        **TINY["biggan"],
        "steps": 6,
        "batch_size": 8,
        "schedule": "cosine",
        "hold": 0.5,
        "loss": "least_squares",  # at the start hinge leaves the last bias of D without a gradient
    }

    @pytest.fixture
    def data(self) -> xr.Dataset:
        return images(48, (1, 8, 12), real=True).drop_vars("label")
