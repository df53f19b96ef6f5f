"""translate, of images: what it measures against plain sums, and whether its intervals are right."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import xarray as xr

import probgen
from probgen.codecs.images import resized, rounded
from probgen.errors import InputError, NotOffered
from probgen.evaluation.colors import Colours, moved
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
    means = rounded(
        np.stack([probgen.sample(fitted, given={"low": one}, mean=True)["x"].values[0] for one in low])
    )
    draws = np.stack([probgen.sample(fitted, 3, given={"low": one}, seed=5)["x"].values for one in low])
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
    from probgen.analyses.image_translations import _told_apart

    class Still:
        def __init__(self, x: np.ndarray):
            self.x = x

        def y(self, approach: str) -> np.ndarray:
            return self.x

    rng = np.random.default_rng(0)

    def kind(n: int, noise: float) -> list[np.ndarray]:
        smooth = resized(rng.uniform(0, 255, (n, 8, 8)), 64, 64)
        return [rounded(one[None] + rng.normal(0, noise, (1, 64, 64))) for one in smooth]

    def told(noise: float) -> float:
        others: Any = [Still(x) for x in kind(60, noise)], kind(60, 4.0)
        asked: Any = [Still(x) for x in kind(50, noise)], kind(50, 4.0)
        share = _told_apart("draw", asked, others, 256, 0)
        assert share is not None
        return share

    assert told(12.0) > 0.9
    assert abs(told(4.0) - 0.5) < 4.9 * 0.5 / math.sqrt(400)


def test_colours_moved_are_those_of_the_other_kind() -> None:
    """Means and covariances become those of the target, where nothing is cut; an affine style is undone."""
    rng = np.random.default_rng(0)
    x = rng.uniform(80, 120, (30, 3, 8, 8))
    A = np.array([[0.7, 0.1, 0.0], [0.1, 0.6, 0.2], [0.0, 0.2, 0.5]])
    y = np.einsum("ij,njhw->nihw", A, x) + 20
    got = moved(x, Colours.of(x), Colours.of(y), 256)
    assert np.abs(Colours.of(got).mean - Colours.of(y).mean).max() < 1e-6
    np.testing.assert_allclose(Colours.of(got).covariance, Colours.of(y).covariance, atol=0.5)
    np.testing.assert_allclose(got, y, atol=0.3)  # A is symmetric and positive: the optimal map


def test_options_of_the_other_kind_are_refused(found: Any) -> None:
    fitted, rows, _ = found
    with pytest.raises(InputError, match="beams = 3 has no effect: it is of texts"):
        probgen.analyze("translate", fitted, rows, beams=3)
    plain = probgen.fit(
        "pixelcnn",
        photographs(levels=4)[["x"]].isel(height=slice(0, 4), width=slice(0, 4)),
        channels=4,
        layers=2,
        epochs=1,
    )
    with pytest.raises(NotOffered, match="images on an image"):
        probgen.analyze(
            "translate", plain, photographs(levels=4).isel(height=slice(0, 4), width=slice(0, 4))[["x"]]
        )


def test_figures_come_from_the_results(found: Any) -> None:
    _, _, result = found
    assert list(probgen.figures_of(result)) == ["images"]
    assert result["shown"].dims == ("column", "shown_row", "height", "width")
    assert list(result["column"].values) == ["given", "bicubic", "mean", "draw", "mean_of_draws", "x"]
