"""translate, of images: what it measures against plain sums, and whether its intervals are right."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import xarray as xr

import probgen
from probgen.analyses.image_judges import Kinds, readable, told_apart
from probgen.codecs.images import resized, rounded
from probgen.contract.seeds import key
from probgen.errors import InputError, NotOffered
from probgen.evaluation.colors import Colors, moved
from probgen.evaluation.pictures import psnr, ssim
from tests.test_superresolution import TINY, photographs


@pytest.fixture(scope="module")
def found() -> tuple[Any, xr.Dataset, xr.Dataset]:
    """A fit of seconds, other rows, and what translate says of them."""
    fitted = probgen.fit("srresnet", photographs(), **TINY)
    rows = photographs(4, seed=3, shape=(24, 28))
    return fitted, rows, probgen.analyze("translate", fitted, rows, draws=3, judge=False, seed=5)


def test_decibels_are_of_luma_without_a_border(found: Any) -> None:
    fitted, rows, result = found
    cut = np.s_[:, 2:-2, 2:-2]
    x, low = rows["x"].values, rows["low"].values
    seeds = [key(5, "translate", "", 4, i) for i in range(4)]
    means = rounded(
        np.stack([probgen.sample(fitted, given={"low": one}, mean=True)["x"].values[0] for one in low])
    )
    draws = np.stack(
        [
            probgen.sample(fitted, 3, given={"low": one}, seed=s)["x"].values
            for one, s in zip(low, seeds, strict=True)
        ]
    )
    up = rounded(resized(low, 24, 28))
    made = {"bicubic": up, "mean": means, "draw": draws[:, 0], "mean_of_draws": rounded(draws.mean(1))}
    assert list(result["approach"].values) == list(made)
    for name, images in made.items():
        at = result.sel(approach=name)
        np.testing.assert_allclose(at["psnr"], psnr(images[cut], x[cut], 255), rtol=1e-6)
        np.testing.assert_allclose(at["ssim"], ssim(images[cut], x[cut], 255), rtol=1e-6)
        again = psnr(resized(images, 12, 14), low, 255)
        np.testing.assert_allclose(at["low_again"], again, rtol=1e-6)
        assert float(result[f"psnr_{name}"]) == pytest.approx(float(at["psnr"].mean()))
    np.testing.assert_allclose(result["spread"], draws.std(1, ddof=1).mean((1, 2)), rtol=1e-6)


def test_intervals_of_draws_cover_draws_of_the_law() -> None:
    """x drawn from the model itself lies within the interval of 20 others as often as is said, to five deviations over images."""
    fitted = probgen.fit("srresnet", photographs(), **TINY)
    rows = photographs(12, seed=8, shape=(24, 24))
    x = np.concatenate(
        [
            probgen.sample(fitted, 1, given={"low": one}, seed=100 + i)["x"].values
            for i, one in enumerate(rows["low"].values)
        ]
    )
    own = rows.assign(x=(rows["x"].dims, x, rows["x"].attrs))
    result = probgen.analyze("translate", fitted, own, draws=20, judge=False)
    assert float(result["coverage_nominal"]) == pytest.approx(19 / 21)
    assert abs(float(result["coverage_mean"]) - 19 / 21) < 5 * math.sqrt(0.09 / x.size) + 1e-3
    wrong = rows.assign(x=(rows["x"].dims, rounded(resized(rows["low"].values, 24, 24)), rows["x"].attrs))
    assert (
        abs(
            float(probgen.analyze("translate", fitted, wrong, draws=20, judge=False)["coverage_mean"])
            - 19 / 21
        )
        > 0.01
    )


def test_the_classifier_tells_noise_from_photographs_and_not_draws_from_draws() -> None:
    """A false-alarm rate below 1e-6 on 400 patches for the latter; the former it tells always but for a few."""
    rng = np.random.default_rng(0)

    def kind(n: int, noise: float) -> list[np.ndarray]:
        smooth = resized(rng.uniform(0, 255, (n, 8, 8)), 64, 64)
        return [rounded(one + rng.normal(0, noise, (64, 64))) for one in smooth]

    def told(noise: float) -> float:
        learned, asked = (Kinds(kind(n, noise), kind(n, 4.0)) for n in (60, 50))
        share = told_apart(asked, learned, 0)
        assert share is not None
        return share

    assert told(12.0) > 0.9
    assert abs(told(4.0) - 0.5) < 4.9 * 0.5 / math.sqrt(400)


def test_colors_moved_are_those_of_the_other_kind() -> None:
    """Means and covariances become those of the target, where nothing is cut; an affine style is undone."""
    rng = np.random.default_rng(0)
    x = rng.uniform(80, 120, (30, 3, 8, 8))
    A = np.array([[0.7, 0.1, 0.0], [0.1, 0.6, 0.2], [0.0, 0.2, 0.5]])
    y = np.einsum("ij,njhw->nihw", A, x) + 20
    got = moved(x, Colors.of(x), Colors.of(y), 256)
    assert np.abs(Colors.of(got).mean - Colors.of(y).mean).max() < 1e-6
    np.testing.assert_allclose(Colors.of(got).covariance, Colors.of(y).covariance, atol=0.5)
    np.testing.assert_allclose(got, y, atol=0.3)  # A is symmetric and positive: the optimal map


def test_options_of_the_other_kind_are_refused(found: Any) -> None:
    fitted, rows, _ = found
    with pytest.raises(InputError, match="beams = 3 has no effect: it applies to texts only"):
        probgen.analyze("translate", fitted, rows, beams=3)
    plain = probgen.fit(
        "pixelcnn",
        photographs(levels=4)[["x"]].isel(height=slice(0, 4), width=slice(0, 4)),
        channels=4,
        layers=2,
        epochs=1,
    )
    with pytest.raises(NotOffered, match="images conditional on an image"):
        probgen.analyze(
            "translate", plain, photographs(levels=4).isel(height=slice(0, 4), width=slice(0, 4))[["x"]]
        )


def test_figures_come_from_the_results(found: Any) -> None:
    _, _, result = found
    assert list(probgen.figures_of(result)) == ["images"]
    assert result["shown"].dims == ("column", "shown_row", "height", "width")
    assert list(result["column"].values) == ["given", "bicubic", "mean", "draw", "mean_of_draws", "x"]


def test_levels_and_binary_images_have_their_own_peak() -> None:
    """low of 16 levels and x of 256; and bits, whose peak is 1."""
    data = photographs(6, shape=(16, 16))
    low = data["low"].copy(data=rounded(data["low"].values / 17, 16))
    coarse = data.assign(low=low.assign_attrs(levels=16))
    fitted = probgen.fit("srresnet", coarse, **TINY)
    found = probgen.analyze("translate", fitted, coarse, draws=1, judge=False)
    up = rounded(resized(low.values * 17.0, 16, 16))
    cut = np.s_[:, 2:-2, 2:-2]
    np.testing.assert_allclose(
        found["psnr"].sel(approach="bicubic"), psnr(up[cut], data["x"].values[cut], 255), rtol=1e-6
    )
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 2, (2, 8, 4, 4)).astype(np.uint8)
    two = {"support": "binary"}
    bits = xr.Dataset(
        {
            "x": (("row", "height", "width"), x, two),
            "source": (("row", "source_height", "source_width"), y, two),
        }
    )
    made = probgen.fit("pixelcnn", bits, given=["source"], channels=4, layers=2, epochs=1)
    found = probgen.analyze("translate", made, bits, draws=1, judge=False)
    assert float(found["l1_copying"]) == pytest.approx(np.abs(x.astype(float) - y).mean())


def test_images_have_random_numbers_of_their_own() -> None:
    """Equal images that are given are drawn differently."""
    fitted = probgen.fit("srresnet", photographs(), **TINY)
    rows = photographs(1, seed=4).isel(row=[0, 0])
    found = probgen.analyze("translate", fitted, rows, draws=1, judge=False)
    assert float(found["psnr"].sel(approach="draw", row=0)) != float(
        found["psnr"].sel(approach="draw", row=1)
    )


def test_a_number_that_is_there_is_read_and_one_that_is_not_is_not() -> None:
    """R2 near 1 of the mean of a channel; of a number that nothing tells at most 0.1 (300 images)."""
    rng = np.random.default_rng(0)
    number = rng.standard_normal(300)
    images = (
        rng.integers(60, 190, (300, 3, 16, 16))
        + 10 * number[:, None, None, None] * np.array([1, 0, 0])[:, None, None]
    )
    assert readable(list(images), number) > 0.6
    assert readable(list(images), rng.standard_normal(300)) < 0.1
