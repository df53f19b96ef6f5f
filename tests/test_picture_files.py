"""Image files to image files: colors by luma, alpha, orientation, folders, and nothing replaced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import probgen
from probgen.api.picturing import sample_images as pictures
from probgen.cli import app
from probgen.codecs.images import resized, rgb_of, rounded, ycbcr
from probgen.contract.fitted import Fitted
from probgen.errors import InputError
from tests.test_superresolution import TINY, photographs


@pytest.fixture(scope="module")
def gray() -> Fitted:
    """Twice as large, of one channel."""
    return probgen.fit("srresnet", photographs(), **TINY)


@pytest.fixture(scope="module")
def colors() -> Fitted:
    """Twice as large, of three channels."""
    return probgen.fit("srresnet", photographs(shape=(3, 16, 20)), **TINY)


def saved(path: Path, x: np.ndarray, **how: Any) -> Path:
    """An image file of (height, width[, channel])."""
    Image.fromarray(x).save(path, **how)
    return path


def pixels(path: Path) -> np.ndarray:
    """What a file holds: (height, width[, channel])."""
    with Image.open(path) as image:
        return np.asarray(image)


RNG = np.random.default_rng(0)
GRAY = RNG.integers(0, 256, (7, 9), dtype=np.uint8)
RGB = RNG.integers(0, 256, (7, 9, 3), dtype=np.uint8)


def test_a_gray_image_is_what_sample_makes_of_it(gray: Fitted, tmp_path: Path) -> None:
    (out,) = pictures(gray, saved(tmp_path / "a.png", GRAY), tmp_path / "b.png")
    expected = probgen.sample(gray, given={"low": GRAY}, mean=True)["x"].values[0]
    np.testing.assert_array_equal(pixels(out), rounded(expected))
    draws = pictures(gray, tmp_path / "a.png", tmp_path / "draws", 3, seed=4)
    assert [path.name for path in draws] == ["a-0.png", "a-1.png", "a-2.png"]
    expected = probgen.sample(gray, 3, given={"low": GRAY}, seed=4)["x"].values
    np.testing.assert_array_equal(np.stack([pixels(path) for path in draws]), expected)


def test_of_colors_the_model_makes_luma_and_the_kernel_chroma(gray: Fitted, tmp_path: Path) -> None:
    (out,) = pictures(gray, saved(tmp_path / "a.png", RGB), tmp_path / "b.png")
    parts = ycbcr(np.moveaxis(RGB, 2, 0))
    y = probgen.sample(gray, given={"low": rounded(parts[0])}, mean=True)["x"].values[0]
    expected = rounded(rgb_of(np.concatenate([y[None], resized(parts[1:], 14, 18)])))
    np.testing.assert_array_equal(np.moveaxis(pixels(out), 2, 0), expected)


def test_colors_as_they_were_fitted(colors: Fitted, tmp_path: Path) -> None:
    (out,) = pictures(colors, saved(tmp_path / "a.png", RGB), tmp_path / "b.png")
    expected = probgen.sample(colors, given={"low": np.moveaxis(RGB, 2, 0)}, mean=True)["x"].values[0]
    np.testing.assert_array_equal(np.moveaxis(pixels(out), 2, 0), rounded(expected))


def test_three_equal_channels_are_gray(gray: Fitted, tmp_path: Path) -> None:
    """They are not squeezed into 16 .. 235."""
    saved(tmp_path / "a.png", np.repeat(GRAY[..., None], 3, 2))
    saved(tmp_path / "b.png", GRAY)
    outs = [pictures(gray, tmp_path / f"{name}.png", tmp_path / f"{name}-out.png")[0] for name in "ab"]
    np.testing.assert_array_equal(pixels(outs[0]), pixels(outs[1]))


def test_alpha_and_orientation(gray: Fitted, tmp_path: Path) -> None:
    alpha = RNG.integers(0, 256, (7, 9, 1), dtype=np.uint8)
    saved(tmp_path / "a.png", np.concatenate([RGB, alpha], 2))
    (out,) = pictures(gray, tmp_path / "a.png", tmp_path / "b.png")
    assert pixels(out).shape == (14, 18, 4)
    np.testing.assert_array_equal(pixels(out)[..., 3], rounded(resized(alpha[..., 0], 14, 18)))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    saved(tmp_path / "c.png", GRAY, exif=exif)
    with pytest.warns(UserWarning, match="turned upright"):
        (out,) = pictures(gray, tmp_path / "c.png", tmp_path / "d.png")
    expected = probgen.sample(gray, given={"low": np.rot90(GRAY, -1).copy()}, mean=True)["x"].values[0]
    np.testing.assert_array_equal(pixels(out), rounded(expected))


def test_folders_keep_their_names_and_nothing_is_replaced(gray: Fitted, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    (photos / "more").mkdir(parents=True)
    saved(photos / "a.png", GRAY)
    saved(photos / "more" / "b.jpg", RGB[:5, :4])
    written = pictures(gray, photos, tmp_path / "large")
    assert [path.relative_to(tmp_path / "large") for path in written] == [Path("a.png"), Path("more/b.png")]
    assert pixels(written[1]).shape == (10, 8, 3)
    before = written[0].read_bytes()
    with pytest.raises(InputError, match="already exists and is not replaced"):
        pictures(gray, photos, tmp_path / "large", seed=9)
    assert written[0].read_bytes() == before
    saved(photos / "a.jpg", GRAY)
    with pytest.raises(InputError, match="two images would be written to"):
        pictures(gray, photos, tmp_path / "others")
    assert not (tmp_path / "others").exists()


def test_one_pixel(gray: Fitted, tmp_path: Path) -> None:
    (out,) = pictures(gray, saved(tmp_path / "a.png", GRAY[:1, :1]), tmp_path / "b.png")
    assert pixels(out).shape == (2, 2)


def test_bad_files_and_names(gray: Fitted, colors: Fitted, tmp_path: Path) -> None:
    """One line each, and nothing is written."""
    (tmp_path / "empty").mkdir()
    a = saved(tmp_path / "a.png", GRAY)
    wide = saved(tmp_path / "wide.png", RNG.integers(0, 65536, (4, 4)).astype(np.uint16))
    cases: list[tuple[Fitted, Path, Any, str]] = [
        (gray, tmp_path / "none.png", tmp_path / "b.png", "there is no such file"),
        (gray, tmp_path / "empty", tmp_path / "b", "has no images"),
        (gray, a, tmp_path / "b.jpg", "written as PNG"),
        (gray, a, tmp_path / "no" / "b.png", "does not exist"),
        (gray, a, a, "already exists"),
        (gray, wide, tmp_path / "b.png", "16 bits of gray, but the model needs 256 levels"),
        (colors, a, tmp_path / "b.png", "is gray, but the model needs 3 channels"),
        (
            probgen.fit("mixture", RNG.random((20, 2))),
            a,
            tmp_path / "b.png",
            "not an image of 256 levels from one image",
        ),
    ]
    for fitted, given, out, said in cases:
        with pytest.raises(InputError, match=said):
            pictures(fitted, given, out)
    with pytest.raises(InputError, match="there are several images to write"):
        pictures(gray, a, tmp_path / "b.png", 2)
    with pytest.raises(InputError, match="temperature"):
        pictures(gray, a, tmp_path / "b.png", temperature=-1.0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "empty", "wide.png"]


def test_the_command(gray: Fitted, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    gray.save(tmp_path / "run" / "model.h5")
    saved(tmp_path / "a.png", GRAY)

    def call(*arguments: str) -> Any:
        return CliRunner().invoke(
            app, ["sample", str(tmp_path / "run"), "--given", str(tmp_path / "a.png"), *arguments]
        )

    out = tmp_path / "b.png"
    found = call("--out", str(out))
    assert (found.exit_code, found.stdout.strip()) == (0, str(out))
    assert pixels(out).shape == (14, 18)
    for arguments, said in {
        ("--out", str(out)): "already exists",
        (): "--out is missing",
        (
            "--out",
            str(tmp_path / "c.png"),
            "--png",
            "x.png",
        ): "--png: with images as --given, the results are images",
        ("--out", str(tmp_path / "c.png"), "--set", "temperature=-1.0"): "temperature",
    }.items():
        found = call(*arguments)
        assert found.exit_code == 2
        assert said in found.stderr
        assert found.stderr.count("\n") == 1
    assert not (tmp_path / "c.png").exists()


def test_without_a_photograph_there_are_64_draws_still(tmp_path: Path) -> None:
    """The default of -n is 1 for images that are given alone."""
    probgen.fit("mixture", RNG.random((20, 2)), out=tmp_path / "run")
    assert CliRunner().invoke(app, ["sample", str(tmp_path / "run")]).exit_code == 0
    from probgen.store.trees import read_dataset

    assert read_dataset(tmp_path / "run" / "samples.h5", "samples").sizes["sample"] == 64
