"""Images from smaller images: kernels, patches, tiles, exact families, and images of any size."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from PIL import Image
from scipy import stats

import probgen
from probgen import datasets
from probgen.codecs.images import luma, resize_matrix, resized, rgb_of, rounded, ycbcr
from probgen.contract.event import Event
from probgen.contract.patches import Patches
from probgen.contract.rows import Rows
from probgen.distributions import DiscretizedLaplace, DiscretizedNormal
from probgen.errors import InputError
from probgen.evaluation.pictures import band_ratios, bands, psnr, ssim
from probgen.models.bases.scaling import enlarged, reduced
from probgen.models.subscale import coarse_to_fine
from probgen.nn.tiles import by_tiles
from probgen.testing import FamilyLaws

LEVELS: dict[str, Any] = {"support": "integer", "levels": 256}
TINY: dict[str, Any] = {
    "patch": 4,
    "width": 4,
    "blocks": 1,
    "steps": 20,
    "batch_size": 8,
    "learning_rate": 0.01,
}
FAMILIES: list[tuple[str, dict[str, Any]]] = [
    ("srresnet", {"components": 2}),
    ("srresnet", {"noise": "normal"}),
    ("srresnet", {"noise": "laplace"}),
    ("subscale", {"components": 2}),
]


def photographs(
    rows: int = 12, seed: int = 0, shape: tuple[int, ...] = (16, 20), levels: int = 256
) -> xr.Dataset:
    """Smooth images and their halves: (row, [channel,] height, width)."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, levels - 1, (rows, *shape[:-2], 5, 5))
    x = rounded(resized(coarse, *shape[-2:]) + rng.normal(0, levels / 40, (rows, *shape)), levels)
    dims = ("row", "channel", "height", "width")
    dims = dims if len(shape) == 3 else (dims[0], *dims[2:])
    return datasets.scaled(xr.Dataset({"x": (dims, x, {"support": "integer", "levels": levels})}), 2)


# the kernel and the protocol


def test_the_protocol_is_that_of_published_tables(real_data: Path) -> None:
    """Bicubic on Set5: dB and SSIM of every paper, to the last digit (luma in 8 bits, low not rounded)."""
    x = datasets.load("set5", folder=real_data)
    for scale, published in {2: (33.66, 0.9299), 3: (30.39, 0.8682), 4: (28.42, 0.8104)}.items():
        found = []
        for row, (height, width) in enumerate(x["size"].values // scale * scale):
            y = rounded(luma(x["x"].values[row, :, :height, :width]))
            up = rounded(resized(resized(y, height // scale, width // scale), height, width))
            cut = np.s_[None, scale:-scale, scale:-scale]
            found.append((psnr(up[cut], y[cut], 255)[0], ssim(up[cut], y[cut], 255)[0]))
        db, similarity = np.mean(found, 0)
        assert (round(float(db), 2), round(float(similarity), 4)) == published


@pytest.mark.parametrize(
    ("n", "m"), [(12, 3), (12, 4), (12, 6), (7, 21), (5, 5), (9, 4), (3, 12), (1, 4), (4, 1)]
)
def test_the_kernel_is_a_weighted_mean_of_neighbors(n: int, m: int) -> None:
    """Against sums written out: Keys' kernel, widened by the reduction, the border mirrored, weights of sum 1."""
    matrix = resize_matrix(n, m)
    np.testing.assert_allclose(matrix.sum(1), 1, atol=1e-12)
    k = min(m / n, 1.0)

    def keys(x: float) -> float:
        x = abs(x)
        return (
            1.5 * x**3 - 2.5 * x**2 + 1 if x <= 1 else -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x <= 2 else 0.0
        )

    def mirrored(i: int) -> int:
        while not 0 <= i < n:
            i = -1 - i if i < 0 else 2 * n - 1 - i
        return i

    expected = np.zeros((m, n))
    for j in range(m):
        center = (j + 0.5) * n / m - 0.5
        at = range(math.floor(center - 2 / k) - 1, math.ceil(center + 2 / k) + 2)
        weights = {i: keys(k * (center - i)) for i in at}
        for i, weight in weights.items():
            expected[j, mirrored(i)] += weight / sum(weights.values())
    np.testing.assert_allclose(matrix, expected, atol=1e-12)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("shape", [(2, 1, 6, 7), (1, 3, 1, 2)])
def test_differentiable_scaling_is_the_kernel(scale: int, shape: tuple[int, ...]) -> None:
    low = torch.randn(shape, dtype=torch.float64)
    high = tuple(scale * side for side in shape[-2:])
    up = torch.nn.functional.pixel_shuffle(enlarged(low, scale), scale)
    np.testing.assert_allclose(up.numpy(), resized(low.numpy(), *high), atol=1e-12)
    x = torch.randn(*shape[:2], *high, dtype=torch.float64)
    np.testing.assert_allclose(reduced(x, scale).numpy(), resized(x.numpy(), *shape[-2:]), atol=1e-12)


def test_colors_and_luma() -> None:
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (2, 3, 4, 5)).astype(np.uint8)
    np.testing.assert_allclose(rgb_of(ycbcr(rgb)), rgb, atol=1e-10)
    white = np.full((3, 1, 1), 255)
    np.testing.assert_allclose(ycbcr(white)[:, 0, 0], [235, 128, 128], atol=1e-2)
    gray = np.repeat(rgb[:, :1], 3, 1)
    np.testing.assert_array_equal(luma(gray[0]), gray[0, 0])  # as it is, not squeezed into 16 .. 235
    np.testing.assert_array_equal(rounded(np.array([-1, 0.5, 1.49, 254.5, 300])), [0, 1, 1, 255, 255])


def test_similarity_and_bands_against_plain_sums() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.uniform(0, 255, (2, 1, 13, 14))
    at = np.arange(11) - 5
    window = np.exp(-(at[:, None] ** 2 + at[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    total = []
    for i, j in itertools.product(range(3), range(4)):
        a, b = x[0, i : i + 11, j : j + 11], y[0, i : i + 11, j : j + 11]
        ma, mb = (window * a).sum(), (window * b).sum()
        va, vb = (window * (a - ma) ** 2).sum(), (window * (b - mb) ** 2).sum()
        vab = (window * (a - ma) * (b - mb)).sum()
        c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
        total.append((2 * ma * mb + c1) * (2 * vab + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2)))
    assert ssim(x, y, 255)[0] == pytest.approx(np.mean(total), rel=1e-10)
    assert ssim(x, x, 255)[0] == pytest.approx(1)
    wave = np.cos((np.arange(16) + 0.5) * np.pi * 3 / 8)[None, :].repeat(8, 0)[
        None
    ]  # the fourth band of a row
    energy = bands(wave)
    assert energy[0, 3] == pytest.approx(energy.sum())
    np.testing.assert_allclose(band_ratios(4 * bands(x[:, :8, :8]), bands(x[:, :8, :8])), 2, atol=1e-6)
    with pytest.raises(InputError, match="SSIM needs at least 11 x 11"):
        ssim(x[:, :10], y[:, :10], 255)


# distributions


@pytest.mark.parametrize(
    ("kind", "law"), [(DiscretizedNormal, stats.norm), (DiscretizedLaplace, stats.laplace)]
)
def test_discretized_laws_against_scipy(kind: Any, law: Any) -> None:
    mu, s = torch.tensor([3.2, -4.0, 9.0, 40.0]).double(), torch.tensor([1.5, 0.3, 7.0, 2.0]).double()
    p = kind(mu[:, None], s[:, None], 16)
    x = torch.arange(16).double()
    edges = np.concatenate([[-np.inf], np.arange(15) + 0.5, [np.inf]])
    cdf = law.cdf(edges[None], mu[:, None], s[:, None])
    np.testing.assert_allclose(p.log_prob(x).exp().numpy(), np.diff(cdf), atol=1e-12)
    np.testing.assert_allclose(p.log_prob(x).exp().sum(1).numpy(), 1, atol=1e-12)
    np.testing.assert_allclose(p.mean[:, 0].numpy(), (np.diff(cdf) * np.arange(16)).sum(1), atol=1e-10)
    draws = kind(mu[0], s[0], 16).sample((20_000,))
    counts = np.bincount(draws.long().numpy(), minlength=16)
    common = counts * 0 + np.diff(cdf)[0] * 20_000
    kept = common > 5
    statistic = ((counts - common)[kept] ** 2 / common[kept]).sum()
    assert stats.chi2.sf(statistic, kept.sum() - 1) > 1e-6  # false-alarm rate 1e-6


def test_far_tails_keep_their_digits() -> None:
    """In float32, 200 levels away of a scale of 2: near scipy's logarithms of tails."""
    p = DiscretizedNormal(torch.tensor(10.0), torch.tensor(2.0), 256)
    found = p.log_prob(torch.tensor(210.0)).item()
    near, far = (stats.norm.logsf((200 + h) / 2) for h in (-0.5, 0.5))
    assert found == pytest.approx(near + np.log1p(-np.exp(far - near)), rel=1e-4)
    mu = torch.tensor(5.0, requires_grad=True)
    DiscretizedLaplace(mu, torch.tensor(1e-3), 256).log_prob(
        torch.tensor([0.0, 100.0, 255.0])
    ).sum().backward()
    assert torch.isfinite(mu.grad).all()  # type: ignore[arg-type]


def test_six_decibels_are_one_bit() -> None:
    """With the deviation that is most likely, a normal's bits a number fall by one as errors halve (to 1e-3 at 8 levels)."""
    rng = torch.Generator().manual_seed(0)
    x = torch.full((200_000,), 128.0, dtype=torch.float64)
    bits, decibels = [], []
    for s in (16.0, 8.0):
        mu = x + s * torch.randn(len(x), generator=rng, dtype=torch.float64)
        rms = (x - mu).square().mean().sqrt()
        bits.append(-DiscretizedNormal(mu, rms, 256).log_prob(x).mean().item() / math.log(2))
        decibels.append(20 * math.log10(255 / rms.item()))
    assert (bits[0] - bits[1]) / (decibels[1] - decibels[0]) == pytest.approx(
        1 / (20 * math.log10(2)), rel=2e-3
    )


# data


def test_low_is_of_the_whole_image_in_levels() -> None:
    data = photographs(3, shape=(3, 16, 20))
    assert data["low"].dims == ("row", "low_channel", "low_height", "low_width")
    np.testing.assert_array_equal(data["low"].values, rounded(resized(data["x"].values, 8, 10)))
    odd = datasets.scaled(data[["x"]].isel(height=slice(0, 15)), 4)
    assert odd["x"].shape == (3, 3, 12, 20)
    real = datasets.scaled(
        xr.Dataset({"x": (("row", "height", "width"), np.random.default_rng(0).random((2, 4, 4)))}), 2
    )
    np.testing.assert_allclose(real["low"].values, resized(real["x"].values, 2, 2))


@pytest.mark.parametrize(
    ("scale", "said"), [(1, "from 2 to 16"), (0, "from 2 to 16"), (2.5, "from 2 to 16"), (99, "from 2 to 16")]
)
def test_scales_that_are_none(scale: Any, said: str, tmp_path: Path) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=said):
        datasets.load(tmp_path, scale=scale)


def test_folders_of_several_sizes(tmp_path: Path) -> None:
    """With a scale they are padded, and nothing that is padding changes a score."""
    rng = np.random.default_rng(0)
    sizes = [(9, 12), (8, 8), (13, 6)]
    for i, size in enumerate(sizes):
        Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8)).save(tmp_path / f"{i}.png")
    with pytest.raises(InputError, match="scale = 4 or --scale 4"):
        datasets.load(tmp_path)
    data = datasets.load(tmp_path, scale=2)
    np.testing.assert_array_equal(data["size"].values, [(8, 12), (8, 8), (12, 6)])
    fitted = probgen.fit("srresnet", photographs(), **TINY)
    scores = probgen.score(fitted, data)
    np.testing.assert_array_equal(scores["length"].values, [96, 64, 72])
    assert scores["log_prob"].attrs["event_size"] == 1
    noisy = data.copy(deep=True)
    for row, (height, width) in enumerate(data["size"].values):
        noisy["x"].values[row, height:], noisy["x"].values[row, :, width:] = 77, 77
        noisy["low"].values[row, height // 2 :], noisy["low"].values[row, :, width // 2 :] = 99, 99
    np.testing.assert_array_equal(probgen.score(fitted, noisy)["log_prob"], scores["log_prob"])
    for row, (height, width) in enumerate(data["size"].values):
        alone = data.isel(row=[row], height=slice(0, height), width=slice(0, width))
        alone = alone.isel(low_height=slice(0, height // 2), low_width=slice(0, width // 2)).drop_vars("size")
        found = probgen.score(fitted, alone)["log_prob"].values[0]
        assert found == pytest.approx(float(scores["log_prob"][row]), rel=1e-5)


def test_patches_are_cut_at_one_place_and_each_is_as_likely() -> None:
    """Chi-square over all corners of two images of different sizes, false-alarm rate 1e-6; x and low at the same place."""
    sizes = np.array([(8, 6), (4, 10)])
    x = np.zeros((2, 8, 10), np.uint8)
    low = np.zeros((2, 4, 5), np.uint8)
    number = itertools.count(1)
    for row, (height, width) in enumerate(sizes):
        for i, j in itertools.product(range(height // 2), range(width // 2)):
            low[row, i, j] = next(number)
            x[row, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2] = low[row, i, j]
    data = xr.Dataset(
        {
            "x": (("row", "height", "width"), x, LEVELS),
            "low": (("row", "low_height", "low_width"), low, LEVELS),
            "size": (("row", "side"), sizes),
        }
    )
    event = Event(
        ("height", "width"),
        (None, None),
        "integer",
        256,
        {"low": Event(("low_height", "low_width"), (None, None), "integer", 256, scale=2)},
    )
    patches = Patches(Rows(data, event), 4, turned=False)
    assert patches.n == (48 + 40) // 16
    batch = patches.batch(0, 4000)
    np.testing.assert_array_equal(batch["x"][:, ::2, ::2], batch["low"])
    corners, counts = np.unique(batch["low"][:, 0, 0].numpy(), return_counts=True)
    assert len(corners) == 3 * 2 + 1 * 4
    assert stats.chisquare(counts).pvalue > 1e-6
    again = patches.batch(0, 4000)
    np.testing.assert_array_equal(batch["x"], again["x"])
    assert not np.array_equal(batch["x"], patches.batch(1, 4000)["x"])
    turned = Patches(Rows(data, event), 4, turned=True).batch(0, 4000)
    np.testing.assert_array_equal(turned["x"][:, ::2, ::2], turned["low"])
    first = turned["low"].numpy().reshape(4000, -1)
    assert len(np.unique(first, axis=0)) == 8 * len(corners)


def test_patches_that_cannot_be_cut() -> None:
    data = photographs(2)
    with pytest.raises(InputError, match="no image is as large, the largest is 16 x 20"):
        probgen.fit("srresnet", data, **{**TINY, "patch": 18})
    with pytest.raises(InputError, match="a multiple of 2"):
        probgen.fit("srresnet", data, **{**TINY, "patch": 5})


# the families


class TestSRResNet(FamilyLaws):
    family = "srresnet"
    options = {**TINY, "patch": 2, "components": 2, "steps": None, "epochs": 8, "batch_size": 16}

    @pytest.fixture
    def data(self) -> xr.Dataset:
        """Bits that depend on a bit."""
        return bits()


class TestSRResNetNormal(FamilyLaws):
    family = "srresnet"
    options = {**TINY, "patch": 2, "noise": "normal", "steps": None, "epochs": 8, "batch_size": 16}

    @pytest.fixture
    def data(self) -> xr.Dataset:
        """Bits that depend on a bit."""
        return bits()


class TestSubscale(FamilyLaws):
    family = "subscale"
    options = {**TINY, "patch": 2, "components": 2, "steps": None, "epochs": 8, "batch_size": 16}

    @pytest.fixture
    def data(self) -> xr.Dataset:
        """Bits that depend on a bit."""
        return bits()


def bits() -> xr.Dataset:
    """Cells of 2 x 2 levels of two, given one."""
    rng = np.random.default_rng(0)
    low = rng.integers(0, 2, (60, 1, 1))
    x = rng.uniform(size=(60, 2, 2)) < 0.3 + 0.4 * low
    two = {"support": "integer", "levels": 2}
    return xr.Dataset(
        {
            "x": (("row", "height", "width"), x.astype(np.uint8), two),
            "low": (("row", "low_height", "low_width"), low.astype(np.uint8), two),
        }
    )


@pytest.mark.parametrize(("family", "options"), FAMILIES)
@pytest.mark.parametrize("shape", [(2, 4), (3, 2, 2)])
def test_all_images_together_have_probability_one(
    family: str, options: dict[str, Any], shape: tuple[int, ...]
) -> None:
    """Enumerated: two levels, four or eight pixels, of one channel and of three."""
    data = photographs(20, shape=shape, levels=2 if len(shape) == 3 else 3)
    if len(shape) == 3:  # of three channels given one
        data = data.isel(low_channel=[0])
    fitted = probgen.fit(family, data, **{**TINY, "patch": 2}, **options)
    levels, size = fitted.event.levels or 0, math.prod(shape)
    every = np.array(list(itertools.product(range(levels), repeat=size)), np.uint8).reshape(-1, *shape)
    low = np.repeat(data["low"].values[:1], len(every), 0)
    rows = xr.Dataset(
        {"x": (data["x"].dims, every, data["x"].attrs), "low": (data["low"].dims, low, data["low"].attrs)}
    )
    total = np.exp(probgen.score(fitted, rows)["log_prob"].values.astype(np.float64)).sum()
    assert total == pytest.approx(1, abs=2e-5)


@pytest.mark.parametrize(("family", "options"), FAMILIES)
def test_tiles_give_the_result_of_the_whole(
    family: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scores, draws and means by tiles of 3, 7 and 64 pixels: to 1e-5."""
    fitted = probgen.fit(family, photographs(), **TINY, **options)
    data = photographs(2, seed=5, shape=(44, 38))
    found = []
    module = fitted.module
    reach = module.reach
    for tile in (3, 7, 64):
        where = f"probgen.models.{family}.by_tiles"
        monkeypatch.setattr(where, lambda f, maps, reach, _, tile=tile: by_tiles(f, maps, reach, tile))
        draws = probgen.sample(fitted, 2, given={"low": data["low"].values}, seed=1)["x"].values
        means = (
            [probgen.sample(fitted, given={"low": data["low"].values}, mean=True)["x"].values]
            if family == "srresnet"
            else []
        )
        found.append([probgen.score(fitted, data)["log_prob"].values, draws, *means])
    for other in found[:2]:
        np.testing.assert_allclose(other[0], found[2][0], rtol=1e-5)
        assert (
            other[1] != found[2][1]
        ).mean() < 2e-3  # a draw at the edge of two levels may be rounded to either
        for mine, theirs in zip(other[2:], found[2][2:], strict=True):
            np.testing.assert_allclose(mine, theirs, atol=1e-3)
    module.reach = 0  # the test has power: without a border tiles are others
    monkeypatch.setattr(
        f"probgen.models.{family}.by_tiles", lambda f, maps, reach, _: by_tiles(f, maps, reach, 3)
    )
    other = probgen.score(fitted, data)["log_prob"].values
    module.reach = reach
    assert not np.allclose(other, found[2][0], rtol=1e-5)


def test_one_fit_draws_two_sizes_in_as_many_passes_as_a_cell_has_places() -> None:
    fitted = probgen.fit("subscale", photographs(), **TINY)
    passes = []
    handle = fitted.module.trunk.register_forward_hook(lambda *_: passes.append(1))
    for shape in ((5, 6), (9, 3)):
        draw = probgen.sample(fitted, 1, given={"low": np.full(shape, 100)})["x"]
        assert draw.shape == (1, 2 * shape[0], 2 * shape[1])
    handle.remove()
    assert len(passes) == 2 * 4


def test_the_loss_of_one_phase_is_that_of_all_on_average() -> None:
    """200 random turns of 3 rows against the exact loss: within 5 standard errors; each turn alone is something else."""
    fitted = probgen.fit("subscale", photographs(), **TINY)
    pair = fitted.module
    batch = {name: torch.as_tensor(photographs(3, seed=2)[name].values).float() for name in ("x", "low")}
    with torch.no_grad():
        exact = float(pair.loss(n=3, **batch)["loss"])
        pair.train()
        torch.manual_seed(0)
        turns = np.array([float(pair.loss(n=3, **batch)["loss"]) for _ in range(200)])
        pair.eval()
    assert turns.std() > 1e-3
    assert abs(turns.mean() - exact) < 5 * turns.std() / math.sqrt(len(turns))


def test_the_order_goes_from_coarse_to_fine() -> None:
    assert coarse_to_fine(2) == [0, 3, 1, 2]
    order = coarse_to_fine(4)
    assert sorted(order) == list(range(16))
    assert {divmod(p, 4) for p in order[:4]} == {
        (0, 0),
        (2, 2),
        (0, 2),
        (2, 0),
    }  # Bayer: every second pixel first
    assert sorted(coarse_to_fine(3)) == list(range(9))


@pytest.mark.parametrize("noise", ["normal", "laplace"])
def test_the_scale_of_the_noise_is_that_of_the_rows_to_choose_by(noise: str) -> None:
    valid = photographs(4, seed=9, shape=(20, 24))
    fitted = probgen.fit("srresnet", photographs(), valid=valid, **TINY, noise=noise)
    with torch.no_grad():
        pair = fitted.module
        low = pair.low_of({"low": torch.as_tensor(valid["low"].values).float()})
        mu = pair.noise(pair.numbers(low)).mu
        off = pair.image(torch.nn.functional.pixel_shuffle(mu, 2)).numpy() - valid["x"].values
    expected = np.sqrt(np.square(off).mean()) if noise == "normal" else np.abs(off).mean()
    assert math.exp(fitted.state["log_s"].item()) == pytest.approx(expected, rel=1e-4)
    alone = probgen.fit("srresnet", photographs(), **TINY, noise=noise)
    assert any("rows of the fit" in note for note in alone.notes)


def test_what_is_left_of_low_makes_draws_come_down_to_it() -> None:
    """A fit of seconds: draws brought down again are nearer to low than those that are not told what is left."""
    data, other = photographs(40, shape=(16, 16)), photographs(8, seed=3, shape=(16, 16))
    options = {**TINY, "patch": 16, "width": 12, "blocks": 2, "steps": 300, "learning_rate": 3e-3}
    again = {}
    for family in ("srresnet", "subscale"):
        fitted = probgen.fit(family, data, **options)
        draw = probgen.sample(fitted, 1, given={"low": other["low"].values})["x"].values[0]
        again[family] = psnr(resized(draw, 8, 8), other["low"].values, 255).mean()
    assert again["subscale"] > again["srresnet"] + 2


def test_temperature_and_mean() -> None:
    fitted = probgen.fit("srresnet", photographs(), **TINY, components=3)
    low = photographs(1, seed=4)["low"].values[0]

    def spread(**how: Any) -> float:
        return float(
            probgen.sample(fitted, 30, given={"low": low}, **how)["x"].astype(float).std("sample").mean()
        )

    assert spread(temperature=0.0) == 0
    assert 0 < spread(temperature=0.5) < spread()
    with pytest.warns(UserWarning, match="all samples are equal"):
        assert spread(mean=True) == 0
    many = probgen.sample(fitted, 4000, given={"low": low[:3, :3]})["x"].astype(float)
    mean = probgen.sample(fitted, given={"low": low[:3, :3]}, mean=True)["x"].values[0]
    error = (many.mean("sample").values - mean) / (many.std("sample").values / math.sqrt(4000) + 1e-9)
    assert np.abs(error).max() < 6
    with pytest.raises(InputError, match="temperature"):
        spread(temperature=-1.0)
    with pytest.raises(InputError, match="temperature"):
        spread(mean=True, temperature=0.5)


def test_rows_that_are_not_what_was_fitted() -> None:
    data = photographs()
    fitted = probgen.fit("srresnet", data, **TINY)
    cases = {
        r"conditioned on 'low', which is not in the data\. .*scale = 2 or --scale 2": data[["x"]],
        "low is 4 x 5 and x is 16 x 20, but srresnet was fitted to low at 1/2": datasets.scaled(
            data[["x"]], 4
        ),
        "multiply values between 0 and 1 by 255": data.assign(
            x=(data["x"].dims, data["x"].values / 255.0, LEVELS)
        ),
        "low has dimensions|a row of x has shape": photographs(shape=(3, 16, 20)),
    }
    for said, rows in cases.items():
        with pytest.raises(InputError, match=said):
            probgen.score(fitted, rows)
    with pytest.raises(InputError, match=r"needs given=.'low'"):
        probgen.sample(fitted, 1)
    uneven = data.isel(low_width=slice(0, 9))
    with pytest.raises(InputError, match="both sides of x must be the same whole multiple"):
        probgen.fit("srresnet", uneven, **TINY)
    with pytest.raises(InputError, match="images in levels"):
        probgen.fit("srresnet", data.assign(x=data["x"].astype(float).assign_attrs(support="real")), **TINY)
    with pytest.raises(InputError, match="several sizes, which mixture cannot use"):
        probgen.fit("mixture", data[["x"]].assign(size=(("row", "side"), np.full((12, 2), 16))))
    nan = data["low"].astype(float)
    nan[3, 0, 0] = np.nan
    with pytest.raises(InputError, match="low, row 3"):
        probgen.score(fitted, data.assign(low=nan.assign_attrs(LEVELS)))
